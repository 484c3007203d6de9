package exchange

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// envelopeRoom is how much of a call's envelope is kept without an allocation
// of its own: an address, an id, a few headers.
const envelopeRoom = 80

// Call is one request between its asker and whoever answers it. It is the
// route.Responder that handlers are given.
//
//	       Part            Part
//	       ┌──┐            ┌──┐
//	new ──►│open│──Reply──►│    │
//	       │    │──Fail───►│over│──► finishers told, once
//	       └────┘◄ deadline, cancel, asker or server gone: Fail
//
// A Call is never used twice: handlers and middleware may hold on to it, and
// their late answers must not reach somebody else. What it needs only while it
// is open is in its callState, which is used again.
type Call struct {
	x        *Exchange
	asker    asker
	received time.Time

	hash      uint64 // of the asker's mid, for the peer's table
	nextAsked *Call  // another call of the same hash

	visiting bool // it came from another node: taps see it there

	// It goes on until its asker ends it: it has no deadline, and a node that
	// stops does not wait for it. The subscribe of a connection is none such: it
	// ends with the content.
	lasts bool

	settled bool // state.address is known; guarded by mu, as is what follows

	mu    sync.Mutex
	over  *message.Error // nil while open; why answers are refused, after
	route string         // the pattern that matched
	parts uint64
	state *callState // not to be touched any more when the call is over

	room [envelopeRoom]byte // strings made of the envelope point here, for ever
}

// callState is the part of a call that is large. It belongs to two: the call
// while it is open, and the goroutine that sends the request on its way; when
// both are done it is used for another call, unless somebody keeps the request.
type callState struct {
	owners  atomic.Int32
	checked uint32 // Peer.checks when it was asked whether the call is permitted
	granted bool   // and whether it may change or watch another node; guarded by Call.mu
	req     route.Request
	leg     leg    // used when the server is not in this process and nobody wrapped the Call
	origin  origin // of a call that came from another node
	timer   wheel.Timer
	to      []byte // the address as the asker wrote it

	// Guarded by Call.mu.
	address   message.Address // that is asked, and was permitted; middleware may ask several
	gathering *gathering      // nil: it asks one server
	server    route.Endpoint  // who was chosen; nil: nobody yet
	try       try
	backlog   *backlog // parts from another node that wait; nil: none
	from      []byte   // address of the server, made when first needed
	finishers []route.Finisher
	inline    [4]route.Finisher
	fromRoom  [48]byte // of the usual from
}

// release gives up one of the two ownerships.
func (x *Exchange) release(s *callState) {
	if s.owners.Add(-1) != 0 || s.req.Kept() {
		return
	}
	*s = callState{}
	x.states.Put(s)
}

var errAnswered = &message.Error{Code: message.CodeConflict, Message: "the call already has its final answer"}

// newCall makes a call of m, whose bytes nobody writes to any more. The caller
// has counted it with oneMore, and dispatches it unless it is given up at once.
func (x *Exchange) newCall(m *message.Message, from asker, peer route.Peer, now time.Time) *Call {
	c := x.emptyCall(from, peer, now)
	c.state.req.Message = *m
	c.state.to = m.To
	return c
}

// receivedCall is newCall of a message whose envelope is copied, since its bytes
// are those of what was read; the body is not.
func (x *Exchange) receivedCall(m *message.Message, from asker, peer route.Peer, now time.Time) *Call {
	c := x.emptyCall(from, peer, now)
	in := &c.state.req.Message
	m.CloneEnvelope(in, c.room[:0])
	c.state.to = in.To
	return c
}

func (x *Exchange) emptyCall(from asker, peer route.Peer, now time.Time) *Call {
	s := x.states.Get().(*callState) //nolint:forcetypeassert // nothing else is put
	c := &Call{x: x, asker: from, received: now, state: s}
	s.timer.Owner = c
	s.owners.Store(2)
	s.req.Peer = peer
	s.req.Received = now
	s.finishers = s.inline[:0]
	return c
}

// visitorGrace is how much later than on its caller's node a call from there
// ends: that node ends it, says why, and tells this one.
const visitorGrace = time.Second

// start sets the deadline and sends the request on its way through h.
func (c *Call) start(h route.Handler) {
	x, s := c.x, c.state
	req := &s.req
	left := req.Message.Timeout
	if c.lasts {
		req.Deadline = c.received.Add(forever)
		c.dispatch(h)
		return
	}
	if left <= 0 {
		left = x.cfg.DefaultTimeout
	}
	left = min(left, x.cfg.MaxTimeout)
	req.Deadline = c.received.Add(left)
	if c.visiting {
		left += visitorGrace
	}
	x.wheel.ResetFrom(&s.timer, c.received, left)
	if c.isOver() { // before it began: end has found no timer to stop
		x.wheel.Stop(&s.timer)
		x.release(s)
		return
	}
	c.dispatch(h)
}

