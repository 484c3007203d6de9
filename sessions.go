package ropewalk

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/lane"
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

	pause  atomic.Int64 // until when uses are not written down, because the store is out of reach; in ns
	active atomic.Pointer[Active]

	mu     sync.Mutex
	live   map[*exchange.Peer]*keeper.Live
	untold map[string]*untold // by node
}

func newSessions(n *Node, k *keeper.Keeper, log *audit.Log) *sessions {
	s := &sessions{
		node: n, keeper: k, audit: log, lane: lane.New(context.Background(), n.log),
		live: make(map[*exchange.Peer]*keeper.Live), untold: make(map[string]*untold),
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
	p.LockSession()
	defer p.UnlockSession()
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

// enter has p be somebody from now on. p's session is locked.
func (s *sessions) enter(p *exchange.Peer, next *session.Session) {
	p.SetSession(next) // first: it may have been revoked already
	s.watch(p, next)
}

// goOn has next take the place of the session that p had when next was made of it.
// It fails if that has ended meanwhile: it must not begin again. p's session is
// locked, so that only what happens to it elsewhere can have changed it.
func (s *sessions) goOn(p *exchange.Peer, was, next *session.Session) error {
	for {
		now := p.Session()
		if now != was && now.ID != was.ID {
			return errEnded
		}
		if now.Held && now.ID == next.ID && now.Revision >= next.Revision {
			return nil // it has heard of the change, or of a later one
		}
		if p.ReplaceSession(now, next) {
			s.watch(p, next)
			return nil
		}
	}
}

var errEnded = message.NewError(message.CodeUnauthenticated, "the session has ended meanwhile", "Log in again.")

// watch looks after p's session, which is next.
func (s *sessions) watch(p *exchange.Peer, next *session.Session) {
	if !next.Anonymous() {
		s.mu.Lock()
		if l := s.live[p]; l != nil {
			l.Set(next)
		} else {
			s.live[p] = s.keeper.Track(next, func(e keeper.Event) { s.happened(p, e) })
		}
		s.mu.Unlock()
	}
	s.unwatch(p)
}

// unwatch ends to look after p if it has no session any more, or is gone. Who
// gives it one does so before watch.
func (s *sessions) unwatch(p *exchange.Peer) {
	s.mu.Lock()
	l := s.live[p]
	if l == nil || !p.Closed() && !p.Session().Anonymous() {
		s.mu.Unlock()
		return
	}
	delete(s.live, p)
	s.mu.Unlock()
	l.Stop()
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
		if !was.Held && !was.Expired(time.Now()) {
			return // it is just being made to last longer
		}
		s.out(p, was, exchange.SessionNews{Event: newsEnded, Reason: "its time is over", Expired: true})
	case keeper.Revoked:
		s.out(p, was, exchange.SessionNews{Event: newsRevoked, Reason: e.Why})
	}
}

// out has p be nobody, and tells it so.
func (s *sessions) out(p *exchange.Peer, was *session.Session, news exchange.SessionNews) {
	for !p.ReplaceSession(was, session.Anonymous()) {
		if now := p.Session(); now.ID != was.ID {
			return
		} else if was = now; news.Expired && !now.Held && !now.Expired(time.Now()) {
			return
		}
	}
	s.unwatch(p)
	p.TellSession(news)
	s.note(audit.Event{Kind: audit.KindSession, Outcome: audit.Done, Who: whoIs(p, was), Detail: news.Event})
}

// Change implements exchange.Sessions.
func (s *sessions) Change(ctx context.Context, p *exchange.Peer, patch session.Patch) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	was := p.Session()
	if patch.End {
		return s.logOut(ctx, p, false)
	}
	next, token, err := s.keeper.Change(ctx, was, patch)
	if err != nil {
		return err
	}
	if err := s.goOn(p, was, next); err != nil {
		return err
	}
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
	p.LockSession()
	defer p.UnlockSession()
	was := p.Session()
	if was.Anonymous() {
		return "", errNobody
	}
	if err := s.mayGoOn(ctx, was); err != nil {
		return "", err
	}
	next, token, err := s.keeper.Refresh(ctx, was)
	if err != nil {
		return "", err
	}
	return token, s.goOn(p, was, next)
}

var errNobody = message.NewError(message.CodeUnauthenticated, "this connection has no session", "Log in, or open a session with a token first.")

// Leave implements nodeapi.Sessions.
func (s *sessions) Leave(ctx context.Context, p *exchange.Peer, everywhere bool) error {
	p.LockSession()
	defer p.UnlockSession()
	return s.logOut(ctx, p, everywhere)
}

// logOut ends p's session, which is locked, or all of its subject.
func (s *sessions) logOut(ctx context.Context, p *exchange.Peer, everywhere bool) error {
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
	add := func(v keeper.Info) *nodeapi.SessionInfo {
		i := found[v.ID]
		if i == nil {
			i = &nodeapi.SessionInfo{ID: v.ID, Subject: v.Subject, Issuer: v.Issuer, Since: seconds(v.Since), Expires: seconds(v.Expires), Held: v.Held}
			found[v.ID] = i
		}
		return i
	}
	kept, err := s.keeper.List(ctx, keeper.Filter{Subject: subject})
	if err != nil {
		return nil, err
	}
	for _, v := range kept {
		add(v)
	}
	s.mu.Lock()
	for p := range s.live {
		if v := p.Session(); !v.Anonymous() && (subject == "" || v.Subject == subject) {
			i := add(keeper.InfoOf(v))
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

// note writes into the audit log.
func (s *sessions) note(e audit.Event) { s.audit.Record(e) }

// close ends what goes on in the background.
func (s *sessions) close() {
	s.lane.Close()
	s.keeper.Close()
}

func who(p *exchange.Peer) audit.Who { return whoIs(p, p.Session()) }

func whoIs(p *exchange.Peer, s *session.Session) audit.Who {
	return audit.Who{Subject: s.Subject, Session: s.ID, Client: p.ID(), IP: p.IP()}
}

var (
	_ nodeapi.Sessions  = (*sessions)(nil)
	_ exchange.Sessions = (*sessions)(nil)
)

// Used implements exchange.Sessions: a session that ends when it is not used is
// used.
func (s *sessions) Used(p *exchange.Peer, v *session.Session, now time.Time) {
	if !s.keeper.Stale(v, now) || now.UnixNano() < s.pause.Load() || !p.TryLockSession() {
		return
	}
	if !s.lane.Go("session.touch", func(ctx context.Context) {
		defer p.UnlockSession()
		s.touch(ctx, p, v)
	}) {
		p.UnlockSession()
	}
}

// touchAgain is how long uses are not written down after the store was out of
// reach.
const touchAgain = time.Second

// touch has v, which p has used, last longer. What fails is tried again with a
// later message.
func (s *sessions) touch(ctx context.Context, p *exchange.Peer, v *session.Session) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if p.Session() != v {
		return // it has changed since
	}
	var next *session.Session
	var token string
	err := s.mayGoOn(ctx, v)
	if err == nil {
		next, token, err = s.keeper.Touch(ctx, v)
	}
	if message.CodeOf(err) == message.CodeServiceDown {
		s.pause.Store(time.Now().Add(touchAgain).UnixNano())
	}
	if err != nil || next == v || s.goOn(p, v, next) != nil || token == "" {
		return
	}
	p.TellSession(exchange.SessionNews{Event: newsChanged, Session: next.Wire(false), Token: token})
}

// Record writes an event into the node's audit log. It does not block.
func (n *Node) Record(e audit.Event) { n.audit.Record(e) }
