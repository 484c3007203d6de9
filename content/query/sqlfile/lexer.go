package sqlfile

import (
	"slices"
	"strings"
)

// lexer cuts a file into statements.
type lexer struct {
	d    *Dialect
	src  string
	file *File

	pos    int // what comes next
	from   int // where the text begins that is not in a part yet
	stmt   *Statement
	words  int // of the statement
	depth  int // of brackets
	block  int // of BEGIN … END and CASE … END, in a trigger
	body   bool
	before string // the last word
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) }
func isBlank(c byte) bool  { return c == ' ' || c >= '\t' && c <= '\r' }

// isName tells what parameters are called; unlike names of SQL they are ASCII.
func isName(c byte) bool { return isWord(c) && c < 0x80 }

func (l *lexer) peek(n int) byte {
	if l.pos+n < len(l.src) && l.pos+n >= 0 {
		return l.src[l.pos+n]
	}
	return 0
}

func (l *lexer) run() error {
	l.begin()
	for l.pos < len(l.src) {
		if err := l.token(); err != nil {
			return err
		}
	}
	return l.end()
}

func (l *lexer) begin() {
	l.stmt, l.from = &Statement{}, l.pos
	l.words, l.depth, l.block, l.body, l.before = 0, 0, 0, false, ""
}

// end finishes the statement before pos.
func (l *lexer) end() error {
	l.text()
	if l.words > 0 {
		if len(l.file.Statements) == MaxStatements {
			return at(l.src, l.pos, "there are too many statements in the file", "Split it into several files.")
		}
		l.file.Statements = append(l.file.Statements, l.stmt)
	}
	return nil
}

// text makes a part of what was read since the last one.
func (l *lexer) text() {
	if l.pos > l.from {
		l.stmt.Parts = append(l.stmt.Parts, Part{Text: l.src[l.from:l.pos], Pos: l.from})
	}
	l.from = l.pos
}

// mark notes that something else than blanks and comments begins here: what
// stands before the first of it is left out.
func (l *lexer) mark() {
	if l.words == 0 {
		l.from = l.pos
	}
	l.words++
}

func (l *lexer) token() error {
	c := l.src[l.pos]
	switch {
	case isBlank(c):
		l.pos++
		return nil
	case c == '-' && l.peek(1) == '-' && (!l.d.dashBlank || l.peek(2) <= ' '), c == '#' && l.d.hashes:
		l.line()
		return nil
	case c == '/' && l.peek(1) == '*':
		return l.comment()
	case c == ';' && l.block <= 0:
		if err := l.end(); err != nil {
			return err
		}
		l.pos++
		l.begin()
		return nil
	}
	l.mark()
	switch {
	case c == '\'' || c == '"' || c == '`' && l.d.backticks:
		return l.quoted(c, l.d.backslash && c != '`' || c == '\'' && l.escaped())
	case c == '[' && l.d.brackets:
		return l.quoted(']', false)
	case c == '$' && l.d.dollars && l.tag() != "":
		return l.dollars()
	case c == ':':
		return l.colon()
	case strings.IndexByte(l.d.signs, c) >= 0 && l.placeholder(c):
		return at(l.src, l.pos, "parameters are not written with "+string(c), "Write :name, and give the parameter its name.")
	case isWord(c):
		l.word()
	default:
		switch c {
		case '(':
			l.depth++
		case ')':
			l.depth--
		}
		l.pos++
	}
	return nil
}

// placeholder tells whether c begins a parameter of the database's own kind.
func (l *lexer) placeholder(c byte) bool {
	switch {
	case c == '?':
		return true
	case l.d == Postgres:
		return isDigit(l.peek(1))
	}
	return isWord(l.peek(1))
}

func (l *lexer) line() {
	if n := strings.IndexByte(l.src[l.pos:], '\n'); n >= 0 {
		l.pos += n
	} else {
		l.pos = len(l.src)
	}
}

func (l *lexer) comment() error {
	start, depth := l.pos, 0
	if l.d.runs && (l.peek(2) == '!' || l.peek(2)|0x20 == 'm' && l.peek(3) == '!') {
		return at(l.src, start, "what stands in a comment that begins with /*! or /*M! is run", "Write it without the comment, or leave it out.")
	}
	for l.pos < len(l.src) {
		switch {
		case l.peek(0) == '/' && l.peek(1) == '*' && (depth == 0 || l.d.nested):
			depth++
			l.pos += 2
		case l.peek(0) == '*' && l.peek(1) == '/':
			depth--
			l.pos += 2
			if depth == 0 {
				return nil
			}
		default:
			l.pos++
		}
	}
	return at(l.src, start, "a comment does not end", "Add */ where it ends.")
}

// escaped tells whether the quote at pos begins a string such as E'\n'.
func (l *lexer) escaped() bool {
	return l.d == Postgres && l.peek(-1)|0x20 == 'e' && (l.pos < 2 || !isWord(l.peek(-2)))
}

