package exchange

import (
	"bytes"
	"context"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// try is what a Call knows of the try that is under way, if its failure need not
// be the end of the call.
//
//	       Try            Handed             failure           Failed: true
//	none ──────► handing ───────► handed ───────────────► none ───────────► Try …
//	                │ failure        │ its body is gone      └─ false ─► over
//	                ▼                └──────────────────────► over
//	              failed ──Handed──► Failed, as above
type try struct {
	retrier route.Retrier   // nil: failures are final
	ctx     context.Context //nolint:containedctx // of the try
	req     *route.Request
	first   int  // of the finishers that belong to the try
	handing bool // between Try and Handed
	lasting bool // the body is still there after Handed
	failed  *message.Error
}

// Try implements route.Repeater.
func (c *Call) Try(ctx context.Context, req *route.Request, r route.Retrier) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return false
	}
	s := c.state
	s.try = try{retrier: r, ctx: ctx, req: req, first: len(s.finishers), handing: true}
	return true
}

// Handed implements route.Repeater.
func (c *Call) Handed(keep bool) {
	c.mu.Lock()
	if c.over != nil || c.state.try.retrier == nil {
		c.mu.Unlock()
		return
	}
	t := &c.state.try
	t.handing = false
	if t.failed != nil {
		c.mu.Unlock()
		c.decide()
		return
	}
	t.lasting = keep || t.req.Kept() || len(t.req.Message.Body) == 0
	if keep && !t.req.Kept() {
		// Keep would do, but then the state could not be used again.
		t.req.Message.Body = bytes.Clone(t.req.Message.Body)
	}
	c.mu.Unlock()
}

// putOff takes a failure of a try that may be repeated, and reports whether it
// did.
func (c *Call) putOff(e *message.Error) bool {
	if !route.Repeatable(e) {
		return false
	}
	c.mu.Lock()
	if c.over != nil || c.state.try.retrier == nil || c.parts > 0 {
		c.mu.Unlock()
		return false
	}
	s := c.state
	t := &s.try
	if t.failed != nil { // the try has failed already
		c.mu.Unlock()
		return true
	}
	if !t.handing && !t.lasting {
		t.retrier = nil
		c.mu.Unlock()
		return false
	}
	t.failed = e
	// Whatever this try holds, such as a place among the calls of its server,
	// the next one may need.
	told := append([]route.Finisher(nil), s.finishers[t.first:]...)
	clear(s.finishers[t.first:])
	s.finishers = s.finishers[:t.first]
	out := route.Outcome{Route: c.route, Err: e, Took: time.Since(c.received)}
	handing := t.handing
	c.mu.Unlock()
	c.tell(told, out)
	if !handing {
		c.decide()
	}
	return true
}

// decide asks what is to be done about the failure of a try.
func (c *Call) decide() {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return
	}
	s := c.state
	s.owners.Add(1) // the call may end meanwhile
	t := s.try
	s.try = try{}
	c.mu.Unlock()
	if !t.retrier.Failed(t.ctx, t.req, c, t.failed) {
		_ = c.end(answer{verb: message.VerbError, err: t.failed}, t.failed)
	}
	c.x.release(s)
}

// Rematch implements route.Repeater.
func (c *Call) Rematch(req *route.Request, failed route.Endpoint) error {
	req.Server = nil
	if _, gathers := c.asker.(legAsker); gathers {
		return nil
	}
	match, err := c.x.table.Lookup(c.x.meant(req.Address))
	if err != nil {
		return c.x.missing(req.Address, err)
	}
	if rest, ok := match.Without([]route.Endpoint{failed}); ok {
		match = rest
	}
	req.Matched(match)
	return nil
}

// pick chooses the server of a request: one that its gates admit.
func (x *Exchange) pick(sel route.Selection, req *route.Request, res route.Responder) (route.Endpoint, error) {
	var refused error
	for {
		all := *req.Match()
		server, err := x.strategies.Choose(sel, all, req.Peer.ID())
		if err != nil {
			if refused != nil { // that there is no other server is not the reason
				return nil, refused
			}
			return nil, x.missing(req.Address, err)
		}
		req.Chosen(server)
		if err = req.Admit(res); err == nil {
			return server, nil
		}
		if refused == nil {
			refused = err
		}
		req.Server = nil
		rest, ok := all.Without([]route.Endpoint{server})
		if !ok {
			return nil, refused
		}
		req.Matched(rest)
	}
}

// Settle implements route.Settler.
func (c *Call) Settle(pattern string, server route.Endpoint) {
	if err := c.learn(func(s *callState) { c.route, s.server, s.from = pattern, server, nil }); err != nil {
		_ = c.Fail(err)
	}
}

var (
	_ route.Repeater = (*Call)(nil)
	_ route.Settler  = (*Call)(nil)
)
