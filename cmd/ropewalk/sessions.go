package main

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/nodeapi"
)

// sessionsCmd is about sessions on nodes.
type sessionsCmd struct {
	List   sessionsListCmd   `cmd:"" help:"List the sessions that a node keeps, or that are connected to it."`
	Revoke sessionsRevokeCmd `cmd:"" help:"End sessions, on all nodes."`
	Who    sessionsWhoCmd    `cmd:"" help:"Tell who you are for the node."`
}

// Help is printed below the flags.
func (*sessionsCmd) Help() string {
	return `To list and revoke needs the permission "admin".

Examples:

  ropewalk sessions who --token-file anna.token
  ropewalk sessions list --all
  ropewalk sessions revoke --subject anna --reason "lost her phone"`
}

type sessionsListCmd struct {
	nodesTarget
	Subject string `placeholder:"NAME" help:"Only those of this subject."`
}

// Run lists.
func (c *sessionsListCmd) Run(ctx context.Context, w *world) error {
	return showAll(ctx, w, &c.nodesTarget, "/session/list", nodeapi.SessionQuery{Subject: c.Subject}, func(l nodeapi.SessionList) error {
		t := newTable("SESSION", "SUBJECT", "ISSUER", "SINCE", "EXPIRES", "KEPT BY", "CLIENTS")
		now := time.Now()
		for _, s := range l.Sessions {
			by := "token"
			if s.Held {
				by = "nodes"
			}
			t.add(s.ID, orDash(s.Subject), orDash(s.Issuer), ago(instant(s.Since), now), until(s.Expires, now), by, strconv.Itoa(len(s.Clients)))
		}
		return t.print(w)
	})
}

type sessionsRevokeCmd struct {
	nodeTarget
	Session  string `arg:"" optional:"" help:"The id of the session."`
	Subject  string `placeholder:"NAME" help:"All sessions of this subject that have begun by now."`
	Everyone bool   `help:"All sessions of everybody that have begun by now."`
	Reason   string `placeholder:"TEXT" help:"Why; their clients are told."`
}

// Run revokes.
func (c *sessionsRevokeCmd) Run(ctx context.Context, w *world) error {
	n := 0
	for _, given := range []bool{c.Session != "", c.Subject != "", c.Everyone} {
		if given {
			n++
		}
	}
	if n != 1 {
		return usage("which sessions?", "Give the id of one, or --subject, or --everyone.")
	}
	in := nodeapi.Revoke{Session: c.Session, Subject: c.Subject, All: c.Everyone, Reason: c.Reason}
	return show(ctx, w, &c.nodeTarget, "/session/revoke", in, func(json.RawMessage) error {
		return w.printf("ended, on all nodes\n")
	})
}

type sessionsWhoCmd struct {
	nodeTarget
}

// Run tells.
func (c *sessionsWhoCmd) Run(ctx context.Context, w *world) error {
	return show(ctx, w, &c.nodeTarget, "/session", nil, func(a nodeapi.SessionAnswer) error {
		if len(a.Session) == 0 {
			return w.printf("nobody\n")
		}
		var s struct {
			ID      string         `json:"id"`
			Subject string         `json:"subject"`
			Issuer  string         `json:"issuer"`
			Public  map[string]any `json:"public"`
			Since   float64        `json:"since"`
			Expires float64        `json:"expires"`
		}
		if err := json.Unmarshal(a.Session, &s); err != nil {
			return err
		}
		now := time.Now()
		t := newTable("SESSION", "SUBJECT", "ISSUER", "SINCE", "EXPIRES", "PUBLIC CLAIMS")
		t.add(s.ID, orDash(s.Subject), orDash(s.Issuer), ago(instant(s.Since), now), until(s.Expires, now), valueText(s.Public))
		return t.print(w)
	})
}

// instant is a time in seconds since 1970.
func instant(s float64) time.Time { return time.UnixMilli(int64(math.Round(s * 1000))) }

// until says how long from now an instant is; 0 is never.
func until(s float64, now time.Time) string {
	if s == 0 {
		return "never"
	}
	left := instant(s).Sub(now)
	if left <= 0 {
		return "over"
	}
	return "in " + left.Round(time.Second).String()
}
