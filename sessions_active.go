package ropewalk

import (
	"context"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// Active tells whether a session may go on, or its subject may not log in any
// more. It may block; the session ends by itself if it goes on not to answer.
type Active func(ctx context.Context, s *session.Session) (bool, error)

// AskBeforeRefresh has f asked before the session of an authenticated client is
// refreshed, or lasts longer because it is used. If it says no, all sessions of the
// subject end, at all nodes. If it fails the session lasts no longer than it does.
// It is for who knows the users, such as package login; nil asks nobody.
func (n *Node) AskBeforeRefresh(f Active) {
	switch {
	case n.sessions == nil:
	case f == nil:
		n.sessions.active.Store(nil)
	default:
		n.sessions.active.Store(&f)
	}
}

var errInactive = message.NewError(message.CodeUnauthenticated, "this user may not log in any more", "Ask whoever looks after the users.")

// mayGoOn tells whether a session may last longer, and ends all of its subject if
// not.
func (s *sessions) mayGoOn(ctx context.Context, v *session.Session) error {
	f := s.active.Load()
	if f == nil || !v.Authenticated() {
		return nil
	}
	ok, err := (*f)(ctx, v)
	if err != nil {
		e := message.NewError(message.CodeServiceDown, "it cannot be known at this moment whether the user may go on", "Try again in a moment.")
		e.Retryable, e.Cause = true, err
		return e
	}
	if ok {
		return nil
	}
	if err := s.keeper.Revoke(ctx, keeper.Revocation{Subject: v.Subject, Why: errInactive.Message}); err != nil {
		return err
	}
	return errInactive
}
