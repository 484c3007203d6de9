package message

import (
	"math"
	"strconv"
	"time"
	"unsafe"
)

// parseUint reads a JSON number that is a whole number without sign, fraction
// and exponent.
func parseUint(b []byte) (uint64, bool) {
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(b) > 0
}

// parseSeconds reads a checked JSON number of seconds. What is above 0 but less
// than a nanosecond is a nanosecond, what is more than fits is the maximum.
func parseSeconds(b []byte) time.Duration {
	if d, ok := plainSeconds(b); ok {
		return d
	}
	// Out of range it returns an infinity, which is what is wanted.
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64)
	switch ns := f * float64(time.Second); {
	case f <= 0:
		return 0
	case ns >= math.MaxInt64:
		return math.MaxInt64
	default:
		return max(1, time.Duration(ns))
	}
}

// plainSeconds reads digits with at most nine on each side of the point.
func plainSeconds(b []byte) (time.Duration, bool) {
	var whole, frac, n int64
	i := 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		whole = whole*10 + int64(b[i]-'0')
		if i == 9 {
			return 0, false
		}
	}
	if i < len(b) && b[i] == '.' {
		for i++; i < len(b) && b[i]-'0' <= 9 && n < 9; i++ {
			frac = frac*10 + int64(b[i]-'0')
			n++
		}
	}
	if i == 0 || i < len(b) {
		return 0, false
	}
	for ; n < 9; n++ {
		frac *= 10
	}
	return time.Duration(whole*int64(time.Second) + frac), true
}

// appendSeconds appends a time above 0 as seconds with up to three decimals. It
// is cut off, not rounded, so that a hop never adds time, but for less than a
// millisecond, which becomes one.
func appendSeconds(dst []byte, d time.Duration) []byte {
	ms := max(1, d.Milliseconds())
	dst = strconv.AppendInt(dst, ms/1000, 10)
	frac := int(ms % 1000)
	if frac == 0 {
		return dst
	}
	dst = append2(append(dst, '.', byte('0'+frac/100)), frac%100)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
