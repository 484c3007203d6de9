package middleware_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// taken collects the calls that reach it.
type taken struct {
	mu    sync.Mutex
	calls []route.Responder
	reqs  []*route.Request
}

func (h *taken) Handle(_ context.Context, req *route.Request, res route.Responder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls, h.reqs = append(h.calls, res), append(h.reqs, req)
}

func (h *taken) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

func TestLimit(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Limit(nil, middleware.LimitConfig{Calls: 2, Queue: 2})(&in)
	calls := make([]*call, 5)
	body := []byte("the reader's buffer")
	for i := range calls {
		calls[i] = newCall("a:/x")
		calls[i].req.Message.Body = body
		run(t, h, calls[i])
	}
	if in.len() != 2 {
		t.Fatalf("%d run, want 2", in.len())
	}
	if c := calls[4]; c.code() != message.CodeOverloaded || !c.err.Retryable || c.err.RetryAfter == 0 {
		t.Fatalf("the fifth got %v", c.err)
	}
	copy(body, "something else now!")
	_ = calls[1].finish(nil)
	if in.len() != 3 || in.reqs[2] != calls[2].req {
		t.Fatal("the first in the queue did not go on")
	}
	if got := string(in.reqs[2].Message.Body); got != "the reader's buffer" {
		t.Errorf("the body of a call that waited is %q", got)
	}
	_ = calls[3].Fail(message.NewError(message.CodeCanceled, "", "")) // leaves the queue
	_ = calls[0].finish(nil)
	if in.len() != 3 {
		t.Fatal("a call that was over went on")
	}
	if run(t, h, newCall("a:/x")); in.len() != 4 {
		t.Fatal("a place was lost")
	}
}

func TestLimitPerRoute(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Limit(nil, middleware.LimitConfig{Calls: 1, PerRoute: true})(&in)
	run(t, h, newCall("a:/x"))
	run(t, h, newCall("a:/y"))
	if c := run(t, h, newCall("a:/x")); in.len() != 2 || c.code() != message.CodeOverloaded {
		t.Fatalf("%d run, the third got %v", in.len(), c.err)
	}
}

func TestLimitWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in taken
		h := middleware.Limit(nil, middleware.LimitConfig{Calls: 1, Queue: 9, Wait: seconds(2)})(&in)
		first, second := run(t, h, newCall("a:/x")), run(t, h, newCall("a:/x"))
		time.Sleep(time.Second)
		third := run(t, h, newCall("a:/x"))
		time.Sleep(time.Second)
		synctest.Wait()
		if second.code() != message.CodeOverloaded || third.code() != "open" {
			t.Fatalf("after 2 s: second %q, third %q", second.code(), third.code())
		}
		time.Sleep(999 * time.Millisecond)
		_ = first.finish(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if third.code() != "open" || in.len() != 2 {
			t.Fatalf("the third was not let through in time: %q", third.code())
		}
	})
}

func TestLimitContainsPanics(t *testing.T) {
	t.Parallel()
	var log buffer
	n := 0
	h := middleware.Limit(slog.New(slog.NewTextHandler(&log, nil)), middleware.LimitConfig{Calls: 1, Queue: 2})(
		route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {
			if n++; n == 2 {
				panic("boom")
			}
		}))
	first, second, third := run(t, h, newCall("a:/x")), run(t, h, newCall("a:/x")), run(t, h, newCall("a:/x"))
	_ = first.finish(nil)
	if second.code() != message.CodeInternal || !strings.Contains(log.String(), "boom") {
		t.Fatalf("second %v, log %q", second.err, log.String())
	}
	if n != 3 || third.code() != "open" {
		t.Fatal("the one behind did not go on")
	}
}

// A long queue of calls that are answered at once must not use the stack.
func TestLimitDoesNotRecurse(t *testing.T) {
	t.Parallel()
	const many = 20_000
	depth, deepest, n := 0, 0, 0
	h := middleware.Limit(nil, middleware.LimitConfig{Calls: 1, Queue: many})(
		route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
			if n++; n == 1 {
				return
			}
			depth++
			deepest = max(deepest, depth)
			_ = res.Reply(route.Body{})
			depth--
		}))
	first := run(t, h, newCall("a:/x"))
	for range many {
		run(t, h, newCall("a:/x"))
	}
	_ = first.finish(nil)
	if n != many+1 || deepest != 1 {
		t.Fatalf("%d ran, %d deep", n, deepest)
	}
}

