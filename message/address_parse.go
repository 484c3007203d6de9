package message

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// ParseAddress reads an address exactly as UMF does, which takes nearly
// everything: see [ParseStrict] for what a native connection takes. The error
// is an *Error with [CodeBadAddress]; the parts that could be read are returned
// with it.
func ParseAddress(s string) (Address, error) {
	a, route, err := splitAddress(s, false)
	a.Path = route
	// A question mark at the very end stays in the path, so that Route gives
	// back what was read.
	if i := strings.IndexByte(route, '?'); i >= 0 && i < len(route)-1 {
		a.Path, a.Query = route[:i], route[i+1:]
	}
	if err != nil {
		return a, err
	}
	return a, nil
}

// splitAddress takes everything apart but the route. If schemes is true, http
// and https are names as all others.
func splitAddress(s string, schemes bool) (a Address, route string, err *Error) {
	first, route, ok := strings.Cut(s, ":")
	if !ok {
		return a, "", badAddress(s, "route field has invalid number of routable segments",
			"Write the name of the service, a colon and the path, such as math:/decimal/mul.")
	}
	if who, name, ok := strings.Cut(first, "@"); ok {
		a.Instance, a.Sub, _ = strings.Cut(who, "-")
		a.Sub, _, _ = strings.Cut(a.Sub, "-")
		first = name
	}
	switch {
	case schemes && isScheme(first):
		// http://host/path, as people write it, is http:/host/path.
		if strings.HasPrefix(route, "//") {
			route = route[1:]
		}
	case strings.HasPrefix(first, "http"):
		// UMF has URLs as names: the next piece belongs to the name.
		rest := s[len(s)-len(route)-1-len(first):]
		glued := len(first) + 1
		first, route = rest, ""
		if i := strings.IndexByte(rest[glued:], ':'); i >= 0 {
			first, route = rest[:glued+i], rest[glued+i+1:]
		}
	}
	a.Name = first
	if strings.HasPrefix(route, "[") {
		method, rest, ok := strings.Cut(route[1:], "]")
		if !ok {
			return a, route, badAddress(s, "route field has ill-formed HTTP method verb in segment",
				"Close the bracket after the method, such as orders:[get]/v1/x.")
		}
		if method != "" {
			a.Method, route = lowerMethod(method), rest
		}
	}
	return a, route, nil
}

// isScheme reports whether a name is that of contents that come from the web.
// They are the only names that begin with http.
func isScheme(name string) bool { return name == "http" || name == "https" }

// lowerMethod lowers the usual methods without allocating.
func lowerMethod(s string) string {
	switch s {
	case "GET":
		return "get"
	case "PUT":
		return "put"
	case "POST":
		return "post"
	case "HEAD":
		return "head"
	case "PATCH":
		return "patch"
	case "DELETE":
		return "delete"
	case "OPTIONS":
		return "options"
	default:
		return strings.ToLower(s)
	}
}

// ParseStrict reads an address as native connections take them: as UMF does,
// but without tricks (docs/reference/wire.md, "Addresses"). A trailing slash is
// removed. A URL is an address: https://example.com:8080/x has the name https and
// the path /example.com:8080/x. The parts are substrings of s. The error is an *Error with
// [CodeBadAddress] that says what is wrong where.
func ParseStrict(s string) (Address, error) {
	if e := checkText(s); e != nil {
		return Address{}, e
	}
	a, route, err := splitAddress(s, true)
	if err != nil {
		return Address{}, err
	}
	if a.Name == "" {
		return Address{}, badAddress(s, "the address has no name", "Write the name of the service before the colon, such as math:/decimal/mul.")
	}
	a.Path, a.Query, _ = strings.Cut(route, "?")
	if !strings.HasPrefix(a.Path, "/") {
		hint := "Begin the path with a slash: " + a.Name + ":/" + a.Path + "."
		if strings.HasPrefix(a.Name, "http") {
			hint = "Do not begin a name with http: UMF reads such an address as a URL."
		}
		if isScheme(a.Name) {
			hint = "Write the host and the path behind it: " + a.Name + "://example.com/path."
		}
		return Address{}, badAddress(s, "the path does not begin with /", hint)
	}
	if a.Path == "/" {
		return a, nil
	}
	a.Path = strings.TrimSuffix(a.Path, "/")
	if e := checkSegments(s, a.Path[1:]); e != nil {
		return Address{}, e
	}
	return a, nil
}

