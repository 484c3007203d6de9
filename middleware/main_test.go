package middleware_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is one request and what became of it.
type call struct {
	req *route.Request

	mu        sync.Mutex
	over      bool
	err       *message.Error
	finishers []route.Finisher
	done      chan struct{}
}

func newCall(pattern string) *call {
	c := &call{req: &route.Request{Route: pattern, Peer: peer{id: "p1", addr: "192.0.2.1:5000"}}, done: make(chan struct{})}
	c.req.Received = time.Now()
	c.req.Deadline = c.req.Received.Add(30 * time.Second)
	m := &c.req.Message
	m.Verb, m.Mid, m.To, m.Body = message.VerbCall, []byte("m1"), []byte("a:/x"), []byte("1")
	return c
}

func (c *call) Part(route.Body) error  { return nil }
func (c *call) Reply(route.Body) error { return c.finish(nil) }
func (c *call) Fail(err error) error   { return c.finish(message.AsError(err)) }

func (c *call) finish(err *message.Error) error {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return message.NewError(message.CodeConflict, "over", "")
	}
	c.over, c.err = true, err
	told := c.finishers
	c.finishers = nil
	c.mu.Unlock()
	for _, f := range told {
		f.Finished(c.outcome())
	}
	close(c.done)
	return nil
}

func (c *call) outcome() route.Outcome {
	return route.Outcome{Route: c.req.Route, Err: c.err, Took: time.Since(c.req.Received)}
}

func (c *call) OnFinish(f route.Finisher) {
	c.mu.Lock()
	if !c.over {
		c.finishers = append(c.finishers, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f.Finished(c.outcome())
}

func (c *call) code() message.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.over:
		return "open"
	case c.err == nil:
		return ""
	}
	return c.err.Code
}

type peer struct{ id, addr string }

func (p peer) ID() string         { return p.id }
func (p peer) Listener() string   { return "main" }
func (p peer) RemoteAddr() string { return p.addr }

var reply = route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.Body{}) })

// ignore leaves the request open.
var ignore = route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {})

func run(t testing.TB, h route.Handler, c *call) *call {
	h.Handle(t.Context(), c.req, c)
	return c
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// free is a Responder that costs nothing.
type free struct {
	f [4]route.Finisher
	n int
}

func (r *free) Part(route.Body) error     { return nil }
func (r *free) Reply(route.Body) error    { return r.end() }
func (r *free) Fail(error) error          { return r.end() }
func (r *free) OnFinish(f route.Finisher) { r.f[r.n], r.n = f, r.n+1 }

func (r *free) end() error {
	n := r.n
	r.n = 0
	for _, f := range r.f[:n] {
		f.Finished(route.Outcome{Route: "a:/x", Took: time.Millisecond})
	}
	return nil
}

func must(tb testing.TB, m *middleware.CallMetrics, err error) *middleware.CallMetrics {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// passing are all middleware, in the state in which a request passes.
func passing(tb testing.TB) map[string]route.Middleware {
	metrics, err := middleware.NewCallMetrics(nil)
	return map[string]route.Middleware{
		"none":         func(next route.Handler) route.Handler { return next },
		"recover":      middleware.Recover(nil),
		"deadline":     middleware.Deadline(middleware.DeadlineConfig{}),
		"deadline/set": middleware.Deadline(middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Default: seconds(10)}}),
		"log":          middleware.Log(nil, middleware.LogConfig{}),
		"metrics":      middleware.Metrics(must(tb, metrics, err)),
		"trace":        middleware.Trace(nil),
		"limit":        middleware.Limit(nil, middleware.LimitConfig{Calls: 10}),
		"limit/route":  middleware.Limit(nil, middleware.LimitConfig{Calls: 10, PerRoute: true}),
		"rate":         middleware.RateLimit(middleware.RateConfig{Rate: 1e9}),
		"rate/peer":    middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateByClient}),
		"rate/ip":      middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateByIP}),
		"rate/session": middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateBySession}),
		"rate/user":    middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateByUser}),
		"rate/route":   middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateByRoute}),
		"retry":        middleware.Retry(nil, nil, middleware.RetryConfig{Except: []string{"b:/"}}),
		"breaker":      middleware.Breaker(nil, nil, middleware.BreakerConfig{}),
		"hedge":        middleware.Hedge(nil, nil, middleware.HedgeConfig{}),
		"limit/adapt":  middleware.Limit(nil, middleware.LimitConfig{Calls: 10, Adapt: middleware.Adapt{Max: 10}}),
		"fallback": middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
			"b:/x": {Value: []byte("1")},
		}}),
		"shed":        middleware.NewShed(nil, middleware.ShedConfig{Calls: 100}).Middleware(),
		"idempotency": middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{}),
		"in-order":    middleware.InOrder(nil, nil, middleware.OrderConfig{Routes: []string{"b:/x"}}),
		"cache": middleware.NewCache(nil, nil, middleware.CacheConfig{
			Routes: map[string]middleware.CacheRoute{"b:/x": {}}, Invalidates: map[string][]string{"b:/y": {"b:/x"}},
		}).Middleware(),
		"secret": middleware.Secret(middleware.SecretConfig{Secrets: []string{"old", "s3cret"}}),
	}
}

func TestPassAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations under -race mean nothing")
	}
	for name, mw := range passing(t) {
		t.Run(name, func(t *testing.T) {
			h, c, res := mw(reply), newCall("a:/x"), &free{}
			c.req.Message.Authorization = []byte("s3cret")
			deadline := c.req.Deadline
			if n := testing.AllocsPerRun(1000, func() {
				c.req.Deadline = deadline
				h.Handle(t.Context(), c.req, res)
			}); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

func BenchmarkPass(b *testing.B) {
	for name, mw := range passing(b) {
		b.Run(name, func(b *testing.B) {
			h, c, res := mw(reply), newCall("a:/x"), &free{}
			c.req.Message.Authorization = []byte("s3cret")
			deadline, ctx := c.req.Deadline, b.Context()
			b.ReportAllocs()
			for b.Loop() {
				c.req.Deadline = deadline
				h.Handle(ctx, c.req, res)
			}
		})
	}
}
