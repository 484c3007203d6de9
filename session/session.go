// Package session says who is at the other end of a connection: an identity
// and claims about it. It does no I/O. How sessions get into tokens is the
// business of package session/token, how they begin and end that of package
// session/keeper, and what they allow that of package policy.
//
//	s := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": 7})
//	s.Authenticated()   // true
//	s.Claim("role")     // "editor", true
//	t, err := session.Patch{Set: session.Claims{"lang": "de"}}.Apply(s)
package session

import (
	"crypto/rand"
	"encoding/base32"
	"maps"
	"strings"
	"sync/atomic"
	"time"
)

// Claims are what is known about somebody, by name. Values are what
// encoding/json makes of JSON: nil, bool, float64, string, []any and
// map[string]any. The claims of a Session must not be changed.
type Claims map[string]any

// Session is what is known, at one moment, about who is at the other end. It
// never changes, so any goroutine may read it at any time: a change makes
// another Session, see [Patch]. Make one with [New] or [Anonymous].
type Session struct {
	// ID tells sessions apart. It is no secret, and no proof of anything; it
	// changes when somebody logs in or out. Empty: nobody has a session.
	ID string
	// Subject is who it is, in the words of whoever authenticated them. Empty:
	// not authenticated.
	Subject string
	// Issuer is who said so: empty for this mesh itself, else the URL of
	// another issuer of tokens.
	Issuer string
	// Public are claims that the client may see.
	Public Claims
	// Secret are claims that only nodes, rules and trusted services see. No name
	// is in both.
	Secret Claims
	// Since is when it began.
	Since time.Time
	// Expires is when it ends if it is not used or refreshed. Zero: never.
	Expires time.Time
	// Idle is how long after a use it ends; each use moves Expires. Zero: use
	// moves nothing.
	Idle time.Duration
	// Limit is when it ends however much it is used. Zero: no such time.
	Limit time.Time
	// Held says that its state is kept by the nodes, and the token only names it.
	Held bool
	// Revision is which state of a held session this is: each change has a
	// greater one.
	Revision uint64

	memo  atomic.Pointer[any]
	wires [2]atomic.Pointer[[]byte]
}

var anonymous = &Session{}

// Anonymous is the session of somebody about whom nothing is known. It is one
// and the same for all of them.
func Anonymous() *Session { return anonymous }

// New returns a session that begins now, with an id of its own. The claims
// belong to it from now on; nil is none.
func New(subject string, public, secret Claims) *Session {
	return &Session{ID: NewID(), Subject: subject, Public: public, Secret: secret, Since: time.Now()}
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID returns an id of 128 random bits: 26 lower-case letters and digits.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return idEncoding.EncodeToString(b[:])
}

// Authenticated tells whether it is known who is there.
func (s *Session) Authenticated() bool { return s.Subject != "" }

// Anonymous tells whether nothing is known, not even that it is the same as
// before.
func (s *Session) Anonymous() bool { return s.ID == "" }

// Claim returns a claim, public or secret.
func (s *Session) Claim(name string) (any, bool) {
	if v, ok := s.Public[name]; ok {
		return v, true
	}
	v, ok := s.Secret[name]
	return v, ok
}

// Ends is when it ends if nothing happens: the earlier of Expires and Limit.
// Zero: never.
func (s *Session) Ends() time.Time {
	if s.Limit.IsZero() || !s.Expires.IsZero() && s.Expires.Before(s.Limit) {
		return s.Expires
	}
	return s.Limit
}

// Expired tells whether it has ended by now.
func (s *Session) Expired(now time.Time) bool {
	return !s.Expires.IsZero() && !now.Before(s.Expires) || !s.Limit.IsZero() && !now.Before(s.Limit)
}

// Copy returns a session that may be changed until somebody else has it. Its
// claims are its own as far as names go; their values are shared.
func (s *Session) Copy() *Session {
	return &Session{
		ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: maps.Clone(s.Public), Secret: maps.Clone(s.Secret),
		Since: s.Since, Expires: s.Expires, Idle: s.Idle, Limit: s.Limit, Held: s.Held, Revision: s.Revision,
	}
}

// Memo is what SetMemo was given last, or nil: room for what follows from this
// session and is asked for often, such as decisions of rules.
func (s *Session) Memo() any {
	if p := s.memo.Load(); p != nil {
		return *p
	}
	return nil
}

// SetMemo keeps v with the session. Of several that are set at the same time
// one stays.
func (s *Session) SetMemo(v any) { s.memo.Store(&v) }

// String tells who it is, for logs. It says nothing of claims.
func (s *Session) String() string {
	switch {
	case s.Anonymous():
		return "anonymous"
	case !s.Authenticated():
		return s.ID
	}
	return strings.ToValidUTF8(s.Subject, "?") + "/" + s.ID
}
