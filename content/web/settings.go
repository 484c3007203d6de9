package web

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
)

// Defaults of [Settings].
const (
	// DefaultMaxBytes is more than a page can show of a content.
	DefaultMaxBytes = 4 << 20
	// DefaultTimeout is the limit for redirects and all together.
	DefaultTimeout = 10 * time.Second
	// DefaultPerHost is what browsers allow themselves, and a bit more.
	DefaultPerHost = 8
	// DefaultCacheBytes bounds what is kept for validators.
	DefaultCacheBytes = 32 << 20
	// MinPoll keeps a node from being a burden to others.
	MinPoll = time.Second
)

// Settings say what may be fetched. Without an entry in Allow that is nothing.
type Settings struct {
	// Allow are the places that may be fetched. The first entry that fits counts.
	Allow []Entry `json:"allow,omitempty"`
	// MaxBytes is how large an answer may be, unpacked. Default: 4 MiB.
	MaxBytes int `json:"maxBytes,omitempty"`
	// Timeout is how long an answer may take, redirects included. Default: "10s".
	Timeout duration.Duration `json:"timeout,omitempty"`
	// PerHost is how many requests to one host may be under way at a time; others
	// wait. Default: 8.
	PerHost int `json:"perHost,omitempty"`
	// CacheBytes is how much is kept of answers, to be asked for again only if they
	// changed. Default: 32 MiB.
	CacheBytes int `json:"cacheBytes,omitempty"`

	// Logger gets what is refused on the way. Default: slog.Default.
	Logger *slog.Logger `json:"-"`
	// Resolver finds the addresses of hosts. Default: net.DefaultResolver.
	Resolver *net.Resolver `json:"-"`
	// RootCAs are trusted in place of those of the system, if not nil.
	RootCAs *x509.CertPool `json:"-"`
}

// Entry is a place that may be fetched.
type Entry struct {
	// URL is scheme, host, port unless it is the usual one, and the beginning of the
	// path, by whole segments: "https://api.example.com/v1" allows /v1 and all below.
	// The host may be "*.example.com", which is every name below example.com but not
	// itself, or "*".
	URL string `json:"url"`
	// Methods are the methods that are allowed. Parameters need "POST". Default:
	// "GET".
	Methods []string `json:"methods,omitempty"`
	// Private allows addresses that are not public: of this machine, its network,
	// its cloud's metadata.
	Private bool `json:"private,omitempty"`
	// Headers are sent along, such as {"Authorization":"Bearer …"}. They are not
	// shown anywhere.
	Headers map[string]string `json:"headers,omitempty" secret:"true"`
	// Poll is how often what is watched is asked for, at least "1s". Default: never;
	// it cannot be watched, only got.
	Poll duration.Duration `json:"poll,omitempty"`
}

// withDefaults returns settings in which nothing is left to its default.
func (s Settings) withDefaults() Settings {
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
	if s.PerHost == 0 {
		s.PerHost = DefaultPerHost
	}
	if s.CacheBytes == 0 {
		s.CacheBytes = DefaultCacheBytes
	}
	s.Timeout = duration.Duration(s.Timeout.Or(DefaultTimeout))
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	return s
}

// Check returns all that is wrong, each with the name of its field. It is nil if
// the settings are good.
func (s *Settings) Check() error {
	var errs []error
	for _, n := range []struct {
		field string
		value int
	}{{"maxBytes", s.MaxBytes}, {"perHost", s.PerHost}, {"cacheBytes", s.CacheBytes}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative", n.field, n.value))
		}
	}
	for i := range s.Allow {
		if _, err := s.Allow[i].rule(); err != nil {
			errs = append(errs, fmt.Errorf("allow[%d].%w", i, err))
		}
	}
	return errors.Join(errs...)
}

// methods that there are for contents.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// ownHeaders are headers that the client sets by itself, or that would change how
// an answer is to be read.
var ownHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Accept-Encoding", "Range",
	"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Expect", "Keep-Alive",
	"Proxy-Authorization", "Proxy-Connection", "Proxy-Authenticate", "Content-Type",
}

// rule returns the entry as it is used. Its errors begin with the name of the
// field.
func (e *Entry) rule() (*rule, error) {
	r := &rule{methods: e.Methods, private: e.Private, poll: time.Duration(e.Poll)}
	if err := r.setURL(e.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if len(r.methods) == 0 {
		r.methods = []string{http.MethodGet}
	}
	for _, m := range r.methods {
		if !slices.Contains(methods, m) {
			return nil, fmt.Errorf("methods: %q is none of %s", m, strings.Join(methods, ", "))
		}
	}
	if r.host == "*" && r.private {
		return nil, errors.New(`private: every host together with private addresses is everything; name the hosts in "url"`)
	}
	if r.poll != 0 && r.poll < MinPoll {
		return nil, fmt.Errorf("poll: %v is less than %v", r.poll, MinPoll)
	}
	r.headers = make(http.Header, len(e.Headers))
	for name, value := range e.Headers {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return nil, fmt.Errorf("headers: %q is not the name of a header", name)
		case slices.Contains(ownHeaders, key):
			return nil, fmt.Errorf("headers: %s cannot be set", key)
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			return nil, fmt.Errorf("headers: the value of %s has a control character", key)
		}
		r.headers.Set(key, value)
	}
	return r, nil
}

// isToken reports whether s can be the name of a header.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !alphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func alphanumeric(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a'
}
