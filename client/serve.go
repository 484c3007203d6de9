package client

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// serving is what a client serves. Fields are guarded by Client.mu but for
// table, which guards itself, and what the registrations guard themselves.
type serving struct {
	table   *route.Table
	regs    []*registration
	drained bool
}

func (s *serving) init() {
	s.table = route.NewTable()
}

// registration is one service that the client serves.
type registration struct {
	service *service.Service
	runner  *service.Runner
	routes  []service.Route
	ends    []*endpoint // one a route
	barred  []bool      // whether the node has taken a route back; guarded by Client.mu

	ready chan struct{} // closed when the first announcement is decided

	mu      sync.Mutex
	round   uint64 // of announcements; one a connection
	pending int    // routes of this round that are not acknowledged
	failed  error  // of this round
	refused bool   // a route of this round is not served
	decided bool
	err     error // the outcome of the first round
}

// endpoint is one route of a service in the client's table.
type endpoint struct {
	route.Handler

	runner *service.Runner
}

// ID implements route.Endpoint. The node has chosen this client already.
func (e *endpoint) ID() string { return "" }

// InFlight implements route.Endpoint.
func (e *endpoint) InFlight() int { return e.runner.InFlight() }

// Local implements route.Endpoint.
func (e *endpoint) Local() bool { return true }

// Serve has the client answer for the service's routes as they are now, on
// this connection and every later one, and returns when the node has said yes
// to all of them. It waits for a connection if there is none. If the node
// refuses a route, or ctx ends first, nothing of the service is served and the
// error says why. A route that is refused later, after a reconnect, is logged.
func (c *Client) Serve(ctx context.Context, svc *service.Service) error {
	r := &registration{service: svc, routes: svc.Routes(), ready: make(chan struct{})}
	r.barred = make([]bool, len(r.routes))
	if err := c.register(r); err != nil {
		return err
	}
	select {
	case <-r.ready:
		if r.err != nil {
			c.withdraw(r)
		}
		return r.err
	case <-ctx.Done():
		c.withdraw(r)
		return call.Ended(ctx)
	}
}

func (c *Client) register(r *registration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session.shut != nil:
		return c.session.shut
	case c.serving.drained:
		return message.NewError(message.CodeShuttingDown, "the client has been drained", "Make a new client.")
	}
	r.runner = r.service.Runner(c.lane.Context(), c.log)
	for _, rt := range r.routes {
		e := &endpoint{Handler: r.runner.Handler(rt.Handler), runner: r.runner}
		if err := c.serving.table.Serve(r.service.Name(), rt.Pattern, e, rt.Info); err != nil {
			c.forget(r)
			return err
		}
		r.ends = append(r.ends, e)
	}
	c.serving.regs = append(c.serving.regs, r)
	if w := c.session.main; w != nil && !w.draining { // else the next connection begins with it
		c.announce(r)
		c.nudge()
	}
	return nil
}

// announceAll announces everything on a new connection; c.mu is held.
func (c *Client) announceAll() {
	if c.serving.drained {
		return
	}
	for _, r := range c.serving.regs {
		c.announce(r)
	}
}

// announce sends the serve messages of one service, but for routes that the node
// has taken back; c.mu is held.
func (c *Client) announce(r *registration) {
	n := 0
	for _, barred := range r.barred {
		if !barred {
			n++
		}
	}
	round := r.begin(n)
	for i, rt := range r.routes {
		if r.barred[i] {
			continue
		}
		c.control(c.session.main, message.VerbServe, r.service.Name(), rt, announcement{c, r, rt.Pattern.String(), round})
	}
}

// control sends a serve or unserve message, whose answer goes to to; c.mu is
// held.
func (c *Client) control(w *wire, verb message.Verb, name string, rt service.Route, to sink) {
	mid := message.NewMid()
	o := &outgoing{cost: envelopeCost, msg: message.Message{
		Verb: verb,
		To:   []byte(name + ":" + rt.Pattern.String()),
		Mid:  []byte(mid),
	}}
	if verb == message.VerbServe {
		o.msg.Body = describe(rt.Info)
		o.cost += len(o.msg.Body)
	}
	o.flight = &flight{out: o, mid: mid, sink: to, bound: true}
	if c.session.hurry(w, o, false) != nil {
		// The connection went away; the next one begins with announceAll, and
		// nobody is left to take an unserve.
		o.flight.phase = over
	}
}

// describe writes the body of a serve message.
func describe(info route.Info) []byte {
	b, err := json.Marshal(struct {
		Version     string          `json:"version,omitempty"`
		Description string          `json:"description,omitempty"`
		In          json.RawMessage `json:"in,omitempty"`
		Out         json.RawMessage `json:"out,omitempty"`
		Metadata    json.RawMessage `json:"metadata,omitempty"`
		Idempotent  bool            `json:"idempotent,omitempty"`
		Topic       *route.Topic    `json:"topic,omitempty"`
	}{info.Version, info.Description, info.In, info.Out, info.Metadata, info.Idempotent, info.Topic})
	if err != nil {
		return nil // a schema that is not JSON: the route is served without
	}
	return b
}

