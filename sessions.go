package ropewalk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// openTime is how long it may take to find out who a connection is that has
// brought a credential.
const openTime = 10 * time.Second

// What a client is told of its session; see docs/reference/wire.md.
const (
	newsChanged = "changed"
	newsEnding  = "ending"
	newsEnded   = "ended"
	newsRevoked = "revoked"
)

// sessions knows which session each connection has, and sees to it that it ends
// when it should.
type sessions struct {
	node   *Node
	keeper *keeper.Keeper
	audit  *audit.Log
	lane   *lane.Lane

	mu   sync.Mutex
	live map[*exchange.Peer]*keeper.Live
}

func newSessions(n *Node, k *keeper.Keeper, log *audit.Log) *sessions {
	s := &sessions{
		node: n, keeper: k, audit: log, lane: lane.New(context.Background(), n.log),
		live: make(map[*exchange.Peer]*keeper.Live),
	}
	k.OnRevoked(s.spread)
	return s
}

// arrive finds out who a connection is that has brought a credential, and keeps
// what it sends until that is known.
func (s *sessions) arrive(p *peer, credential string) {
	p.Hold()
	begun := s.lane.Go("session.arrive", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, openTime)
		defer cancel()
		if _, err := s.Open(ctx, p.Peer, credential); err != nil {
			p.link.Conn.Close(edge.CloseUnauthenticated, message.AsError(err).Message)
			return
		}
		p.Release()
	})
	if !begun {
		p.link.Conn.Close(edge.CloseGoingAway, "the node stops")
	}
}

// Open implements nodeapi.Sessions.
func (s *sessions) Open(ctx context.Context, p *exchange.Peer, credential string) (string, error) {
	next, err := s.keeper.Open(ctx, credential)
	if err != nil {
		s.note(audit.Event{Kind: audit.KindSession, Outcome: audit.Refused, Who: who(p), Code: message.CodeOf(err), Detail: message.AsError(err).Message})
		return "", err
	}
	if p.Session().ID != next.ID {
		s.note(audit.Event{Kind: audit.KindSession, Outcome: audit.Done, Who: whoIs(p, next), Detail: "opened"})
	}
	s.enter(p, next)
	return "", nil
}

// enter has p be somebody from now on.
func (s *sessions) enter(p *exchange.Peer, next *session.Session) {
	if next.Anonymous() {
		s.leave(p)
		p.SetSession(next)
		return
	}
	p.SetSession(next) // first: it may have been revoked already
	s.mu.Lock()
	l := s.live[p]
	if l == nil {
		l = s.keeper.Track(next, func(e keeper.Event) { s.happened(p, e) })
		s.live[p] = l
	} else {
		l.Set(next)
	}
	s.mu.Unlock()
	if p.Closed() { // before it was known who it is
		s.leave(p)
	}
}

// leave ends to look after p's session.
func (s *sessions) leave(p *exchange.Peer) {
	s.mu.Lock()
	t := s.live[p]
	delete(s.live, p)
	s.mu.Unlock()
	if t != nil {
		t.Stop()
	}
}

// happened is told what comes of the session of a connection. It must not block.
func (s *sessions) happened(p *exchange.Peer, e keeper.Event) {
	was := p.Session()
	if was.ID != e.Session.ID { // it is somebody else by now
		return
	}
	switch e.Kind {
	case keeper.Ending:
		p.TellSession(exchange.SessionNews{Event: newsEnding, Session: e.Session.Wire(false)})
	case keeper.Changed:
		if e.Session.Revision <= was.Revision || !p.ReplaceSession(was, e.Session) {
			return // it has changed it itself meanwhile
		}
		p.TellSession(exchange.SessionNews{Event: newsChanged, Session: e.Session.Wire(false)})
	case keeper.Expired:
		s.out(p, was, newsEnded, "its time is over")
	case keeper.Revoked:
		s.out(p, was, newsRevoked, e.Why)
	}
}

// out has p be nobody.
func (s *sessions) out(p *exchange.Peer, was *session.Session, event, reason string) {
	if !p.ReplaceSession(was, session.Anonymous()) {
		return
	}
	s.leave(p)
	p.TellSession(exchange.SessionNews{Event: event, Reason: reason})
	s.note(audit.Event{Kind: audit.KindSession, Outcome: audit.Done, Who: whoIs(p, was), Detail: event})
}

// Change implements exchange.Sessions.
func (s *sessions) Change(ctx context.Context, p *exchange.Peer, patch session.Patch) error {
	was := p.Session()
	if patch.End {
		return s.Leave(ctx, p, false)
	}
	next, token, err := s.keeper.Change(ctx, was, patch)
	if err != nil {
		return err
	}
	s.enter(p, next)
	p.TellSession(exchange.SessionNews{Event: newsChanged, Session: next.Wire(false), Token: token})
	switch {
	case next.Subject == was.Subject:
	case next.Authenticated():
		s.note(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Who: whoIs(p, next)})
	default:
		s.note(audit.Event{Kind: audit.KindLogout, Outcome: audit.Done, Who: whoIs(p, was)})
	}
	return nil
}

// Refresh implements nodeapi.Sessions.
func (s *sessions) Refresh(ctx context.Context, p *exchange.Peer) (string, error) {
	was := p.Session()
	if was.Anonymous() {
		return "", errNobody
	}
	next, token, err := s.keeper.Refresh(ctx, was)
	if err != nil {
		return "", err
	}
	s.enter(p, next)
	return token, nil
}

var errNobody = message.NewError(message.CodeUnauthenticated, "this connection has no session", "Log in, or open a session with a token first.")

