package route

import (
	"cmp"
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

// Limits of a pattern. An address may have 1,024 bytes, so a longer pattern
// could hardly be reached; the number of segments bounds the depth of the
// table and with it the work of one look-up.
const (
	MaxPatternBytes    = 1024
	MaxPatternSegments = 64
)

// Segments with a meaning of their own.
const (
	wildOne  = "*"
	wildRest = "**"
)

// Pattern is a set of paths, made by [ParsePattern]:
//
//	/decimal/mul      itself
//	/users/{id}/cart  one segment in the place of {id}, kept as parameter id
//	/files/*          one more segment
//	/static/**        one or more further segments
//
// Of several patterns that match a path the most specific wins: segment by
// segment from the left, a literal before {name} and *, these before **.
// {a} and * in the same place are the same pattern, see [Pattern.Equal].
//
// A Pattern is immutable and may be copied. The zero Pattern matches nothing.
type Pattern struct {
	text  string  // as written, without a trailing slash
	shape string  // text with every {name} replaced by *
	names []param // the segments that have a name, in order
}

// param says where in a path the value of a parameter is.
type param struct {
	name string
	at   int  // number of the segment, from 0
	rest bool // everything from there on
}

// ParsePattern reads a pattern. A trailing slash is dropped, except in "/". The
// error is a *message.Error with [message.CodeBadAddress] that names the
// segment at fault.
func ParsePattern(s string) (Pattern, error) {
	if err := checkPatternText(s); err != nil {
		return Pattern{}, err
	}
	if len(s) > 2 { // "//" has an empty segment
		s = strings.TrimSuffix(s, "/")
	}
	p := Pattern{text: s, shape: s}
	if s == "/" {
		return p, nil
	}
	count := strings.Count(s, "/")
	if count > MaxPatternSegments {
		return Pattern{}, badPattern(s, fmt.Sprintf("it has more than %d segments", MaxPatternSegments),
			"Use fewer segments, or ** for the rest.")
	}
	var shape strings.Builder
	for at, rest := 0, s; rest != ""; at++ {
		var seg string
		seg, rest = cutSegment(rest)
		kept, err := p.addSegment(seg, at, at == count-1)
		if err != nil {
			return Pattern{}, err
		}
		shape.WriteByte('/')
		shape.WriteString(kept)
	}
	if len(p.names) > 0 {
		p.shape = shape.String()
	}
	return p, nil
}

// checkPatternText finds what makes a text no pattern before it is taken apart.
func checkPatternText(s string) error {
	switch {
	case len(s) > MaxPatternBytes:
		return badPattern(s[:64]+"…", fmt.Sprintf("it is longer than %d bytes", MaxPatternBytes), "Use a shorter path.")
	case !utf8.ValidString(s):
		return badPattern(s, "it is not valid UTF-8", "Encode the path as UTF-8.")
	case !strings.HasPrefix(s, "/"):
		return badPattern(s, "it does not begin with /", "Write it as /"+strings.TrimPrefix(s, "./")+".")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return badPattern(s, fmt.Sprintf("it contains the control character %U", r), "Remove the character.")
		}
	}
	if i := strings.IndexAny(s, ":?"); i >= 0 {
		return badPattern(s, fmt.Sprintf("it contains %q, which no path of an address can", s[i]),
			"Leave out the query and the name of the service; a parameter is written {name}.")
	}
	return nil
}

// addSegment checks one segment and returns it as it stands in the shape.
func (p *Pattern) addSegment(seg string, at int, last bool) (string, error) {
	switch {
	case seg == "":
		return "", badPattern(p.text, "it has an empty segment", "Write a single / between segments.")
	case seg == "." || seg == "..":
		return "", badPattern(p.text, "it has the segment "+seg, "Write the path without . and .. segments.")
	case seg == wildOne:
		return wildOne, nil
	case seg == wildRest && last:
		p.names = append(p.names, param{name: wildRest, at: at, rest: true})
		return wildRest, nil
	case seg == wildRest:
		return "", badPattern(p.text, "** is not its last segment", "Use * for a single segment, and ** only at the end.")
	case !strings.ContainsAny(seg, "{}*"):
		return seg, nil
	case !strings.HasPrefix(seg, "{") || !strings.HasSuffix(seg, "}"):
		return "", badPattern(p.text, fmt.Sprintf("the segment %q mixes text and a wildcard", seg),
			"A wildcard is a whole segment: {name}, * or **.")
	}
	name := seg[1 : len(seg)-1]
	if !validParam(name) {
		return "", badPattern(p.text, fmt.Sprintf("%q is not the name of a parameter", name),
			"Use letters, digits, _ and -, as in {user_id}.")
	}
	for _, have := range p.names {
		if have.name == name {
			return "", badPattern(p.text, fmt.Sprintf("the parameter {%s} occurs twice", name), "Give each parameter its own name.")
		}
	}
	p.names = append(p.names, param{name: name, at: at})
	return wildOne, nil
}

