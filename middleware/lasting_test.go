package middleware_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// outcomes is a Responder that looks at no request to tell its finishers.
type outcomes struct {
	mu        sync.Mutex
	over      *route.Outcome
	finishers []route.Finisher
	done      chan struct{}
}

func (c *outcomes) Part(route.Body) error  { return nil }
func (c *outcomes) Reply(route.Body) error { return c.finish(nil) }
func (c *outcomes) Fail(err error) error   { return c.finish(message.AsError(err)) }

func (c *outcomes) finish(err *message.Error) error {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return message.NewError(message.CodeConflict, "over", "")
	}
	c.over = &route.Outcome{Route: "a:/x", Err: err, Took: time.Hour}
	told := c.finishers
	c.mu.Unlock()
	for _, f := range told {
		f.Finished(*c.over)
	}
	close(c.done)
	return nil
}

func (c *outcomes) OnFinish(f route.Finisher) {
	c.mu.Lock()
	if c.over == nil {
		c.finishers = append(c.finishers, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f.Finished(*c.over)
}

// A request that nobody has kept belongs to the next call as soon as Handle has
// returned. All middleware together, with calls that are answered later, from
// elsewhere, by a runner, after a wait, and never: the race detector sees who
// still touches it.
func TestRequestIsLeftAlone(t *testing.T) {
	t.Parallel()
	metrics, err := middleware.NewCallMetrics(nil)
	quiet := slog.New(slog.NewTextHandler(new(buffer), &slog.HandlerOptions{Level: slog.LevelDebug}))
	runner := service.NewRunner(t.Context(), quiet, 2, 1000)
	defer runner.Close()
	var later sync.WaitGroup
	defer later.Wait()
	served := runner.Handler(route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		switch {
		case len(req.Message.Body) != 1:
			t.Error("the body has changed")
		case req.Message.Body[0]%2 == 0:
			<-ctx.Done()
			_ = res.Fail(ctx.Err())
		default:
			_ = res.Reply(route.Body{})
		}
	}))
	h := route.Handler(route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		switch req.Message.Body[0] % 5 {
		case 0:
			panic("a bug")
		case 1:
			later.Go(func() { _ = res.Reply(route.Body{}) })
		case 2: // until the deadline
		default:
			served.Handle(ctx, req, res)
		}
	}))
	for _, mw := range []route.Middleware{
		middleware.Limit(quiet, middleware.LimitConfig{Calls: 8, Queue: 1000}),
		middleware.RateLimit(middleware.RateConfig{Rate: 1e9, By: middleware.RateByClient}),
		middleware.Deadline(middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Max: seconds(0.01)}}),
		middleware.Trace(middleware.OTel(noop.NewTracerProvider())),
		middleware.Metrics(must(t, metrics, err)),
		middleware.Log(quiet, middleware.LogConfig{}),
		middleware.Recover(quiet),
	} {
		h = mw(h)
	}
	var calls []*outcomes
	for i := range 300 {
		c := &outcomes{done: make(chan struct{})}
		calls = append(calls, c)
		req, body := newCall("a:/x").req, []byte{byte(i)}
		req.Message.Body = body
		h.Handle(t.Context(), req, c)
		body[0] = 0 // the reader's buffer
		if !req.Kept() {
			*req = route.Request{Route: "another:/call", Peer: peer{}, Message: message.Message{To: []byte("b:/")}}
		}
	}
	for i, c := range calls {
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			t.Fatalf("call %d has no answer", i)
		}
	}
}
