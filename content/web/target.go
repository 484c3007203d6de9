package web

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is where a request goes, in its one spelling.
type target struct {
	scheme string // "http" or "https"
	host   string // a name in lower case, an IPv4 address, or an IPv6 address in brackets
	port   string // "" if it is the usual one
	path   string // as it is sent
	query  string
}

func (t *target) String() string {
	s := t.scheme + "://" + t.authority() + t.path
	if t.query != "" {
		s += "?" + t.query
	}
	return s
}

func (t *target) authority() string {
	if t.port == "" {
		return t.host
	}
	return t.host + ":" + t.port
}

// url returns the target for a request. Everything was checked.
func (t *target) url() (*url.URL, error) { return url.Parse(t.String()) }

// Errors about URLs. They go to users.
var (
	errScheme   = errors.New("the scheme is neither http nor https")
	errNoHost   = errors.New("there is no host")
	errUser     = errors.New("there is a user in front of the host")
	errHost     = errors.New("the host is not written in the usual way: lower case, no dot at the end, IP addresses in full, xn-- for other letters")
	errPort     = errors.New("the port is not a number that is left out where it is the usual one")
	errPath     = errors.New("the path has . or .. segments, backslashes or control characters, encoded or not")
	errFragment = errors.New("there is a fragment")
)

// targetOf makes a target of the parts of an address or URL. rest is host, port
// and path, without the slashes in front. Bytes that cannot be in a URL are
// encoded; nothing is decoded.
func targetOf(scheme, rest, query string) (*target, error) {
	authority, path, slash := strings.Cut(rest, "/")
	t := &target{scheme: scheme, path: "/", query: encode(query, queryBytes)}
	if slash {
		t.path = "/" + encode(path, pathBytes)
	}
	if scheme != "http" && scheme != "https" {
		return nil, errScheme
	}
	if err := t.setAuthority(authority); err != nil {
		return nil, err
	}
	if !cleanHost(t.host) {
		return nil, errHost
	}
	if !cleanPath(t.path) {
		return nil, errPath
	}
	return t, nil
}

// targetOfURL is targetOf for URLs of programs and redirects. These may write the
// usual port and upper-case letters.
func targetOfURL(u *url.URL) (*target, error) {
	switch {
	case u.User != nil:
		return nil, errUser
	case u.Opaque != "":
		return nil, errNoHost
	case u.Fragment != "":
		return nil, errFragment
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, ":")
	if at := len(host) - len(u.Port()); u.Port() != "" && u.Port() == usualPort(scheme) {
		host = host[:at-1]
	}
	return targetOf(scheme, host+u.EscapedPath(), u.RawQuery)
}

func usualPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// setAuthority takes host and port apart.
func (t *target) setAuthority(s string) error {
	if strings.Contains(s, "@") {
		return errUser
	}
	end := strings.IndexByte(s, ':')
	if strings.HasPrefix(s, "[") {
		end = strings.IndexByte(s, ']') + 1
		if end == 0 || end < len(s) && s[end] != ':' {
			return errHost
		}
	}
	t.host = s
	if end >= 0 && end < len(s) {
		t.host, t.port = s[:end], s[end+1:]
		if n, err := strconv.ParseUint(t.port, 10, 16); err != nil || n == 0 || t.port[0] == '0' || t.port[0] == '+' || t.port == usualPort(t.scheme) {
			return errPort
		}
	}
	if t.host == "" {
		return errNoHost
	}
	return nil
}

const (
	maxHost  = 253
	maxLabel = 63
)

// cleanHost reports whether a host is written in its one way, so that what is
// compared here is what is asked for.
func cleanHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner = strings.TrimSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		return err == nil && ip.Is6() && !ip.Is4In6() && ip.Zone() == "" && ip.String() == inner
	}
	if len(host) > maxHost {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !alphanumeric(c) && c != '-' && c != '_' || c >= 'A' && c <= 'Z' {
				return false
			}
		}
		last = label
	}
	// Resolvers take many things for numbers: 127.1, 0x7f.1, 2130706433.
	if last[0]-'0' <= 9 {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Is4() && ip.String() == host
	}
	return true
}

const (
	pathBytes  = "-._~!$&'()*+,;=:@/%"
	queryBytes = pathBytes + "?"
)

// encode percent-encodes all bytes but letters, digits and those in keep.
func encode(s, keep string) string {
	plain := func(c byte) bool { return alphanumeric(c) || strings.IndexByte(keep, c) >= 0 }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return string(b)
}

// maxDecode is how often a path is decoded to see what it may become. One that
// still changes then was written by somebody who wants to get past a rule.
const maxDecode = 4

// cleanPath reports whether a path stays below where it seems to be, for all who
// decode it, once or more often.
func cleanPath(path string) bool {
	if _, err := url.PathUnescape(path); err != nil {
		return false
	}
	for range maxDecode {
		for seg := range strings.SplitSeq(path, "/") {
			seg, _, _ = strings.Cut(seg, ";")
			if seg == "." || seg == ".." {
				return false
			}
		}
		if strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
			return false
		}
		next := decode(path)
		if next == path {
			return true
		}
		path = next
	}
	return false
}

// decode decodes what is an escape and leaves all else.
func decode(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// rule is an [Entry] as it is used.
type rule struct {
	scheme  string
	host    string // "*", "*.example.com", or as in a target
	port    string
	path    string // "" for all, else "/a/b"
	methods []string
	private bool
	headers http.Header
	poll    time.Duration
}

func (r *rule) setURL(s string) error {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return errors.New("write it like https://api.example.com/v1")
	}
	if strings.ContainsAny(rest, "?#") {
		return errors.New("leave out query and fragment")
	}
	wild := ""
	if bare, ok := strings.CutPrefix(rest, "*."); ok {
		wild, rest = "*.", bare
	} else if bare, ok := strings.CutPrefix(rest, "*"); ok {
		wild, rest = "*", "any"+bare
	}
	t, err := targetOf(scheme, rest, "")
	if err != nil {
		return err
	}
	r.scheme, r.host, r.port = t.scheme, t.host, t.port
	_, err = netip.ParseAddr(t.host)
	switch {
	case wild == "*" && t.host != "any", wild == "*." && (t.host[0] == '[' || err == nil):
		return errors.New("a wildcard stands for whole labels, as in *.example.com")
	case wild == "*":
		r.host = "*"
	case wild != "":
		r.host = wild + t.host
	}
	r.path = strings.TrimRight(t.path, "/")
	return nil
}

// fits reports whether the rule is about a target.
func (r *rule) fits(t *target) bool {
	if r.scheme != t.scheme || r.port != t.port {
		return false
	}
	if suffix, ok := strings.CutPrefix(r.host, "*"); ok {
		if !strings.HasSuffix(t.host, suffix) || len(t.host) <= len(suffix) {
			return false
		}
	} else if r.host != t.host {
		return false
	}
	below, ok := strings.CutPrefix(t.path, r.path)
	return ok && (below == "" || below[0] == '/')
}

func (r *rule) allows(method string) bool { return slices.Contains(r.methods, method) }
