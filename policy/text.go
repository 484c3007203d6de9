package policy

import (
	"strconv"
	"strings"
	"unicode"
)

// shown is how much of a text of others an error repeats, in bytes.
const shown = 120

// clip makes a text of others fit for an error, and for a line of a log.
func clip(s string) string {
	if len(s) > shown {
		s = s[:shown] + "…"
	}
	return printable(s)
}

// printable replaces what is not for one line of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// quote is clip in quotes.
func quote(s string) string { return strconv.Quote(clip(s)) }
