package middleware_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// tried is a call that can be tried again, all on the goroutine of its timers.
// How a real one keeps its request is tested in package exchange.
type tried struct {
	*call
	retrier route.Retrier
	ctx     context.Context //nolint:containedctx // of the try
	on      *route.Request
	handing bool
	failed  *message.Error
	keep    []bool
	rematch error
	times   []time.Duration // since the beginning, of each try
}

func (c *tried) Try(ctx context.Context, req *route.Request, r route.Retrier) bool {
	if c.code() != "open" {
		return false
	}
	c.ctx, c.on, c.retrier, c.handing, c.failed = ctx, req, r, true, nil
	c.times = append(c.times, time.Since(c.req.Received))
	return true
}

func (c *tried) Handed(keep bool) {
	c.handing = false
	c.keep = append(c.keep, keep)
	if c.failed != nil {
		_ = c.Fail(c.failed)
	}
}

func (c *tried) Rematch(*route.Request, route.Endpoint) error { return c.rematch }

func (c *tried) Fail(err error) error {
	e := message.AsError(err)
	if c.retrier == nil || !route.Repeatable(e) {
		return c.call.Fail(err)
	}
	if c.handing {
		c.failed = e
		return nil
	}
	r := c.retrier
	c.retrier = nil
	if r.Failed(c.ctx, c.on, c, e) {
		return nil
	}
	return c.call.Fail(err)
}

// refuse fails every try, at the server if there is one.
func refuse(err *message.Error, server route.Endpoint) route.Handler {
	return route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		req.Server = server
		_ = res.Fail(err)
	})
}

// some is a server that is asked nothing.
type some struct{ route.Endpoint }

func (*some) Local() bool { return false }

var server = new(some)

var busy = &message.Error{Code: message.CodeOverloaded, Retryable: true}

// Each wait is twice the one before, a half more or less, and together they end
// before the deadline.
func TestRetryBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const base = 100 * time.Millisecond
		registry := prometheus.NewRegistry()
		m, err := middleware.NewRetryMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		h := middleware.Retry(nil, m, middleware.RetryConfig{Times: 5, Backoff: duration.Duration(base)})(refuse(busy, server))
		c := &tried{call: newCall("a:/x")}
		h.Handle(t.Context(), c.req, c)
		<-c.done
		if c.code() != message.CodeOverloaded || len(c.times) != 6 {
			t.Fatalf("%v after %d tries", c.err, len(c.times))
		}
		for i := 1; i < len(c.times); i++ {
			wait, mean := c.times[i]-c.times[i-1], base<<(i-1)
			if wait < mean/2 || wait > mean+mean/2 {
				t.Errorf("before try %d it waited %v", i, wait)
			}
		}
		if n := testutil.ToFloat64(counter(t, registry)); n != 5 {
			t.Errorf("%v were counted", n)
		}
		late := &tried{call: newCall("a:/x")}
		late.req.Deadline = late.req.Received.Add(base)
		h.Handle(t.Context(), late.req, late)
		<-late.done
		if took := time.Since(late.req.Received); took >= base || late.code() != message.CodeOverloaded {
			t.Errorf("%v after %v", late.err, took)
		}
	})
}

// counter is the one that a registry has.
func counter(t *testing.T, r *prometheus.Registry) prometheus.Collector {
	t.Helper()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_call_retries_total", Help: "Calls that were tried again, by the error of the try before.",
	}, []string{"code"})
	err := r.Register(c)
	have, ok := err.(prometheus.AlreadyRegisteredError) //nolint:errorlint // it is returned as it is
	if !ok {
		t.Fatalf("it is not registered: %v", err)
	}
	return have.ExistingCollector
}

func TestRetryWaitsAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Retry(nil, nil, middleware.RetryConfig{Times: 1})(refuse(&message.Error{
			Code: message.CodeRateLimited, Retryable: true, RetryAfter: 7 * time.Second,
		}, server))
		c := &tried{call: newCall("a:/x")}
		h.Handle(t.Context(), c.req, c)
		<-c.done
		if len(c.times) != 2 || c.times[1] != 7*time.Second {
			t.Errorf("tries at %v", c.times)
		}
	})
}

// Where nobody can be found it is tried once more, whatever the configuration
// says, and the caller learns why.
func TestRetryFindsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Retry(nil, nil, middleware.RetryConfig{Times: 9})(refuse(message.NewError(message.CodeServiceDown, "down", ""), nil))
		c := &tried{call: newCall("a:/x")}
		h.Handle(t.Context(), c.req, c)
		<-c.done
		if len(c.times) != 2 || c.code() != message.CodeServiceDown {
			t.Errorf("tries at %v: %v", c.times, c.err)
		}
		gone := &tried{call: newCall("a:/x"), rematch: message.NewError(message.CodeNoService, "no", "")}
		middleware.Retry(nil, nil, middleware.RetryConfig{})(refuse(busy, server)).Handle(t.Context(), gone.req, gone)
		<-gone.done
		if len(gone.times) != 1 || gone.code() != message.CodeOverloaded { // how the last server refused
			t.Errorf("tries at %v: %v", gone.times, gone.err)
		}
	})
}

