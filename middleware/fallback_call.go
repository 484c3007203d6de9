package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// rescue is one call of a route that has a fallback.
//
//	first address ──fails──► next address … ──fails──► last good answer ──none──► value ──none──► the first error
type rescue struct {
	f        *fallback
	rule     *fallbackRule
	ctx      context.Context //nolint:containedctx // of the call
	next     route.Handler
	base     *route.Request // as it came; nobody else has it
	address  message.Address
	res      route.Responder
	repeater route.Repeater // behind res; nil if there is none

	mu     sync.Mutex
	now    *attempt // whose answer counts
	first  *message.Error
	asked  int  // addresses of the rule
	parted bool // there were parts: from then on it goes as it goes
	over   bool
}

// attempt is the Responder of what one address is asked. As a Repeater it lets
// retry do its work first.
type attempt struct {
	*rescue

	req    *route.Request
	trying bool // a failure is to be told to who tries again; guarded by rescue.mu
}

// plainAttempt is an attempt where nothing can be tried again.
type plainAttempt struct{ *attempt }

// Try hides that of the attempt.
func (plainAttempt) Try() {}

// begin makes the Responder of what is asked now.
func (c *rescue) begin(req *route.Request) route.Responder {
	a := &attempt{rescue: c, req: req}
	c.mu.Lock()
	c.now = a
	c.mu.Unlock()
	if c.repeater == nil {
		return plainAttempt{a}
	}
	return a
}

// Unwrap returns the Responder of the call.
func (a *attempt) Unwrap() route.Responder { return a.res }

// OnFinish implements route.Responder.
func (a *attempt) OnFinish(f route.Finisher) { a.res.OnFinish(f) }

// Part implements route.Responder.
func (a *attempt) Part(b route.Body) error {
	if !a.part() {
		return errFlightOver
	}
	return a.res.Part(b)
}

// PartWhenRoom implements route.Patient.
func (a *attempt) PartWhenRoom(ctx context.Context, b route.Body) error {
	if !a.part() {
		return errFlightOver
	}
	if p, ok := a.res.(route.Patient); ok {
		return p.PartWhenRoom(ctx, b)
	}
	return a.res.Part(b)
}

// part reports whether a part counts.
func (a *attempt) part() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != a || a.over {
		return false
	}
	a.parted = true
	return true
}

// Reply implements route.Responder.
func (a *attempt) Reply(b route.Body) error {
	a.mu.Lock()
	if a.now != a || a.over {
		a.mu.Unlock()
		return errFlightOver
	}
	a.over = true
	good := !a.parted && a.asked == 0 && b.Session == nil
	a.mu.Unlock()
	if good && a.rule.keep > 0 {
		a.remember(b)
	}
	return a.res.Reply(b)
}

// remember keeps a good answer.
func (c *rescue) remember(b route.Body) {
	if id, ok := c.rule.keyOf(c.base); ok {
		c.f.last.put(id, &record{reply: keptBody(b), size: recordCost + len(b.Bytes)}, time.Now().Add(c.rule.keep))
	}
}

// Fail implements route.Responder.
func (a *attempt) Fail(err error) error {
	e := message.AsError(err)
	a.mu.Lock()
	current, trying := a.now == a && !a.over, a.trying && !a.parted
	a.mu.Unlock()
	switch {
	case !current:
		return errFlightOver
	case trying && route.Repeatable(e): // a Repeater puts it off, and asks
		return a.res.Fail(e)
	case a.fall(e, alwaysIdempotent(a.req)):
		return nil
	}
	return a.fail(e)
}

// fail gives up: with the first error, since the caller did not ask for more.
func (a *attempt) fail(e *message.Error) error {
	a.mu.Lock()
	if a.now != a || a.over {
		a.mu.Unlock()
		return errFlightOver
	}
	a.over = true
	if a.first != nil && a.passing(e) {
		e = a.first
	}
	a.mu.Unlock()
	return a.res.Fail(e)
}

// passing reports whether an error is a reason to go on to the next that may
// answer. From another address it is also that the caller may not call it, or
// that nobody ever did serve it.
func (c *rescue) passing(e *message.Error) bool {
	if c.rule.codes[e.Code] {
		return true
	}
	return c.first != nil && unasked(e)
}