// begin starts a round of announcements, of n routes.
func (r *registration) begin(n int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round++
	r.pending, r.failed, r.refused = n, nil, false
	if r.pending == 0 {
		r.decide(nil)
	}
	return r.round
}

// resolve decides the first announcement if nothing has yet.
func (r *registration) resolve(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide(err)
}

func (r *registration) decide(err error) {
	if !r.decided {
		r.decided, r.err = true, err
		close(r.ready)
	}
}

// announcement is the sink of a serve message.
type announcement struct {
	c       *Client
	r       *registration
	pattern string
	round   uint64
}

func (a announcement) part(call.Part) error { return nil }

func (a announcement) finish(_ *call.Answer, err error) {
	if err != nil && (!message.FromPeer(err) || message.CodeOf(err) == message.CodeShuttingDown) {
		return // the connection was lost, or is about to be: the next one brings the next round
	}
	r := a.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.round != r.round {
		return
	}
	if r.decided && err != nil {
		a.c.log.Warn("the node refuses to have a path served", "path", r.service.Name()+":"+a.pattern, "err", err)
	}
	if r.failed == nil {
		r.failed = err
	}
	r.refused = r.refused || err != nil
	if r.pending--; r.pending == 0 {
		r.decide(r.failed)
	}
}

// Unserve takes a [Client.Serve] back: the node sends no new calls, those that
// are being answered are finished, or canceled when ctx ends, whose error it
// then returns. It does nothing for a service that is not served.
func (c *Client) Unserve(ctx context.Context, svc *service.Service) error {
	c.mu.Lock()
	i := slices.IndexFunc(c.serving.regs, func(r *registration) bool { return r.service == svc })
	if i < 0 {
		c.mu.Unlock()
		return nil
	}
	r := c.serving.regs[i]
	c.mu.Unlock()
	done := c.takeBack(r)
	var err error
	select {
	case <-done:
		// The node routes nothing here any more; what was on its way has
		// arrived before the acknowledgement.
		if r.runner.Drain(ctx) != nil {
			err = call.Ended(ctx)
		}
	case <-ctx.Done():
		err = call.Ended(ctx)
	}
	c.mu.Lock()
	c.forget(r)
	c.mu.Unlock()
	return err
}

// withdraw ends a service at once.
func (c *Client) withdraw(r *registration) {
	c.takeBack(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(r)
}

// takeBack tells the node that a service is over and returns a channel that is
// closed when the node has taken note.
func (c *Client) takeBack(r *registration) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving.regs = slices.DeleteFunc(c.serving.regs, func(have *registration) bool { return have == r })
	t := &tally{left: len(r.routes), done: make(chan struct{})}
	if c.session.main == nil || t.left == 0 {
		close(t.done)
		return t.done
	}
	for _, rt := range r.routes {
		c.control(c.session.main, message.VerbUnserve, r.service.Name(), rt, t)
	}
	c.nudge()
	return t.done
}

// forget removes what the client knows of a service and ends its calls, in the
// background, since a handler may take its time; c.mu is held.
func (c *Client) forget(r *registration) {
	for _, e := range r.ends {
		c.serving.table.UnserveAll(e)
	}
	closeRunner(c.lane, r.runner)
}

func closeRunner(l *lane.Lane, r *service.Runner) {
	if !l.Go("client.unserve", func(context.Context) { r.Close() }) {
		r.Close() // the client is closed and its context over, so this is short
	}
}

// tally is the sink of several messages of which it only matters that they
// were answered.
type tally struct {
	mu   sync.Mutex
	left int
	done chan struct{}
}

func (t *tally) part(call.Part) error { return nil }

func (t *tally) finish(*call.Answer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// Drain ends serving for good: the node is told to send no new calls, and
// Drain returns when those that are being answered are finished, or ctx has
// ended, with CodeDeadlineExceeded or CodeCanceled. The client can still call
// and send. Close drains by itself.
func (c *Client) Drain(ctx context.Context) error {
	c.mu.Lock()
	regs := slices.Clone(c.serving.regs)
	tell := len(regs) > 0 && !c.serving.drained && c.session.main != nil
	c.serving.drained = true
	if tell {
		_ = c.session.hurry(c.session.main, &outgoing{cost: envelopeCost, msg: message.Message{Verb: message.VerbDrain}}, false)
	}
	c.mu.Unlock()
	if tell {
		c.nudge()
	}
	for _, r := range regs {
		if err := r.runner.Drain(ctx); err != nil {
			return call.Ended(ctx)
		}
	}
	return nil
}

// closeServing ends what is still being answered, in the background.
func (c *Client) closeServing() {
	c.mu.Lock()
	regs := c.serving.regs
	c.serving.regs = nil
	c.mu.Unlock()
	for _, r := range regs {
		r.resolve(message.NewError(message.CodeNotReady, "the client was closed before the service was announced", ""))
		closeRunner(c.lane, r.runner)
	}
}
