package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/login"
	_ "github.com/ropewalk/ropewalk/login/drivers" // of the databases that user tables may be in
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// loginStart is how long the database of users may take to answer at first.
const loginStart = 15 * time.Second

// logIn has a node serve login:/, if the configuration has a user table.
func (n *runningNode) logIn(ctx context.Context, cfg *login.Config) error {
	if !cfg.On() {
		return nil
	}
	l, err := login.New(*cfg, login.Env{
		Logger: n.Logger(), Registry: n.Registry(), Event: func(e login.Event) { n.Record(loginEvent(&e)) },
		Revoke: func(ctx context.Context, subject string) error {
			return n.RevokeSessions(ctx, keeper.Revocation{Subject: subject, Why: "logged out everywhere"})
		},
	})
	if err != nil {
		if e := message.AsError(err); e.Path != "" {
			return fmt.Errorf("login.%s: %w", e.Path, err)
		}
		return fmt.Errorf("login: %w", err)
	}
	n.closers = append(n.closers, l.Close)
	ctx, cancel := context.WithTimeout(ctx, loginStart)
	defer cancel()
	if err := l.Start(ctx); err != nil {
		return fmt.Errorf("login.users: %w", err)
	}
	n.AskBeforeRefresh(l.Active)
	return n.ServeOwn(l.Service())
}

// loginEvent is what the audit log gets to see of a try to log in.
func loginEvent(e *login.Event) audit.Event {
	outcome := audit.Refused
	if e.Outcome == login.OutcomeOK {
		outcome = audit.Done
	}
	return audit.Event{
		Time: e.Time, Kind: audit.KindLogin, Outcome: outcome, Address: e.Kind, Detail: e.Reason,
		Who: audit.Who{Subject: e.Subject, Session: e.Session, Client: e.Client, IP: e.Addr},
	}
}
