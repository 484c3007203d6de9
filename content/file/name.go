package file

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName  = 255 // bytes of a name: what file systems take
	maxPath  = 4096
	maxDepth = 64 // segments of a path
)

// BadName says why a name is never looked for, to be read after "the name", or
// "" if it is a good one. It is the same on all systems, so that a tree can be
// moved from one to another.
func BadName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "must not be empty, . or .."
	case len(name) > maxName:
		return "is longer than 255 bytes"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, isControl):
		return "must not have control characters"
	case strings.ContainsAny(name, `/\:`):
		return `must not have / \ or :`
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "must not end in a dot or a blank"
	case encoded(name):
		return "must not have separators or dots that are percent-encoded"
	}
	// Some file systems do not see characters that cannot be seen.
	plain := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, name)
	switch {
	case plain == "" || plain[0] == '.':
		return "must not begin with a dot"
	case device(plain):
		return "is that of a device on Windows"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// encoded reports whether somebody who decodes a name once more would find a
// separator, a dot, a NUL or another percent sign.
func encoded(name string) bool {
	for i := range len(name) - 2 {
		if name[i] != '%' {
			continue
		}
		switch strings.ToLower(name[i+1 : i+3]) {
		case "2e", "2f", "5c", "00", "25":
			return true
		}
	}
	return false
}

// device reports whether Windows takes a name for a device, with any extension.
func device(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	number, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		number, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(number) == 1 && strings.ContainsAny(number, "0123456789¹²³")
}

// hidden reports whether a name is not there as far as this tree is concerned.
func (t *Tree) hidden(name string) bool {
	if BadName(name) != "" {
		return true
	}
	if len(t.patterns) == 0 {
		return false
	}
	lower := strings.ToLower(name)
	for _, p := range t.patterns {
		if ok, _ := path.Match(p, lower); ok {
			return true
		}
	}
	return false
}

// split takes a path of an address apart and says what is wrong with it, if
// anything, as [BadName] does.
func (t *Tree) split(p string) (names []string, why string) {
	switch {
	case p == "/":
		return nil, ""
	case !strings.HasPrefix(p, "/"):
		return nil, "does not begin with a slash"
	case len(p) > maxPath:
		return nil, "is too long"
	}
	names = strings.Split(p[1:], "/")
	if len(names) > maxDepth {
		return nil, "is too deep"
	}
	for _, name := range names {
		if why := BadName(name); why != "" {
			return nil, "has a name that cannot be served: it " + why
		}
		if t.hidden(name) {
			return nil, "has a name that the settings of the server hide"
		}
	}
	return names, ""
}

// nearest returns the name that was probably meant by one that is not there, or
// "".
func nearest(name string, names []string) string {
	// Two slips, but fewer in short names, where two would be half of it.
	fold := strings.ToLower(name)
	best, found := min(2, utf8.RuneCountInString(name)/3)+1, ""
	for _, n := range names {
		f := strings.ToLower(n)
		if f == fold {
			return n
		}
		if d := distance(fold, f, best); d < best {
			best, found = d, n
		}
	}
	return found
}

// distance is the number of letters to insert, remove or replace to make b of
// a, or limit if it is not less.
func distance(a, b string, limit int) int {
	s, t := []rune(a), []rune(b)
	if len(s)-len(t) >= limit || len(t)-len(s) >= limit {
		return limit
	}
	last, row := make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row[0] = i + 1
		least := row[0]
		for j := range t {
			change := 1
			if s[i] == t[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
		last, row = row, last
	}
	return min(last[len(t)], limit)
}
