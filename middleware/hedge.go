package middleware

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [HedgeConfig].
const (
	// DefaultHedgePercentile has one call in twenty asked twice.
	DefaultHedgePercentile = 95
	// DefaultHedgeShare is more than the calls beyond that percentile, and far
	// less than what would hurt.
	DefaultHedgeShare = 0.1
	// DefaultHedgePerSecond is for routes with few calls.
	DefaultHedgePerSecond = 1
)

// HedgeConfig is the configuration of [Hedge].
type HedgeConfig struct {
	// After is how long the first server has before a second one is asked; with
	// a percentile, at least. Default: what the percentile says.
	After duration.Duration `json:"after,omitzero"`
	// Percentile is above which percentile of the latest latencies of its route
	// a call is slow, above 0 and below 100. Default: 95; with after, none.
	Percentile float64 `json:"percentile,omitempty"`
	// Budget bounds the second tries of each route. Default: a share of 0.1,
	// and 1 a second.
	Budget Budget `json:"budget,omitzero"`
	// Routes ("name:/pattern") are those of which calls may be asked twice.
	// Default: all.
	Routes []string `json:"routes,omitempty"`
	// Except are routes of which they may not.
	Except []string `json:"except,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c HedgeConfig) Validate() error {
	switch {
	case c.After < 0:
		return invalid("after", "the time is negative", "Leave it out for what the percentile says.")
	case math.IsNaN(c.Percentile) || c.Percentile < 0 || c.Percentile >= 100:
		return invalid("percentile", "the percentile is not between 0 and 100", "Leave it out for 95.")
	}
	return c.Budget.check()
}

// HedgeMetrics are what [Hedge] counts.
type HedgeMetrics struct{ asked *prometheus.CounterVec }

// NewHedgeMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_hedges_total{result}   calls that were slow: won or lost by the second server, or refused by the budget
func NewHedgeMetrics(reg prometheus.Registerer) (*HedgeMetrics, error) {
	m := &HedgeMetrics{asked: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_hedges_total", Help: "Calls that were slow: won or lost by the second server, or refused by the budget.",
	}, []string{"result"})}
	var err error
	m.asked, err = register(reg, m.asked, err)
	return m, err
}

// Hedge asks a second server when the first is slow: the first good answer wins,
// and the other server is told that nobody waits any more. It does so for calls
// that are idempotent, because the caller says so ([route.Selection]) or all
// servers ([route.Info]), until the first part, and within a budget. If both
// fail, the error is that of the first; if the first fails before a second one
// is asked, there is none: that is for [Retry].
//
// It fits the stage call, inside of the retries. A panic on the way to the second
// server is written to log ([slog.Default] if nil); m may be nil. A call that may
// be hedged costs a copy of its request and body, a timer and some allocations,
// any other one a look-up. An invalid configuration panics; see
// [HedgeConfig.Validate].
func Hedge(log *slog.Logger, m *HedgeMetrics, cfg HedgeConfig) route.Middleware {
	must(cfg.Validate())
	if m == nil {
		m, _ = NewHedgeMetrics(nil) // without a registry there is no error
	}
	share := cfg.Budget
	share.Share = cmp.Or(share.Share, DefaultHedgeShare)
	share.PerSecond = cmp.Or(share.PerSecond, DefaultHedgePerSecond)
	h := &hedger{
		log: log, metrics: m, after: time.Duration(cfg.After), only: setOf(cfg.Routes), except: setOf(cfg.Except),
		purses: share.purses(),
	}
	percentile := cfg.Percentile
	if percentile == 0 && cfg.After == 0 {
		percentile = DefaultHedgePercentile
	}
	if percentile > 0 {
		h.times = newByRoute(func(string) *latencies { return &latencies{share: percentile / 100} })
	}
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			h.handle(ctx, next, req, res)
		})
	}
}

type hedger struct {
	log          *slog.Logger
	metrics      *HedgeMetrics
	after        time.Duration
	times        *byRoute[latencies] // nil: the time is always after
	purses       *byRoute[purse]
	only, except map[string]struct{}
}

func (h *hedger) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	again, _ := repeaterOf(res)
	if again == nil || !h.applies(req) {
		next.Handle(ctx, req, res)
		return
	}
	h.purses.get(req.Route).called(req.Received)
	began, after := time.Now(), h.after
	var times *latencies
	if h.times != nil {
		times = h.times.get(req.Route)
		after = max(after, times.slow())
	}
	if after <= 0 || time.Until(req.Deadline) <= after { // it is not known yet, or there would be no time
		if times != nil {
			res.OnFinish(&timing{times, began})
		}
		next.Handle(ctx, req, res)
		return
	}
	r := &race{h: h, ctx: ctx, next: next, res: res, again: again, times: times, pattern: req.Route}
	// The first server may look at its request whenever it likes, so the copy is
	// made before it gets it.
	r.spare = req.Again()
	req.Keep()
	r.arms[0] = arm{race: r, began: began}
	req.Guard(&r.arms[0])
	r.mu.Lock() // the timer may be faster than the next line
	r.timer = time.AfterFunc(after, r.second)
	r.mu.Unlock()
	res.OnFinish(r)
	next.Handle(ctx, req, &r.arms[0])
}

// applies reports whether a call may be asked twice.
func (h *hedger) applies(req *route.Request) bool {
	if req.Message.EffectiveVerb() != message.VerbCall || len(req.Match().Endpoints) < 2 || !among(req.Route, h.only, h.except) {
		return false
	}
	sel, err := req.Selection()
	return err == nil && sel.Instance == "" && (sel.Idempotent || allIdempotent(req.Match()))
}

// timing measures a call that is not hedged.
type timing struct {
	times *latencies
	began time.Time
}

// Finished implements route.Finisher.
func (t *timing) Finished(o route.Outcome) {
	if o.Err == nil {
		t.times.add(time.Since(t.began))
	}
}

var _ route.Finisher = (*timing)(nil)
