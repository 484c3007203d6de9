package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

type handle = func(context.Context, *route.Request, route.Responder)

// syncBuffer is a log that a test can read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestRunnerAnswersForTheHandler(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		h    handle
		code message.Code
		text string
		log  string
	}{
		{"ok", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.JSON(nil)) }, "", "", ""},
		{"panic", func(context.Context, *route.Request, route.Responder) { panic("secret reason") }, message.CodeInternal, "failed while handling", "runner_test.go"},
		{"panic after the reply", func(_ context.Context, _ *route.Request, res route.Responder) {
			_ = res.Reply(route.JSON(nil))
			panic("late")
		}, "", "", "panic: late"},
		{"exit", func(context.Context, *route.Request, route.Responder) { runtime.Goexit() }, message.CodeInternal, "failed while handling", "ended its goroutine"},
		{"no answer", func(context.Context, *route.Request, route.Responder) {}, message.CodeInternal, "returned without an answer", "without an answer"},
		{"foreign error", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Fail(errors.New("disk full")) }, message.CodeInternal, "", "disk full"},
		{"nil error", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Fail(nil) }, message.CodeInternal, "without an error", ""},
		{"own error", func(_ context.Context, _ *route.Request, res route.Responder) {
			_ = res.Fail(message.NewError(message.CodeNotFound, "no", ""))
		}, message.CodeNotFound, "no", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log syncBuffer
			r := service.NewRunner(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), 1, 1)
			in := newCall("a:/x", "")
			in.req.Route = "a:/{p}"
			r.Handler(route.HandlerFunc(c.h)).Handle(t.Context(), in.req, in)
			in.wait(t)
			// The next one runs although the one before ended its goroutine.
			next := newCall("a:/x", "")
			r.Handler(answer("1")).Handle(t.Context(), next.req, next)
			if next.wait(t).err != nil {
				t.Error(next.err)
			}
			r.Close()
			if in.code() != c.code || c.text != "" && !strings.Contains(in.err.Message, c.text) {
				t.Errorf("error %v, want %q with %q", in.err, c.code, c.text)
			}
			if in.err != nil && strings.Contains(in.err.Message, "secret") {
				t.Error("the reason of a panic reached the caller")
			}
			if got := log.String(); c.log == "" && got != "" || !strings.Contains(got, c.log) || c.log != "" && !strings.Contains(got, "route=a:/{p}") {
				t.Errorf("log %q, want %q", got, c.log)
			}
			if r.InFlight() != 0 {
				t.Errorf("%d in flight", r.InFlight())
			}
		})
	}
}

// What a handler refuses itself may be repeated; what it passes on may not, for
// nobody knows what it has done before.
func TestRunnerRetryable(t *testing.T) {
	t.Parallel()
	mine := message.NewError(message.CodeOverloaded, "mine", "")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{mine, true},
		{message.DecodeError(message.AppendError(nil, mine)), false},
		{fmt.Errorf("ask the stock: %w", message.DecodeError(message.AppendError(nil, mine))), false},
	} {
		r := service.NewRunner(t.Context(), slog.New(slog.DiscardHandler), 1, 1)
		in := newCall("a:/x", "")
		r.Handler(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Fail(c.err) })).Handle(t.Context(), in.req, in)
		in.wait(t)
		r.Close()
		if in.err.Code != message.CodeOverloaded || in.err.Retryable != c.want {
			t.Errorf("%v: %+v", c.err, in.err)
		}
	}
}

func TestRunnerSendNeedsNoAnswer(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	r := service.NewRunner(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), 1, 1)
	in := newCall("a:/x", "")
	in.req.Message.Verb = message.VerbSend
	r.Handler(route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {})).Handle(t.Context(), in.req, in)
	in.wait(t)
	r.Close()
	if in.err != nil || log.String() != "" {
		t.Fatalf("error %v, log %q", in.err, log.String())
	}
}