// Leave implements nodeapi.Sessions.
func (s *sessions) Leave(ctx context.Context, p *exchange.Peer, everywhere bool) error {
	was := p.Session()
	if was.Anonymous() {
		return nil
	}
	s.enter(p, session.Anonymous())
	p.TellSession(exchange.SessionNews{Event: newsEnded, Reason: "logged out"})
	s.note(audit.Event{Kind: audit.KindLogout, Outcome: audit.Done, Who: whoIs(p, was), Detail: map[bool]string{true: "everywhere"}[everywhere]})
	if everywhere && was.Authenticated() {
		return s.keeper.Revoke(ctx, keeper.Revocation{Subject: was.Subject, Why: "logged out everywhere"})
	}
	return s.keeper.End(ctx, was)
}

// List implements nodeapi.Sessions.
func (s *sessions) List(ctx context.Context, subject string) ([]nodeapi.SessionInfo, error) {
	found := make(map[string]*nodeapi.SessionInfo)
	add := func(v *session.Session) *nodeapi.SessionInfo {
		i := found[v.ID]
		if i == nil {
			i = &nodeapi.SessionInfo{ID: v.ID, Subject: v.Subject, Issuer: v.Issuer, Since: seconds(v.Since), Expires: seconds(v.Expires), Held: v.Held}
			found[v.ID] = i
		}
		return i
	}
	held, err := s.keeper.List(ctx, keeper.Filter{Subject: subject})
	if err != nil {
		return nil, err
	}
	for i := range held {
		v := &held[i]
		found[v.ID] = &nodeapi.SessionInfo{
			ID: v.ID, Subject: v.Subject, Issuer: v.Issuer, Since: seconds(v.Since), Expires: seconds(v.Expires), Held: v.Held,
		}
	}
	s.mu.Lock()
	for p := range s.live {
		if v := p.Session(); !v.Anonymous() && (subject == "" || v.Subject == subject) {
			i := add(v)
			i.Clients = append(i.Clients, p.ID())
		}
	}
	s.mu.Unlock()
	list := make([]nodeapi.SessionInfo, 0, len(found))
	for _, i := range found {
		slices.Sort(i.Clients)
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b nodeapi.SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Revoke implements nodeapi.Sessions.
func (s *sessions) Revoke(ctx context.Context, r keeper.Revocation) error {
	if err := s.keeper.Revoke(ctx, r); err != nil {
		return err
	}
	s.note(audit.Event{
		Kind: audit.KindSession, Outcome: audit.Done, Who: nodeapi.Caller(ctx),
		Detail: fmt.Sprintf("revoked session %q subject %q all %t", r.Session, r.Subject, r.All),
	})
	return nil
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
	s.lane.Go("session.spread", func(ctx context.Context) {
		var nodes sync.WaitGroup
		for _, id := range s.node.otherNodes() {
			nodes.Go(func() { s.sync(ctx, id, news) })
		}
		nodes.Wait()
	})
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
				s.lane.Go("session.sync", func(ctx context.Context) { s.sync(ctx, id, s.keeper.Revocations()) })
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
)

// sync tells one node what was revoked, until it has heard all or is gone.
func (s *sessions) sync(ctx context.Context, node string, list []keeper.Revocation) {
	for len(list) > 0 {
		batch := list[:min(len(list), syncBatch)]
		err := s.tell(ctx, node, batch)
		if err == nil {
			list = list[len(batch):]
			continue
		}
		if ctx.Err() != nil || !slices.Contains(s.node.otherNodes(), node) {
			return // it will be told everything when it is back
		}
		s.node.log.Warn("another node has not heard yet which sessions were ended; it is told again", "node", node, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(syncAgain):
		}
	}
}

func (s *sessions) tell(ctx context.Context, node string, list []keeper.Revocation) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, err := Call[nodeapi.Revocations](ctx, s.node, node+"@node:/session/revocations", nodeapi.Revocations{Revocations: list})
	return err
}

// note writes into the audit log.
func (s *sessions) note(e audit.Event) { s.audit.Record(e) }

// close ends what goes on in the background.
func (s *sessions) close() {
	s.lane.Close()
	s.keeper.Close()
}

func who(p *exchange.Peer) audit.Who { return whoIs(p, p.Session()) }

func whoIs(p *exchange.Peer, s *session.Session) audit.Who {
	return audit.Who{Subject: s.Subject, Session: s.ID, Client: p.ID(), IP: host(p.RemoteAddr())}
}

var (
	_ nodeapi.Sessions  = (*sessions)(nil)
	_ exchange.Sessions = (*sessions)(nil)
)

// Used implements exchange.Sessions: a session that ends when it is not used is
// used.
func (s *sessions) Used(p *exchange.Peer, v *session.Session, now time.Time) {
	if !s.keeper.Stale(v, now) {
		return
	}
	s.lane.Go("session.touch", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, openTime)
		defer cancel()
		next, token, err := s.keeper.Touch(ctx, v)
		if err != nil || next == v || !p.ReplaceSession(v, next) {
			return // who it is will be asked again with the next message
		}
		s.enter(p, next)
		if token != "" {
			p.TellSession(exchange.SessionNews{Event: newsChanged, Session: next.Wire(false), Token: token})
		}
	})
}

// RevokeSessions ends sessions before their time, on all nodes. Other nodes know
// of it within seconds.
func (n *Node) RevokeSessions(ctx context.Context, r keeper.Revocation) error {
	if n.sessions == nil {
		return message.NewError(message.CodeUnimplemented, "this node has no sessions", "")
	}
	return n.sessions.Revoke(ctx, r)
}

// Record writes an event into the node's audit log. It does not block.
func (n *Node) Record(e audit.Event) { n.audit.Record(e) }
