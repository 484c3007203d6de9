package exchange

import (
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// What a watch of the node itself needs, by path.
const (
	ownTopics   = "/topics"
	ownPresence = "/presence/"
	ownWatchers = "/watchers/"
)

// permitsTopic tells whether who asks may get, subscribe or publish.
func (x *Exchange) permitsTopic(req *route.Request) *message.Error {
	act := actOf(req)
	p, ok := req.Peer.(*Peer)
	if !ok || act != ActWatch {
		return x.permits(req, act, req.Address)
	}
	return x.mayWatch(p, req.Session(), req.Address)
}

// mayWatch tells whether a connection may watch an address. What the node tells
// about itself is for those who may call it, too; who watches a topic, for all
// who may watch that. The sources of what is run are for those who may write them.
func (x *Exchange) mayWatch(p *Peer, s *session.Session, a message.Address) *message.Error {
	g := x.cfg.Guard
	if a.Name != nodeScheme {
		if g == nil {
			return nil
		}
		if err := g.Permits(p, s, ActWatch, a); err != nil || !x.showsCode(a) {
			return err
		}
		return g.Permits(p, s, ActCode, a)
	}
	if of, ok := PresenceOf(a); ok {
		if g == nil {
			return nil
		}
		return g.Permits(p, s, ActWatch, of)
	}
	if g != nil {
		for _, act := range []string{ActWatch, ActCall} {
			if err := g.Permits(p, s, act, a); err != nil {
				return err
			}
		}
	}
	if a.Path != ownTopics {
		return nil
	}
	if err := x.Allowed(p, message.VerbCall, a); err != nil {
		return message.AsError(err)
	}
	return nil
}

// showsCode tells whether the content of an address is the source of what is run.
func (x *Exchange) showsCode(a message.Address) bool {
	if strings.LastIndexByte(a.Path, '.') < 0 {
		return false
	}
	match, err := x.table.Lookup(a)
	return err == nil && isCode(&match, a.Path)
}

// PresenceOf returns the topic of which an address of a node tells who watches
// it: node:/presence/NAME/PATH, and node:/watchers/NAME/PATH.
func PresenceOf(a message.Address) (message.Address, bool) {
	rest, ok := strings.CutPrefix(a.Path, ownPresence)
	if !ok {
		rest, ok = strings.CutPrefix(a.Path, ownWatchers)
	}
	name, path, more := strings.Cut(rest, "/")
	if !ok || a.Name != nodeScheme || name == "" || !more {
		return message.Address{}, false
	}
	return message.Address{Name: name, Path: "/" + path}, true
}
