package middleware

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// What calls are put in order by.
const (
	// OrderBySession puts the calls of one session in order, and those of a
	// connection that has none. It is the default.
	OrderBySession = "session"
	// OrderByClient puts the calls of one connection in order.
	OrderByClient = "client"
	// OrderByHeader puts calls in order that have the same value in a header,
	// whoever makes them.
	OrderByHeader = "header"
)

const (
	// DefaultOrderQueue is how many calls of one key may wait.
	DefaultOrderQueue = 100
	// DefaultOrderWaiting is how many calls may wait, all together.
	DefaultOrderWaiting = 10_000
	// maxOrderKey is how long a value of a header may be before its hash stands
	// for it.
	maxOrderKey = 128
)

// OrderConfig is the configuration of [InOrder].
type OrderConfig struct {
	// Routes ("name:/pattern") are those whose calls run one after another, all
	// of them in one queue. Required.
	Routes []string `json:"routes"`
	// By says which calls are put in order: those of a session, a client, or
	// with the same header. Default: session.
	By string `json:"by,omitempty"`
	// Header is the name of the header, if by is header. Calls without it are
	// not put in order.
	Header string `json:"header,omitempty"`
	// Queue is how many calls may wait for one that runs. Default: 100.
	Queue int `json:"queue,omitempty"`
	// Waiting is how many may wait, all together. Default: 10000.
	Waiting int `json:"waiting,omitempty"`
	// Wait is how long one may wait. Default: until its deadline.
	Wait duration.Duration `json:"wait,omitzero"`
}

// Validate says what is wrong with the configuration.
func (c OrderConfig) Validate() error {
	switch {
	case len(c.Routes) == 0:
		return invalid("routes", "no route is named", `Name those whose calls must not overtake each other, as in ["shop:/cart/{id}"].`)
	case c.By != "" && !slices.Contains([]string{OrderBySession, OrderByClient, OrderByHeader}, c.By):
		return invalid("by", fmt.Sprintf("calls cannot be put in order by %q", c.By), "Set by to session, client or header.")
	case (c.By == OrderByHeader) != (c.Header != ""):
		return invalid("header", "the header and by do not fit", `Set both by to "header" and header to its name, or neither.`)
	case c.Queue < 0:
		return invalid("queue", "the queue is negative", "Leave it out for 100.")
	case c.Waiting < 0:
		return invalid("waiting", "the number of calls that wait is negative", "Leave it out for 10000.")
	case c.Wait < 0:
		return invalid("wait", "the time to wait is negative", "Leave it out to wait until the deadline.")
	}
	return nil
}

// OrderMetrics are what [InOrder] counts.
type OrderMetrics struct{ calls *prometheus.CounterVec }

// NewOrderMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_in_order_calls_total{result}   calls of ordered routes: at_once, waited, left or refused
func NewOrderMetrics(reg prometheus.Registerer) (*OrderMetrics, error) {
	m := &OrderMetrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_in_order_calls_total",
		Help: "Calls of ordered routes: those that ran at_once, that waited, that left while they waited, and that were refused.",
	}, []string{"result"})}
	var err error
	m.calls, err = register(reg, m.calls, err)
	return m, err
}

func (m *OrderMetrics) count(result string) {
	if m != nil {
		m.calls.WithLabelValues(result).Inc()
	}
}

// InOrder has the calls of a session run one after another, in the order in
// which they came to this node: each is handed over when the one before it has
// its final answer. Others wait in a bounded queue; what finds it full, or has
// waited too long, is answered with [message.CodeOverloaded]. A call that ends
// while it waits leaves the queue. A call that ends while it runs, because its
// caller has left or its time is over, lets the next one run although its
// server may still be at work.
//
// By header, whoever may call a route can hold up all who use the same value.
//
// It fits the stage call. It costs a mutex, and to a call that waits a copy of
// its body. A panic is written to log ([slog.Default] if nil). An invalid
// configuration panics; see [OrderConfig.Validate].
func InOrder(log *slog.Logger, m *OrderMetrics, cfg OrderConfig) route.Middleware {
	must(cfg.Validate())
	o := &ordering{
		log: log, metrics: m, only: setOf(cfg.Routes), by: cfg.By, header: cfg.Header,
		queue: cmp.Or(cfg.Queue, DefaultOrderQueue), room: cmp.Or(cfg.Waiting, DefaultOrderWaiting),
		wait: time.Duration(cfg.Wait), lines: make(map[orderKey]*orderly),
	}
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if _, ok := o.only[req.Route]; ok && req.Message.EffectiveVerb() == message.VerbCall {
				if key := o.keyOf(req); key != (orderKey{}) {
					o.handle(ctx, next, req, res, key)
					return
				}
			}
			next.Handle(ctx, req, res)
		})
	}
}

// ordering is all lines.
type ordering struct {
	log         *slog.Logger
	metrics     *OrderMetrics
	only        map[string]struct{}
	by, header  string
	queue, room int
	wait        time.Duration

	mu      sync.Mutex
	lines   map[orderKey]*orderly // those in which a call runs
	waiting int
}

// orderKey is what calls have in common that are put in order.
type orderKey struct {
	kind, id string
	sum      digest // of an id that is too long to be kept
}

