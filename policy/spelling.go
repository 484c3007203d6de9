package policy

import "strings"

// maxReadings is how often a path is decoded. One that still changes then was
// written by somebody who wants to get past a rule.
const maxReadings = 4

// readings returns the ways to read a path: as it is, and as somebody reads it
// who decodes it, once or more often. sure is false if there is a way that
// nobody honest would need, so that it must not be allowed: with . or .. in it,
// or encoded too often. It allocates only if there is more than one way.
func readings(path string, room *[maxReadings]string) (list []string, sure bool) {
	room[0] = path
	list = room[:1]
	if plain(path) {
		return list, true
	}
	for {
		if dotted(path) {
			return list, false
		}
		next := reread(path)
		if next == path {
			return list, true
		}
		if len(list) == maxReadings {
			return list, false
		}
		list = append(list, next)
		path = next
	}
}

// plain tells whether there is surely only one way to read a path.
func plain(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		switch path[i] {
		case '%', '\\':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// dotted tells whether a path has a . or .. segment, for somebody who takes a
// backslash for a slash, or ends a segment at a semicolon or a zero.
func dotted(path string) bool {
	for seg := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		if i := strings.IndexAny(seg, ";\x00"); i >= 0 {
			seg = seg[:i]
		}
		if seg == "." || seg == ".." {
			return true
		}
	}
	return false
}

// overlong are spellings of . / and \ that only careless decoders take.
var overlong = strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`)

// reread returns a path as somebody sees it who decodes %-escapes once, takes a
// backslash for a slash and overlooks empty segments.
func reread(path string) string {
	path = strings.ReplaceAll(overlong.Replace(unescape(path)), `\`, "/")
	var b strings.Builder
	for seg := range strings.SplitSeq(path, "/") {
		if seg != "" {
			b.WriteByte('/')
			b.WriteString(seg)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// unescape decodes what is a %-escape and leaves all else.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := hex(s[i+1]), hex(s[i+2])
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
