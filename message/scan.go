package message

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of one value may be nested. Real
// bodies stay under 20; the bound keeps the scanner's stack on the goroutine's.
const maxDepth = 512

// kind is the JSON type of a value.
type kind uint8

const (
	kindNull kind = iota + 1
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// kindOf tells the type of a value from its first byte, after it was scanned.
func kindOf(c byte) kind {
	switch c {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	default:
		return kindNumber
	}
}

// fault is why a scan stopped; the position returned with it is where.
type fault uint8

const (
	faultNone fault = iota
	faultTruncated
	faultSyntax
	faultDepth
)

// value is one scanned JSON value.
type value struct {
	raw     []byte // with the quotes of a string
	kind    kind
	escaped bool // a string with at least one escape
}

// text returns the value of a string. It allocates only for escapes.
func (v *value) text() []byte {
	inner := v.raw[1 : len(v.raw)-1 : len(v.raw)-1]
	if !v.escaped {
		return inner
	}
	return unescape(make([]byte, 0, len(inner)), inner)
}

// ValidJSON reports whether b is exactly one JSON value, with blanks around it
// allowed, in valid UTF-8 and not nested deeper than 512 levels. It does not
// allocate. Whoever puts bytes that came from a peer into a JSON frame as its
// body checks them with it first.
func ValidJSON(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	i, f := scanValue(b, skipSpace(b, 0))
	return f == faultNone && skipSpace(b, i) == len(b)
}

func isSpace(c byte) bool { return c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r') }

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// scanMember scans `"key" : value`, with i at the key's opening quote, and
// returns where the value ends.
func scanMember(b []byte, i int, key, val *value) (end int, f fault) {
	end, esc, f := scanString(b, i)
	if f != faultNone {
		return end, f
	}
	*key = value{raw: b[i:end:end], kind: kindString, escaped: esc}
	// Nearly always a colon without blanks.
	if i = end + 1; i >= len(b) || b[end] != ':' || b[i] <= ' ' {
		if i, f = scanColon(b, end); f != faultNone {
			return i, f
		}
	}
	if i < len(b) && b[i] == '"' {
		if end, esc, f = scanString(b, i); f == faultNone {
			*val = value{raw: b[i:end:end], kind: kindString, escaped: esc}
		}
		return end, f
	}
	if end, f = scanValue(b, i); f == faultNone {
		*val = value{raw: b[i:end:end], kind: kindOf(b[i])}
	}
	return end, f
}

// scanColon skips a colon and the blanks around it.
func scanColon(b []byte, i int) (int, fault) {
	i = skipSpace(b, i)
	if i >= len(b) {
		return i, faultTruncated
	}
	if b[i] != ':' {
		return i, faultSyntax
	}
	return skipSpace(b, i+1), faultNone
}

// scanKey scans a key and its colon and returns where the value begins.
func scanKey(b []byte, i int) (int, fault) {
	i, _, f := scanString(b, i)
	if f != faultNone {
		return i, f
	}
	return scanColon(b, i)
}

// scanValue checks the value that begins at i and returns where it ends.
func scanValue(b []byte, i int) (int, fault) {
	if i < len(b) && (b[i] == '{' || b[i] == '[') {
		return scanNested(b, i)
	}
	return scanScalar(b, i)
}

// nesting remembers of each open level whether it is an object, in a bit.
type nesting struct {
	levels [maxDepth / 64]uint64
	depth  int
	object bool // whether the innermost level is an object
}

func (n *nesting) open(object bool) {
	bit := uint64(1) << (n.depth & 63)
	if object {
		n.levels[n.depth>>6] |= bit
	} else {
		n.levels[n.depth>>6] &^= bit
	}
	n.object = object
	n.depth++
}

func (n *nesting) close() {
	if n.depth--; n.depth > 0 {
		d := n.depth - 1
		n.object = n.levels[d>>6]>>(d&63)&1 != 0
	}
}

// scanNested checks an object or array, without recursion.
func scanNested(b []byte, i int) (int, fault) {
	var n nesting
	var f fault
	for {
		// A value begins at i.
		if i >= len(b) {
			return i, faultTruncated
		}
		c, empty := b[i], false
		switch {
		case c != '{' && c != '[':
			if i, f = scanScalar(b, i); f != faultNone {
				return i, f
			}
		case n.depth == maxDepth:
			return i, faultDepth
		default:
			n.open(c == '{')
			i = skipSpace(b, i+1)
			// Both closing brackets are two after their opening ones in ASCII.
			empty = i < len(b) && b[i] == c+2
		}
		if empty || c != '{' && c != '[' {
			if i, f = scanClosing(b, i, &n); f != faultNone || n.depth == 0 {
				return i, f
			}
		}
		if n.object {
			if i, f = scanKey(b, i); f != faultNone {
				return i, f
			}
		}
	}
}

// scanClosing leaves the levels that end at i, then skips the comma before the
// next value, if there is a level left.
func scanClosing(b []byte, i int, n *nesting) (int, fault) {
	for n.depth > 0 {
		i = skipSpace(b, i)
		if i >= len(b) {
			return i, faultTruncated
		}
		c := b[i]
		if c == ',' {
			return skipSpace(b, i+1), faultNone
		}
		if n.object && c != '}' || !n.object && c != ']' {
			return i, faultSyntax
		}
		i++
		n.close()
	}
	return i, faultNone
}

// scanScalar checks a string, number, true, false or null.
func scanScalar(b []byte, i int) (int, fault) {
	if i >= len(b) {
		return i, faultTruncated
	}
	switch c := b[i]; {
	case c == '"':
		end, _, f := scanString(b, i)
		return end, f
	case c == '-' || c-'0' <= 9:
		return scanNumber(b, i)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	default:
		return i, faultSyntax
	}
}

func scanWord(b []byte, i int, word string) (int, fault) {
	rest := b[i:min(i+len(word), len(b))]
	if string(rest) == word {
		return i + len(word), faultNone
	}
	if string(rest) == word[:len(rest)] {
		return len(b), faultTruncated
	}
	return i, faultSyntax
}

func scanNumber(b []byte, i int) (int, fault) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else {
		var f fault
		if i, f = scanDigits(b, i); f != faultNone {
			return i, f
		}
	}
	if i < len(b) && b[i] == '.' {
		var f fault
		if i, f = scanDigits(b, i+1); f != faultNone {
			return i, f
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return scanDigits(b, i)
	}
	return i, faultNone
}

// scanDigits skips one digit or more.
func scanDigits(b []byte, i int) (int, fault) {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	switch {
	case i > start:
		return i, faultNone
	case i == len(b):
		return i, faultTruncated
	default:
		return i, faultSyntax
	}
}

// scanString checks the string whose opening quote is at i and returns where
// it ends, after the closing quote.
func scanString(b []byte, i int) (end int, escaped bool, f fault) {
	if i >= len(b) {
		return i, false, faultTruncated
	}
	if b[i] != '"' {
		return i, false, faultSyntax
	}
	i++
	for {
		i = nextSpecial(b, i)
		if i >= len(b) {
			return i, escaped, faultTruncated
		}
		switch b[i] {
		case '"':
			return i + 1, escaped, faultNone
		case '\\':
			escaped = true
			if i, f = scanEscape(b, i); f != faultNone {
				return i, escaped, f
			}
		default: // a control character
			return i, escaped, faultSyntax
		}
	}
}

func scanEscape(b []byte, i int) (int, fault) {
	if i+1 >= len(b) {
		return len(b), faultTruncated
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, faultNone
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(b) {
				return j, faultTruncated
			}
			if _, ok := hexDigit(b[j]); !ok {
				return j, faultSyntax
			}
		}
		return i + 6, faultNone
	default:
		return i + 1, faultSyntax
	}
}

// Eight bytes at a time: each byte of a word the same.
const (
	ones   = 0x0101010101010101
	highs  = 0x80 * ones
	spaces = 0x20 * ones
	quotes = '"' * ones
	slants = '\\' * ones
)

// special marks, in the highest bit of its byte, the first byte of x that is a
// quote, a backslash or a control character; bytes after it may be marked
// wrongly, because the subtraction borrows.
func special(x uint64) uint64 {
	q, s := x^quotes, x^slants
	return ((q-ones)&^q | (s-ones)&^s | (x-spaces)&^x) & highs
}

// nextSpecial returns the place of the next quote, backslash or control
// character, or len(b).
func nextSpecial(b []byte, i int) int {
	for len(b)-i >= 8 {
		if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case c-'0' <= 9:
		return rune(c - '0'), true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10, true
	default:
		return 0, false
	}
}
