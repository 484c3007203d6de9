package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// What a Guard is asked about. These are the words of rules.
const (
	// ActCall, ActSend and ActServe are the verbs of messages.
	ActCall  = "call"
	ActSend  = "send"
	ActServe = "serve"
	// ActBroadcast is a send to every client.
	ActBroadcast = "broadcast"
	// ActAdmin is a call that changes the node or shows what others say.
	ActAdmin = "admin"
	// ActSession is, for a server, to see the secret claims of its callers and to
	// change their sessions.
	ActSession = "session"
)

// Guard says what connections may do. Its methods are called for each message
// and must not block. The process itself may do everything, and no Guard is
// asked.
type Guard interface {
	// Permits returns nil if a peer with a session may do what act says with an
	// address, which has no wildcards unless act is ActServe; else an error with
	// CodeForbidden or CodeUnauthenticated.
	Permits(p route.Peer, s *session.Session, act string, a message.Address) *message.Error
	// Might is Permits where nobody has asked for it: a refusal is nobody's fault
	// and is not written down.
	Might(p route.Peer, s *session.Session, act string, a message.Address) bool
}

// Sessions changes the sessions of connections.
type Sessions interface {
	// Change makes of p's session what a handler wants and tells p. It may
	// block; p's session is locked meanwhile, see Peer.LockSession.
	Change(ctx context.Context, p *Peer, patch session.Patch) error
	// Used tells that p makes use of its session, which has an idle time. It is
	// called for each message and must not block.
	Used(p *Peer, s *session.Session, now time.Time)
}

// permits asks the guard for a request. What comes from another node was
// permitted there.
func (x *Exchange) permits(req *route.Request, act string, a message.Address) *message.Error {
	p, ok := req.Peer.(*Peer)
	if !ok || x.cfg.Guard == nil {
		return nil
	}
	return x.cfg.Guard.Permits(p, req.Session(), act, a)
}

// actOf is what a request to a service wants.
func actOf(req *route.Request) string {
	switch req.Message.EffectiveVerb() {
	case message.VerbSend:
		return ActSend
	case message.VerbGet, message.VerbSubscribe:
		return ActWatch
	case message.VerbPublish:
		return ActPublish
	default:
		return ActCall
	}
}

// permitsRead asks the guard once more for a call that is answered as a get is.
func (x *Exchange) permitsRead(req *route.Request, a message.Address) *message.Error {
	p, ok := req.Peer.(*Peer)
	if !ok {
		return nil
	}
	return x.mayWatch(p, req.Session(), a)
}

// reads tells whether a call is answered as a get is, by any of the servers that
// may be asked.
func reads(match *route.Match) bool {
	return slices.ContainsFunc(match.Endpoints, func(e route.Endpoint) bool {
		t := match.Info(e).Topic
		return t != nil && t.Reads
	})
}

// reads tells whether a call of an address is answered as a get is.
func (x *Exchange) reads(a message.Address) bool {
	match, err := x.table.Lookup(x.meant(a))
	return err == nil && reads(&match)
}

// permitted returns those of targets that req's caller may call. When that is
// none it returns an error.
func (x *Exchange) permitted(req *route.Request, targets []route.Target) ([]route.Target, *message.Error) {
	if _, ok := req.Peer.(*Peer); !ok || x.cfg.Guard == nil {
		return targets, nil
	}
	act := actOf(req)
	var refused *message.Error
	allowed := targets[:0]
	for _, t := range targets {
		a := req.Address
		a.Name, a.Path = t.Name, t.Path
		err := x.permits(req, act, a)
		if topic := t.Info().Topic; err == nil && topic != nil && topic.Reads {
			err = x.permitsRead(req, a)
		}
		if err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		allowed = append(allowed, t)
	}
	clear(targets[len(allowed):])
	if len(allowed) == 0 && refused != nil {
		return nil, refused
	}
	return allowed, nil
}

// Session is who is at the other end; never nil.
func (p *Peer) Session() *session.Session {
	if s := p.session.Load(); s != nil {
		return s
	}
	return session.Anonymous()
}

// SetSession says who is at the other end from now on. What the peer serves and
// has under way, and what it may not have any more, is taken from it.
func (p *Peer) SetSession(s *session.Session) {
	if s == session.Anonymous() {
		s = nil
	}
	p.session.Store(s)
	p.Recheck()
}

// ReplaceSession is SetSession if the session is still old; it reports whether
// it was.
func (p *Peer) ReplaceSession(old, next *session.Session) bool {
	if old == session.Anonymous() {
		old = nil
	}
	if next == session.Anonymous() {
		next = nil
	}
	if !p.session.CompareAndSwap(old, next) {
		return false
	}
	p.Recheck()
	return true
}