// dispatch sends the request on its way, once.
func (c *Call) dispatch(h route.Handler) {
	s := c.state
	h.Handle(c.x.ctx, &s.req, c)
	c.x.release(s)
}

// asked is the address as the asker wrote it; nil when the call is over.
func (c *Call) asked() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return nil
	}
	return c.state.to
}

func (c *Call) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over != nil
}

// gathers has g decide what happens at the deadline, and when the caller loses a
// permission. It returns an error if that has happened since g was made.
func (c *Call) gathers(g *gathering) *message.Error {
	c.mu.Lock()
	if open := c.over == nil; !open {
		c.mu.Unlock()
		return nil
	}
	c.settled, c.state.address, c.state.gathering = true, g.asked, g
	checked := c.state.checked
	c.mu.Unlock()
	return c.checkedAgain(g.peer, checked)
}

// Expire implements wheel.Expirer: the deadline has come.
func (c *Call) Expire() {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return
	}
	g, to := c.state.gathering, c.state.to
	c.mu.Unlock()
	if g != nil {
		g.expire()
		return
	}
	_ = c.Fail(&message.Error{
		Code:    message.CodeDeadlineExceeded,
		Message: "no answer from " + shown(to) + " in time",
		Hint:    "Give the call more time, or find out with \"ropewalk tap\" why its server is slow; it may still have been executed.",
	})
}

func partOf(b *route.Body) answer {
	return answer{
		verb: message.VerbPart, body: b.Bytes, contentType: b.ContentType, stamp: b.Stamp, fault: b.Fault, stable: b.Stable,
	}
}

// Part implements route.Responder.
func (c *Call) Part(b route.Body) error {
	a := partOf(&b)
	crowded, err := c.tryPart(a)
	if crowded && !c.stash(a, b.Window) {
		err = errSlowCaller
		_ = c.Fail(err)
	}
	return err
}

var errSlowCaller = message.NewError(message.CodeSlowConsumer, "the parts came faster than the caller took them",
	"Read faster, ask for less at a time, or raise limits.pendingBytes in the node's configuration.")

// PartWhenRoom implements route.Patient.
func (c *Call) PartWhenRoom(ctx context.Context, b route.Body) error {
	a := partOf(&b)
	a.patient = true
	for {
		crowded, err := c.tryPart(a)
		if !crowded {
			return err
		}
		select {
		case <-c.asker.relief(c):
		case <-ctx.Done():
			return message.AsError(context.Cause(ctx))
		}
	}
}

// tryPart sends a part unless the asker has too much waiting already.
func (c *Call) tryPart(a answer) (crowded bool, err error) {
	c.mu.Lock()
	switch {
	case c.over != nil:
		err = c.over
		c.mu.Unlock()
		return false, err
	case c.state.backlog != nil: // which is before it
		c.mu.Unlock()
		return true, nil
	}
	a.seq = c.parts + 1
	if crowded, err = c.give(a); !crowded {
		c.parts++
	}
	c.mu.Unlock()
	if err != nil {
		_ = c.Fail(err)
	}
	return crowded, err
}

// give gives the asker a part, unless that has too much waiting already. c.mu is
// held.
func (c *Call) give(a answer) (crowded bool, err error) {
	err = c.asker.answer(c, a)
	if message.CodeOf(err) == message.CodeOverloaded {
		return true, nil
	}
	if c.x.tapped() && !c.visiting {
		c.x.tapAnswer(c, a)
	}
	return false, err
}

// SetDeadline moves the time at which the caller stops waiting. Middleware that
// knows better than the caller uses it.
func (c *Call) SetDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil { // end stops the timer after it has set over
		c.x.wheel.Reset(&c.state.timer, time.Until(t))
	}
}

// Reply implements route.Responder.
func (c *Call) Reply(b route.Body) error {
	a := answer{verb: message.VerbReply, body: b.Bytes, contentType: b.ContentType, stamp: b.Stamp, fault: b.Fault}
	if b.Session != nil && !b.Session.Empty() {
		return c.change(a, b.Session)
	}
	return c.end(a, errAnswered)
}

// Fail implements route.Responder.
func (c *Call) Fail(err error) error {
	e := message.AsError(err)
	if c.putOff(e) {
		return nil
	}
	return c.end(answer{verb: message.VerbError, err: e}, e)
}