func validParam(name string) bool {
	for _, r := range name {
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

func badPattern(text, what, hint string) error {
	err := message.NewError(message.CodeBadAddress, fmt.Sprintf("the pattern %q is not valid: %s", text, what), hint)
	err.Path = text
	return err
}

// MustPattern is [ParsePattern] for patterns that are written in the program.
// It panics where ParsePattern returns an error.
func MustPattern(s string) Pattern {
	p, err := ParsePattern(s)
	if err != nil {
		panic(err) //nolint:forbidigo // as its name says
	}
	return p
}

// String returns the pattern as it was written; "" for the zero Pattern.
func (p Pattern) String() string { return p.text }

// Equal reports whether p and q are the same pattern, that is, match the same
// paths with the same specificity. The names of parameters do not count.
func (p Pattern) Equal(q Pattern) bool { return p.shape == q.shape }

// Names iterates over the names of the pattern's parameters, in order. A **
// has the name "**".
func (p Pattern) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, n := range p.names {
			if !yield(n.name) {
				return
			}
		}
	}
}

// MarshalText returns the pattern as it was written.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText is [ParsePattern].
func (p *Pattern) UnmarshalText(b []byte) error {
	q, err := ParsePattern(string(b))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// Match reports whether the pattern matches a path, and with which parameters.
// A trailing slash of the path is ignored. It does not allocate. To find the
// best of many patterns use a [Table].
func (p Pattern) Match(path string) (Params, bool) {
	if p.shape == "" || len(path) == 0 || path[0] != '/' {
		return Params{}, false
	}
	path = trimSlash(path)
	want, have := trimSlash(p.shape), path
	for want != "" && have != "" {
		var w, h string
		w, want = cutSegment(want)
		h, have = cutSegment(have)
		switch {
		case h == "":
			return Params{}, false
		case w == wildRest:
			if hasEmptySegment(have) {
				return Params{}, false
			}
			return Params{names: p.names, path: path}, true
		case w != wildOne && w != h:
			return Params{}, false
		}
	}
	if want != have { // one of them is not used up
		return Params{}, false
	}
	return Params{names: p.names, path: path}, true
}

// Covers reports whether p matches every path that q matches.
func (p Pattern) Covers(q Pattern) bool {
	if p.shape == "" || q.shape == "" {
		return false
	}
	want, have := trimSlash(p.shape), trimSlash(q.shape)
	for want != "" && have != "" {
		var w, h string
		w, want = cutSegment(want)
		h, have = cutSegment(have)
		switch {
		case w == wildRest:
			return true
		case h == wildRest, w != wildOne && w != h:
			return false
		}
	}
	return want == have
}

// Compare orders patterns by specificity: it is negative if p is more specific
// than q. Patterns that are not [Pattern.Equal] compare as different; the order
// of those that have no path in common is fixed but means nothing.
func (p Pattern) Compare(q Pattern) int {
	a, b := trimSlash(p.shape), trimSlash(q.shape)
	for a != "" && b != "" {
		var x, y string
		x, a = cutSegment(a)
		y, b = cutSegment(b)
		if c := cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func rank(seg string) int {
	switch seg {
	case wildRest:
		return 2
	case wildOne:
		return 1
	}
	return 0
}

// trimSlash drops a trailing slash; "/" becomes "", the path without segments.
func trimSlash(path string) string { return strings.TrimSuffix(path, "/") }

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(path string) (seg, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// hasEmptySegment is asked about what is left of a path: "" or "/…".
func hasEmptySegment(rest string) bool {
	return strings.Contains(rest, "//") || strings.HasSuffix(rest, "/")
}