func (o *ordering) keyOf(req *route.Request) orderKey {
	switch o.by {
	case OrderByHeader:
		v := req.Message.Header(o.header)
		switch {
		case v == "":
			return orderKey{}
		case len(v) > maxOrderKey:
			return orderKey{kind: "long", sum: digestOf([]byte(v))}
		}
		return orderKey{kind: "header", id: v}
	case OrderByClient:
	default:
		if s := req.Session(); !s.Anonymous() {
			return orderKey{kind: "session", id: s.ID}
		}
	}
	return orderKey{kind: "client", id: peerOf(req).ID()}
}

// orderly is the calls of one key: one that runs, and a line of others.
type orderly struct {
	o       *ordering
	key     orderKey
	running *turn
	queue   []*turn // some may have left
	live    int     // those in the queue that have not left
	moving  bool    // somebody hands calls of the line over
}

// turn is a call's place in its line. It is coming until its end is seen to: were
// it handed over before, what tries it again could take the end of the first try
// for that of the call.
//
//	coming ──► waiting ──► running ──► gone
//	   └──────────┴───────────────────► gone   (the call ended first, or has waited too long)
type turn struct {
	l     *orderly
	state placeState
	timer *time.Timer

	ctx  context.Context //nolint:containedctx // of the call that waits
	next route.Handler
	req  *route.Request
	res  route.Responder
}

func (o *ordering) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder, key orderKey) {
	o.mu.Lock()
	l := o.lines[key]
	if l == nil {
		l = &orderly{o: o, key: key}
		o.lines[key] = l
		t := &turn{l: l, state: running}
		l.running = t
		o.mu.Unlock()
		o.metrics.count("at_once")
		res.OnFinish(t)
		next.Handle(ctx, req, res)
		return
	}
	if l.live >= o.queue || o.waiting >= o.room {
		o.mu.Unlock()
		o.metrics.count("refused")
		_ = res.Fail(overloaded("too many calls wait for those before them"))
		return
	}
	req.Keep()
	t := &turn{l: l, state: coming, ctx: ctx, next: next, req: req, res: res}
	l.queue = append(l.queue, t)
	l.live++
	o.waiting++
	o.mu.Unlock()
	res.OnFinish(t)
	t.wait()
}

// wait has a call wait for its turn, unless it is over by now.
func (t *turn) wait() {
	o := t.l.o
	o.mu.Lock()
	if t.state != coming {
		o.mu.Unlock()
		return
	}
	t.state = waiting
	if o.wait > 0 {
		t.timer = time.AfterFunc(o.wait, t.expire)
	}
	t.l.goOn()
}

// expire ends a call that has waited too long, and was handed to nobody.
func (t *turn) expire() {
	t.l.o.mu.Lock()
	if t.state != waiting {
		t.l.o.mu.Unlock()
		return
	}
	res := t.res
	t.quit()
	_ = res.Fail(overloaded("the call has waited too long for those before it"))
}

// Finished implements route.Finisher.
func (t *turn) Finished(route.Outcome) {
	l := t.l
	l.o.mu.Lock()
	switch t.state {
	case coming, waiting:
		t.quit()
	case running:
		t.state, l.running = gone, nil
		l.goOn()
	case gone:
		l.o.mu.Unlock()
	}
}

// quit is called with o.mu held, and unlocks it. The call leaves the queue.
func (t *turn) quit() {
	l := t.l
	t.state = gone
	t.leave()
	l.live--
	l.o.waiting--
	l.tidy()
	l.goOn() // it may have been the one that was coming
	l.o.metrics.count("left")
}

// leave lets go of what only a call that waits needs.
func (t *turn) leave() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.ctx, t.next, t.req, t.res = nil, nil, nil, nil
}

// tidy keeps those who have left from making up most of the queue.
func (l *orderly) tidy() {
	if len(l.queue) > 2*l.live+8 {
		l.queue = slices.DeleteFunc(l.queue, func(t *turn) bool { return t.state == gone })
	}
}

// goOn is called with o.mu held, and unlocks it. It hands the next call over. A
// call may finish while it is handed over, which leads here again: one goroutine
// at a time does the work.
func (l *orderly) goOn() {
	o := l.o
	for !l.moving && l.running == nil {
		t := l.first()
		if t == nil {
			if l.live == 0 {
				delete(o.lines, l.key)
			}
			break
		}
		t.state = running
		l.running = t
		l.live--
		o.waiting--
		ctx, next, req, res := t.ctx, t.next, t.req, t.res
		t.leave()
		l.moving = true
		o.mu.Unlock()
		o.metrics.count("waited")
		o.run(ctx, next, req, res)
		o.mu.Lock()
		l.moving = false
	}
	o.mu.Unlock()
}

// first takes the first call that still waits; nil if there is none, or it is not
// ready.
func (l *orderly) first() *turn {
	for i, t := range l.queue {
		switch t.state {
		case waiting:
			l.queue[i] = nil
			l.queue = l.queue[i+1:]
			return t
		case coming:
			l.queue = l.queue[i:]
			return nil
		case running, gone:
			l.queue[i] = nil
		}
	}
	l.queue = nil
	return nil
}

// run contains panics: the middleware outside of this one is not on this
// goroutine's stack.
func (o *ordering) run(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	defer contain(ctx, o.log, req, res)
	next.Handle(ctx, req, res)
}

var _ route.Finisher = (*turn)(nil)