// Closed tells whether the connection has ended.
func (p *Peer) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Recheck asks the guard again for all that the peer serves and has under way,
// and ends what it may not do any more. The peer is told by the errors of its
// calls, and of what it served by a message of the verb unserve.
func (p *Peer) Recheck() {
	g := p.x.cfg.Guard
	if g == nil {
		return
	}
	p.checks.Add(1)
	s := p.Session()
	for _, seat := range p.x.table.Of(p) {
		a := message.Address{Name: seat.Name, Path: seat.Pattern.String()}
		if err := g.Permits(p, s, ActServe, a); err != nil {
			p.x.table.Unserve(seat.Name, seat.Pattern, p)
			p.tellUnserve(a, err)
		}
	}
	for _, c := range p.calls() {
		c.recheckNow(p)
	}
	if t := p.x.cfg.Topics; t != nil {
		t.Recheck(p)
	}
}

// recheckNow ends a call that its caller may not make any more.
func (c *Call) recheckNow(p *Peer) {
	g := p.x.cfg.Guard
	if g == nil {
		return
	}
	if err := c.recheck(g, p, p.Session()); err != nil {
		p.x.metrics.refused(err.Code)
		_ = c.Fail(err)
	}
}

// recheck asks again whether the peer may call what it has called.
func (c *Call) recheck(g Guard, p *Peer, s *session.Session) *message.Error {
	c.mu.Lock()
	if open := c.over == nil; !open || !c.settled {
		c.mu.Unlock()
		return nil // over, or it will be asked for with the new session
	}
	a, all, granted, act := c.state.address, c.state.gathering, c.state.granted, actOf(&c.state.req)
	c.mu.Unlock()
	if all != nil {
		return all.recheck(g, s)
	}
	if leg, ok := c.asker.(legAsker); ok {
		a.Instance, a.Sub = leg.g.asked.Instance, leg.g.asked.Sub
	}
	err := g.Permits(p, s, act, a)
	if err == nil && (act == ActWatch || act == ActCall && p.x.reads(a)) {
		err = p.x.mayWatch(p, s, a)
	}
	if err == nil && granted {
		err = g.Permits(p, s, ActAdmin, a)
	}
	return err
}

// calls returns the calls that the peer has in flight.
func (p *Peer) calls() []*Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Call, 0, p.inFlight)
	for _, c := range p.asked {
		for ; c != nil; c = c.nextAsked {
			list = append(list, c)
		}
	}
	return list
}

// tellUnserve tells the peer that it does not serve something any more.
func (p *Peer) tellUnserve(a message.Address, why *message.Error) {
	m := p.x.borrow()
	m.Verb, m.From = message.VerbUnserve, p.x.address
	m.To = a.AppendTo(nil)
	m.Body = message.AppendError(m.room[:0], why)
	_ = p.link.Deliver(&m.Message)
	p.x.giveBack(m)
}

// SessionNews is what a client is told about its session, in the body of a
// message of the verb session.
type SessionNews struct {
	// Event is "changed", "ending", "ended" or "revoked".
	Event string `json:"event"`
	// Session is what it is now, without its secret claims; nil if there is none.
	Session json.RawMessage `json:"session,omitempty"`
	// Token is what opens the session again; empty if that is what it was.
	Token string `json:"token,omitempty"`
	// Reason says why, for people.
	Reason string `json:"reason,omitempty"`
	// Expired is set if it has ended because its time is over.
	Expired bool `json:"expired,omitempty"`
}

// TellSession sends the client news of its session.
func (p *Peer) TellSession(n SessionNews) {
	body, err := json.Marshal(n)
	if err != nil {
		return // it is made of text and JSON
	}
	m := p.x.borrow()
	m.Verb, m.From, m.Body = message.VerbSession, p.x.address, body
	_ = p.link.Deliver(&m.Message)
	p.x.giveBack(m)
}

// change gives a reply after what it wants of the caller's session is done.
// Replies to others than connections want nothing: the process has no session,
// and a gather has many answers.
func (c *Call) change(a answer, patch *session.Patch) error {
	p, ok := c.asker.(*Peer)
	x := c.x
	if _, visits := c.asker.(*FarNode); visits { // the caller's node sees to it
		b, err := json.Marshal(patch)
		if err != nil {
			return c.Fail(err)
		}
		a.patch = b
		return c.end(a, errAnswered)
	}
	if !ok || x.cfg.Sessions == nil {
		return c.end(a, errAnswered)
	}
	c.mu.Lock()
	if c.over != nil {
		over := c.over
		c.mu.Unlock()
		return over
	}
	asker := c.state.req.Session()
	c.mu.Unlock()
	a = a.own()
	if !x.lane.Go("exchange session change", func(ctx context.Context) {
		if err := x.changeSession(ctx, p, asker, patch); err != nil {
			_ = c.Fail(executed(message.AsError(err)))
			return
		}
		_ = c.end(a, errAnswered)
	}) {
		return c.Fail(executed(errShuttingDown))
	}
	return nil
}

