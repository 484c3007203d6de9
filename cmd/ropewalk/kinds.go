package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/login"
	_ "github.com/ropewalk/ropewalk/login/drivers" // of the databases that user tables may be in
	"github.com/ropewalk/ropewalk/session/keeper"
)

// loginStart is how long the database of users may take to answer at first.
const loginStart = 15 * time.Second

// kinds are the built-in services that this program has besides those of every
// node.
func kinds() map[string]ropewalk.Kind {
	return map[string]ropewalk.Kind{login.Name: loginKind}
}

// loginKind makes the service that logs people in.
func loginKind(n *ropewalk.Node, name string, settings json.RawMessage) (*ropewalk.Service, func() error, error) {
	if name != login.Name {
		return nil, nil, fmt.Errorf("a service of this kind has to be called %q, not %q", login.Name, name)
	}
	var cfg login.Config
	d := json.NewDecoder(bytes.NewReader(settings))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return nil, nil, err
	}
	l, err := login.New(cfg, login.Env{
		Logger: n.Logger(), Registry: n.Registry(), Event: func(e login.Event) { n.Record(loginEvent(&e)) },
		Revoke: func(ctx context.Context, subject string) error {
			return n.RevokeSessions(ctx, keeper.Revocation{Subject: subject, Why: "logged out everywhere"})
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), loginStart)
	defer cancel()
	if err := l.Start(ctx); err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	return l.Service(), l.Close, nil
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
