package middleware

import (
	"context"
	"sync"
	"sync/atomic"
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

// Finished implements route.Finisher: the call is over, and nobody is asked any more.
func (c *rescue) Finished(route.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// attempt is the Responder of what one address is asked. As a Repeater it lets
// retry do its work first. What stands around the address is told how the attempt
// ends, which may not be how the call does.
type attempt struct {
	*rescue

	req *route.Request

	// Guarded by rescue.mu.
	trying    bool // a failure is to be told to who tries again
	finishers []*onceTold
	pattern   string
	ended     *message.Error // the attempt is over; nil: it is not, or ends with the call
}

// onceTold tells a Finisher of the end of an attempt, or of one of its tries, or
// of the call: of what comes first.
type onceTold struct {
	to   route.Finisher
	told atomic.Bool
}

// Finished implements route.Finisher.
func (t *onceTold) Finished(o route.Outcome) {
	if !t.told.Swap(true) {
		t.to.Finished(o)
	}
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
func (a *attempt) OnFinish(f route.Finisher) {
	t := &onceTold{to: f}
	a.mu.Lock()
	if e := a.ended; e != nil {
		a.mu.Unlock()
		t.Finished(a.outcome(e))
		return
	}
	a.finishers, a.pattern = append(a.finishers, t), a.req.Route
	a.mu.Unlock()
	a.res.OnFinish(t)
}

// end tells what stands around the address that it has failed.
func (a *attempt) end(e *message.Error) {
	a.mu.Lock()
	told := a.finishers
	a.finishers, a.ended = nil, e
	a.mu.Unlock()
	for _, t := range told {
		t.Finished(a.outcome(e))
	}
}

func (a *attempt) outcome(e *message.Error) route.Outcome {
	return route.Outcome{Route: a.pattern, Err: e, Took: time.Since(a.base.Received)}
}

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
	answer := e
	if a.first != nil && a.passing(e) {
		answer = a.first
	}
	a.mu.Unlock()
	a.end(e)
	return a.res.Fail(answer)
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
	if again && c.asked < len(c.rule.to) {
		to := c.rule.to[c.asked]
		c.asked++
		if c.first == nil {
			c.first = e
		}
		c.now = nil
		c.mu.Unlock()
		a.end(e) // the next may need what it holds
		c.f.metrics.count("address")
		c.ask(to)
		return true
	}
	c.mu.Unlock()
	return a.give(e)
}

// give answers with what is kept, after an error.
func (a *attempt) give(e *message.Error) bool {
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
	a.end(e)
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
	_ route.Finisher  = (*rescue)(nil)
	_ route.Finisher  = (*onceTold)(nil)
	_ route.Repeater  = (*attempt)(nil)
	_ route.Patient   = (*attempt)(nil)
	_ route.Responder = plainAttempt{}
	_ route.Retrier   = (*retrying)(nil)
)