// ParseStrictBytes is [ParseStrict] for bytes, without copying them: the parts
// of the Address point into b, which must never change as long as any of them
// is used.
func ParseStrictBytes(b []byte) (Address, error) {
	return ParseStrict(unsafe.String(unsafe.SliceData(b), len(b)))
}

// checkText checks length and characters.
func checkText(s string) *Error {
	if len(s) > MaxAddress {
		return badAddress(s, "the address is longer than 1024 bytes", "Use a shorter address; put data into the body.")
	}
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return badAddress(s, "the address is not valid UTF-8 at byte "+strconv.Itoa(i), "Encode the address as UTF-8.")
		}
		if unicode.IsControl(r) {
			return badAddress(s, "the address has a control character at byte "+strconv.Itoa(i), "Leave control characters out of addresses.")
		}
		i += n
	}
	return nil
}

// checkSegments checks what comes after the first slash of a path.
func checkSegments(s, path string) *Error {
	n := 0
	for rest, more := path, true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		n++
		switch seg {
		case "":
			return badAddress(s, "segment "+strconv.Itoa(n)+" of the path is empty", "Write one slash between two segments.")
		case ".", "..":
			return badAddress(s, "segment "+strconv.Itoa(n)+` of the path is "`+seg+`"`, "Write the whole path; nothing is resolved.")
		}
	}
	return nil
}

func badAddress(s, text, hint string) *Error {
	e := NewError(CodeBadAddress, text, hint)
	e.Path = clip(s)
	return e
}

// shown is how much of a peer's text an error repeats, in bytes.
const shown = 80

// clip shortens a text for an error and makes it valid UTF-8.
func clip(s string) string {
	if len(s) > shown {
		s = s[:shown] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// quote is clip in quotes, with everything odd escaped.
func quote(b []byte) string {
	return strconv.Quote(clip(string(b[:min(len(b), shown+1)])))
}

// Route returns path and query as they stand in the address.
func (a Address) Route() string {
	if a.Query == "" {
		return a.Path
	}
	return a.Path + "?" + a.Query
}

// HasWildcard reports whether the name or a segment of the path is a wildcard,
// so that the address may mean several servers' paths.
func (a Address) HasWildcard() bool {
	if a.Name == "*" {
		return true
	}
	if strings.IndexByte(a.Path, '*') < 0 {
		return false
	}
	for seg := range strings.SplitSeq(a.Path, "/") {
		if seg == "*" || seg == "**" {
			return true
		}
	}
	return false
}

// AppendTo appends the address as text. Parsing the text gives a again.
func (a Address) AppendTo(dst []byte) []byte {
	if a.Instance != "" || a.Sub != "" || strings.IndexByte(a.Name, '@') >= 0 {
		dst = append(dst, a.Instance...)
		if a.Sub != "" {
			dst = append(append(dst, '-'), a.Sub...)
		}
		dst = append(dst, '@')
	}
	dst = append(append(dst, a.Name...), ':')
	if a.Method != "" {
		dst = append(append(append(dst, '['), a.Method...), ']')
	}
	dst = append(dst, a.Path...)
	if a.Query != "" {
		dst = append(append(dst, '?'), a.Query...)
	}
	return dst
}

// String returns the address as text.
func (a Address) String() string {
	var room [addressRoom]byte
	return string(a.AppendTo(room[:0]))
}

// addressRoom is what most addresses are shorter than, in bytes.
const addressRoom = 128

// MarshalText returns the address as text.
func (a Address) MarshalText() ([]byte, error) { return a.AppendTo(nil), nil }

// UnmarshalText is [ParseStrict].
func (a *Address) UnmarshalText(b []byte) error {
	p, err := ParseStrict(string(b))
	if err != nil {
		return err
	}
	*a = p
	return nil
}
