package content

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// Bounds of parameters. They are part of the key of each topic, and kept as long
// as it is watched.
const (
	// MaxParams is how long parameters may be in canonical form, in bytes.
	MaxParams = 64 << 10
	// MaxDepth is how deep they may be nested.
	MaxDepth = 64
)

// Canonical returns the one way of writing a JSON value on which all agree who
// mean the same: no blanks, the members of objects sorted by the bytes of their
// names, of members with the same name only the last, and strings with as few
// escapes as possible. Numbers stay as they are written, so that none loses
// digits. The error is an *message.Error with CodeInvalidInput, or CodeTooLarge
// for more than [MaxParams] bytes or [MaxDepth] levels.
func Canonical(value []byte) (json.RawMessage, error) {
	if len(value) > 4*MaxParams { // with blanks and escapes
		return nil, errParamsTooLarge()
	}
	if !message.ValidJSON(value) {
		return nil, message.NewError(message.CodeInvalidInput, "the parameters are not JSON", "Send them as one JSON object.")
	}
	w := canonical{d: json.NewDecoder(bytes.NewReader(value)), dst: make([]byte, 0, len(value))}
	w.d.UseNumber()
	if err := w.value(0); err != nil {
		return nil, err
	}
	if len(w.dst) > MaxParams {
		return nil, errParamsTooLarge()
	}
	return w.dst, nil
}

func errParamsTooLarge() *message.Error {
	return message.NewError(message.CodeTooLarge, fmt.Sprintf("the parameters have more than %d bytes or %d levels", MaxParams, MaxDepth),
		"Filter by less, or publish what is that large and name it.")
}

// canonical reads a checked value and writes it.
type canonical struct {
	d   *json.Decoder
	dst []byte
}

func (w *canonical) value(depth int) error {
	t, err := w.d.Token()
	if err != nil {
		return message.NewError(message.CodeInvalidInput, "the parameters are not JSON", "Send them as one JSON object.")
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == MaxDepth {
			return errParamsTooLarge()
		}
		if t == '{' {
			return w.object(depth + 1)
		}
		return w.array(depth + 1)
	case string:
		w.text(t)
	case json.Number:
		w.dst = append(w.dst, t...)
	case bool:
		w.dst = fmt.Appendf(w.dst, "%t", t)
	default:
		w.dst = append(w.dst, "null"...)
	}
	return nil
}

func (w *canonical) array(depth int) error {
	w.dst = append(w.dst, '[')
	for i := 0; w.d.More(); i++ {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	return w.end(']')
}

func (w *canonical) end(c byte) error {
	if _, err := w.d.Token(); err != nil {
		return message.NewError(message.CodeInvalidInput, "the parameters are not JSON", "Send them as one JSON object.")
	}
	w.dst = append(w.dst, c)
	return nil
}

// member is one of an object, as it was written: "name":value.
type member struct {
	name string
	text []byte
}

func (w *canonical) object(depth int) error {
	start := len(w.dst)
	var members []member
	for w.d.More() {
		t, err := w.d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return message.NewError(message.CodeInvalidInput, "the parameters are not JSON", "Send them as one JSON object.")
		}
		from := len(w.dst)
		w.text(name)
		w.dst = append(w.dst, ':')
		if err := w.value(depth); err != nil {
			return err
		}
		members = append(members, member{name: name, text: bytes.Clone(w.dst[from:])})
		w.dst = w.dst[:from]
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	w.dst = append(w.dst[:start], '{')
	for i, m := range members {
		if i+1 < len(members) && members[i+1].name == m.name {
			continue
		}
		if len(w.dst) > start+1 {
			w.dst = append(w.dst, ',')
		}
		w.dst = append(w.dst, m.text...)
	}
	return w.end('}')
}

const hexDigits = "0123456789abcdef"

// text writes a string. Half a surrogate pair, which encoding/json reads as
// U+FFFD, is written as that.
func (w *canonical) text(s string) {
	w.dst = append(w.dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			w.dst = append(w.dst, '\\', c)
		case c < ' ':
			w.dst = append(w.dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			w.dst = append(w.dst, c)
		}
	}
	w.dst = append(w.dst, '"')
}