func TestRunnerContextEnds(t *testing.T) {
	t.Parallel()
	canceled := message.NewError(message.CodeCanceled, "the caller canceled", "")
	for _, c := range []struct {
		name     string
		deadline time.Duration
		end      func(in *call, r *service.Runner)
		err      error
		cause    message.Code
	}{
		{"the caller cancels", time.Hour, func(in *call, _ *service.Runner) { _ = in.Fail(canceled) }, context.Canceled, message.CodeCanceled},
		{"the deadline passes", time.Minute, func(*call, *service.Runner) {}, context.DeadlineExceeded, message.CodeDeadlineExceeded},
		{"the runner closes", 0, func(_ *call, r *service.Runner) { r.Close() }, context.Canceled, message.CodeShuttingDown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := service.NewRunner(t.Context(), nil, 1, 1)
				in := newCall("a:/x", "")
				if c.deadline > 0 {
					in.req.Deadline = time.Now().Add(c.deadline)
				}
				var ctx context.Context
				started, ended := make(chan struct{}), make(chan struct{})
				r.Handler(route.HandlerFunc(func(hctx context.Context, _ *route.Request, res route.Responder) {
					ctx = hctx
					close(started)
					<-ctx.Done()
					_ = res.Fail(ctx.Err())
					close(ended)
				})).Handle(t.Context(), in.req, in)
				<-started
				c.end(in, r)
				<-ended
				if !errors.Is(ctx.Err(), c.err) || message.CodeOf(context.Cause(ctx)) != c.cause {
					t.Errorf("err %v, cause %v", ctx.Err(), context.Cause(ctx))
				}
				if in.wait(t).code() != c.cause {
					t.Errorf("the caller got %v", in.err)
				}
				if d, ok := ctx.Deadline(); ok != (c.deadline > 0) || ok && !d.Equal(in.req.Deadline) {
					t.Errorf("deadline %v", d)
				}
				r.Close()
			})
		})
	}
}

func TestRunnerBounds(t *testing.T) {
	t.Parallel()
	r := service.NewRunner(t.Context(), nil, 2, 3)
	defer r.Close()
	release := make(chan struct{})
	var mu sync.Mutex
	var order []string
	h := r.Handler(route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		mu.Lock()
		order = append(order, string(req.Message.Body))
		mu.Unlock()
		select {
		case <-release:
			_ = res.Reply(route.JSON(nil))
		case <-ctx.Done():
		}
	}))
	calls := make([]*call, 6)
	for i := range calls {
		calls[i] = newCall("a:/x", fmt.Sprint(i))
		h.Handle(t.Context(), calls[i].req, calls[i])
	}
	if calls[5].wait(t).code() != message.CodeOverloaded {
		t.Fatalf("one too many got %v", calls[5].err)
	}
	if n := r.InFlight(); n != 5 {
		t.Fatalf("%d in flight", n)
	}
	_ = calls[3].Fail(message.NewError(message.CodeCanceled, "", "")) // leaves the queue, makes room for another
	late := newCall("a:/x", "6")
	h.Handle(t.Context(), late.req, late)
	for _, in := range []*call{calls[0], calls[1], calls[2], calls[4], late} {
		release <- struct{}{}
		_ = in
	}
	for _, in := range []*call{calls[0], calls[1], calls[2], calls[4], late} {
		if in.wait(t).err != nil {
			t.Error(in.err)
		}
	}
	r.Close()
	mu.Lock()
	defer mu.Unlock()
	seen := strings.Join(order, "")
	if len(seen) != 5 || strings.Contains(seen, "3") || strings.Index(seen, "2") > strings.Index(seen, "6") {
		t.Errorf("ran %s", seen)
	}
}

func TestRunnerDrain(t *testing.T) {
	t.Parallel()
	r := service.NewRunner(t.Context(), nil, 1, 5)
	defer r.Close()
	release := make(chan struct{})
	h := r.Handler(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
		<-release
		_ = res.Reply(route.JSON(nil))
	}))
	first, second, refused := newCall("a:/x", ""), newCall("a:/x", ""), newCall("a:/x", "")
	h.Handle(t.Context(), first.req, first)
	h.Handle(t.Context(), second.req, second)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Drain(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("Drain with an ended context: %v", err)
	}
	h.Handle(t.Context(), refused.req, refused)
	if refused.wait(t).code() != message.CodeShuttingDown {
		t.Fatalf("while draining: %v", refused.err)
	}
	close(release)
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.wait(t).err != nil || second.wait(t).err != nil {
		t.Fatalf("drained calls failed: %v, %v", first.err, second.err)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Fatalf("again: %v", err)
	}
}

func TestRunnerCloseFailsWhatWaits(t *testing.T) {
	t.Parallel()
	parent, cancel := context.WithCancel(t.Context())
	r := service.NewRunner(parent, nil, 1, 5)
	h := r.Handler(route.HandlerFunc(func(ctx context.Context, _ *route.Request, res route.Responder) {
		<-ctx.Done()
		_ = res.Fail(ctx.Err())
	}))
	first, second, third := newCall("a:/x", ""), newCall("a:/x", ""), newCall("a:/x", "")
	h.Handle(t.Context(), first.req, first)
	h.Handle(t.Context(), second.req, second)
	cancel() // the parent's end has the same effect, without the waiting
	for _, in := range []*call{first, second} {
		if in.wait(t).code() != message.CodeShuttingDown || in.err.Retryable != (in == second) { // the first may have been executed
			t.Errorf("got %v", in.err)
		}
	}
	r.Close()
	r.Close()
	h.Handle(t.Context(), third.req, third)
	if third.wait(t).code() != message.CodeShuttingDown {
		t.Errorf("after Close: %v", third.err)
	}
}

