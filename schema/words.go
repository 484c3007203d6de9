package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
	textmessage "golang.org/x/text/message"

	"github.com/ropewalk/ropewalk/message"
)

// maxText bounds what is repeated from a body or a schema in an error, in
// bytes: names in a body may be as long as the body.
const maxText = 128

// printer writes the library's own texts about a schema.
var printer = textmessage.NewPrinter(language.English)

// kinds of problem that noneFits tells apart.
const (
	wrongType = iota + 1
	wrongConst
)

// problem is one thing that is wrong. text follows the name of the field.
type problem struct {
	path  string
	name  string
	text  string
	depth int

	kind   int
	want   []string // of wrongType
	got    string
	values []any // of wrongConst
}

// fail notes a problem with the present value. It returns false.
func (c *check) fail(p problem) bool {
	if c.quiet > 0 || len(c.problems) >= maxProblems {
		return false
	}
	p.path, p.name, p.depth = pathOf(c.path), nameOf(c.path), len(c.path)
	switch p.kind {
	case wrongType:
		p.text = "must be " + typeWords(p.want) + ", not " + typeWord(p.got)
	case wrongConst:
		p.text = "must be " + valueWords(p.values)
	}
	c.problems = append(c.problems, p)
	return false
}

// failAt notes a problem with a part of the present value.
func (c *check) failAt(t token, p problem) bool {
	if c.quiet > 0 {
		return false
	}
	c.path = append(c.path, t)
	c.fail(p)
	c.path = c.path[:len(c.path)-1]
	return false
}

// pathOf is the JSON Pointer of a value.
func pathOf(path []token) string {
	var out strings.Builder
	for _, t := range path {
		out.WriteByte('/')
		if t.index >= 0 {
			out.WriteString(strconv.Itoa(t.index))
			continue
		}
		out.WriteString(escapePointer.Replace(shorten(t.key, maxText)))
		if out.Len() > 4*maxText {
			out.WriteString("…")
			break
		}
	}
	return out.String()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer is pathOf for a path of the library.
func pointer(path []string) string {
	if len(path) == 0 {
		return "the top"
	}
	return "/" + strings.Join(path, "/")
}

// nameOf is what a person calls the value.
func nameOf(path []token) string {
	i := len(path)
	for i > 0 && path[i-1].index >= 0 {
		i--
	}
	name := "the body"
	if i > 0 {
		name = shorten(path[i-1].key, maxText)
	} else if len(path) > 0 {
		name = "item "
	}
	out := []byte(name)
	for _, t := range path[i:] {
		out = append(strconv.AppendInt(append(out, '['), int64(t.index), 10), ']')
	}
	return string(out)
}

// shorten cuts text that is too long to repeat, and makes it printable.
func shorten(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, s)
}

func typeWord(name string) string {
	switch name {
	case "string":
		return "text"
	case "number":
		return "a number"
	case "integer":
		return "a whole number"
	case "boolean":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return name
}

func typeWords(names []string) string {
	words := make([]string, 0, len(names))
	for _, name := range names {
		if name == "null" && len(names) > 1 {
			continue // last, since it is seldom what is wanted
		}
		words = append(words, typeWord(name))
	}
	if len(words) < len(names) {
		words = append(words, "null")
	}
	return strings.Join(words, " or ")
}

// maxValues is how many values of an enum an error lists.
const maxValues = 10

func valueWords(values []any) string {
	var words []string
	for i, v := range values {
		if i == maxValues {
			words = append(words, "…")
			break
		}
		raw, err := json.Marshal(v)
		if err != nil {
			raw = []byte("another value")
		}
		words = append(words, shorten(string(raw), 64))
	}
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}

func atLeast(n int, noun string) string {
	return fmt.Sprintf("must have at least %d %s", n, plural(n, noun))
}

func atMost(n int, noun string) string {
	return fmt.Sprintf("must have at most %d %s", n, plural(n, noun))
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func sameItems(i, j int) string {
	return fmt.Sprintf("must not have the same item twice, as at %d and %d", i, j)
}

func formatText(name string) string {
	words := map[string]string{
		"date-time": "a date and time such as 2026-11-21T17:50:43Z",
		"date":      "a date such as 2026-11-21",
		"time":      "a time such as 17:50:43Z",
		"duration":  "a duration such as PT1M30S",
		"email":     "an e-mail address",
		"hostname":  "a host name",
		"ipv4":      "an IPv4 address",
		"ipv6":      "an IPv6 address",
		"uri":       "a URI",
		"uuid":      "a UUID",
		"regex":     "a regular expression",
	}
	if w, ok := words[name]; ok {
		return "must be " + w
	}
	return "must be in the format " + shorten(name, maxText)
}

// Validate checks a body and returns nil if it fits. Otherwise the error has
// [message.CodeInvalidInput], the first problem as its Message, the JSON Pointer
// of the field as its Path, and, if there are several problems, the first ten
// in Details: {"problems":[{"path":"/items/3/price","message":"price must be at
// least 0"}]}. Values of the body are not repeated, since they may be secret.
//
// A body that is not JSON does not fit. The work is bounded by the size of the
// body; a schema that needs more is answered with [message.CodeTooLarge].
func (s *Schema) Validate(body []byte) *message.Error {
	if s.fast != nil && message.ValidJSON(body) && s.fast.accepts(&reader{b: body}, 0) {
		return nil
	}
	v, twice, err := parse(body)
	if err != nil {
		return message.NewError(message.CodeInvalidInput, "the body cannot be read: "+err.Error(), "Send valid JSON.")
	}
	if s.derived && twice != nil {
		return invalid([]problem{{path: pathOf(twice), name: nameOf(twice), text: "is given twice"}})
	}
	c := check{schema: s, steps: freeSteps + stepsPerByte*len(body), quiet: 1}
	if c.value(s.root, v) && !c.gaveUp {
		return nil
	}
	if !c.gaveUp { // once more, to say what is wrong
		c = check{schema: s, steps: freeSteps + stepsPerByte*len(body)}
		c.value(s.root, v)
	}
	if len(c.problems) == 0 {
		return message.NewError(message.CodeTooLarge, "the body takes too long to check against the schema of this path",
			"Send less at a time, or simplify the schema.")
	}
	return invalid(c.problems)
}

func invalid(problems []problem) *message.Error {
	type detail struct {
		Path    string `json:"path"`
		Message string `json:"message"`
	}
	first := problems[0]
	hint := "Correct " + first.path + " and call again."
	if first.path == "" {
		hint = "Correct the body and call again."
	}
	e := message.NewError(message.CodeInvalidInput, first.name+" "+first.text, hint)
	e.Path = first.path
	if len(problems) > 1 {
		var list struct {
			Problems []detail `json:"problems"`
		}
		for _, p := range problems {
			list.Problems = append(list.Problems, detail{p.path, p.name + " " + p.text})
		}
		if raw, err := json.Marshal(list); err == nil {
			e.Details = raw
		}
	}
	return e
}

// DecodeError turns an error of encoding/json, of a body that fits its schema
// and yet not the Go type, into one with [message.CodeInvalidInput].
func DecodeError(err error) *message.Error {
	e := message.NewError(message.CodeInvalidInput, "the body does not fit what the service takes", "Correct the body and call again.")
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		name := "the body"
		if wrong.Field != "" {
			e.Path = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
			name = e.Path[strings.LastIndexByte(e.Path, '/')+1:]
		}
		e.Message = shorten(name+" cannot be "+wrong.Value, maxText)
	}
	e.Cause = err
	return e
}
