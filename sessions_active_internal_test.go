package ropewalk

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// A user who may not log in any more does not stay by refreshing or using a
// session, at this connection or another.
func TestUsersAreAskedForBeforeRefresh(t *testing.T) {
	t.Parallel()
	for _, form := range []string{keeper.FormToken, keeper.FormServer} {
		for _, how := range []string{"refresh", "use"} {
			t.Run(form+" "+how, func(t *testing.T) {
				t.Parallel()
				n, p, _ := keeping(t, form)
				other := n.x.Attach(new(nowhere), 1<<20)
				var answer error
				may := true
				n.AskBeforeRefresh(func(_ context.Context, s *session.Session) (bool, error) {
					if s.Subject != "anna" {
						t.Errorf("asked about %v", s)
					}
					return may, answer
				})
				logIn(t, n, p, "anna")
				logIn(t, n, other, "anna")
				last := func() error {
					if how == "refresh" {
						_, err := n.sessions.Refresh(t.Context(), p)
						return err
					}
					n.sessions.Used(p, p.Session(), time.Now().Add(30*time.Minute))
					p.LockSession()
					p.UnlockSession()
					return nil
				}
				if err := last(); err != nil || p.Session().Subject != "anna" {
					t.Fatal(p.Session(), err)
				}
				before := p.Session()
				answer = errors.New("the database is away")
				if err := last(); how == "refresh" && message.CodeOf(err) != message.CodeServiceDown {
					t.Error(err)
				}
				if now := p.Session(); now != before {
					t.Errorf("it is %v and ends at %v", now, now.Ends())
				}
				n.sessions.pause.Store(0)
				may, answer = false, nil
				// Only a use that is due asks.
				late := p.Session().Copy()
				late.Expires = time.Now().Add(time.Minute)
				p.SetSession(late)
				if err := last(); how == "refresh" && message.CodeOf(err) != message.CodeUnauthenticated {
					t.Error(err)
				}
				if !p.Session().Anonymous() || !other.Session().Anonymous() {
					t.Errorf("they go on as %v and %v", p.Session(), other.Session())
				}
			})
		}
	}
}