func TestRunnerSkipsWhatIsOver(t *testing.T) {
	t.Parallel()
	ran := make(chan string, 3)
	r := service.NewRunner(t.Context(), nil, 1, 1)
	h := r.Handler(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		ran <- string(req.Message.Body)
		_ = res.Reply(route.JSON(nil))
	}))
	over, late, ok := newCall("a:/x", "over"), newCall("a:/x", "late"), newCall("a:/x", "ok")
	_ = over.Fail(message.NewError(message.CodeCanceled, "", ""))
	late.req.Deadline = time.Now().Add(-time.Second)
	for _, in := range []*call{over, late, ok} {
		h.Handle(t.Context(), in.req, in)
		in.wait(t)
	}
	r.Close()
	if late.code() != message.CodeDeadlineExceeded || ok.err != nil {
		t.Errorf("late %v, ok %v", late.err, ok.err)
	}
	if got := <-ran; got != "ok" || len(ran) != 0 {
		t.Errorf("ran %s and %d more", got, len(ran))
	}
}

// Whatever callers, handlers and the owner do, each call is finished once.
func TestRunnerExactlyOneAnswer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit, queue := rapid.IntRange(1, 3).Draw(rt, "limit"), rapid.IntRange(0, 3).Draw(rt, "queue")
		r := service.NewRunner(t.Context(), slog.New(slog.DiscardHandler), limit, queue)
		h := r.Handler(route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			switch string(req.Message.Body) {
			case "reply":
				_ = res.Reply(route.JSON(nil))
			case "panic":
				panic("x")
			case "exit":
				runtime.Goexit()
			case "wait":
				<-ctx.Done()
				_ = res.Fail(ctx.Err())
			}
		}))
		var calls []*call
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch op := rapid.SampledFrom([]string{"reply", "panic", "exit", "wait", "nothing", "cancel"}).Draw(rt, "op"); op {
			case "cancel":
				if len(calls) > 0 {
					_ = calls[rapid.IntRange(0, len(calls)-1).Draw(rt, "which")].Fail(message.NewError(message.CodeCanceled, "", ""))
				}
			default:
				c := newCall("a:/x", op)
				if from := rapid.SampledFrom([]string{"", "a@client:/", "b@client:/"}).Draw(rt, "from"); from != "" {
					c = newPublish(from, "a:/x", op)
				}
				calls = append(calls, c)
				h.Handle(t.Context(), c.req, c)
			}
		}
		r.Close()
		for _, c := range calls {
			c.wait(t)
		}
		if n := r.InFlight(); n != 0 {
			rt.Fatalf("%d in flight", n)
		}
	})
}

// nobody is a Responder that costs nothing.
type nobody struct {
	finisher route.Finisher
	done     chan struct{}
}

func (n *nobody) Part(route.Body) error     { return nil }
func (n *nobody) Reply(route.Body) error    { return n.finish() }
func (n *nobody) Fail(error) error          { return n.finish() }
func (n *nobody) OnFinish(f route.Finisher) { n.finisher = f }

func (n *nobody) finish() error {
	n.finisher.Finished(route.Outcome{})
	n.done <- struct{}{}
	return nil
}

// A call costs its job, its goroutine and its context; all of it is small.
func TestRunnerAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations under -race mean nothing")
	}
	r := service.NewRunner(t.Context(), nil, 0, 0)
	defer r.Close()
	in := newCall("a:/x", "")
	in.req.Keep()
	res := &nobody{done: make(chan struct{})}
	h := r.Handler(answer("1"))
	if n := testing.AllocsPerRun(200, func() {
		h.Handle(t.Context(), in.req, res)
		<-res.done
	}); n > 9 {
		t.Errorf("%v allocations, want at most 9", n)
	}
}

func BenchmarkRunner(b *testing.B) {
	r := service.NewRunner(b.Context(), nil, 0, 0)
	defer r.Close()
	typed := service.Handle(func(_ context.Context, in struct{ A, B float64 }) (float64, error) { return in.A * in.B, nil })
	for _, c := range []struct {
		name string
		h    route.Handler
	}{{"plain", answer("1")}, {"typed", typed}} {
		b.Run(c.name, func(b *testing.B) {
			in := newCall("a:/x", `{"A":2,"B":2.5}`)
			in.req.Keep()
			in.req.Deadline = time.Now().Add(time.Hour)
			res := &nobody{done: make(chan struct{})}
			h := r.Handler(c.h)
			b.ReportAllocs()
			for b.Loop() {
				h.Handle(b.Context(), in.req, res)
				<-res.done
			}
		})
	}
}
