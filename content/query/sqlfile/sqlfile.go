// Package sqlfile reads .sql files: it finds the statements, the parameters in
// them and the options in the comments at the top. It knows quotes and comments
// of each dialect but no grammar: whether the SQL is right is the database's
// business. It does no I/O.
//
//	f, err := sqlfile.Parse(text, func(database string) (*sqlfile.Dialect, error) {
//		return sqlfile.SQLite, nil
//	})
//	text := f.Statements[0].Render(sqlfile.Numbered("?"), quote)
package sqlfile

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a file.
const (
	// MaxSize is how many bytes a file may have.
	MaxSize = 1 << 20
	// MaxStatements is how many statements it may have.
	MaxStatements = 1000
	// MaxParams is how many different parameters it may have.
	MaxParams = 500
)

// Dialect is how a database reads quotes, comments and colons.
type Dialect struct {
	brackets  bool // [name] is a quoted name
	backticks bool // `name` is a quoted name
	dollars   bool // $tag$text$tag$ is a string
	hashes    bool // # begins a comment
	backslash bool // \' does not end a string
	nested    bool // comments can be nested
	casts     bool // ::type is a cast
	dashBlank bool // -- begins a comment only before a blank
	runs      bool // what stands in /*! */ is run
	signs     string
}

// The dialects.
var (
	SQLite   = &Dialect{brackets: true, backticks: true, signs: "?@$#"}
	Postgres = &Dialect{dollars: true, nested: true, casts: true, signs: "$"}
	MySQL    = &Dialect{backticks: true, hashes: true, backslash: true, dashBlank: true, runs: true, signs: "?"}
)

// Kind tells the parts of a statement apart.
type Kind uint8

// The kinds of parts.
const (
	Text  Kind = iota // is passed on as it is
	Value             // a parameter :name whose value is bound
	Name              // a parameter ::name that is replaced by a name from a list
)

// Part is a piece of a statement.
type Part struct {
	Kind Kind
	// Text is the SQL, or the name of the parameter.
	Text string
	// Pos is where it begins in the file, in bytes.
	Pos int
}

// Statement is one of the statements of a file. It must not be changed.
type Statement struct {
	Parts []Part
	// Verb is the first word in upper case, such as SELECT.
	Verb string
	// Limited is true if the statement itself says how many rows it wants, or
	// ends in something that nothing may follow.
	Limited bool
	// Into is true if INTO stands in it, as in SELECT … INTO.
	Into bool
	// Writes is true if its words say that it writes. If they do not, it may
	// write all the same: by a function, say.
	Writes bool
	// Returning is true if RETURNING stands outside brackets.
	Returning bool
}

// File is a .sql file that was read. It must not be changed.
type File struct {
	Options    Options
	Statements []*Statement
	// Values and Names are the parameters of all statements, each once, in the
	// order in which they come.
	Values []string
	Names  []string

	src string
}

// Error says what is wrong with a file, and where.
type Error struct {
	Message, Hint string
	// Line and Column count from 1; Column counts characters.
	Line, Column int
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Parse reads a file. dialect is asked once which dialect the database of the
// file speaks; its errors are returned as they are. Errors of Parse are *Error.
func Parse(src string, dialect func(database string) (*Dialect, error)) (*File, error) {
	switch {
	case len(src) > MaxSize:
		return nil, &Error{Line: 1, Column: 1, Message: "the file is too long", Hint: "Split it into several files."}
	case !utf8.ValidString(src):
		return nil, &Error{Line: 1, Column: 1, Message: "the file is not UTF-8", Hint: "Save it as UTF-8."}
	case strings.ContainsRune(src, 0):
		return nil, at(src, strings.IndexByte(src, 0), "there is a zero byte in the file", "Is it a text file?")
	}
	f := &File{src: src}
	if err := f.header(); err != nil {
		return nil, err
	}
	d, err := dialect(f.Options.Database)
	if err != nil {
		return nil, err
	}
	l := &lexer{d: d, src: src, file: f}
	if err := l.run(); err != nil {
		return nil, err
	}
	if len(f.Statements) == 0 {
		return nil, &Error{Line: 1, Column: 1, Message: "there is no statement in the file", Hint: "Write at least one, such as SELECT 1."}
	}
	return f, nil
}

// Position returns line and column, from 1, of the place pos bytes after the
// beginning of the file.
func (f *File) Position(pos int) (line, column int) { return position(f.src, pos) }

func position(src string, pos int) (line, column int) {
	pos = min(max(pos, 0), len(src))
	line = strings.Count(src[:pos], "\n") + 1
	column = utf8.RuneCountInString(src[strings.LastIndexByte(src[:pos], '\n')+1:pos]) + 1
	return line, column
}

func at(src string, pos int, text, hint string) *Error {
	e := &Error{Message: text, Hint: hint}
	e.Line, e.Column = position(src, pos)
	return e
}

// Start is where the statement begins in its file, without what stands before
// its first word.
func (s *Statement) Start() int {
	p := s.Parts[0]
	return p.Pos
}

// Rendered is a statement in the form that a database takes.
type Rendered struct {
	SQL string
	// Values are the names of the parameters, in the order of the placeholders.
	Values []string

	spans []span
}

type span struct{ out, in, size int }

// Style writes the placeholder of a parameter: the n-th one that is different,
// from 1. repeat is true for a database that takes a value for each placeholder.
type Style struct {
	Prefix string
	Repeat bool
}

// The placeholders of the databases.
var (
	Question = Style{Prefix: "?"}               // ?1 of SQLite
	Dollar   = Style{Prefix: "$"}               // $1 of PostgreSQL
	Each     = Style{Prefix: "?", Repeat: true} // ? of MySQL
)

// Render returns the statement with placeholders for the values, and with what
// name returns for the names.
func (s *Statement) Render(style Style, name func(param string) (string, error)) (*Rendered, error) {
	r := &Rendered{}
	var b strings.Builder
	for _, p := range s.Parts {
		switch p.Kind {
		case Text:
			r.spans = append(r.spans, span{out: b.Len(), in: p.Pos, size: len(p.Text)})
			b.WriteString(p.Text)
		case Value:
			r.spans = append(r.spans, span{out: b.Len(), in: p.Pos})
			n := 0
			for n < len(r.Values) && (style.Repeat || r.Values[n] != p.Text) {
				n++
			}
			if n == len(r.Values) {
				r.Values = append(r.Values, p.Text)
			}
			b.WriteString(style.Prefix)
			if !style.Repeat {
				fmt.Fprint(&b, n+1)
			}
		case Name:
			text, err := name(p.Text)
			if err != nil {
				return nil, err
			}
			r.spans = append(r.spans, span{out: b.Len(), in: p.Pos})
			b.WriteString(text)
		}
	}
	r.SQL = b.String()
	return r, nil
}

// Source returns where in the file the place pos bytes after the beginning of
// the rendered statement comes from.
func (r *Rendered) Source(pos int) int {
	at := 0
	for _, s := range r.spans {
		if s.out > pos {
			break
		}
		at = s.in + min(pos-s.out, s.size)
	}
	return at
}