// changeSession does what a handler wants of the session of p, which was asker's
// when it called. What was meant for one user is not done to another.
func (x *Exchange) changeSession(ctx context.Context, p *Peer, asker *session.Session, patch *session.Patch) error {
	p.LockSession()
	defer p.UnlockSession()
	now := p.Session()
	if asker.Authenticated() && (now.Subject != asker.Subject || now.Issuer != asker.Issuer) {
		if patch.End && now.Anonymous() {
			return nil
		}
		return message.NewError(message.CodeConflict, "the session was not changed: it is not the one that the call was made in any more",
			"Wait for the answers of calls that change the session before you open, close or change it.")
	}
	return x.cfg.Sessions.Change(ctx, p, *patch)
}

// LockSession waits until nobody else changes p's session: who makes a new one of
// the one that p has holds the lock meanwhile.
func (p *Peer) LockSession() { p.changing.Lock() }

// TryLockSession is LockSession that does not wait; it reports whether p's
// session is locked now.
func (p *Peer) TryLockSession() bool { return p.changing.TryLock() }

// UnlockSession lets others change p's session.
func (p *Peer) UnlockSession() { p.changing.Unlock() }

// patchOf reads what a server wants of its caller's session. A server that is
// not trusted with sessions, or talks nonsense, wants nothing.
func (d *desk) patchOf(l *leg, m *message.Message) *session.Patch {
	if len(m.Session) == 0 || m.EffectiveVerb() != message.VerbReply || !d.trusts(l) {
		return nil
	}
	var patch session.Patch
	if json.Unmarshal(m.Session, &patch) != nil || patch.Empty() {
		return nil
	}
	return &patch
}

// trusts reports whether the answer of a leg may change a session.
func (d *desk) trusts(l *leg) bool {
	p, here := d.to.(*Peer)
	if l.trusted || !here {
		return l.trusted
	}
	a, err := message.ParseStrict(string(l.to))
	return err == nil && d.x.trusts(p, a)
}

// trusts reports whether a connection may see the secret claims of those who
// call what it serves, and change their sessions.
func (x *Exchange) trusts(p *Peer, a message.Address) bool {
	if x.cfg.Guard == nil {
		return false
	}
	a.Instance, a.Sub = "", ""
	return x.cfg.Guard.Might(p, p.Session(), ActSession, a)
}

// Held is what a connection may send while it is not known yet who is there.
const (
	heldMessages = 64
	heldBytes    = 256 << 10
)

// hold is what came while it is found out who is there. Guarded by Peer.mu.
type hold struct {
	queue []*message.Message
	bytes int
	over  bool // there was too much, and the connection is closed
}

// Hold keeps what the peer sends until Release: it came with something that
// says who is there, and that takes a moment. It is called before the first
// Receive.
func (p *Peer) Hold() { p.held.Store(new(hold)) }

// keep takes a message while the peer is on hold, and reports whether it did.
func (p *Peer) keep(m *message.Message) bool {
	p.mu.Lock()
	h := p.held.Load()
	switch {
	case h == nil:
		p.mu.Unlock()
		return false
	case h.over:
		p.mu.Unlock()
		return true
	}
	if h.bytes += m.Size(); len(h.queue) >= heldMessages || h.bytes > heldBytes {
		h.over, h.queue = true, nil
		p.mu.Unlock()
		p.link.Close(CloseSlowConsumer, "too many messages before it is known who is there")
		return true
	}
	c := m.Clone()
	h.queue = append(h.queue, &c)
	p.mu.Unlock()
	return true
}

// Release hands on what came meanwhile, in order, and what comes from now on.
func (p *Peer) Release() {
	for {
		p.mu.Lock()
		h := p.held.Load()
		if h == nil || h.over { // who has lost messages is as good as gone
			p.mu.Unlock()
			return
		}
		if len(h.queue) == 0 {
			p.held.Store(nil)
			p.mu.Unlock()
			return
		}
		queue := h.queue
		h.queue, h.bytes = nil, 0
		p.mu.Unlock()
		for _, m := range queue {
			p.receive(m)
		}
	}
}