// Against a model: never more than the limit, in order, nothing lost.
func TestLimitModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit, queue := rapid.IntRange(1, 3).Draw(t, "limit"), rapid.IntRange(0, 3).Draw(t, "queue")
		var in taken
		h := middleware.Limit(nil, middleware.LimitConfig{Calls: limit, Queue: queue, Wait: seconds(3600)})(&in)
		var running, waiting []*call
		advance := func() {
			for len(running) < limit && len(waiting) > 0 {
				running, waiting = append(running, waiting[0]), waiting[1:]
			}
		}
		started := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op < 2:
				c := newCall("a:/x")
				h.Handle(context.Background(), c.req, c)
				switch {
				case len(running) < limit:
					running = append(running, c)
				case len(waiting) < queue:
					waiting = append(waiting, c)
				default:
					if c.code() != message.CodeOverloaded {
						t.Fatalf("one too many got %q", c.code())
					}
				}
			case op == 2 && len(running) > 0:
				i := rapid.IntRange(0, len(running)-1).Draw(t, "ends")
				c := running[i]
				running = append(running[:i:i], running[i+1:]...)
				_ = c.finish(nil)
			case op == 3 && len(waiting) > 0:
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "gives up")
				c := waiting[i]
				waiting = append(waiting[:i:i], waiting[i+1:]...)
				_ = c.finish(nil)
			}
			advance()
			for _, c := range running[max(0, len(running)-in.len()+started):] {
				if in.reqs[started] != c.req {
					t.Fatal("a call overtook another")
				}
				started++
			}
			if in.len() != started {
				t.Fatalf("%d started, want %d", in.len(), started)
			}
		}
		for _, c := range append(running, waiting...) {
			_ = c.finish(nil)
		}
	})
}

func TestLimitConcurrently(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]bool{"answered": false, "some canceled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 4
			var now, most atomic.Int32
			var wg sync.WaitGroup
			h := middleware.Limit(nil, middleware.LimitConfig{Calls: limit, Queue: 1000})(
				route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					wg.Go(func() {
						now.Add(-1)
						_ = res.Reply(route.Body{})
					})
				}))
			calls := make([]*call, 400)
			for i := range calls {
				calls[i] = newCall("a:/x")
				wg.Go(func() { run(t, h, calls[i]) })
				if cancel && i%5 == 0 {
					wg.Go(func() { _ = calls[i].Fail(message.NewError(message.CodeCanceled, "", "")) })
				}
			}
			for _, c := range calls {
				<-c.done
			}
			wg.Wait()
			// Work that was canceled may go on for a moment beside its successor.
			if m := most.Load(); m > limit && !cancel {
				t.Fatalf("%d ran at a time, want at most %d", m, limit)
			}
		})
	}
}

// The limit follows the calls that end, and can be seen and set.
func TestLimitAdapts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := middleware.NewLimiter(nil, middleware.LimitConfig{Calls: 10, Queue: 100, PerRoute: true, Adapt: middleware.Adapt{Min: 2, Max: 50}})
		var open []*call
		h := l.Middleware()(ignore)
		for range 30 {
			open = append(open, run(t, h, newCall("a:/x")))
		}
		state := func() middleware.LimitState { return l.State().([]middleware.LimitState)[0] } //nolint:forcetypeassert // it is
		if s := state(); s.Route != "a:/x" || s.Calls != 10 || s.Running != 10 || s.Waiting != 20 {
			t.Errorf("%+v", s)
		}
		_ = open[0].Reply(route.Body{})
		time.Sleep(time.Second) // of the bubble
		for _, c := range open[1:10] {
			_ = c.Fail(message.NewError(message.CodeOverloaded, "", ""))
		}
		if s := state(); s.Calls != 9 || s.Running != 9 || s.Waiting != 11 {
			t.Errorf("%+v", s)
		}
		for change, field := range map[string]string{`{}`: "calls", `{"calls":1,"x":1}`: "settings", `{"calls":12,"route":"a:/x"}`: ""} {
			err := l.SetState(json.RawMessage(change))
			if (err == nil) != (field == "") || err != nil && message.AsError(err).Path != field {
				t.Errorf("%s: %v", change, err)
			}
		}
		if s := state(); s.Calls != 12 || s.Running != 12 || s.Waiting != 8 {
			t.Errorf("%+v", s)
		}
		for _, c := range open {
			_ = c.Reply(route.Body{})
		}
	})
}

// A limit that is set for all routes is that of routes to come, too.
func TestLimitSetBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	var in taken
	l := middleware.NewLimiter(nil, middleware.LimitConfig{Calls: 1, PerRoute: true})
	h := l.Middleware()(&in)
	if err := l.SetState([]byte(`{"calls":2}`)); err != nil {
		t.Fatal(err)
	}
	a, b, c := run(t, h, newCall("a:/x")), run(t, h, newCall("a:/x")), run(t, h, newCall("a:/x"))
	if a.code() != "open" || b.code() != "open" || c.code() != message.CodeOverloaded {
		t.Errorf("of three %q, %q and %q", a.code(), b.code(), c.code())
	}
	for _, res := range in.calls {
		_ = res.Reply(route.Body{})
	}
}
