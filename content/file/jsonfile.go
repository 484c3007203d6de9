package file

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// maxNesting is what a message may have; see [message.ValidJSON].
const maxNesting = 512

// onlyJSON refuses a path that is not of a JSON file.
func onlyJSON(p string) error {
	if kind(p) != "" {
		return nil
	}
	return content.NotFound(p, "Under json: there are only files that end in .json or .jsonc; use file: in place of json:.")
}

// kind returns "json" or "jsonc" for what is such a file, else "".
func kind(p string) string {
	switch ext := path.Ext(p); ext {
	case ".json", ".jsonc":
		return ext[1:]
	}
	return ""
}

// readJSON returns the content of a JSON file.
func (t *Tree) readJSON(ctx context.Context, g target) (content.Content, error) {
	b, err := t.read(ctx, g)
	if err != nil {
		return content.Content{}, err
	}
	return Document(g.path, b)
}

// Document returns the content that a JSON file has: without blanks, and that of
// a .jsonc without comments. A file that is broken is an error with CodeBadContent
// that says where. address is what the file is called.
func Document(address string, b []byte) (content.Content, error) {
	body, bad := compact(b, kind(address) == "jsonc")
	if bad != nil {
		e := message.NewError(message.CodeBadContent,
			fmt.Sprintf("%.300s, line %d, column %d: %s", address, bad.line, bad.column, bad.text),
			"Correct the file at this place; watchers get it as soon as it can be read.")
		e.Path = address
		quoted, _ := json.Marshal(bad.text) //nolint:errchkjson // a string
		e.Details = fmt.Appendf(nil, `{"line":%d,"column":%d,"problem":%s}`, bad.line, bad.column, quoted)
		return content.Content{}, e
	}
	return content.Content{Body: body}, nil
}

// problem is what is wrong with a text, and where. Lines and columns count from
// 1, columns in characters.
type problem struct {
	line, column int
	text         string
}

func at(b []byte, offset int, text string) *problem {
	before := b[:min(max(offset, 0), len(b))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &problem{line, column, text}
}

var bom = []byte("\ufeff")

// compact returns the JSON in a text without blanks, and with comments set
// without comments.
func compact(b []byte, comments bool) ([]byte, *problem) {
	b = bytes.TrimPrefix(b, bom)
	if !utf8.Valid(b) {
		return nil, at(b, invalidUTF8(b), "this is not UTF-8")
	}
	if offset := tooDeep(b, comments); offset >= 0 {
		return nil, at(b, offset, fmt.Sprintf("there are more than %d brackets within each other", maxNesting))
	}
	if comments {
		plain, bad := standard(b)
		if bad != nil {
			return nil, bad
		}
		b = plain // all that is left stands where it was
	}
	var buf bytes.Buffer
	buf.Grow(len(b))
	if json.Compact(&buf, b) != nil {
		return nil, syntax(b)
	}
	if offset, key := duplicate(b); offset >= 0 {
		return nil, at(b, offset, fmt.Sprintf("the key %.60q is here for the second time", key))
	}
	if !message.ValidJSON(buf.Bytes()) {
		return nil, at(b, 0, "this is not JSON that a message can carry")
	}
	return buf.Bytes(), nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// syntax says where the JSON of a text is broken.
func syntax(b []byte) *problem {
	var raw json.RawMessage
	err := json.Unmarshal(b, &raw) // knows the place, as Compact does not
	offset, text := len(b), fmt.Sprint(err)
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		if offset = int(s.Offset) - 1; strings.Contains(text, "unexpected end") {
			offset = len(b)
		}
	}
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		text = "the file is empty"
	case strings.Contains(text, "unexpected end"):
		text = "the text ends too early"
	}
	return at(b, offset, text)
}

// standard replaces comments, and commas that JSON does not know, by blanks.
func standard(b []byte) ([]byte, *problem) {
	// A comment may be the last line; the parser wants it to end.
	v, err := hujson.Parse(append(slices.Clip(b), '\n'))
	if err != nil {
		text := err.Error()
		if inner := errors.Unwrap(err); inner != nil {
			text = inner.Error()
		}
		p := at(b, len(b), strings.ReplaceAll(text, "unexpected EOF", "the text ends too early"))
		var line, column int
		if n, _ := fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column); n == 2 && line <= p.line {
			p.line, p.column = line, column
		}
		if len(bytes.TrimSpace(b)) == 0 {
			p.text = "the file is empty"
		}
		return nil, p
	}
	v.Standardize()
	return v.Pack(), nil
}

