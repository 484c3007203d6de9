package middleware

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// DefaultLimitWait is how long a call waits for its turn: longer than a short
// burst takes to pass, and shorter than most callers' patience.
const DefaultLimitWait = 5 * time.Second

// LimitConfig is the configuration of [Limit].
type LimitConfig struct {
	// Calls is how many may run at a time. Required.
	Calls int `json:"calls"`
	// Queue is how many more may wait for their turn. Default: none.
	Queue int `json:"queue,omitempty"`
	// Wait is how long one may wait. Default: 5s.
	Wait duration.Duration `json:"wait,omitzero"`
	// PerRoute counts each route on its own. Default: all together.
	PerRoute bool `json:"perRoute,omitempty"`
	// Adapt has the limit follow what servers can take; calls is then what it
	// begins with. Default: it stays.
	Adapt Adapt `json:"adapt,omitzero"`
}

// Validate says what is wrong with the configuration.
func (c LimitConfig) Validate() error {
	switch {
	case c.Calls < 1:
		return invalid("calls", "no call may run", "Set calls to at least 1.")
	case c.Queue < 0:
		return invalid("queue", "the queue is negative", "Set queue to 0 for none.")
	case c.Wait < 0:
		return invalid("wait", "the time to wait is negative", "Leave it out for 5s.")
	}
	return c.Adapt.check(c.Calls)
}

// Limit lets a number of calls through at a time. Others wait, first come first
// served, in a bounded queue and for a bounded time; what finds the queue full
// or has waited too long is answered with [message.CodeOverloaded]. With Adapt
// the number follows what the servers can take. A call that waits blocks nobody:
// it goes on, on another goroutine, when one before it ends. A panic there is
// written to log ([slog.Default] if nil). An invalid configuration panics; see
// [LimitConfig.Validate].
//
// It fits the stages call and serve: at others there are messages that are
// never finished, which would take a place for ever. It costs a mutex and a
// place in a pool; a call that waits has its body copied.
func Limit(log *slog.Logger, cfg LimitConfig) route.Middleware {
	return NewLimiter(log, cfg).Middleware()
}

// Limiter is what [Limit] is made of, for those who want to see and set its
// state. Make one with [NewLimiter].
type Limiter struct {
	perRoute bool
	all      *limiter
	routes   *byRoute[limiter]
	calls    atomic.Int64 // the limit of routes to come
}

// NewLimiter makes a Limiter. An invalid configuration panics; see
// [LimitConfig.Validate].
func NewLimiter(log *slog.Logger, cfg LimitConfig) *Limiter {
	must(cfg.Validate())
	x := &Limiter{perRoute: cfg.PerRoute}
	x.calls.Store(int64(cfg.Calls))
	create := func(name string) *limiter {
		calls := int(x.calls.Load())
		return &limiter{
			route: name, max: calls, room: cfg.Queue, wait: cfg.Wait.Or(DefaultLimitWait), log: log,
			adapt: cfg.Adapt.adapter(calls),
		}
	}
	x.all, x.routes = create(""), newByRoute(create)
	return x
}

// Middleware is what [Limit] says.
func (x *Limiter) Middleware() route.Middleware {
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			l := x.all
			if x.perRoute {
				l = x.routes.get(req.Route)
			}
			l.handle(ctx, next, req, res)
		})
	}
}

// limiters are those that are in use.
func (x *Limiter) limiters() []*limiter {
	if x.perRoute {
		return x.routes.all()
	}
	return []*limiter{x.all}
}

// State implements route.Stateful: each count with its limit, at most 200.
func (x *Limiter) State() any {
	list := x.limiters()
	out := make([]LimitState, 0, len(list))
	for _, l := range list {
		l.mu.Lock()
		out = append(out, LimitState{Route: l.route, Calls: l.max, Running: l.running, Waiting: l.waiting})
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b LimitState) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Running, a.Running), cmp.Compare(a.Route, b.Route))
	})
	return out[:min(len(out), maxStates)]
}

// SetState implements route.Stateful with a [LimitChange].
func (x *Limiter) SetState(raw json.RawMessage) error {
	var in LimitChange
	if err := decode(raw, &in); err != nil {
		return err
	}
	switch {
	case in.Calls < 1:
		return invalid("calls", "no call may run", "Set calls to at least 1.")
	case in.Route != "" && !x.perRoute:
		return invalid("route", "all routes are counted together", "Leave route out.")
	case in.Route != "":
		x.routes.get(in.Route).set(in.Calls)
		return nil
	}
	x.calls.Store(int64(in.Calls)) // first, so that no route is made with the old one and not found
	for _, l := range x.limiters() {
		l.set(in.Calls)
	}
	return nil
}

// limiter is one count and its queue.
type limiter struct {
	route string
	room  int
	wait  time.Duration
	log   *slog.Logger

	mu          sync.Mutex
	max         int
	adapt       *adapter // nil: the limit stays
	running     int
	coming      int // calls that have a place in the queue, and are not in it yet
	waiting     int
	first, last *place
	draining    bool // somebody takes calls off the queue and goes on with them
	timer       *time.Timer
}

