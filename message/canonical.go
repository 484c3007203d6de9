package message

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The signatures of Hydra are made over what JavaScript's JSON.stringify makes
// of what its JSON.parse made of the frame. This file does both, byte for byte;
// see https://tc39.es/ecma262/#sec-json-object for the rules.

// appendCanonical appends the checked JSON value raw as JavaScript would write
// it again.
func appendCanonical(dst, raw []byte) []byte {
	w := jsWriter{b: raw, dst: dst}
	w.value()
	return w.dst
}

// jsWriter reads JSON that is known to be right and writes it as it goes. An
// object whose members JavaScript would keep in another order is put in order
// when it ends. The depth of its recursion was limited by the scan before.
type jsWriter struct {
	b   []byte // what is read
	i   int
	dst []byte

	members []jsMember // of all objects that are open, the innermost last
	scratch []byte     // of one call of order
}

// jsMember is the place of a member in what was written. Equal keys have equal
// bytes there.
type jsMember struct{ start, keyEnd, end int }

// next skips blanks and returns what follows.
func (w *jsWriter) next() byte {
	w.i = skipSpace(w.b, w.i)
	return w.b[w.i]
}

func (w *jsWriter) value() {
	switch c := w.next(); c {
	case '{':
		w.object()
	case '[':
		w.array()
	case '"':
		w.text()
	default:
		start := w.i
		w.i, _ = scanScalar(w.b, start)
		if word := w.b[start:w.i]; kindOf(c) == kindNumber {
			w.dst = appendNumber(w.dst, word)
		} else {
			w.dst = append(w.dst, word...)
		}
	}
}

func (w *jsWriter) text() {
	start := w.i
	w.i, _, _ = scanString(w.b, start)
	w.dst = appendJSString(w.dst, w.b[start+1:w.i-1])
}

func (w *jsWriter) array() {
	w.dst = append(w.dst, '[')
	w.i++
	for w.next() != ']' {
		w.value()
		if w.next() == ',' {
			w.i++
			w.dst = append(w.dst, ',')
		}
	}
	w.i++
	w.dst = append(w.dst, ']')
}

func (w *jsWriter) object() {
	first := len(w.members)
	w.dst = append(w.dst, '{')
	start := len(w.dst)
	w.i++
	for w.next() != '}' {
		m := jsMember{start: len(w.dst)}
		w.text()
		m.keyEnd = len(w.dst)
		w.next() // the colon
		w.i++
		w.dst = append(w.dst, ':')
		w.value()
		m.end = len(w.dst)
		w.members = append(w.members, m)
		if w.next() == ',' {
			w.i++
			w.dst = append(w.dst, ',')
		}
	}
	w.i++
	w.order(start, w.members[first:])
	w.members = w.members[:first]
	w.dst = append(w.dst, '}')
}

func (w *jsWriter) key(m jsMember) []byte { return w.dst[m.start:m.keyEnd] }

// order puts the members of one object, which are written from start on, in
// JavaScript's order: array indexes first, ascending, then the others as they
// came; a repeated key keeps its first place and takes its last value.
func (w *jsWriter) order(start int, members []jsMember) {
	kept := w.distinct(members)
	compare := func(a, b jsMember) int { return compareKeys(w.key(a), w.key(b)) }
	if len(kept) == len(members) && slices.IsSortedFunc(kept, compare) {
		return
	}
	slices.SortStableFunc(kept, compare)
	w.scratch = w.scratch[:0]
	for i, m := range kept {
		if i > 0 {
			w.scratch = append(w.scratch, ',')
		}
		w.scratch = append(w.scratch, w.dst[m.start:m.end]...)
	}
	w.dst = append(w.dst[:start], w.scratch...)
}

// fewMembers is up to how many members comparing each with each is cheaper
// than a map.
const fewMembers = 8

// distinct removes repeated keys, in place.
func (w *jsWriter) distinct(members []jsMember) []jsMember {
	kept := members[:0]
	var places map[string]int
	if len(members) > fewMembers {
		places = make(map[string]int, len(members))
	}
	for _, m := range members {
		key := w.key(m)
		at, again := places[string(key)]
		if places == nil {
			at = slices.IndexFunc(kept, func(k jsMember) bool { return bytes.Equal(w.key(k), key) })
			again = at >= 0
		}
		if again {
			kept[at] = m
			continue
		}
		if places != nil {
			places[string(key)] = len(kept)
		}
		kept = append(kept, m)
	}
	return kept
}

// compareKeys compares two written keys by JavaScript's order; all that are no
// array indexes are equal.
func compareKeys(a, b []byte) int {
	x, isX := arrayIndex(a)
	y, isY := arrayIndex(b)
	switch {
	case isX && isY:
		return cmp.Compare(x, y)
	case isX:
		return -1
	case isY:
		return 1
	default:
		return 0
	}
}

// arrayIndex tells whether a written key is a canonical array index: 0 to
// 4294967294 without leading zeros.
func arrayIndex(key []byte) (uint64, bool) {
	digits := key[1 : len(key)-1]
	if len(digits) > 10 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n, ok := parseUint(digits)
	return n, ok && n < math.MaxUint32
}

// appendNumber appends a number as JavaScript does: the shortest text that
// reads back as the same double.
func appendNumber(dst, word []byte) []byte {
	// Out of range it is an infinity, which JSON.stringify writes as null.
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(word), len(word)), 64)
	switch abs := math.Abs(f); {
	case math.IsInf(f, 0):
		return append(dst, "null"...)
	case f == 0: // also minus zero
		return append(dst, '0')
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go writes two digits of the exponent at least: 1e-07.
	if n := len(dst); dst[n-2] == '0' && n-start >= 4 && dst[n-4] == 'e' {
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst
}

// appendJSString appends the checked string s, which is without quotes, with
// the escapes that JavaScript writes.
func appendJSString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(append(dst, s...), '"')
		}
		r, n := readEscape(s, i)
		dst = append(dst, s[:i]...)
		switch {
		case r < ' ' || r == '"' || r == '\\':
			dst = appendEscape(dst, byte(r))
		case utf16.IsSurrogate(r):
			dst = append(dst, '\\', 'u', 'd', hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
		s = s[i+n:]
	}
}