// tooDeep returns the place of the first bracket that is nested too deep, or -1.
// It is asked before the parser, which would need a stack as deep.
func tooDeep(b []byte, comments bool) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return i
			}
		case c == '}' || c == ']':
			depth--
		case c == '/' && comments && i+1 < len(b):
			i = comment(b, i)
		}
	}
	return -1
}

// comment returns the last byte of the comment that begins at i, or i if none
// does.
func comment(b []byte, i int) int {
	var end int
	switch b[i+1] {
	case '/':
		end = bytes.IndexByte(b[i:], '\n')
	case '*':
		if end = bytes.Index(b[i+2:], []byte("*/")); end >= 0 {
			end += 3
		}
	default:
		return i
	}
	if end < 0 {
		return len(b)
	}
	return i + end
}

// duplicate returns where a key of an object in valid JSON stands for the second
// time, and the key; or -1.
func duplicate(b []byte) (offset int, key string) {
	var open []map[string]struct{} // nil for an array
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open = append(open, map[string]struct{}{})
		case '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			from := i
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if len(open) == 0 || open[len(open)-1] == nil || !isKey(b[i+1:]) {
				continue
			}
			keys, key := open[len(open)-1], unquote(b[from:i+1])
			if _, ok := keys[key]; ok {
				return from, key
			}
			keys[key] = struct{}{}
		}
	}
	return -1, ""
}

func isKey(after []byte) bool {
	for _, c := range after {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c == ':'
		}
	}
	return false
}

func unquote(b []byte) string {
	if !bytes.ContainsRune(b, '\\') {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s) // it is a string in valid JSON
	return s
}

// json takes in what is published under json:.
func (c *change) json(p string, in content.Content) (err error) {
	c.body, c.make, err = Text(p, in)
	return err
}

// Text returns what a JSON file has to hold so that its content is in: a text that
// is good to read. over, which is nil except for a .jsonc, returns the same for a
// file that is there already, with its comments. address is what the file is
// called.
func Text(address string, in content.Content) (text []byte, over func(old []byte) []byte, err error) {
	if err := onlyJSON(address); err != nil {
		return nil, nil, err
	}
	if in.ContentType != "" && !strings.HasPrefix(in.ContentType, "application/json") {
		return nil, nil, invalid(address, "body", "only JSON can be published here", "Send JSON, or use file: in place of json:.")
	}
	plain, bad := compact(in.Body, false)
	if bad != nil {
		return nil, nil, invalid(address, "body", fmt.Sprintf("line %d, column %d: %s", bad.line, bad.column, bad.text), "Send one JSON value.")
	}
	if kind(address) == "jsonc" {
		over = func(old []byte) []byte { return merge(old, plain) }
	}
	return readable(plain), over, nil
}

// readable returns JSON as people like to see it in a file.
func readable(b []byte) []byte {
	var buf bytes.Buffer
	if json.Indent(&buf, b, "", "  ") != nil {
		return b
	}
	buf.WriteByte('\n')
	return buf.Bytes()
}

// bytes takes in what is published under file:.
func (c *change) bytes(p string, in content.Content) (err error) {
	c.body, c.fresh, c.parents, err = Bytes(p, in)
	return err
}

// Bytes returns what a file has to hold that is published under file:, and the
// flags noOverwrite and parents that may come with {"base64":…}. address is what
// the file is called.
func Bytes(address string, in content.Content) (b []byte, fresh, parents bool, err error) {
	var o map[string]json.RawMessage
	text, ok := "", false
	if in.ContentType == "" {
		o, text, ok = envelope(in.Body)
	}
	if !ok {
		return in.Body, false, false, nil
	}
	for name, set := range map[string]*bool{"noOverwrite": &fresh, "parents": &parents} {
		if v, ok := o[name]; ok && json.Unmarshal(v, set) != nil {
			return nil, false, false, invalid(address, name, name+" is neither true nor false", "Write true or false, without quotes.")
		}
	}
	if b, err = base64.StdEncoding.DecodeString(text); err != nil {
		return nil, false, false, invalid(address, "base64", "base64 cannot be decoded", "Use the standard alphabet, with padding.")
	}
	return b, fresh, parents, nil
}

// envelope takes an object with base64 apart, and reports whether it is one.
func envelope(body []byte) (o map[string]json.RawMessage, text string, ok bool) {
	if json.Unmarshal(body, &o) != nil || o["base64"] == nil {
		return nil, "", false
	}
	for key := range o {
		if key != "base64" && key != "noOverwrite" && key != "parents" {
			return nil, "", false
		}
	}
	ok = json.Unmarshal(o["base64"], &text) == nil
	return o, text, ok
}