// A call that ends while it waits leaves no timer, and what the node ends is not
// tried again.
func TestRetryStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Retry(nil, nil, middleware.RetryConfig{Backoff: duration.Duration(time.Second)})(refuse(busy, server))
		c := &tried{call: newCall("a:/x")}
		h.Handle(t.Context(), c.req, c)
		_ = c.call.Fail(message.NewError(message.CodeCanceled, "", ""))
		time.Sleep(time.Minute) // of the bubble
		if len(c.times) != 1 || c.code() != message.CodeCanceled {
			t.Errorf("tries at %v: %v", c.times, c.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c = &tried{call: newCall("a:/x")}
		h.Handle(ctx, c.req, c)
		if c.code() != message.CodeOverloaded {
			t.Errorf("after the end of the node: %v", c.code())
		}
	})
}

// Sends, other routes, and what cannot be tried again pass as they are.
func TestRetryPasses(t *testing.T) {
	t.Parallel()
	h := middleware.Retry(nil, nil, middleware.RetryConfig{Routes: []string{"a:/x", "a:/y"}, Except: []string{"a:/y"}})(refuse(busy, server))
	for name, change := range map[string]func(*tried){
		"a send":            func(c *tried) { c.req.Message.Verb = message.VerbSend },
		"another route":     func(c *tried) { c.req.Route = "b:/" },
		"an excepted route": func(c *tried) { c.req.Route = "a:/y" },
		"a bad strategy":    func(c *tried) { c.req.Message.Strategy = []byte("7") },
	} {
		c := &tried{call: newCall("a:/x")}
		change(c)
		h.Handle(t.Context(), c.req, c)
		if c.code() != message.CodeOverloaded || len(c.times) != 0 {
			t.Errorf("%s: %v, tries at %v", name, c.code(), c.times)
		}
	}
	c := &tried{call: newCall("a:/x")}
	middleware.Retry(nil, nil, middleware.RetryConfig{})(refuse(busy, nil)).Handle(t.Context(), c.req, c)
	if c.code() != message.CodeOverloaded || len(c.times) != 1 {
		t.Errorf("refused by middleware: %v, tries at %v", c.code(), c.times)
	}
	if c := run(t, h, newCall("a:/x")); c.code() != message.CodeOverloaded {
		t.Errorf("a Responder that is no Repeater: %v", c.code())
	}
}

// When everything fails, only a share of it is tried again.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		m, err := middleware.NewRetryMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		h := middleware.Retry(nil, m, middleware.RetryConfig{
			Times: 3, Budget: middleware.Budget{Share: 0.1, PerSecond: 2},
		})(refuse(busy, server))
		again := func(calls int) (n int) {
			for range calls {
				c := &tried{call: newCall("a:/x")}
				h.Handle(t.Context(), c.req, c)
				<-c.done
				n += len(c.times) - 1
			}
			return n
		}
		if n := again(1000); n < 100 || n > 120 { // the time passes while they wait
			t.Errorf("%d calls were tried again", n)
		}
		time.Sleep(20 * time.Second) // of the bubble
		if n := again(5); n != 15 {
			t.Errorf("later %d were tried again", n)
		}
		if n := testutil.CollectAndCount(registry, "ropewalk_call_retries_refused_total"); n != 1 {
			t.Error("refusals are not counted")
		}
	})
}

// The trace shows each try that fails, and where the next one goes.
func TestRetryTraced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans := &tryTracer{}
		n := 0
		h := middleware.Trace(spans)(middleware.Retry(nil, nil, middleware.RetryConfig{})(route.HandlerFunc(
			func(_ context.Context, req *route.Request, res route.Responder) {
				req.Server = named("s" + string(rune('1'+n)))
				if err := req.Admit(res); err != nil {
					t.Error(err)
				}
				if n++; n < 3 {
					_ = res.Fail(busy)
					return
				}
				_ = res.Reply(route.Body{})
			})))
		c := &tried{call: newCall("a:/x")}
		h.Handle(t.Context(), c.req, c)
		<-c.done
		want := "1 s1 overloaded, 2 s2 , 2 s2 overloaded, 3 s3 , "
		if c.code() != "" || spans.told != want {
			t.Errorf("%q, want %q", spans.told, want)
		}
	})
}

// named is a server that has no more than an id.
type named string

func (n named) ID() string                                            { return string(n) }
func (named) InFlight() int                                           { return 0 }
func (named) Local() bool                                             { return true }
func (named) Handle(context.Context, *route.Request, route.Responder) {}

// tryTracer is a Tracer and its only span.
type tryTracer struct{ told string }

func (s *tryTracer) Start(ctx context.Context, _ middleware.SpanStart) (context.Context, middleware.Span) {
	return ctx, s
}
func (*tryTracer) Context() middleware.TraceContext { return middleware.TraceContext{} }
func (*tryTracer) End(route.Outcome)                {}

func (s *tryTracer) Tried(n int, server string, err *message.Error) {
	code := message.Code("")
	if err != nil {
		code = err.Code
	}
	s.told += fmt.Sprintf("%d %s %s, ", n, server, code)
}

var (
	_ route.Repeater     = (*tried)(nil)
	_ middleware.TrySpan = (*tryTracer)(nil)
)