// unasked reports whether an error means that nobody was asked.
func unasked(e *message.Error) bool {
	return refused(e) || e.Code == message.CodeNoService // all others are answers, or are retryable if they are refusals
}

// late is called when the answer has taken too long.
func (c *rescue) late() {
	c.mu.Lock()
	a, asked := c.now, c.asked
	c.mu.Unlock()
	if a == nil || asked > 0 {
		return
	}
	e := message.NewError(message.CodeDeadlineExceeded, "there was no answer in time", "")
	defer contain(c.ctx, c.f.log, c.base, c.res)
	a.take(e, false)
}

// fall has something else answer after an error. It reports false if nothing
// does.
func (a *attempt) fall(e *message.Error, idempotent bool) bool {
	a.mu.Lock()
	passing := a.passing(e)
	a.mu.Unlock()
	if !passing {
		return false
	}
	if a.take(e, idempotent) {
		return true
	}
	a.f.metrics.count("none")
	return false
}

// take has something else answer.
func (a *attempt) take(e *message.Error, idempotent bool) bool {
	c := a.rescue
	again := e.Retryable || idempotent || c.rule.idempotent || unasked(e)
	if sel, err := c.base.Selection(); err == nil && sel.Idempotent {
		again = true
	}
	c.mu.Lock()
	if c.now != a || c.over || c.parted {
		c.mu.Unlock()
		return false
	}
	if c.first == nil {
		c.first = e
	}
	if again && c.asked < len(c.rule.to) {
		to := c.rule.to[c.asked]
		c.asked++
		c.now = nil
		c.mu.Unlock()
		c.f.metrics.count("address")
		c.ask(to)
		return true
	}
	c.mu.Unlock()
	return a.give()
}

// give answers with what is kept.
func (a *attempt) give() bool {
	by, answer := "value", route.Body{Bytes: a.rule.value}
	if rec := a.lastGood(); rec != nil {
		by, answer = "last", rec.reply
	} else if a.rule.value == nil {
		return false
	}
	a.mu.Lock()
	if a.now != a || a.over || a.parted {
		a.mu.Unlock()
		return false
	}
	a.over = true
	a.mu.Unlock()
	a.f.metrics.count(by)
	_ = a.res.Reply(answer)
	return true
}

// lastGood is the last good answer, nil if there is none.
func (c *rescue) lastGood() *record {
	if c.rule.keep <= 0 {
		return nil
	}
	id, ok := c.rule.keyOf(c.base)
	if !ok {
		return nil
	}
	return c.f.last.get(id, time.Now())
}

// ask goes on as if the caller had written another address.
func (c *rescue) ask(to target) {
	req := c.base.Again()
	req.Message.To = c.rule.readdress(to, c.address)
	res := c.begin(req)
	defer contain(c.ctx, c.f.log, req, res)
	c.next.Handle(c.ctx, req, res)
}

// Try implements route.Repeater.
func (a *attempt) Try(ctx context.Context, req *route.Request, r route.Retrier) bool {
	a.mu.Lock()
	if a.now != a || a.over {
		a.mu.Unlock()
		return false
	}
	a.trying = true
	a.mu.Unlock()
	return a.repeater.Try(ctx, req, &retrying{a, r})
}

// Handed implements route.Repeater.
func (a *attempt) Handed(keep bool) { a.repeater.Handed(keep) }

// Rematch implements route.Repeater.
func (a *attempt) Rematch(req *route.Request, failed route.Endpoint) error {
	return a.repeater.Rematch(req, failed)
}

// retrying stands between who tries again and the call.
type retrying struct {
	a *attempt
	r route.Retrier
}

// Failed implements route.Retrier: who tries again is asked first.
func (t *retrying) Failed(ctx context.Context, req *route.Request, _ route.Repeater, e *message.Error) bool {
	a := t.a
	a.mu.Lock()
	current, over := a.now == a && !a.over, a.over
	a.trying = false
	a.mu.Unlock()
	if !current {
		return !over // something else answers
	}
	if t.r.Failed(ctx, req, a, e) || a.fall(e, alwaysIdempotent(req)) {
		return true
	}
	_ = a.fail(e)
	return true
}

var (
	_ route.Repeater  = (*attempt)(nil)
	_ route.Patient   = (*attempt)(nil)
	_ route.Responder = plainAttempt{}
	_ route.Retrier   = (*retrying)(nil)
)
