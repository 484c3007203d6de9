package message

import "iter"

// Header returns the header with exactly this name, or "". Headers that are
// not strings do not count.
func (m *Message) Header(name string) string {
	var found string
	for key, val := range members(m.Headers) {
		if val.kind == kindString && string(key.text()) == name {
			found = string(val.text())
		}
	}
	return found
}

// AllHeaders returns the names and values of the headers in the order in which
// they are written.
func (m *Message) AllHeaders() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for key, val := range members(m.Headers) {
			if val.kind == kindString && !yield(string(key.text()), string(val.text())) {
				return
			}
		}
	}
}

// SetHeader sets a header, or removes it if value is empty. It makes a new
// Headers object; the old bytes are not changed.
func (m *Message) SetHeader(name, value string) {
	w := writer{dst: append(make([]byte, 0, len(m.Headers)+len(name)+len(value)+8), '{')}
	for key, val := range members(m.Headers) {
		if string(key.text()) == name {
			continue
		}
		w.key("")
		w.dst = append(append(append(w.dst, key.raw...), ':'), val.raw...)
	}
	if value != "" {
		w.key("")
		w.dst = appendString(append(appendString(w.dst, name), ':'), value)
	}
	m.Headers = append(w.dst, '}')
	if len(m.Headers) == 2 {
		m.Headers = nil
	}
}

// members goes through the members of a JSON object. It stops where the object
// ends or is wrong, so what it yields can be used without checking first.
func members(b []byte) iter.Seq2[value, value] {
	return func(yield func(key, val value) bool) {
		i := skipSpace(b, 0)
		if i >= len(b) || b[i] != '{' {
			return
		}
		var key, val value
		for i < len(b) && b[i] != '}' {
			end, f := scanMember(b, skipSpace(b, i+1), &key, &val)
			if f != faultNone || !yield(key, val) {
				return
			}
			i = skipSpace(b, end)
			if i < len(b) && b[i] != ',' {
				return
			}
		}
	}
}
