package sqlfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a parameter or a column.
type Type string

// The types.
const (
	Any     Type = ""        // as the JSON says
	String  Type = "string"  // text
	Integer Type = "integer" // a whole number of 64 bits
	Number  Type = "number"  // any number, with all its digits
	Boolean Type = "boolean"
	Date    Type = "date" // a date, or a date with a time, in the form of ISO 8601
	JSON    Type = "json" // any JSON
)

var types = []Type{String, Integer, Number, Boolean, Date, JSON}

// Param is a parameter that the header declares.
type Param struct {
	Name string
	Type Type
	// Default is the JSON that is taken when nothing is given; nil if something
	// has to be given.
	Default json.RawMessage
}

// Identifier is a parameter that stands for a name.
type Identifier struct {
	Name string
	// In are the names that may be given.
	In []string
	// Default is the one that is taken when nothing is given, or "".
	Default string
}

// Options are what the comments at the top of a file say.
type Options struct {
	Database    string
	Params      []Param
	Identifiers []Identifier
	// Columns are columns of the result whose type is not what the database says.
	Columns []Param
	// Key are the columns by which a row is known.
	Key []string
	// Tables are tables that are read besides those that can be seen.
	Tables []string
	// Poll is how often a query is run anew where changes cannot be noticed.
	Poll time.Duration
	// Timeout is how long it may run.
	Timeout time.Duration
	// Limit is how many rows there may be.
	Limit int
	// One has the result be the first row, or null.
	One bool
}

// Param returns what is declared of a parameter, or nil.
func (o *Options) Param(name string) *Param { return find(o.Params, name) }

// Column returns what is declared of a column, or nil.
func (o *Options) Column(name string) *Param { return find(o.Columns, name) }

func find(list []Param, name string) *Param {
	if i := slices.IndexFunc(list, func(p Param) bool { return p.Name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

// Identifier returns what is declared of a name, or nil.
func (o *Options) Identifier(name string) *Identifier {
	if i := slices.IndexFunc(o.Identifiers, func(p Identifier) bool { return p.Name == name }); i >= 0 {
		return &o.Identifiers[i]
	}
	return nil
}

// header reads the comments of the form -- @option … before the first
// statement.
func (f *File) header() error {
	pos := 0
	for line := range strings.Lines(f.src) {
		text := strings.TrimSpace(line)
		if text != "" && !strings.HasPrefix(text, "--") {
			return nil
		}
		text = strings.TrimSpace(strings.TrimLeft(text, "-"))
		if name, isOption := strings.CutPrefix(text, "@"); isOption {
			name, rest, _ := strings.Cut(name, " ")
			if err := f.Options.set(name, strings.TrimSpace(rest)); err != nil {
				return at(f.src, pos+strings.IndexByte(line, '@'), "@"+name+": "+err.Error(), "")
			}
		}
		pos += len(line)
	}
	return nil
}

var setters = map[string]func(o *Options, rest string) error{
	"database":   func(o *Options, s string) error { return name(s, &o.Database) },
	"param":      (*Options).param,
	"identifier": (*Options).identifier,
	"column":     (*Options).column,
	"key":        func(o *Options, s string) error { return list(s, &o.Key) },
	"tables":     func(o *Options, s string) error { return list(s, &o.Tables) },
	"poll":       func(o *Options, s string) error { return span10(s, &o.Poll) },
	"timeout":    func(o *Options, s string) error { return span10(s, &o.Timeout) },
	"limit": func(o *Options, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of rows", s)
		}
		o.Limit = n
		return nil
	},
	"one": func(o *Options, s string) error {
		if s != "" {
			return errors.New("nothing may follow")
		}
		o.One = true
		return nil
	},
}

func (o *Options) set(key, rest string) error {
	if f := setters[key]; f != nil {
		return f(o, rest)
	}
	return errors.New("there is no such option")
}

func name(s string, to *string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) && r != '-' }) {
		return fmt.Errorf("%.100q is not a name of letters, digits, - and _", s)
	}
	*to = s
	return nil
}

func list(s string, to *[]string) error {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" || len(item) > 200 {
			return errors.New("names, with commas between them, are missing")
		}
		*to = append(*to, item)
	}
	return nil
}

// span10 reads a time. Nothing is run anew more often than ten times a second.
func span10(s string, to *time.Duration) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 100*time.Millisecond || d > 24*time.Hour {
		return fmt.Errorf("%.100q is not a time from 100ms to 24h; write it like 500ms, 2s or 1m30s", s)
	}
	*to = d
	return nil
}

func (o *Options) param(s string) error {
	var p Param
	s, given, found := strings.Cut(s, "=")
	if found {
		p.Default = json.RawMessage(strings.TrimSpace(given))
		if !json.Valid(p.Default) {
			return fmt.Errorf("the default %.100q is not JSON; texts stand in double quotes", given)
		}
	}
	if err := typed(s, &p); err != nil {
		return err
	}
	if o.Param(p.Name) != nil {
		return fmt.Errorf("%s is declared twice", p.Name)
	}
	o.Params = append(o.Params, p)
	return nil
}

func (o *Options) column(s string) error {
	var p Param
	if err := typed(s, &p); err != nil {
		return err
	}
	o.Columns = append(o.Columns, p)
	return nil
}

// typed reads a name and a type.
func typed(s string, p *Param) error {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return errors.New("a name and a type have to follow")
	}
	p.Type = Type(fields[1])
	if !slices.Contains(types, p.Type) {
		return fmt.Errorf("there is no type %.100q; there are string, integer, number, boolean, date and json", p.Type)
	}
	return name(fields[0], &p.Name)
}

func (o *Options) identifier(s string) error {
	var id Identifier
	first, rest, _ := strings.Cut(s, " ")
	if err := name(first, &id.Name); err != nil {
		return err
	}
	rest, found := strings.CutPrefix(strings.TrimSpace(rest), "in")
	open, closing := strings.IndexByte(rest, '('), strings.IndexByte(rest, ')')
	if !found || strings.TrimSpace(rest[:max(open, 0)]) != "" || open < 0 || closing < open {
		return errors.New("the names that it may be have to follow: " + id.Name + " in (first, second)")
	}
	if err := list(rest[open+1:closing], &id.In); err != nil {
		return err
	}
	if given, found := strings.CutPrefix(strings.TrimSpace(rest[closing+1:]), "="); found {
		if id.Default = strings.TrimSpace(given); !slices.Contains(id.In, id.Default) {
			return fmt.Errorf("the default %.100q is not in the list", id.Default)
		}
	}
	if o.Identifier(id.Name) != nil {
		return fmt.Errorf("%s is declared twice", id.Name)
	}
	o.Identifiers = append(o.Identifiers, id)
	return nil
}