// place is one call's place, running or in the queue.
//
//	coming ─► waiting ─► running ─► gone
//	   └─────────┴─────────────────► gone   (the call ended first)
type place struct {
	in    *limiter
	state placeState
	due   time.Time // when it has waited too long
	began time.Time // when it ran, if the limit adapts

	ctx  context.Context //nolint:containedctx // of the call that waits
	next route.Handler
	req  *route.Request
	res  route.Responder

	prev, after *place
}

type placeState uint8

const (
	coming placeState = iota
	waiting
	running
	gone
)

var places = sync.Pool{New: func() any { return new(place) }}

func (p *place) free() {
	*p = place{}
	places.Put(p)
}

func (l *limiter) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	p, _ := places.Get().(*place)
	p.in = l
	l.mu.Lock()
	if l.running < l.max && l.waiting+l.coming == 0 {
		l.runs(p)
		l.mu.Unlock()
		res.OnFinish(p)
		next.Handle(ctx, req, res)
		return
	}
	if l.waiting+l.coming >= l.room {
		l.mu.Unlock()
		p.free()
		_ = res.Fail(overloaded("too many calls run and wait"))
		return
	}
	l.coming++
	p.state = coming
	l.mu.Unlock()

	req.Keep()
	p.ctx, p.next, p.req, p.res = ctx, next, req, res
	res.OnFinish(p)
	l.queue(p)
}

// runs gives a call a place among those that run.
func (l *limiter) runs(p *place) {
	l.running++
	p.state = running
	if l.adapt != nil {
		p.began = time.Now()
	}
}

// set changes the limit.
func (l *limiter) set(calls int) {
	l.mu.Lock()
	l.max = calls
	if l.adapt != nil {
		l.adapt.limit = float64(calls)
	}
	l.goOn()
}

// queue puts a call at the end, unless it is over by now.
func (l *limiter) queue(p *place) {
	l.mu.Lock()
	l.coming--
	if p.state == gone {
		l.mu.Unlock()
		p.free()
		return
	}
	p.state = waiting
	p.due = time.Now().Add(l.wait)
	if p.prev = l.last; l.last == nil {
		l.first = p
		l.arm(l.wait)
	} else {
		l.last.after = p
	}
	l.last = p
	l.waiting++
	l.goOn() // a place may have become free since
}

// take removes a place from the queue.
func (l *limiter) take(p *place) {
	if p.prev == nil {
		l.first = p.after
	} else {
		p.prev.after = p.after
	}
	if p.after == nil {
		l.last = p.prev
	} else {
		p.after.prev = p.prev
	}
	p.prev, p.after = nil, nil
	if l.waiting--; l.waiting == 0 {
		l.timer.Stop()
	}
}

// goOn is called with l.mu held, and unlocks it. It goes on with calls that
// wait while there is room. One goroutine does so at a time: going on with a
// call may finish it, which leads here again.
func (l *limiter) goOn() {
	if l.draining {
		l.mu.Unlock()
		return
	}
	l.draining = true
	for l.first != nil && l.running < l.max {
		p := l.first
		l.take(p)
		l.runs(p)
		ctx, next, req, res := p.ctx, p.next, p.req, p.res // p may be gone in a moment
		l.mu.Unlock()
		l.run(ctx, next, req, res)
		l.mu.Lock()
	}
	l.draining = false
	l.mu.Unlock()
}

// run contains panics: the middleware outside of this one is not on this
// goroutine's stack.
func (l *limiter) run(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	defer contain(ctx, l.log, req, res)
	next.Handle(ctx, req, res)
}

// Finished gives the call's place to the next one.
func (p *place) Finished(o route.Outcome) {
	l := p.in
	l.mu.Lock()
	was := p.state
	p.state = gone
	switch was {
	case coming: // queue finds out
		l.mu.Unlock()
	case waiting:
		l.take(p)
		l.mu.Unlock()
		p.free()
	case running:
		if l.adapt != nil {
			now := time.Now()
			l.max = l.adapt.ended(now, now.Sub(p.began), o.Err, l.running)
		}
		l.running--
		p.free()
		l.goOn()
	case gone: // it has waited too long
		l.mu.Unlock()
		p.free()
	}
}

// arm has expire called when the first call in the queue is due. All wait
// equally long, so one timer is enough.
func (l *limiter) arm(after time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(after, l.expire)
		return
	}
	l.timer.Reset(after)
}

func (l *limiter) expire() {
	l.mu.Lock()
	for l.first != nil {
		p := l.first
		if left := time.Until(p.due); left > 0 {
			l.arm(left)
			break
		}
		l.take(p)
		p.state = gone
		res := p.res
		l.mu.Unlock()
		_ = res.Fail(overloaded("the call has waited too long for its turn"))
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// retrySoon is when an overload may have passed.
const retrySoon = time.Second

func overloaded(text string) *message.Error {
	e := message.NewError(message.CodeOverloaded, text, "Try again later, or call less often.")
	e.Retryable, e.RetryAfter = true, retrySoon
	return e
}

var (
	_ route.Finisher = (*place)(nil)
	_ route.Stateful = (*Limiter)(nil)
)
