package git

import (
	"fmt"
	"strings"

	"github.com/ropewalk/ropewalk/content/file"
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

// badName says why a name of a tree is none of a content, to be read after "a
// name", or "": what content/file says, and what some systems take for .git.
func badName(name string) string {
	if why := file.BadName(name); why != "" {
		return why
	}
	if strings.HasPrefix(strings.ToLower(name), "git~") {
		return "must not be a short form of .git"
	}
	return ""
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
