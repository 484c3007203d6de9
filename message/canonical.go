package message

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// MaxParams is how long the params of a topic may be in canonical form, in
// bytes. They are part of the key of each topic, and kept as long as it is
// watched.
const MaxParams = 64 << 10

// CanonicalParams returns the one way of writing the params of a topic on which
// all agree who mean the same: an object without blanks, its members sorted by
// name, of members with the same name only the last, strings with as few escapes
// as possible. Numbers stay as they are written, so that none loses digits. None,
// null and an empty object are all nil. The error is an [*Error] with the path
// "params" and CodeInvalidInput, or CodeTooLarge for more than [MaxParams] bytes.
func CanonicalParams(raw []byte) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if len(raw) > 4*MaxParams { // with blanks and escapes
		return nil, errLongParams()
	}
	if !ValidJSON(raw) {
		return nil, badParams("they are not JSON, or nested deeper than " + strconv.Itoa(maxDepth) + " levels")
	}
	switch raw[skipSpace(raw, 0)] {
	case 'n':
		return nil, nil
	case '{':
	default:
		return nil, badParams("they are not an object")
	}
	w := canonicalWriter{b: raw, dst: make([]byte, 0, len(raw)), number: appendAsIs, compare: bytes.Compare}
	w.value()
	switch {
	case len(w.dst) == len("{}"):
		return nil, nil
	case len(w.dst) > MaxParams:
		return nil, errLongParams()
	}
	return w.dst, nil
}

func badParams(why string) *Error {
	e := NewError(CodeInvalidInput, "the params of a topic are wrong: "+why, `Give an object, such as {"symbol":"ACME"}.`)
	e.Path = "params"
	return e
}

func errLongParams() *Error {
	e := NewError(CodeTooLarge, "the params of a topic are longer than "+strconv.Itoa(MaxParams)+" bytes",
		"Filter by less, or publish what is that large and name it.")
	e.Path = "params"
	return e
}

func appendAsIs(dst, word []byte) []byte { return append(dst, word...) }

// appendCanonical appends the checked JSON value raw as JavaScript would write
// it again: the signatures of Hydra are made over what its JSON.stringify makes
// of what its JSON.parse made of the frame. This is both, byte for byte; see
// https://tc39.es/ecma262/#sec-json-object for the rules.
func appendCanonical(dst, raw []byte) []byte {
	w := canonicalWriter{b: raw, dst: dst, number: appendNumber, compare: compareKeys}
	w.value()
	return w.dst
}

// canonicalWriter reads JSON that is known to be right and writes it as it goes.
// An object whose members are to be in another order is put in order when it
// ends. The depth of its recursion was limited by the scan before.
type canonicalWriter struct {
	b   []byte // what is read
	i   int
	dst []byte

	number  func(dst, word []byte) []byte
	compare func(a, b []byte) int // keys as they are written, without quotes

	members []member // of all objects that are open, the innermost last
	scratch []byte   // of one call of order
}

// member is the place of a member in what was written. Equal keys have equal
// bytes there.
type member struct{ start, keyEnd, end int }

// next skips blanks and returns what follows.
func (w *canonicalWriter) next() byte {
	w.i = skipSpace(w.b, w.i)
	return w.b[w.i]
}

func (w *canonicalWriter) value() {
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
			w.dst = w.number(w.dst, word)
		} else {
			w.dst = append(w.dst, word...)
		}
	}
}

func (w *canonicalWriter) text() {
	start := w.i
	w.i, _, _ = scanString(w.b, start)
	w.dst = appendJSString(w.dst, w.b[start+1:w.i-1])
}

func (w *canonicalWriter) array() {
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

func (w *canonicalWriter) object() {
	first := len(w.members)
	w.dst = append(w.dst, '{')
	start := len(w.dst)
	w.i++
	for w.next() != '}' {
		m := member{start: len(w.dst)}
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

// key is that of a member as it is written, without quotes.
func (w *canonicalWriter) key(m member) []byte { return w.dst[m.start+1 : m.keyEnd-1] }

// order puts the members of one object, which are written from start on, in
// order; those that compare equal stay as they came. A repeated key keeps its
// first place and takes its last value.
func (w *canonicalWriter) order(start int, members []member) {
	kept := w.distinct(members)
	compare := func(a, b member) int { return w.compare(w.key(a), w.key(b)) }
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
func (w *canonicalWriter) distinct(members []member) []member {
	kept := members[:0]
	var places map[string]int
	if len(members) > fewMembers {
		places = make(map[string]int, len(members))
	}
	for _, m := range members {
		key := w.key(m)
		at, again := places[string(key)]
		if places == nil {
			at = slices.IndexFunc(kept, func(k member) bool { return bytes.Equal(w.key(k), key) })
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

// compareKeys compares two written keys by JavaScript's order: array indexes
// first, ascending; all others are equal.
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
func arrayIndex(digits []byte) (uint64, bool) {
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
