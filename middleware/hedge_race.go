package middleware

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// race is one call that may be with two servers.
//
//	one arm ──time──► two arms ──a part or reply of one──► won
//	   ├──────────a part or reply────────────────────────► won
//	   └──fails──► over            └──both fail──────────► over
type race struct {
	h       *hedger
	ctx     context.Context //nolint:containedctx // of the call
	next    route.Handler
	res     route.Responder // of the call
	again   route.Repeater
	times   *latencies // nil: nobody measures
	pattern string

	mu    sync.Mutex
	timer *time.Timer
	spare *route.Request // for the second server; nil when it was asked, or will not be
	arms  [2]arm
	two   bool           // the second was asked
	won   *arm           // its answer is that of the call
	over  bool           // the call is over
	first *message.Error // of the arm that failed first
}

// arm is one server's part in a race: its Responder, and the gate that sees which
// server it is.
type arm struct {
	race  *race
	began time.Time

	// Guarded by race.mu.
	pattern   string
	server    route.Endpoint
	ended     bool
	outcome   route.Outcome
	finishers []route.Finisher
}

// second asks a second server: the time of the first is over.
func (r *race) second() {
	r.mu.Lock()
	req, slow := r.spare, r.arms[0].server
	r.spare = nil
	if req == nil || slow == nil || r.over || r.won != nil { // no server yet: it waits in a queue, where two would be worse
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if r.again.Rematch(req, slow) != nil || !slices.ContainsFunc(req.Match().Endpoints, func(e route.Endpoint) bool { return e != slow }) {
		return
	}
	if !r.h.purses.get(r.pattern).take(time.Now()) {
		r.h.metrics.asked.WithLabelValues("refused").Inc()
		return
	}
	r.mu.Lock()
	if r.over || r.won != nil || r.arms[0].ended {
		r.mu.Unlock()
		return
	}
	r.two = true
	r.arms[1] = arm{race: r, began: time.Now()}
	r.mu.Unlock()
	a := &r.arms[1]
	defer contain(r.ctx, r.h.log, req, a)
	req.Guard(a)
	r.next.Handle(r.ctx, req, a)
}

// Finished implements route.Finisher: the call is over, however that came about.
func (r *race) Finished(o route.Outcome) {
	r.mu.Lock()
	r.over, r.spare = true, nil
	r.timer.Stop()
	won := r.won
	r.mu.Unlock()
	for i := range r.arms {
		if a := &r.arms[i]; a.race != nil && a != won {
			why := o
			if won != nil || o.Err == nil {
				why.Err = message.NewError(message.CodeCanceled, "another server has answered", "")
			}
			a.end(why)
		}
	}
	if won != nil {
		won.end(o)
	}
}

// Admit implements route.Gate: the second server has to be another one.
func (a *arm) Admit(req *route.Request, res route.Responder) error {
	if !holds(res, a) { // a request that was made of this one, for another race
		return nil
	}
	r := a.race
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == &r.arms[1] {
		if req.Server == r.arms[0].server {
			return message.NewError(message.CodeServiceDown, "there is no other server", "")
		}
		if span := tries(r.ctx); span != nil {
			span.Tried(2, req.Server.ID(), nil)
		}
	}
	a.server, a.pattern = req.Server, req.Route
	return nil
}

// holds reports whether a Responder is an arm, or wraps it.
func holds(res route.Responder, a *arm) bool {
	for {
		if res == route.Responder(a) {
			return true
		}
		w, ok := res.(interface{ Unwrap() route.Responder })
		if !ok {
			return false
		}
		res = w.Unwrap()
	}
}

// claim makes the answer of an arm that of the call, and reports whether it is.
func (a *arm) claim() bool {
	r := a.race
	r.mu.Lock()
	if r.won != nil || r.over || a.ended {
		mine := r.won == a && !a.ended
		r.mu.Unlock()
		return mine
	}
	r.won, r.spare = a, nil
	r.timer.Stop()
	two, pattern, server := r.two, a.pattern, a.server
	loser := &r.arms[0]
	if a == loser {
		loser = &r.arms[1]
	}
	r.mu.Unlock()
	r.settle(pattern, server)
	if two {
		result := "lost"
		if a == &r.arms[1] {
			result = "won"
		}
		r.h.metrics.asked.WithLabelValues(result).Inc()
		loser.end(route.Outcome{
			Route: r.pattern, Err: message.NewError(message.CodeCanceled, "another server has answered", ""), Took: time.Since(loser.began),
		})
	}
	return true
}

// settle tells the call whose answer it gets.
func (r *race) settle(pattern string, server route.Endpoint) {
	if server == nil {
		return
	}
	for res := r.res; ; {
		switch to := res.(type) {
		case route.Settler:
			to.Settle(pattern, server)
			return
		case interface{ Unwrap() route.Responder }:
			res = to.Unwrap()
		default:
			return
		}
	}
}

// Unwrap lets others find the call when the race is won. Before that there is
// nobody behind an arm: what is done to the call must not be done by either.
func (a *arm) Unwrap() route.Responder {
	a.race.mu.Lock()
	defer a.race.mu.Unlock()
	if a.race.won != a {
		return nil
	}
	return a.race.res
}

// Part implements route.Responder: a race is won with the first part.
func (a *arm) Part(b route.Body) error {
	if !a.claim() {
		return errTryOver()
	}
	return a.race.res.Part(b)
}

// PartWhenRoom implements route.Patient.
func (a *arm) PartWhenRoom(ctx context.Context, b route.Body) error {
	if !a.claim() {
		return errTryOver()
	}
	return partWhenRoom(ctx, a.race.res, b)
}

// Reply implements route.Responder.
func (a *arm) Reply(b route.Body) error {
	if !a.claim() {
		return errTryOver()
	}
	return a.race.res.Reply(b)
}

// Fail implements route.Responder. It is the end if the other arm has failed too,
// or there is none.
func (a *arm) Fail(err error) error {
	r, e := a.race, message.AsError(err)
	r.mu.Lock()
	switch {
	case r.over || a.ended || r.won != nil && r.won != a:
		r.mu.Unlock()
		return errTryOver()
	case r.won == a: // after parts
		r.mu.Unlock()
		return r.res.Fail(e)
	}
	r.spare = nil
	r.timer.Stop()
	wait := r.two && r.first == nil
	if r.first == nil {
		r.first = e
	}
	n := 1
	if a == &r.arms[1] {
		n = 2
	}
	two, pattern, server, answer := r.two, a.pattern, a.server, r.first
	if two && !wait {
		r.h.metrics.asked.WithLabelValues("lost").Inc()
	}
	r.mu.Unlock()
	if span := tries(r.ctx); span != nil && two {
		span.Tried(n, idOf(server), e)
	}
	a.end(route.Outcome{Route: r.pattern, Err: e, Took: time.Since(a.began)})
	if wait {
		return nil
	}
	r.settle(pattern, server)
	return r.res.Fail(answer)
}

// OnFinish implements route.Responder.
func (a *arm) OnFinish(f route.Finisher) {
	a.race.mu.Lock()
	if !a.ended {
		a.finishers = append(a.finishers, f)
		a.race.mu.Unlock()
		return
	}
	o := a.outcome
	a.race.mu.Unlock()
	f.Finished(o)
}

// end tells how the part of an arm ended, once.
func (a *arm) end(o route.Outcome) {
	r := a.race
	r.mu.Lock()
	if a.ended {
		r.mu.Unlock()
		return
	}
	a.ended, a.outcome = true, o
	told := a.finishers
	a.finishers = nil
	r.mu.Unlock()
	// What lost took at least as long: without it the percentiles would forget
	// slow servers.
	if r.times != nil && (o.Err == nil || r.won != nil && o.Err.Code == message.CodeCanceled) {
		r.times.add(time.Since(a.began))
	}
	for _, f := range told {
		f.Finished(o)
	}
}

const (
	latencySamples = 256 // are enough for a percentile of 99
	latencyEvery   = 32  // new ones make it worth sorting again
)

// latencies are the latest of a route.
type latencies struct {
	share float64 // of them is not slow

	mu    sync.Mutex
	n     int // seen
	last  [latencySamples]time.Duration
	limit time.Duration // 0: not known
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[l.n%latencySamples] = d
	if l.n++; l.n%latencyEvery == 0 {
		all := slices.Clone(l.last[:min(l.n, latencySamples)])
		slices.Sort(all)
		l.limit = max(time.Microsecond, all[min(len(all)-1, int(float64(len(all))*l.share))])
	}
}

// slow returns from which time on a call is slow; 0 if that is not known.
func (l *latencies) slow() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

var (
	_ route.Responder = (*arm)(nil)
	_ route.Patient   = (*arm)(nil)
	_ route.Gate      = (*arm)(nil)
	_ route.Finisher  = (*race)(nil)
)
