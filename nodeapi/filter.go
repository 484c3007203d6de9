package nodeapi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

// filter is an address with wildcards: * for a name or one segment, ** for the
// rest.
type filter struct{ name, path string }

func (f filter) matches(e exchange.TapEvent) bool {
	to := e.Called // an answer goes to a client, but belongs to what was called
	if to == "" {
		to = e.To
	}
	a, err := message.ParseStrict(to)
	if err != nil {
		return f.name == "*" && f.path == "/**" // people who look at everything look for these too
	}
	if a.Name == Name && strings.HasPrefix(a.Path, "/tap") {
		return false
	}
	return (f.name == "*" || f.name == a.Name) && pathMatches(f.path, a.Path)
}

func pathMatches(pattern, path string) bool {
	for {
		if pattern == "/**" {
			return true
		}
		p, restP, moreP := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		s, restS, moreS := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if (p != "*" && p != s) || moreP != moreS {
			return p == s && restP == "**" && !moreS
		}
		if !moreP {
			return true
		}
		pattern, path = "/"+restP, "/"+restS
	}
}

// secret are names of fields whose values nobody should read over a shoulder.
var secret = regexp.MustCompile(`(?i)passw|secret|token|authori[sz]ation|api.?key|credential|cookie|private`)

const (
	redacted = "[redacted]"
	// maxRedacted is the largest body that is searched for secrets: it happens
	// where messages pass, and they must not wait.
	maxRedacted = 64 << 10
)

// redact returns the beginning of a body with the values of secret fields
// masked. A body that is not JSON is not shown, because it cannot be searched.
func redact(body []byte, contentType string, limit int) string {
	if len(body) == 0 {
		return ""
	}
	if contentType != "" {
		return "[" + cut(contentType, limit) + "]"
	}
	if len(body) > maxRedacted {
		return "[" + strconv.Itoa(len(body)) + " bytes]"
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "[not JSON]"
	}
	out, err := json.Marshal(mask(v))
	if err != nil {
		return "[not JSON]"
	}
	return cut(string(out), limit)
}

// redactAddress masks the values of secret names in the query of an address.
func redactAddress(address string) string {
	path, query, ok := strings.Cut(address, "?")
	if !ok {
		return address
	}
	fields := strings.Split(query, "&")
	for i, f := range fields {
		if name, _, ok := strings.Cut(f, "="); ok && secret.MatchString(name) {
			fields[i] = name + "=" + redacted
		}
	}
	return path + "?" + strings.Join(fields, "&")
}

func mask(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if secret.MatchString(k) {
				v[k] = redacted
				continue
			}
			v[k] = mask(inner)
		}
	case []any:
		for i := range v {
			v[i] = mask(v[i])
		}
	}
	return v
}

// cut shortens s to at most limit bytes, between characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
