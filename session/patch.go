package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Bounds of what a session may hold: a session goes along with each call that
// is made in it.
const (
	// MaxClaims is how many claims there may be, public and secret together.
	MaxClaims = 128
	// MaxSize is how many bytes of JSON they may be together.
	MaxSize = 16 << 10
	// MaxDepth is how deep a claim may be nested.
	MaxDepth = 16
	// MaxName is how many bytes the name of a claim, a subject or an id may have.
	MaxName = 256
	// MaxIdle is the longest time without use.
	MaxIdle = 366 * 24 * time.Hour
)

// Patch is a change of a session, as a handler asks for it. It has one JSON
// form, in the field ses of an answer.
type Patch struct {
	// Subject authenticates, or, if it points to "", takes that back.
	Subject *string `json:"subject,omitempty"`
	// Renew says that whoever it is has just proved it again: the session begins
	// anew under another id, as at a first log-in, and who has the old one gets
	// nothing of it. It is nothing for somebody who is not authenticated.
	Renew bool `json:"renew,omitempty"`
	// Set and Secret add claims or replace them. A claim that changes sides
	// leaves the other.
	Set    Claims `json:"set,omitempty"`
	Secret Claims `json:"secret,omitempty"`
	// Delete removes claims.
	Delete []string `json:"delete,omitempty"`
	// Idle is how long after its last use the session ends, in seconds. 0 leaves
	// it as it is.
	Idle float64 `json:"idle,omitempty"`
	// End ends the session: the client is nobody again.
	End bool `json:"end,omitempty"`
}

// Empty tells whether p changes nothing.
func (p *Patch) Empty() bool {
	return p.Subject == nil && !p.Renew && len(p.Set) == 0 && len(p.Secret) == 0 && len(p.Delete) == 0 && p.Idle == 0 && !p.End
}

// Merge adds a later change.
func (p *Patch) Merge(q Patch) {
	add := func(to *Claims, c, other Claims) {
		for name, v := range c {
			if *to == nil {
				*to = make(Claims)
			}
			(*to)[name] = v
			delete(other, name)
		}
	}
	for _, name := range q.Delete {
		delete(p.Set, name)
		delete(p.Secret, name)
	}
	p.Delete = append(p.Delete, q.Delete...)
	add(&p.Set, q.Set, p.Secret)
	add(&p.Secret, q.Secret, p.Set)
	if q.Subject != nil {
		p.Subject = q.Subject
	}
	if q.Idle != 0 {
		p.Idle = q.Idle
	}
	p.Renew = p.Renew || q.Renew
	p.End = p.End || q.End
}

// Apply returns what p makes of s: another session with the same id, or, when
// somebody logs in or out, or p renews it, with a new one, so that who knew the id before knows
// nothing. That one begins now, and where it ends is open. What was known about
// somebody goes when they log out or somebody else logs in, but for what p says;
// what was known before anybody logged in stays. Apply fails with
// CodeInvalidInput when the result would be over the bounds. End is not its
// business.
func (p Patch) Apply(s *Session) (*Session, error) {
	t := s.Copy()
	if t.Anonymous() {
		t.ID, t.Since = NewID(), time.Now()
	}
	subject := t.Subject
	if p.Subject != nil {
		subject = *p.Subject
	}
	if subject != t.Subject || p.Renew && t.Authenticated() {
		if t.Authenticated() && subject != t.Subject {
			t.Public, t.Secret = nil, nil
		}
		t = &Session{ID: NewID(), Subject: subject, Public: t.Public, Secret: t.Secret, Since: time.Now(), Idle: t.Idle, Held: t.Held}
	}
	for _, name := range p.Delete {
		delete(t.Public, name)
		delete(t.Secret, name)
	}
	put(&t.Public, p.Set, t.Secret)
	put(&t.Secret, p.Secret, t.Public)
	switch {
	case p.Idle < 0 || p.Idle > MaxIdle.Seconds():
		return nil, tooMuch("its time without use is below 0 or above a year")
	case p.Idle > 0:
		t.Idle = time.Duration(p.Idle * float64(time.Second))
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	return t, nil
}

func put(to *Claims, c, other Claims) {
	if *to == nil && len(c) > 0 {
		*to = make(Claims, len(c))
	}
	for name, v := range c {
		(*to)[name] = v
		delete(other, name)
	}
}

// Check tells whether the session is within the bounds; its error has
// CodeInvalidInput. Sessions that come from outside are checked before they are
// used.
func (s *Session) Check() error {
	switch {
	case len(s.ID) > MaxName || len(s.Subject) > MaxName || len(s.Issuer) > message.MaxAddress:
		return tooMuch("its id, subject or issuer is too long")
	case len(s.Public)+len(s.Secret) > MaxClaims:
		return tooMuch(fmt.Sprintf("it has more than %d claims", MaxClaims))
	}
	size := 0
	for i, c := range []Claims{s.Public, s.Secret} {
		for name, v := range c {
			if name == "" || len(name) > MaxName {
				return tooMuch(fmt.Sprintf("the name of a claim has no letter, or more than %d", MaxName))
			}
			if deep(v, MaxDepth) {
				return tooMuch(fmt.Sprintf("the claim %.64q is nested more than %d deep", name, MaxDepth))
			}
			b, err := json.Marshal(v)
			if err != nil {
				return tooMuch(fmt.Sprintf("the claim %.64q is not JSON", name))
			}
			size += len(name) + len(b)
			if _, both := s.Secret[name]; both && i == 0 {
				return tooMuch(fmt.Sprintf("the claim %.64q is both public and secret", name))
			}
		}
	}
	if size > MaxSize {
		return tooMuch(fmt.Sprintf("its claims have more than %d bytes", MaxSize))
	}
	return nil
}

// deep tells whether v is nested more than n deep.
func deep(v any, n int) bool {
	if n == 0 {
		return true
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if deep(e, n-1) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if deep(e, n-1) {
				return true
			}
		}
	}
	return false
}

var errTooMuch = errors.New("the session is over the bounds")

func tooMuch(what string) error {
	return &message.Error{
		Code: message.CodeInvalidInput, Message: errTooMuch.Error() + ": " + what, Path: "ses",
		Hint: "Keep what is large in a database, and in the session what finds it.",
	}
}
