package delta

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escapeLen returns the length of the escape at the start of b, 0 if there is
// none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 5:
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// text8 returns what a string says. Half of a surrogate pair is three bytes, as
// if UTF-8 had it, so that different strings stay different.
func (d *doc) text8(id int32) []byte {
	raw := d.raw(id)
	inner := raw[1 : len(raw)-1 : len(raw)-1]
	if !d.nodes[id].escaped {
		return inner
	}
	return unescape(make([]byte, 0, len(inner)), inner)
}

func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		c := s[i+1]
		i += 2
		if at := strings.IndexByte("bfnrt", c); at >= 0 {
			dst = append(dst, "\b\f\n\r\t"[at])
			continue
		}
		if c != 'u' {
			dst = append(dst, c)
			continue
		}
		r, _ := hex4(s[i:])
		i += 4
		if utf16.IsSurrogate(r) && i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
			low, _ := hex4(s[i+2:])
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				r = both
				i += 6
			}
		}
		dst = appendRune8(dst, r)
	}
	return dst
}

func appendRune8(dst []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(dst, byte(0xe0|r>>12), byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
	}
	return utf8.AppendRune(dst, r)
}

// sameText reports whether two strings say the same.
func (d *doc) sameText(a int32, o *doc, b int32) bool {
	if !d.nodes[a].escaped && !o.nodes[b].escaped {
		return bytes.Equal(d.raw(a), o.raw(b))
	}
	return bytes.Equal(d.text8(a), o.text8(b))
}

// appendPointer appends what a string says as a part of a JSON Pointer within a
// JSON string.
func (d *doc) appendPointer(dst []byte, key int32) []byte {
	s := d.text8(key)
	dst = append(dst, '/')
	if !d.nodes[key].escaped && bytes.IndexByte(s, '~') < 0 && bytes.IndexByte(s, '/') < 0 {
		return append(dst, s...)
	}
	s = bytes.ReplaceAll(s, []byte("~"), []byte("~0"))
	return appendEscaped(dst, bytes.ReplaceAll(s, []byte("/"), []byte("~1")))
}

// quoted returns what text8 gave as a JSON string.
func quoted(s string) []byte {
	return append(appendEscaped(append(make([]byte, 0, len(s)+2), '"'), []byte(s)), '"')
}

// appendEscaped appends what text8 gave as the inner of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		case c == 0xed && s[i+1] >= 0xa0:
			// Half of a surrogate pair.
			r := rune(c&0xf)<<12 | rune(s[i+1]&0x3f)<<6 | rune(s[i+2]&0x3f)
			dst = strconv.AppendInt(append(dst, '\\', 'u'), int64(r), 16)
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// sameNumber reports whether two numbers have the same value, however they are
// written.
func sameNumber(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, okX := decimalOf(a)
	y, okY := decimalOf(b)
	return okX && okY && x.negative == y.negative && x.exp == y.exp && bytes.Equal(x.digits, y.digits)
}

// decimal is digits × 10^exp, the digits without zeros at either end.
type decimal struct {
	negative bool
	digits   []byte
	exp      int64
}

// decimalOf is not ok where the exponent is beyond all reason.
func decimalOf(s []byte) (decimal, bool) {
	var d decimal
	if s[0] == '-' {
		d.negative, s = true, s[1:]
	}
	if i := bytes.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(string(bytes.TrimPrefix(s[i+1:], []byte("+"))), 10, 64)
		if err != nil || e > math.MaxInt64/2 || e < math.MinInt64/2 {
			return d, false
		}
		d.exp, s = e, s[:i]
	}
	whole, frac, _ := bytes.Cut(s, []byte("."))
	d.exp -= int64(len(frac))
	d.digits = bytes.TrimLeft(append(bytes.Clone(whole), frac...), "0")
	all := len(d.digits)
	d.digits = bytes.TrimRight(d.digits, "0")
	d.exp += int64(all - len(d.digits))
	if len(d.digits) == 0 {
		return decimal{}, true
	}
	return d, true
}
