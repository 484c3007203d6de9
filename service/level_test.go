package service_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// A call that waits for one of the next level does not keep it from being run,
// though it has the only place of its own level and others wait for that.
func TestLevelsAreCountedApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := service.New("s", service.WithConcurrency(1, 1), service.WithLevels(func(req *route.Request) int {
			return len(req.Message.Header("level"))
		}))
		r := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
		defer r.Close()
		free := make(chan struct{})
		h := r.Handler(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
			if string(req.Message.Body) == "waits" {
				<-free
			}
			_ = res.Reply(route.JSON(nil))
		}))
		ask := func(level, body string) *call {
			c := newCall("s:/x", body)
			c.req.Message.SetHeader("level", level)
			h.Handle(t.Context(), c.req, c)
			synctest.Wait()
			return c
		}
		low := []*call{ask("", "waits"), ask("", "")}
		if c := ask("", ""); message.CodeOf(c.err) != message.CodeOverloaded {
			t.Errorf("one too many of a level: %v", c.err)
		}
		if c := ask("1", ""); c.err != nil || r.InFlight() != 2 {
			t.Errorf("of the next level: %v, %d in flight", c.err, r.InFlight())
		}
		high := ask("1", "waits")
		drained := make(chan error)
		go func() { drained <- r.Drain(t.Context()) }()
		close(free)
		for _, c := range append(low, high) {
			if c.wait(t); c.err != nil {
				t.Error(c.err)
			}
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// Close ends what waits, of all levels.
func TestCloseEndsAllLevels(t *testing.T) {
	t.Parallel()
	s := service.New("s", service.WithConcurrency(1, 1), service.WithLevels(func(req *route.Request) int {
		return len(req.Message.Header("level"))
	}))
	r := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
	h := r.Handler(route.HandlerFunc(func(ctx context.Context, _ *route.Request, res route.Responder) {
		<-ctx.Done()
		_ = res.Fail(ctx.Err())
	}))
	var all []*call
	for _, level := range []string{"", "", "1", "1"} {
		c := newCall("s:/x", "")
		c.req.Message.SetHeader("level", level)
		h.Handle(t.Context(), c.req, c)
		all = append(all, c)
	}
	r.Close()
	for _, c := range all {
		if c.wait(t); message.CodeOf(c.err) != message.CodeShuttingDown {
			t.Errorf("%v", c.err)
		}
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}
