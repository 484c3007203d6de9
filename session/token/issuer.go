package token

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// retryFetch is how long one fetch holds off the next: a flood of tokens with
	// unknown kids must not become a flood of requests.
	retryFetch = 10 * time.Second
	// maxStale is how long keys are used when their issuer is down. A key that
	// was taken back must not live on for ever.
	maxStale = 24 * time.Hour
)

// issuer is another issuer and what was fetched of its keys.
type issuer struct {
	cfg     Issuer
	algs    []jose.SignatureAlgorithm
	subject string
	prefix  string
	refresh time.Duration

	keys atomic.Pointer[keySet] // nil: never fetched

	mu     sync.Mutex
	flight *flight   // the last fetch, nil: none yet
	tried  time.Time // when that began
}

// flight is a fetch. Err is set before done is closed.
type flight struct {
	done chan struct{}
	err  error
}

func (f *flight) running() bool {
	select {
	case <-f.done:
		return false
	default:
		return true
	}
}

// keySet is the keys of an issuer at one time. It never changes.
type keySet struct {
	keys []foreignKey
	at   time.Time
}

type foreignKey struct {
	kid    string
	alg    string // what the issuer says it is for; may be empty
	verify any
}

// IssuerInfo is what may be told about another issuer.
type IssuerInfo struct {
	URL  string    `json:"url"`
	Keys []KeyInfo `json:"keys"`
	// Fetched is when its keys were fetched the last time; zero for never.
	Fetched time.Time `json:"fetched,omitzero"`
	// Problem is why the last attempt failed.
	Problem string `json:"problem,omitempty"`
}

func newIssuer(cfg Issuer) *issuer {
	i := &issuer{
		cfg: cfg, algs: defaultAlgorithms, subject: cfg.SubjectClaim, prefix: cfg.Prefix,
		refresh: cfg.Refresh.Or(defaultRefresh),
	}
	if len(cfg.Algorithms) > 0 {
		i.algs = nil
		for _, a := range cfg.Algorithms {
			i.algs = append(i.algs, jose.SignatureAlgorithm(a))
		}
	}
	if i.subject == "" {
		i.subject = "sub"
	}
	if i.prefix == "" {
		i.prefix = cfg.URL + "|"
	}
	return i
}

func (i *issuer) info() IssuerInfo {
	info := IssuerInfo{URL: i.cfg.URL, Keys: []KeyInfo{}}
	if set := i.keys.Load(); set != nil {
		info.Fetched = set.at
		for _, k := range set.keys {
			info.Keys = append(info.Keys, KeyInfo{Kid: k.kid, Alg: k.alg, State: "verifies", Origin: i.cfg.URL})
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.flight != nil && !i.flight.running() && i.flight.err != nil {
		info.Problem = i.flight.err.Error()
	}
	return info
}

// mayFetch tells whether a fetch now could bring something: one is under way, or
// the last is some time ago.
func (i *issuer) mayFetch(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.flight == nil || i.flight.running() || now.Sub(i.tried) >= retryFetch
}

// theirs verifies a token of another issuer.
func (c *Codec) theirs(i *issuer, p *parts, tok string, now time.Time) (*session.Session, *message.Error) {
	alg := jose.SignatureAlgorithm(p.header.Alg)
	switch {
	case !slices.Contains(i.algs, alg):
		return nil, refuse(ReasonAlgorithm)
	case !accessType(p.header.Typ):
		return nil, refuse(ReasonMalformed)
	}
	set := i.keys.Load()
	if set == nil || now.Sub(set.at) > maxStale {
		return nil, need(i.cfg.URL)
	}
	if now.Sub(set.at) > i.refresh && i.mayFetch(now) {
		c.start(i) // and use what is there meanwhile
	}
	named := set.named(p.header.Kid)
	if len(named) == 0 {
		if i.mayFetch(now) {
			return nil, need(i.cfg.URL)
		}
		return nil, refuse(ReasonUnknownKey)
	}
	named = slices.DeleteFunc(named, func(k foreignKey) bool { return k.alg != "" && k.alg != string(alg) || !suits(alg, k.verify) })
	if len(named) == 0 {
		return nil, refuse(ReasonAlgorithm)
	}
	for _, k := range named {
		if body, ok := verify(tok, alg, k.verify); ok {
			return i.session(body, signed(tok), now)
		}
	}
	return nil, refuse(ReasonSignature)
}

// named returns the keys with a kid. A token may leave it out if there is only
// one key.
func (s *keySet) named(kid string) []foreignKey {
	if kid == "" && len(s.keys) == 1 {
		return slices.Clone(s.keys)
	}
	var found []foreignKey
	for _, k := range s.keys {
		if k.kid == kid && kid != "" {
			found = append(found, k)
		}
	}
	return found
}

// accessType tells whether a token says that it speaks for somebody. Others, such as
// those that tell of a log-out, have the same issuer, audience and keys; of those
// that do not say what they are, such have "events".
func accessType(t string) bool {
	t = strings.ToLower(t)
	return slices.Contains([]string{"", "jwt", "at+jwt", typ}, strings.TrimPrefix(t, "application/"))
}

// signed returns what a signature signs: the token without the signature, which
// can often be written in more than one way.
func signed(tok string) string { return tok[:strings.LastIndexByte(tok, '.')] }

// session makes a session of the payload of another issuer's token.
func (i *issuer) session(body []byte, id string, now time.Time) (*session.Session, *message.Error) {
	var all map[string]any
	if !utf8.Valid(body) || strict.Unmarshal(body, &all) != nil {
		return nil, refuse(ReasonMalformed)
	}
	if all["iss"] != i.cfg.URL {
		return nil, refuse(ReasonIssuer)
	}
	if !meant(all["aud"], i.cfg.Audience) {
		return nil, refuse(ReasonAudience)
	}
	iat, ok1 := number(all, "iat")
	nbf, ok2 := number(all, "nbf")
	exp, ok3 := number(all, "exp")
	subject, ok4 := all[i.subject].(string)
	if iat == nil {
		iat = nbf
	}
	// Of a token that does not tell how old it is nobody knows whether a log-out
	// everywhere is about it.
	if !ok1 || !ok2 || !ok3 || !ok4 || iat == nil || subject == "" || !plain(subject) || all["events"] != nil {
		return nil, refuse(ReasonMalformed)
	}
	t, err := timesOf(iat, nbf, exp, now)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(id))
	s := &session.Session{
		ID: idEncoding.EncodeToString(sum[:16]), Subject: i.prefix + subject, Issuer: i.cfg.URL,
		Public: pick(all, i.cfg.Public), Secret: pick(all, i.cfg.Secret),
		Since: t.issued, Expires: t.expires, Limit: t.expires,
	}
	return bounded(s, now)
}

// idEncoding makes ids that look like those of package session.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// meant tells whether aud, a text or a list of them, has ours.
func meant(aud any, ours string) bool {
	if list, ok := aud.([]any); ok {
		return slices.Contains(list, any(ours))
	}
	return aud == ours
}

// number returns a claim that is a number or missing.
func number(all map[string]any, name string) (n *float64, ok bool) {
	v, there := all[name]
	if !there {
		return nil, true
	}
	f, ok := v.(float64)
	return &f, ok
}

func pick(all map[string]any, names []string) session.Claims {
	var c session.Claims
	for _, name := range names {
		if v, ok := all[name]; ok {
			if c == nil {
				c = make(session.Claims, len(names))
			}
			c[name] = v
		}
	}
	return c
}