// end gives the final answer; later attempts to answer get after.
func (c *Call) end(a answer, after *message.Error) error {
	c.mu.Lock()
	if c.over != nil {
		over := c.over
		c.mu.Unlock()
		return over
	}
	if b := c.state.backlog; b != nil && (a.err == nil || a.err.Remote()) {
		if b.final == nil { // it comes after the parts
			last := a.own()
			b.final, b.after = &last, after
		}
		c.mu.Unlock()
		return nil
	}
	if err := c.asker.answer(c, a); err != nil && a.verb == message.VerbReply {
		// A reply that cannot be delivered as it is, for instance because it is
		// no JSON, must not leave the asker without any answer.
		after = executed(message.AsError(err))
		a = answer{verb: message.VerbError, err: after}
		_ = c.asker.answer(c, a)
	}
	if c.x.tapped() && !c.visiting {
		c.x.tapAnswer(c, a)
	}
	c.over = after
	s, out := c.state, route.Outcome{Route: c.route, Err: a.err, Parts: c.parts}
	c.mu.Unlock() // from here on the state is ours alone

	c.x.wheel.Stop(&s.timer)
	c.asker.ended(c)
	c.tell(s.finishers, out)
	if s.backlog != nil { // after those who tell the server
		close(s.backlog.over)
	}
	c.x.release(s)
	if !c.lasts {
		c.x.oneDone()
	}
	return nil
}

// executed returns e, which a reply met on its way, without the promise that its
// call can be repeated: the server has answered it.
func executed(e *message.Error) *message.Error {
	if !e.Retryable {
		return e
	}
	once := *e
	once.Retryable, once.RetryAfter, once.Hint = false, 0, maybeExecuted
	return &once
}

// tell tells the finishers how the call ended. The usual one, the leg, does not
// look at the time, and reading the clock is not free.
func (c *Call) tell(finishers []route.Finisher, out route.Outcome) {
	for _, f := range finishers {
		if l, ok := f.(*leg); ok {
			l.Finished(out)
			continue
		}
		if out.Took == 0 {
			out.Took = time.Since(c.received)
		}
		c.x.tell(f, out)
	}
}

// OnFinish implements route.Responder.
func (c *Call) OnFinish(f route.Finisher) {
	c.mu.Lock()
	if c.over == nil {
		c.state.finishers = append(c.state.finishers, f)
		c.mu.Unlock()
		return
	}
	out := route.Outcome{Route: c.route, Parts: c.parts}
	if c.over != errAnswered {
		out.Err = c.over
	}
	c.mu.Unlock()
	c.tell([]route.Finisher{f}, out)
}

// note keeps what routing found out: the address that is called, and who was
// chosen, nil if nobody was yet. Answers from any goroutine may read it. It
// returns an error if the caller has lost the permission meanwhile, as when the
// call has waited in a queue: then nobody may be asked.
func (c *Call) note(req *route.Request, server route.Endpoint) *message.Error {
	return c.learn(func(s *callState) {
		s.address, c.route, s.server, s.from = req.Address, req.Route, server, nil
	})
}

// learn has f change what is known of the call, and is otherwise as note.
func (c *Call) learn(f func(s *callState)) *message.Error {
	c.mu.Lock()
	switch over := c.over; {
	case refusal(over):
		c.mu.Unlock()
		return over
	case over != nil: // its caller has left, and perhaps others wait for the answer
		c.mu.Unlock()
		return nil //nolint:nilerr // see above
	}
	c.settled = true
	f(c.state)
	checked := c.state.checked
	c.mu.Unlock()
	switch a := c.asker.(type) {
	case *Peer:
		return c.checkedAgain(a, checked)
	case legAsker:
		return c.checkedAgain(a.g.peer, checked)
	}
	return nil
}

// refusal tells whether an error says that somebody may not do something.
func refusal(e *message.Error) bool {
	return e != nil && (e.Code == message.CodeForbidden || e.Code == message.CodeUnauthenticated)
}

// checkedAgain asks again if something has changed since the call was checked.
func (c *Call) checkedAgain(p *Peer, checked uint32) *message.Error {
	if p == nil || p.x.cfg.Guard == nil || p.checks.Load() == checked {
		return nil
	}
	return c.recheck(p.x.cfg.Guard, p, p.Session())
}

// callOf returns the Call behind a Responder that middleware may have wrapped,
// or nil.
func callOf(res route.Responder) *Call {
	for {
		switch r := res.(type) {
		case *Call:
			return r
		case interface{ Unwrap() route.Responder }:
			res = r.Unwrap()
		default:
			return nil
		}
	}
}

// address returns who answers, as the frm of the answer: "<server>@<name>:/",
// or the node when no server was found. c.mu is held.
func (c *Call) address() []byte {
	s := c.state
	if s.server == nil {
		return c.x.address
	}
	if s.from == nil {
		name, _, _ := strings.Cut(c.route, ":")
		id := s.server.ID()
		s.from = append(append(append(append(s.fromRoom[:0], id...), '@'), name...), ":/"...)
	}
	return s.from
}

var (
	_ route.Responder = (*Call)(nil)
	_ route.Patient   = (*Call)(nil)
)
