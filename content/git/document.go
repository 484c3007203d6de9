package git

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// isDocument tells whether a file is one that json: has.
func isDocument(at string) bool {
	ext := path.Ext(at)
	return ext == ".json" || ext == ".jsonc"
}

// asDocument returns the content of a JSON file: without blanks and comments.
func asDocument(address string, b []byte) (content.Content, error) {
	body, offset, why := compact(b, path.Ext(address) == ".jsonc")
	if why == "" {
		return content.Content{Body: body}, nil
	}
	line, column := position(b, offset)
	e := message.NewError(message.CodeBadContent, fmt.Sprintf("%s, line %d, column %d: %s", short(address), line, column, why),
		"Correct the file at this place; watchers get it as soon as it can be read.")
	e.Path = address
	e.Details, _ = json.Marshal(struct { //nolint:errchkjson // numbers and a string
		Line    int    `json:"line"`
		Column  int    `json:"column"`
		Problem string `json:"problem"`
	}{line, column, why})
	return content.Content{}, e
}

// position returns the line and column of a byte, counted from 1, columns in
// characters.
func position(b []byte, offset int) (line, column int) {
	before := b[:min(max(offset, 0), len(b))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// compact returns JSON without blanks, and with comments set without comments; or
// where it is wrong, and why.
func compact(b []byte, comments bool) (body []byte, offset int, why string) {
	const mark = "\ufeff" // some editors begin a file with it
	skip := len(b) - len(bytes.TrimPrefix(b, []byte(mark)))
	plain := b[skip:]
	if !utf8.Valid(plain) {
		return nil, skip + len(bytes.ToValidUTF8(plain, nil)), "this is not UTF-8"
	}
	if comments {
		if nested(plain) > maxNesting { // the parser would need a stack as deep
			return nil, skip, "there are too many brackets within each other"
		}
		v, err := hujson.Parse(append(bytes.Clone(plain), '\n')) // the last line may be a comment
		if err != nil {
			return nil, hujsonOffset(plain, err) + skip, hujsonReason(err)
		}
		v.Standardize() // all that is left stays where it was
		plain = v.Pack()
	}
	var out bytes.Buffer
	if json.Compact(&out, plain) != nil {
		err := json.Unmarshal(plain, new(json.RawMessage)) // Compact does not say where
		offset, why = len(plain), "the text ends too early"
		if s, ok := errors.AsType[*json.SyntaxError](err); ok && !strings.Contains(s.Error(), "unexpected end") {
			offset, why = int(s.Offset)-1, strings.TrimPrefix(s.Error(), "json: ")
		}
		return nil, skip + offset, why
	}
	if offset, key := duplicate(plain); offset >= 0 {
		return nil, skip + offset, fmt.Sprintf("the key %.60q is here for the second time", key)
	}
	if !message.ValidJSON(out.Bytes()) {
		return nil, skip, "this is not JSON that a message can carry"
	}
	return out.Bytes(), 0, ""
}

// maxNesting is what a message may have; see [message.ValidJSON].
const maxNesting = 512

// nested returns how many brackets are open at most, those in strings and
// comments counted too.
func nested(b []byte) int {
	open, most := 0, 0
	for _, c := range b {
		switch c {
		case '{', '[':
			open++
			most = max(most, open)
		case '}', ']':
			open--
		}
	}
	return most
}

func hujsonOffset(b []byte, err error) int {
	var line, column int
	if n, _ := fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column); n < 2 {
		return len(b)
	}
	offset := 0
	for text := range bytes.Lines(b) {
		if line--; line == 0 {
			return offset + min(column-1, len(text))
		}
		offset += len(text)
	}
	return len(b)
}

func hujsonReason(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return strings.ReplaceAll(err.Error(), "unexpected EOF", "the text ends too early")
}

// duplicate returns where a key of an object in valid JSON stands for the second
// time, and the key; or -1.
func duplicate(b []byte) (offset int, key string) {
	d := json.NewDecoder(bytes.NewReader(b))
	type level struct {
		keys  map[string]bool // nil: an array
		value bool            // a value comes next
	}
	var open []level
	for {
		t, err := d.Token()
		if err != nil {
			return -1, ""
		}
		var top *level
		if len(open) > 0 {
			top = &open[len(open)-1]
		}
		if text, ok := t.(string); ok && top != nil && top.keys != nil && !top.value {
			if top.keys[text] {
				return int(d.InputOffset()) - len(text) - 2, text
			}
			top.keys[text], top.value = true, true
			continue
		}
		if top != nil {
			top.value = false
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			if len(open) > 0 {
				open[len(open)-1].value = false
			}
		}
	}
}

// fileBody is what is published to a file.
type fileBody struct {
	data  []byte
	fresh bool                    // noOverwrite
	over  func(old []byte) []byte // the bytes, if they depend on what is there; may be nil
}

// documentBody takes in what is published under json:.
func documentBody(at string, c content.Content) (fileBody, error) {
	if !isDocument(at) {
		return fileBody{}, content.NotFound("/"+at, "json: has .json and .jsonc files; use file: for others.")
	}
	if c.ContentType != "" && !strings.HasPrefix(c.ContentType, "application/json") {
		return fileBody{}, invalid("body", "only JSON can be published here", "Send JSON, or use file: in place of json:.")
	}
	plain, offset, why := compact(c.Body, false)
	if why != "" {
		line, column := position(c.Body, offset)
		return fileBody{}, invalid("body", fmt.Sprintf("line %d, column %d: %s", line, column, why), "Send one JSON value.")
	}
	var out bytes.Buffer
	if err := json.Indent(&out, plain, "", "  "); err != nil {
		return fileBody{}, err
	}
	out.WriteByte('\n')
	body := fileBody{data: out.Bytes()}
	if path.Ext(at) == ".jsonc" {
		body.over = func(old []byte) []byte { return keepComments(old, plain, body.data) }
	}
	return body, nil
}

// rawBody takes in what is published under file:.
func rawBody(at string, c content.Content) (fileBody, error) {
	if c.ContentType != "" {
		return fileBody{data: c.Body}, nil
	}
	text, in := base64Of(c.Body)
	if in == nil {
		return fileBody{data: c.Body}, nil // a JSON file
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fileBody{}, invalid("base64", "the base64 of /"+short(at)+" cannot be read", "Use the standard alphabet with padding, without line breaks.")
	}
	body := fileBody{data: append([]byte{}, data...)}
	if v, ok := in["noOverwrite"]; ok && json.Unmarshal(v, &body.fresh) != nil {
		return body, invalid("noOverwrite", "noOverwrite is neither true nor false", "")
	}
	return body, nil
}

// base64Of returns the text in {"base64":…} with what else is in the object, or
// nil for any other JSON.
func base64Of(body []byte) (text string, in map[string]json.RawMessage) {
	if json.Unmarshal(body, &in) != nil || in["base64"] == nil || json.Unmarshal(in["base64"], &text) != nil {
		return "", nil
	}
	for key := range in {
		if key != "base64" && key != "noOverwrite" && key != "parents" {
			return "", nil
		}
	}
	return text, in
}

// keepComments returns old with what differs from plain replaced, so that the
// comments of all else stay; or otherwise if that does not work.
func keepComments(old, plain, otherwise []byte) []byte {
	if nested(old) > maxNesting {
		return otherwise
	}
	v, err := hujson.Parse(append(bytes.Clone(old), '\n'))
	if err != nil {
		return otherwise
	}
	was := v.Clone()
	was.Standardize()
	var from, to any
	if decode(was.Pack(), &from) != nil || decode(plain, &to) != nil {
		return otherwise
	}
	patch, err := json.Marshal(patches(nil, "", from, to))
	if err != nil || v.Patch(patch) != nil {
		return otherwise
	}
	v.Format()
	out := v.Pack()
	// What a patch makes of it has to be what was published.
	if got, _, why := compact(out, true); why != "" || !sameJSON(got, plain) {
		return otherwise
	}
	return out
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if decode(a, &x) != nil || decode(b, &y) != nil {
		return false
	}
	return equalJSON(x, y)
}

func equalJSON(x, y any) bool {
	a, err := json.Marshal(x)
	b, also := json.Marshal(y)
	return err == nil && also == nil && bytes.Equal(a, b)
}

type patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitzero"`
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// patches appends the JSON Patch that makes to of from; arrays are replaced as a
// whole.
func patches(list []patch, at string, from, to any) []patch {
	a, isObject := from.(map[string]any)
	b, also := to.(map[string]any)
	if !isObject || !also {
		if !equalJSON(from, to) {
			list = append(list, patch{"replace", at, rawJSON(to)})
		}
		return list
	}
	for key, was := range a {
		p := at + "/" + pointer.Replace(key)
		if is, ok := b[key]; ok {
			list = patches(list, p, was, is)
		} else {
			list = append(list, patch{Op: "remove", Path: p})
		}
	}
	for key, is := range b {
		if _, ok := a[key]; !ok {
			list = append(list, patch{"add", at + "/" + pointer.Replace(key), rawJSON(is)})
		}
	}
	return list
}

func rawJSON(v any) json.RawMessage {
	b, _ := json.Marshal(v) //nolint:errchkjson // it came from JSON
	return b
}

// mediaTypes are by extension, without the dot. The table of the system is not
// used: it differs from one machine to the next.
var mediaTypes = map[string]string{
	"avif": "image/avif", "bmp": "image/bmp", "css": "text/css", "csv": "text/csv", "gif": "image/gif",
	"gz": "application/gzip", "htm": "text/html", "html": "text/html", "ico": "image/vnd.microsoft.icon",
	"ics": "text/calendar", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json",
	"jsonc": "text/plain", "md": "text/markdown", "mjs": "text/javascript", "mp3": "audio/mpeg", "mp4": "video/mp4",
	"ogg": "audio/ogg", "otf": "font/otf", "pdf": "application/pdf", "png": "image/png", "sql": "text/plain",
	"svg": "image/svg+xml", "ts": "text/plain", "tsv": "text/tab-separated-values", "ttf": "font/ttf", "txt": "text/plain",
	"wasm": "application/wasm", "wav": "audio/wav", "webm": "video/webm", "webp": "image/webp", "woff": "font/woff",
	"woff2": "font/woff2", "xhtml": "application/xhtml+xml", "xml": "text/xml", "yaml": "text/plain", "yml": "text/plain",
	"zip": "application/zip",
}

// mediaType returns the content type of a file.
func mediaType(name string, b []byte) string {
	kind := mediaTypes[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]
	switch {
	case kind == "":
		return "application/octet-stream"
	case strings.HasPrefix(kind, "text/") && utf8.Valid(b):
		return kind + "; charset=utf-8"
	}
	return kind
}
