package file

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tailscale/hujson"
)

// merge returns the JSON of next written into the text old, whose comments and
// layout stay where the keys and elements that they belong to stay. What old has
// and next has not goes with its comments. If old cannot be read, next is
// written as if there was nothing.
func merge(old, next []byte) []byte {
	plain := readable(next)
	old = bytes.TrimPrefix(old, bom)
	if tooDeep(old, true) >= 0 {
		return plain
	}
	from, err := hujson.Parse(append(bytes.Clone(old), '\n'))
	if err != nil {
		return plain
	}
	to, err := hujson.Parse(next)
	if err != nil {
		return plain
	}
	from.Value = mergeValue(from.Value, to.Value, 0)
	text := append(bytes.TrimRight(from.Pack(), " \t\r\n"), '\n')
	// Whatever a text has come to look like, it has to say what was published.
	if got, bad := compact(text, true); bad != nil || !bytes.Equal(got, next) {
		return plain
	}
	return text
}

// mergeValue returns to with the comments of from. depth is how many brackets
// are around it.
func mergeValue(from, to hujson.ValueTrimmed, depth int) hujson.ValueTrimmed {
	switch f := from.(type) {
	case *hujson.Object:
		if t, ok := to.(*hujson.Object); ok {
			return mergeObject(f, t, depth)
		}
	case *hujson.Array:
		if t, ok := to.(*hujson.Array); ok {
			return mergeArray(f, t, depth)
		}
	}
	return laidOut(to, depth)
}

func mergeObject(from, to *hujson.Object, depth int) *hujson.Object {
	old := make(map[string]int, len(from.Members))
	for i := range from.Members {
		old[nameOf(&from.Members[i])] = i
	}
	lines := manyLines(from.AfterExtra, len(from.Members) == 0)
	out := &hujson.Object{AfterExtra: from.AfterExtra}
	for i := range to.Members {
		m := to.Members[i]
		if at, ok := old[nameOf(&m)]; ok {
			was := from.Members[at]
			was.Name.Value = m.Name.Value
			was.Value.Value = mergeValue(was.Value.Value, m.Value.Value, depth+1)
			m = was
		} else {
			m.Name.BeforeExtra = newLine(lines, depth+1, len(out.Members) == 0)
			m.Value.BeforeExtra = hujson.Extra(" ")
			m.Value.Value = laidOut(m.Value.Value, depth+1)
		}
		out.Members = append(out.Members, m)
	}
	if n, o := len(out.Members), len(from.Members); n > 0 {
		had := o > 0 && from.Members[o-1].Value.AfterExtra != nil
		closeWith(&out.Members[n-1].Value, &out.AfterExtra, had, lines && o == 0, depth)
	}
	return out
}

// mergeArray matches the elements that are the same at both ends, and what lies
// between in order.
func mergeArray(from, to *hujson.Array, depth int) *hujson.Array {
	head, tail := matching(from.Elements, to.Elements)
	lines := manyLines(from.AfterExtra, len(from.Elements) == 0)
	out := &hujson.Array{AfterExtra: from.AfterExtra}
	for i := range to.Elements {
		e, at := to.Elements[i], i
		if i >= len(to.Elements)-tail {
			at = i - len(to.Elements) + len(from.Elements)
		} else if i >= head && i >= len(from.Elements)-tail {
			at = -1
		}
		if at >= 0 {
			was := from.Elements[at]
			was.Value = mergeValue(was.Value, e.Value, depth+1)
			e = was
		} else {
			e.BeforeExtra = newLine(lines, depth+1, i == 0)
			e.Value = laidOut(e.Value, depth+1)
		}
		out.Elements = append(out.Elements, e)
	}
	if n, o := len(out.Elements), len(from.Elements); n > 0 {
		had := o > 0 && from.Elements[o-1].AfterExtra != nil
		closeWith(&out.Elements[n-1], &out.AfterExtra, had, lines && o == 0, depth)
	}
	return out
}

// matching returns how many elements are the same at the beginning, and how many
// at the end of what is left.
func matching(a, b []hujson.Value) (head, tail int) {
	texts := func(list []hujson.Value) []string {
		out := make([]string, len(list))
		for i := range list {
			v := list[i].Clone()
			v.Minimize()
			out[i] = v.String()
		}
		return out
	}
	s, t := texts(a), texts(b)
	for head < min(len(s), len(t)) && s[head] == t[head] {
		head++
	}
	for tail < min(len(s), len(t))-head && s[len(s)-1-tail] == t[len(t)-1-tail] {
		tail++
	}
	return head, tail
}

// closeWith treats what is between the last element and its bracket. There is a
// comma after the last one if there was one before; the parser has nil for none.
func closeWith(last *hujson.Value, after *hujson.Extra, comma, lines bool, depth int) {
	switch {
	case !comma && last.AfterExtra != nil:
		*after = append(last.AfterExtra, *after...)
		last.AfterExtra = nil
	case comma && last.AfterExtra == nil:
		last.AfterExtra = hujson.Extra{}
	}
	if lines {
		*after = append(*after, newLine(true, depth, false)...)
	}
}

// manyLines reports whether what ends with extra before its bracket has an
// element a line.
func manyLines(extra hujson.Extra, empty bool) bool {
	return empty || bytes.ContainsRune(extra, '\n')
}

// newLine returns what stands before a new element.
func newLine(lines bool, depth int, first bool) hujson.Extra {
	switch {
	case lines:
		return hujson.Extra("\n" + strings.Repeat("  ", depth))
	case first:
		return nil
	}
	return hujson.Extra(" ")
}

// laidOut returns a value without comments as [readable] does, for a place
// within depth brackets.
func laidOut(v hujson.ValueTrimmed, depth int) hujson.ValueTrimmed {
	if v.Kind() != '{' && v.Kind() != '[' {
		return v
	}
	var buf bytes.Buffer
	whole := hujson.Value{Value: v}
	if json.Indent(&buf, whole.Pack(), strings.Repeat("  ", depth), "  ") != nil {
		return v
	}
	parsed, err := hujson.Parse(buf.Bytes())
	if err != nil {
		return v
	}
	return parsed.Value
}

func nameOf(m *hujson.ObjectMember) string {
	name, _ := m.Name.Value.(hujson.Literal)
	return name.String()
}
