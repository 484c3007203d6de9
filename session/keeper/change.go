package keeper

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// tries is how often a change of a session is tried that others change, too.
	tries = 100
	// pause is the longest wait between two tries.
	pause = 5 * time.Millisecond
	// touches is how many times in its idle time a session is written because it
	// is used.
	touches = 10
)

// Change has a session changed as p says, and returns what it is then. If
// somebody logs in or out the session gets another id, and the old one ends. A
// session of form "server" is changed where it is kept: if it has other changes
// that s does not show, they stay. Where p ends the session, the anonymous one
// is returned. s may be anonymous: then one begins. Change may block for the
// store.
func (k *Keeper) Change(
	ctx context.Context, s *session.Session, p session.Patch,
) (next *session.Session, credential string, err error) {
	switch {
	case p.End:
		return session.Anonymous(), "", k.End(ctx, s)
	case p.Empty():
		return s, "", nil
	case s.Held:
		return k.changeHeld(ctx, s.ID, p)
	}
	if err := k.alive(s); err != nil {
		return nil, "", err
	}
	next, err = p.Apply(s)
	if err != nil {
		return nil, "", err
	}
	moved := next.ID != s.ID
	if moved {
		k.afterRevocation(next)
	}
	if next, credential, err = k.begin(ctx, next); err != nil {
		return nil, "", err
	}
	if moved && !s.Anonymous() {
		err = k.move(s)
	}
	return next, credential, err
}

// move ends a session whose owner goes on under another id. The old one must
// not be worth anything: somebody else may know it.
func (k *Keeper) move(s *session.Session) error {
	return k.revoke([]Revocation{{Session: s.ID, Until: k.forget(s), Why: "it goes on under another id"}}, k.tell.move)
}

func (k *Keeper) changeHeld(ctx context.Context, id string, p session.Patch) (*session.Session, string, error) {
	var next, old *session.Session
	moved := false
	r, err := k.update(ctx, id, func(s *session.Session, now time.Time) (*session.Session, error) {
		t, err := p.Apply(s)
		if err != nil {
			return nil, err
		}
		next, old, moved = t, s, t.ID != s.ID
		if !moved {
			t.Expires = k.expiry(t, now)
		}
		return t, nil
	})
	if err != nil {
		return nil, "", err
	}
	if !moved {
		return r.Session, "", nil
	}
	k.afterRevocation(next)
	ended := k.move(old) // it is gone from the store; this is for the connections that have it
	next, credential, err := k.begin(ctx, next)
	if err != nil {
		return nil, "", err
	}
	return next, credential, ended
}

// update replaces a session in the store by what f makes of it, as often as it
// takes. If f gives it another id, it is only taken out of the store; if f
// returns it as it is, nothing is written.
func (k *Keeper) update(
	ctx context.Context, id string, f func(s *session.Session, now time.Time) (*session.Session, error),
) (*Record, error) {
	for try := range tries {
		r, err := k.store.Get(ctx, id)
		if err != nil {
			return nil, k.storeError(err)
		}
		if err := k.alive(r.Session); err != nil {
			return nil, err
		}
		next, err := f(r.Session, time.Now())
		if err != nil || next == r.Session {
			return r, err
		}
		if next.ID != id {
			err = k.store.Delete(ctx, id, r.Session.Revision)
		} else {
			r, err = k.store.Update(ctx, r.with(next))
		}
		switch {
		case err == nil:
			if next.ID == id {
				k.tell.change(r.Session)
			}
			return r, nil
		case !errors.Is(err, ErrChanged):
			return nil, k.storeError(err)
		}
		if err := wait(ctx, min(pause, time.Duration(try)*pause/10)); err != nil {
			return nil, err
		}
	}
	return nil, k.storeError(ErrChanged)
}

// wait waits up to d.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		e := message.NewError(message.CodeDeadlineExceeded, "the session is changed by too many at once", "")
		e.Cause = context.Cause(ctx)
		return e
	}
}

// Stale tells whether a use of s now is worth a [Keeper.Touch]. It is cheap
// enough to be asked for each message.
func (k *Keeper) Stale(s *session.Session, now time.Time) bool {
	if s.Idle <= 0 || s.ID == "" {
		return false
	}
	return k.expiry(s, now).Sub(s.Expires) >= s.Idle/touches
}

// Touch says that a session is used: if it has an idle time, it ends later. It
// does something ten times in the idle time at most, see [Keeper.Stale]; else
// it returns s. It may block for the store.
func (k *Keeper) Touch(ctx context.Context, s *session.Session) (next *session.Session, credential string, err error) {
	if !k.Stale(s, time.Now()) {
		return s, "", nil
	}
	return k.extend(ctx, s, k.Stale)
}

// Refresh has a session end later: after its idle time or lifetime from now,
// and at its limit at the latest. It may block for the store.
func (k *Keeper) Refresh(ctx context.Context, s *session.Session) (next *session.Session, credential string, err error) {
	return k.extend(ctx, s, func(s *session.Session, now time.Time) bool {
		return k.expiry(s, now).After(s.Expires)
	})
}

// extend moves the end of a session that is due.
func (k *Keeper) extend(
	ctx context.Context, s *session.Session, due func(*session.Session, time.Time) bool,
) (*session.Session, string, error) {
	if s.Anonymous() {
		return s, "", nil
	}
	if err := k.alive(s); err != nil && !s.Held { // the store knows better
		return nil, "", err
	}
	later := func(s *session.Session, now time.Time) (*session.Session, error) {
		if !due(s, now) {
			return s, nil
		}
		t := s.Copy()
		t.Expires = k.expiry(t, now)
		return t, nil
	}
	if s.Held {
		r, err := k.update(ctx, s.ID, later)
		if err != nil {
			return nil, "", err
		}
		return r.Session, "", nil
	}
	next := s.Copy()
	if k.codec == nil { // a session that somebody else has made
		return s, "", nil
	}
	k.bound(next)
	next, err := later(next, time.Now())
	if err != nil {
		return nil, "", err
	}
	if !next.Expires.After(s.Expires) {
		return s, "", nil
	}
	return k.encode(next)
}

// End ends a session: its credential is worth nothing from now on, on no node.
// That an anonymous one, or one that has ended, is ended is no error.
func (k *Keeper) End(ctx context.Context, s *session.Session) error {
	if s.Anonymous() {
		return nil
	}
	return k.Revoke(ctx, Revocation{Session: s.ID, Until: k.forget(s), Why: "logged out"})
}
