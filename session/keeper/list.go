package keeper

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/session"
)

// MaxList is how many sessions a list has at most.
const MaxList = 1000

// Filter says which sessions to list. The zero value is all.
type Filter struct {
	// Subject is whose; "" is everybody's.
	Subject string `json:"subject,omitempty"`
	// Session is one id.
	Session string `json:"session,omitempty"`
	// Limit is how many at most; 0, and more than that, is [MaxList].
	Limit int `json:"limit,omitempty"`
}

// Match tells whether a session is one of those.
func (f *Filter) Match(s *session.Session) bool {
	return !s.Anonymous() && (f.Subject == "" || f.Subject == s.Subject) && (f.Session == "" || f.Session == s.ID)
}

// Info is what an administrator sees of a session: no secret claims.
type Info struct {
	ID      string         `json:"id"`
	Subject string         `json:"subject,omitempty"`
	Issuer  string         `json:"issuer,omitempty"`
	Public  session.Claims `json:"public,omitempty"`
	Since   time.Time      `json:"since,omitzero"`
	Expires time.Time      `json:"expires,omitzero"`
	Limit   time.Time      `json:"limit,omitzero"`
	// Held tells that the nodes keep it.
	Held bool `json:"held,omitempty"`
}

// InfoOf returns what an administrator sees of s.
func InfoOf(s *session.Session) Info {
	return Info{
		ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: s.Public,
		Since: s.Since, Expires: s.Expires, Limit: s.Limit, Held: s.Held,
	}
}

// List returns the sessions that the nodes keep, oldest first, and those in
// tokens that connections of this node have. It goes through the whole store,
// unless it is about one session.
func (k *Keeper) List(ctx context.Context, f Filter) ([]Info, error) {
	if f.Limit <= 0 || f.Limit > MaxList {
		f.Limit = MaxList
	}
	var out []Info
	add := func(s *session.Session) bool {
		if f.Match(s) && !k.Revoked(s) {
			out = append(out, InfoOf(s))
		}
		return len(out) < f.Limit
	}
	for _, s := range k.track.tokens() {
		if !add(s) {
			break
		}
	}
	switch {
	case len(out) >= f.Limit:
	case f.Session != "":
		r, err := k.store.Get(ctx, f.Session)
		if err == nil {
			add(r.Session)
		} else if !errors.Is(err, ErrNotFound) {
			return nil, k.storeError(err)
		}
	default:
		for r, err := range k.store.All(ctx) {
			if err != nil {
				return nil, k.storeError(err)
			}
			if !add(r.Session) {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b Info) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// tokens returns the sessions of connections that no store has, each id once.
func (t *tracker) tokens() []*session.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*session.Session
	for _, l := range t.byID {
		if !l.session.Held {
			out = append(out, l.session)
		}
	}
	return out
}
