package ropewalk

import (
	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// guard asks the rules for the exchange. It implements exchange.Guard.
type guard struct {
	*policy.Guard

	audit *audit.Log
}

// Permits implements exchange.Guard.
func (g *guard) Permits(p route.Peer, s *session.Session, act string, a message.Address) *message.Error {
	ask, err := askOf(p, act, a)
	if err != nil { // the exchange knows no others
		return message.AsError(err)
	}
	d := g.Check(s, ask)
	if d.Allowed {
		return nil
	}
	refusal := d.Error(s, ask)
	g.audit.Record(audit.Event{
		Kind: audit.KindAccess, Outcome: audit.Refused, Verb: act, Address: a.String(), Rule: d.By(), Code: refusal.Code,
		Who: audit.Who{Subject: s.Subject, Session: s.ID, Client: p.ID(), IP: ask.IP},
	})
	return refusal
}

// Might implements exchange.Guard.
func (g *guard) Might(p route.Peer, s *session.Session, act string, a message.Address) bool {
	ask, err := askOf(p, act, a)
	return err == nil && g.Check(s, ask).Allowed
}

// askOf is what the rules are asked for a peer.
func askOf(p route.Peer, act string, a message.Address) (policy.Ask, error) {
	verb, err := policy.ParseVerb(act)
	ask := policy.Ask{Verb: verb, Address: a, Listener: p.Listener()}
	if peer, ok := p.(*exchange.Peer); ok {
		ask.IP = peer.IP()
	}
	return ask, err
}

// SetPermissions replaces the rules. What they take away from those who are
// connected, they lose at once: what they serve, and calls in flight. It fails,
// and changes nothing, if the rules are wrong, or Config.Allow decides instead.
func (n *Node) SetPermissions(c policy.Config) error {
	if n.guard == nil {
		return message.NewError(message.CodeConflict, "the program that runs this node decides itself who may do what",
			"Leave Config.Allow out to have rules.")
	}
	p, err := policy.Compile(c)
	if err != nil {
		return err
	}
	n.holdPermissions(p)
	n.notePermissions(audit.Who{}, "set by the program")
	return nil
}

// holdPermissions replaces the rules. The node has some.
func (n *Node) holdPermissions(p *policy.Policy) {
	n.guard.Swap(p)
	for _, peer := range n.x.Peers() {
		peer.Recheck()
	}
}

// notePermissions writes into the audit log that the rules were replaced, by whom,
// and how.
func (n *Node) notePermissions(who audit.Who, how string) {
	n.audit.Record(audit.Event{Kind: audit.KindPermissions, Outcome: audit.Done, Who: who, Detail: how})
}

// WatchPermissions has changed called after the rules were replaced, until stop is
// called. changed must not block, nor call WatchPermissions or stop.
func (n *Node) WatchPermissions(changed func()) (stop func()) {
	if n.guard == nil {
		return func() {}
	}
	return n.guard.Watch(changed)
}

// Permissions are the rules that hold now; nil if Config.Allow decides.
func (n *Node) Permissions() *policy.Policy {
	if n.guard == nil {
		return nil
	}
	return n.guard.Policy()
}
