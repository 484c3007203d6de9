package git

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

const (
	maxPath  = 1024
	maxDepth = 64 // of directories; trees are walked recursively
)

// checkPath returns the path inside a tree that the path of an address means:
// "" for the root. What cannot be a name of a content, on any system the
// repository may be checked out on, is not there.
func checkPath(path string) (string, error) {
	p := strings.TrimPrefix(path, "/")
	if p == "" {
		return "", nil
	}
	if len(p) > maxPath {
		return "", invalid(short(path), "the path is longer than 1,024 bytes", "")
	}
	parts := strings.Split(p, "/")
	if len(parts) > maxDepth {
		return "", invalid(short(path), "the path is deeper than 64 directories", "")
	}
	for _, name := range parts {
		if why := badName(name); why != "" {
			e := message.NewError(message.CodeNotFound, fmt.Sprintf("there is nothing at %s: a name %s", short(path), why),
				"Use plain names without a dot at the beginning.")
			e.Path = short(path)
			return "", e
		}
	}
	return p, nil
}

func short(path string) string {
	const most = 300
	if len(path) > most {
		path = path[:most]
	}
	return strings.ToValidUTF8(path, "?")
}

// badName says why a name of a tree is none of a content, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsAny(name, `/\:*?"<>|`):
		return `has one of \ : * ? " < > |`
	case hasEscape(name):
		return "has an escaped dot, slash or control character"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "ends in a dot or a blank"
	case isDevice(name):
		return "is that of a device"
	}
	first := true
	for _, r := range name {
		switch {
		case unicode.IsControl(r) || r == utf8.RuneError || r == '\u2028' || r == '\u2029':
			return "has a control character"
		case first && unicode.Is(unicode.Cf, r):
			return "begins with an invisible character" // some file systems leave it out
		case first && r == '.':
			return "begins with a dot"
		}
		first = false
	}
	if strings.HasPrefix(strings.ToLower(name), "git~") {
		return "is a short form of .git"
	}
	return ""
}

// hasEscape finds what would be a separator, a dot or a control character if
// somebody decoded the name. Other percent signs stand for themselves.
func hasEscape(name string) bool {
	for i := range len(name) - 2 {
		if name[i] != '%' {
			continue
		}
		hi, ok := unhex(name[i+1])
		lo, also := unhex(name[i+2])
		if !ok || !also {
			continue
		}
		if b := hi<<4 | lo; b < ' ' || b == '.' || b == '/' || b == '\\' || b == 0x7f {
			return true
		}
	}
	return false
}

func unhex(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

// isDevice finds names that Windows takes for devices, whatever their ending.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	base = strings.TrimRight(base, " ")
	switch base {
	case "con", "prn", "aux", "nul", "conin$", "conout$", "clock$":
		return true
	}
	if rest, ok := strings.CutPrefix(base, "com"); ok {
		return isPort(rest)
	}
	rest, ok := strings.CutPrefix(base, "lpt")
	return ok && isPort(rest)
}

func isPort(s string) bool {
	switch s {
	case "¹", "²", "³":
		return true
	}
	return len(s) == 1 && s[0] >= '0' && s[0] <= '9'
}

// refPart writes any text as one part of the name of a ref: two texts never
// become the same part, on no file system.
func refPart(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && i > 0 || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

// isWorkspaceName tells whether a workspace may be called so: what refPart
// leaves as it is.
func isWorkspaceName(name string) bool {
	return name != "" && len(name) <= 64 && refPart(name) == name
}
