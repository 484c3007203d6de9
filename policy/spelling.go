package policy

import "strings"

// maxReadings is how often a path is decoded. One that still changes then was
// written by somebody who wants to get past a rule.
const maxReadings = 4

// readings returns the ways to read a path: as it is, and as somebody reads it
// who decodes it, once or more often. sure is false if there are more of them
// than are looked at. It allocates only if there is more than one.
func readings(path string, room *[maxReadings]string) (list []string, sure bool) {
	room[0] = path
	list = room[:1]
	if plain(path) {
		return list, true
	}
	for {
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

// overlong are spellings of . / and \ that only careless decoders take.
var overlong = strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`)

// reread returns a path as somebody sees it who decodes %-escapes once, takes a
// backslash for a slash and resolves . and .. segments.
func reread(path string) string {
	path = strings.ReplaceAll(overlong.Replace(unescape(path)), `\`, "/")
	var kept []string
	for seg := range strings.SplitSeq(path, "/") {
		switch seg {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, seg)
		}
	}
	return "/" + strings.Join(kept, "/")
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
