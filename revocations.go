package ropewalk

import (
	"context"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// Revoke implements nodeapi.Sessions.
func (s *sessions) Revoke(ctx context.Context, r keeper.Revocation) error {
	if err := s.keeper.Revoke(ctx, r); err != nil {
		return err
	}
	s.note(audit.Event{Kind: audit.KindSession, Outcome: audit.Done, Who: nodeapi.Caller(ctx), Detail: revocationText(&r)})
	return nil
}

// revocationText says what was revoked, for the audit log.
func revocationText(r *keeper.Revocation) string {
	what := "revoked session " + r.Session
	switch {
	case r.All:
		what = "revoked all sessions"
	case r.Subject != "":
		what = "revoked subject " + r.Subject
	}
	if r.Why != "" {
		what += ": " + r.Why
	}
	return what
}

// Merge implements nodeapi.Sessions. What is new is passed on: who told it may
// not reach everybody.
func (s *sessions) Merge(list []keeper.Revocation) {
	if news := s.keeper.Merge(list); len(news) > 0 {
		s.spread(news)
	}
}

// spread tells the other nodes of what was revoked here.
func (s *sessions) spread(news []keeper.Revocation) {
	for _, id := range s.node.otherNodes() {
		s.tellLater(id, news)
	}
}

// follow exchanges with each node that joins what was revoked before, until ctx
// ends.
func (s *sessions) follow(ctx context.Context, m *mesh.Mesh) {
	known := make(map[string]bool)
	for {
		_, changed := m.Changes()
		here := make(map[string]bool)
		for _, id := range s.node.otherNodes() {
			here[id] = true
			if !known[id] {
				s.tellLater(id, nil)
			}
		}
		known = here
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

const (
	// syncBatch is how many revocations go in one message.
	syncBatch = 2000
	// syncAgain is how long to wait before a node that did not answer is told
	// again, as long as it is there.
	syncAgain = 500 * time.Millisecond
	// maxUntold is how many revocations wait for one node; if there are more, it is
	// told the whole list, of which they are a part.
	maxUntold = 10 * syncBatch
)

// untold is what one node is still to be told. Somebody is at it as long as it is
// in the map. Guarded by sessions.mu.
type untold struct {
	list []keeper.Revocation
	all  bool // the whole list
}

// tellLater has a node be told of what was revoked; nil is all there is.
func (s *sessions) tellLater(node string, news []keeper.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.untold[node]
	begin := u == nil
	if begin {
		u = new(untold)
		s.untold[node] = u
	}
	if u.all = u.all || news == nil || len(u.list)+len(news) > maxUntold; u.all {
		u.list = nil
	} else {
		u.list = append(u.list, news...)
	}
	if begin && !s.lane.Go("session.sync", func(ctx context.Context) { s.sync(ctx, node) }) {
		delete(s.untold, node)
	}
}

// next returns what a node is to be told now; ok is false, and the node is done
// with, if that is nothing.
func (s *sessions) next(node string) (list []keeper.Revocation, ok bool) {
	s.mu.Lock()
	u := s.untold[node]
	list, all := u.list, u.all
	u.list, u.all = nil, false
	if len(list) == 0 && !all {
		delete(s.untold, node)
	}
	s.mu.Unlock()
	if all {
		return s.keeper.Revocations(), true
	}
	return list, len(list) > 0
}

// sync tells one node what was revoked until it has heard all or is gone.
func (s *sessions) sync(ctx context.Context, node string) {
	for {
		list, ok := s.next(node)
		if !ok {
			return
		}
		for len(list) > 0 {
			batch := list[:min(len(list), syncBatch)]
			err := s.tell(ctx, node, batch)
			if err == nil {
				list = list[len(batch):]
				continue
			}
			if ctx.Err() != nil || !slices.Contains(s.node.otherNodes(), node) {
				s.mu.Lock()
				delete(s.untold, node) // it will be told everything when it is back
				s.mu.Unlock()
				return
			}
			s.node.log.Warn("another node has not heard yet which sessions were ended; it is told again", "node", node, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(syncAgain):
			}
		}
	}
}

func (s *sessions) tell(ctx context.Context, node string, list []keeper.Revocation) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, err := Call[nodeapi.Revocations](ctx, s.node, node+"@node:/session/revocations", nodeapi.Revocations{Revocations: list})
	return err
}

// RevokeSessions ends sessions before their time, on all nodes. Other nodes know
// of it within seconds.
func (n *Node) RevokeSessions(ctx context.Context, r keeper.Revocation) error {
	if n.sessions == nil {
		return message.NewError(message.CodeUnimplemented, "this node has no sessions", "")
	}
	return n.sessions.Revoke(ctx, r)
}
