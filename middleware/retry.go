package middleware

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

const (
	// DefaultRetryTimes gets a call past one server that goes away, and past
	// another that goes while it does; what fails three times has more to it.
	DefaultRetryTimes = 2
	// DefaultRetryBackoff is short enough not to be noticed, and long enough for
	// a route to be taken back and for many calls that fail at once to spread.
	DefaultRetryBackoff = 20 * time.Millisecond
)

// RetryConfig is the configuration of [Retry].
type RetryConfig struct {
	// Times is how often a call is tried again at most. Default: 2.
	Times int `json:"times,omitempty"`
	// Backoff is how long to wait before a call is tried again, and twice as
	// long each further time; up to a half more or less, by chance. Default: 20ms.
	Backoff duration.Duration `json:"backoff,omitzero"`
	// Try is the longest time of one try, for calls that are idempotent and
	// until their first part: then another server is tried, and what this one
	// says later is ignored. Default: all the time that the call has.
	Try duration.Duration `json:"try,omitzero"`
	// Budget bounds the further tries of each route.
	Budget Budget `json:"budget,omitzero"`
	// Routes ("name:/pattern") are those of which calls are tried again.
	// Default: all.
	Routes []string `json:"routes,omitempty"`
	// Except are routes of which calls are not tried again.
	Except []string `json:"except,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c RetryConfig) Validate() error {
	switch {
	case c.Times < 0:
		return invalid("times", "the number of times is negative", "Leave it out for 2, or take the middleware out.")
	case c.Backoff < 0:
		return invalid("backoff", "the time to wait is negative", "Leave it out for 20ms.")
	case c.Try < 0:
		return invalid("try", "the time of a try is negative", "Leave it out for all the time that a call has.")
	}
	return c.Budget.check()
}

// RetryMetrics are what [Retry] counts.
type RetryMetrics struct {
	again   *prometheus.CounterVec
	refused prometheus.Counter
}

// NewRetryMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_call_retries_total{code}   calls that were tried again, by the error of the try before
//	ropewalk_call_retries_refused_total calls that were not tried again because the budget was used up
func NewRetryMetrics(reg prometheus.Registerer) (*RetryMetrics, error) {
	m := &RetryMetrics{
		again: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_call_retries_total", Help: "Calls that were tried again, by the error of the try before.",
		}, []string{"code"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_call_retries_refused_total", Help: "Calls that were not tried again because the budget was used up.",
		}),
	}
	var err error
	m.again, err = register(reg, m.again, err)
	m.refused, err = register(reg, m.refused, err)
	return m, err
}

func (m *RetryMetrics) count(code message.Code) {
	if !code.Known() {
		code = "other"
	}
	m.again.WithLabelValues(string(code)).Inc()
}

// Retry tries calls again that failed and may be repeated, before the caller
// learns of it: those that were surely not executed (their error is Retryable),
// and, if they are idempotent, those whose server or node was lost. A call is
// idempotent if the caller says so ([route.Selection]) or the server
// ([route.Info]). Once a part was sent it is not repeated any more, nor if it
// took too long or was canceled.
//
// Each time a server is chosen anew, by the strategy of the call; the one that
// failed last is left out if there are others. If there are none, an error that
// says how long to wait is obeyed. If no server can be found at all, that is
// tried once more, or, if one has left just now, as often as all else. What
// other middleware refuses before a server was chosen is not tried again.
// Nothing is repeated when there is not enough time left until the deadline, nor
// beyond the budget of the route: when all servers fail, repeating all calls
// would only make it worse. If the call is traced, its span shows each try.
// Nobody waits meanwhile: the call goes on, on another goroutine, when its time
// has come. A panic there is written to log ([slog.Default] if nil).
//
// It fits the stage call, inside of everything that counts or logs calls. It
// costs three mutexes, and for a call that goes to another node, or through a
// connection and is idempotent, a copy of its body; with a time of one try also
// a timer, and always a copy of the request and its body. An invalid configuration panics; see
// [RetryConfig.Validate].
func Retry(log *slog.Logger, m *RetryMetrics, cfg RetryConfig) route.Middleware {
	must(cfg.Validate())
	r := retrier{
		log: log, metrics: m, times: cfg.Times, backoff: cfg.Backoff.Or(DefaultRetryBackoff),
		most: time.Duration(cfg.Try), purses: cfg.Budget.purses(),
		only: setOf(cfg.Routes), except: setOf(cfg.Except),
	}
	if r.times == 0 {
		r.times = DefaultRetryTimes
	}
	return func(next route.Handler) route.Handler {
		own := r
		own.next = next
		return &own
	}
}

func setOf[T comparable](list []T) map[T]struct{} {
	if len(list) == 0 {
		return nil
	}
	out := make(map[T]struct{}, len(list))
	for _, s := range list {
		out[s] = struct{}{}
	}
	return out
}

// retrier is the handler, and the Retrier of first tries: calls that do not fail
// have nothing of their own.
type retrier struct {
	next         route.Handler
	log          *slog.Logger
	metrics      *RetryMetrics
	times        int
	backoff      time.Duration
	most         time.Duration // of one try; 0 for any
	purses       *byRoute[purse]
	only, except map[string]struct{}
}

// Handle implements route.Handler.
func (r *retrier) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	c, direct := repeaterOf(res)
	sel, err := req.Selection()
	if c == nil || err != nil || !r.applies(req) {
		r.next.Handle(ctx, req, res)
		return
	}
	r.purses.get(req.Route).called(req.Received)
	var first route.Retrier = r
	if !direct { // Failed would not know res
		first = &retrial{r: r, res: res}
	}
	r.try(ctx, req, res, c, first, sel.Idempotent)
}

func (r *retrier) applies(req *route.Request) bool {
	return req.Message.EffectiveVerb() == message.VerbCall && among(req.Route, r.only, r.except)
}

// try hands the request over.
func (r *retrier) try(ctx context.Context, req *route.Request, res route.Responder, c route.Repeater, t route.Retrier, idempotent bool) {
	if r.most > 0 && (idempotent || allIdempotent(req.Match())) {
		a := beginTimedTry(ctx, req, res, c, t, r.most)
		if a == nil {
			return
		}
		res = a
	} else if !c.Try(ctx, req, t) {
		return
	}
	defer handed(c, req, idempotent) // also after a panic
	r.next.Handle(ctx, req, res)
}

// allIdempotent reports whether a call may be repeated whoever gets it.
func allIdempotent(m *route.Match) bool {
	for _, e := range m.Endpoints {
		if !m.Idempotent(e) {
			return false
		}
	}
	return len(m.Endpoints) > 0
}

// handed has the body kept if it may be needed. A server of this node that takes
// a call has it, and either answers or is lost.
func handed(c route.Repeater, req *route.Request, idempotent bool) {
	keep := false
	if !req.Kept() { // so nobody else has the request now
		s := req.Server
		keep = s != nil && (!s.Local() || idempotent || req.Match().Idempotent(s))
	}
	c.Handed(keep)
}

// repeaterOf looks for a Repeater, also behind what other middleware wrapped.
func repeaterOf(res route.Responder) (c route.Repeater, direct bool) {
	for direct = true; ; direct = false {
		switch r := res.(type) {
		case route.Repeater:
			return r, direct
		case interface{ Unwrap() route.Responder }:
			res = r.Unwrap()
		default:
			return nil, false
		}
	}
}

// Failed implements route.Retrier.
func (r *retrier) Failed(ctx context.Context, req *route.Request, res route.Repeater, err *message.Error) bool {
	return (&retrial{r: r, res: res}).Failed(ctx, req, res, err)
}

// retrial is a call that has failed before.
type retrial struct {
	r      *retrier
	res    route.Responder
	times  int            // it was tried again
	sought bool           // once more, when there was no server
	last   *message.Error // of a server
	failed route.Endpoint // last, and to be left out

	span TrySpan // nil: nobody looks
}

// Failed implements route.Retrier.
func (t *retrial) Failed(ctx context.Context, req *route.Request, c route.Repeater, err *message.Error) bool {
	idempotent := t.idempotent(req)
	if t.span == nil {
		t.span = tries(ctx)
	}
	if t.span != nil {
		t.span.Tried(t.times+1, idOf(req.Server), err)
	}
	wait, ok := t.wait(req, err, idempotent)
	if !ok || ctx.Err() != nil || !t.r.afford(req) {
		if req.Server == nil && t.last != nil {
			// That in the end there was no other server is not what the caller
			// has to know: it may have been executed.
			_ = t.res.Fail(t.last)
			return true
		}
		return false
	}
	t.times++
	t.sought = t.sought || (req.Server == nil && t.failed == nil)
	if t.failed = req.Server; req.Server != nil {
		t.last = err
	}
	if t.r.metrics != nil {
		t.r.metrics.count(err.Code)
	}
	again := req.Again()
	if t.span != nil {
		again.Guard(t)
	}
	timer := time.AfterFunc(wait, func() { t.again(ctx, again, c, idempotent) })
	c.OnFinish(stopping{timer})
	return true
}

// afford reports whether the budget has room for another try.
func (r *retrier) afford(req *route.Request) bool {
	ok := r.purses.get(req.Route).take(time.Now())
	if !ok && r.metrics != nil {
		r.metrics.refused.Inc()
	}
	return ok
}

// Admit implements route.Gate: it lets everything pass, and shows in the trace
// which server a further try goes to.
func (t *retrial) Admit(req *route.Request, _ route.Responder) error {
	t.span.Tried(t.times+1, req.Server.ID(), nil)
	return nil
}

func idOf(e route.Endpoint) string {
	if e == nil {
		return ""
	}
	return e.ID()
}

// stopping stops a timer when the call is over.
type stopping struct{ *time.Timer }

// Finished implements route.Finisher.
func (s stopping) Finished(route.Outcome) { s.Stop() }

// idempotent reports whether a call may be executed twice.
func (t *retrial) idempotent(req *route.Request) bool {
	// Not req.Selection: the server may be looking at the request.
	sel, err := route.ParseSelection(req.Message.Strategy)
	return err == nil && sel.Idempotent || req.Server != nil && req.Match().Idempotent(req.Server)
}

// wait returns how long to wait before a call is tried again, if it is.
func (t *retrial) wait(req *route.Request, err *message.Error, idempotent bool) (time.Duration, bool) {
	switch {
	case t.times >= t.r.times, !route.Repeatable(err), !err.Retryable && !idempotent:
		return 0, false
	case req.Server == nil && (t.sought && t.failed == nil && err.RetryAfter == 0 || !unserved(err)):
		return 0, false
	}
	d := t.r.backoff << min(t.times, 16)
	d = d/2 + rand.N(d+1) //nolint:gosec // spreads load, guards nothing
	if err.RetryAfter > d && (req.Server == nil || len(req.Match().Endpoints) <= 1) {
		d = err.RetryAfter
	}
	return d, time.Until(req.Deadline) > d
}

// unserved reports whether an error may say that no server was found.
func unserved(err *message.Error) bool {
	return err.Code == message.CodeServiceDown || err.Code == message.CodeMeshSplit
}

// again hands the request over once more.
func (t *retrial) again(ctx context.Context, req *route.Request, c route.Repeater, idempotent bool) {
	defer contain(ctx, t.r.log, req, t.res)
	if err := c.Rematch(req, t.failed); err != nil {
		t.failed = nil // nobody was left out
		if e := message.AsError(err); !t.Failed(ctx, req, c, e) {
			_ = t.res.Fail(e)
		}
		return
	}
	t.r.try(ctx, req, t.res, c, t, idempotent)
}

var (
	_ route.Retrier  = (*retrier)(nil)
	_ route.Retrier  = (*retrial)(nil)
	_ route.Gate     = (*retrial)(nil)
	_ route.Finisher = stopping{}
)