// quoted skips a string or a name in quotes. Two quotes are one.
func (l *lexer) quoted(end byte, backslash bool) error {
	start := l.pos
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '\\' && backslash:
			l.pos++
		case c != end:
		case l.peek(1) == end && end != ']':
			l.pos++
		default:
			l.pos++
			return nil
		}
	}
	l.pos = len(l.src)
	return at(l.src, start, "a quote is not closed", "Add "+string(end)+" where the text or name ends.")
}

// tag returns the $tag$ at pos, or "".
func (l *lexer) tag() string {
	if l.pos > 0 && isWord(l.peek(-1)) {
		return ""
	}
	for n := 1; ; n++ {
		switch c := l.peek(n); {
		case c == '$':
			return l.src[l.pos : l.pos+n+1]
		case !isWord(c) || n == 1 && isDigit(c):
			return ""
		}
	}
}

func (l *lexer) dollars() error {
	tag := l.tag()
	n := strings.Index(l.src[l.pos+len(tag):], tag)
	if n < 0 {
		return at(l.src, l.pos, "a text in "+tag+" does not end", "Add "+tag+" where it ends.")
	}
	l.pos += n + 2*len(tag)
	return nil
}

// word skips a word or number and notes what the words say that matter.
func (l *lexer) word() {
	start := l.pos
	for l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$' && l.d != SQLite) {
		l.pos++
	}
	w := strings.ToUpper(l.src[start:l.pos])
	if l.stmt.Verb == "" {
		l.stmt.Verb = w
	}
	if l.stmt.Verb == "CREATE" {
		l.trigger(w)
	}
	l.stmt.Into = l.stmt.Into || w == "INTO" // in brackets, too: (SELECT … INTO OUTFILE …)
	if l.depth != 0 {
		return
	}
	l.writes(w)
	l.stmt.Returning = l.stmt.Returning || w == "RETURNING"
	switch w {
	case "LIMIT", "FETCH", "OFFSET", "FOR", "INTO", "PROCEDURE", "LOCK":
		l.stmt.Limited = true
	}
}

// writes notes words that say that a statement writes.
func (l *lexer) writes(w string) {
	before := l.before
	l.before = w
	switch w {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		if l.stmt.Verb == w || l.stmt.Verb == "WITH" && before != "FOR" {
			l.stmt.Writes = true
		}
	case "REPLACE", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE":
		l.stmt.Writes = l.stmt.Writes || l.words == 1
	}
}

// trigger follows the blocks of a CREATE TRIGGER: semicolons in there do not
// end it.
func (l *lexer) trigger(w string) {
	switch w {
	case "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT":
		l.body = l.body || l.words < 8 && l.d != Postgres
	case "BEGIN", "CASE":
		if l.body && (w == "BEGIN" || l.block > 0) {
			l.block++
		}
	case "END":
		if l.block > 0 {
			l.block--
		}
	}
}

// colon reads :name and ::name.
func (l *lexer) colon() error {
	kind, n := Value, 1
	if l.peek(1) == ':' {
		kind, n = Name, 2
	}
	start, before := l.pos, l.peek(-1)
	end := l.pos + n
	if end < len(l.src) && !l.d.casts && (isDigit(l.src[end]) || l.src[end] >= 0x80) {
		return at(l.src, start, "this is no name of a parameter", "Names are made of a to z, digits and _, and do not begin with a digit.")
	}
	if end >= len(l.src) || !isName(l.src[end]) || isDigit(l.src[end]) {
		l.pos = end
		return nil // an operator such as :=
	}
	for end < len(l.src) && isName(l.src[end]) {
		end++
	}
	if end < len(l.src) && (l.src[end] >= 0x80 || l.src[end] == '$') {
		return at(l.src, end, "this is no name of a parameter", "Names are made of a to z, digits and _, and do not begin with a digit.")
	}
	name := l.src[start+n : end]
	if kind == Value && l.d.casts && start > 0 && (isWord(before) || before == ']' || before == ')' || before == '"') {
		l.pos = end // a[1:n]
		return nil
	}
	if kind == Name && l.file.Options.Identifier(name) == nil {
		if l.d.casts {
			l.pos = end
			return nil
		}
		return at(l.src, start, "::"+name+" is not declared",
			"Say which names it may be, in a comment at the top: -- @identifier "+name+" in (first, second)")
	}
	if kind == Value && name == "claims" && end+1 < len(l.src) && l.src[end] == '.' && isName(l.src[end+1]) {
		for end++; end < len(l.src) && isName(l.src[end]); {
			end++
		}
		name = l.src[start+n : end]
	}
	l.text()
	l.stmt.Parts = append(l.stmt.Parts, Part{Kind: kind, Text: name, Pos: start})
	l.pos, l.from = end, end
	list := &l.file.Values
	if kind == Name {
		list = &l.file.Names
	}
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
	if len(*list) > MaxParams {
		return at(l.src, start, "there are too many parameters in the file", "Give many values as one parameter of type json.")
	}
	return nil
}
