package service_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// between runs f when a Runner has let the call in and not begun it.
type between struct {
	*call

	f func()
}

func (b between) OnFinish(f route.Finisher) {
	b.call.OnFinish(f)
	b.f()
}

// A call that was let in just before the runner's context ended is not begun
// any more, nor left waiting.
func TestCallThatComesWithTheEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		busy int // calls that run already
	}{
		{"it could run", 0},
		{"it would wait", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			r := service.NewRunner(ctx, slog.New(slog.DiscardHandler), 1, 9)
			defer r.Close()
			leave := make(chan struct{})
			defer close(leave)
			began := make(chan struct{}, 9)
			h := r.Handler(route.HandlerFunc(func(ctx context.Context, _ *route.Request, res route.Responder) {
				began <- struct{}{}
				<-ctx.Done()
				<-leave
				_ = res.Fail(ctx.Err())
			}))
			for range tc.busy {
				c := newCall("a:/x", "")
				h.Handle(t.Context(), c.req, c)
				<-began
			}
			late := newCall("a:/x", "")
			h.Handle(t.Context(), late.req, between{late, func() {
				cancel()
				for { // until new calls are refused
					c := newCall("a:/x", "")
					h.Handle(t.Context(), c.req, c)
					c.mu.Lock()
					code := c.code()
					c.mu.Unlock()
					if code == message.CodeShuttingDown {
						return
					}
				}
			}})
			if late.wait(t).code() != message.CodeShuttingDown {
				t.Errorf("it ended with %v", late.err)
			}
		})
	}
}
