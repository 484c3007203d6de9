package schema

import "unsafe"

// reader steps through JSON that is known to be valid.
type reader struct {
	b []byte
	i int
}

// peek returns the first byte of the next value.
func (r *reader) peek() byte {
	for {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return c
		}
	}
}

// text steps over a string and returns what is between the quotes. plain is
// false if it has escapes.
func (r *reader) text() (raw []byte, plain bool) {
	r.i++
	start, plain := r.i, true
	for ; r.b[r.i] != '"'; r.i++ {
		if r.b[r.i] == '\\' {
			plain = false
			r.i++
		}
	}
	raw = r.b[start:r.i]
	r.i++
	return raw, plain
}

// number steps over a number.
func (r *reader) number() string {
	start := r.i
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return unsafe.String(&r.b[start], r.i-start)
		}
		r.i++
	}
	return unsafe.String(&r.b[start], r.i-start)
}

// open steps over an opening bracket and reports whether a value or name
// follows; otherwise it has stepped over the closing one.
func (r *reader) open(closing byte) bool {
	r.i++
	if r.peek() == closing {
		r.i++
		return false
	}
	return true
}

// more steps over a comma, or the closing bracket and reports false.
func (r *reader) more() bool {
	comma := r.peek() == ','
	r.i++
	return comma
}

// name steps over a name and its colon.
func (r *reader) name() (raw []byte, plain bool) {
	r.peek()
	raw, plain = r.text()
	r.peek()
	r.i++
	return raw, plain
}

// skip steps over any value. It always reports true.
func (r *reader) skip() bool {
	for depth := 0; ; {
		switch c := r.peek(); c {
		case '"':
			r.text()
		case '[', '{':
			depth++
			r.i++
			continue
		case ']', '}':
			depth--
			r.i++
		case ',', ':':
			r.i++
			continue
		case 't', 'n':
			r.i += 4
		case 'f':
			r.i += 5
		default:
			r.number()
		}
		if depth == 0 {
			return true
		}
	}
}
