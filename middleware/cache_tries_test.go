package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// newStacked makes a node with middleware at the stage call, in this order.
func newStacked(t *testing.T, kinds ...string) *world {
	t.Helper()
	settings := map[string]string{
		"cache":       `{"routes":{"shop:/**":{"keep":"1h"}}}`,
		"retry":       `{"times":3,"backoff":"1ms","budget":{"share":100,"perSecond":10000}}`,
		"limit":       `{"calls":1,"queue":100}`,
		"in-order":    `{"routes":["shop:/**"]}`,
		"idempotency": `{}`,
	}
	quiet := slog.New(slog.DiscardHandler)
	x := exchange.New(exchange.Config{NodeID: strings.Repeat("ab", 16), Logger: quiet})
	t.Cleanup(x.Close)
	for _, k := range kinds {
		e, err := middleware.New(k, "", json.RawMessage(settings[k]), middleware.Env{Logger: quiet})
		if err == nil {
			err = x.Stack().Insert(route.StageCall, e, route.Last())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &world{T: t, Exchange: x}
}

// What is tried again inside of a cache, outside of it, or not at all: the
// caller gets the same.
func TestTriesInsideOfFlights(t *testing.T) {
	t.Parallel()
	for order, c := range map[string]struct {
		fails int32
		err   *message.Error
		want  string
		calls int32 // of two that are made one after the other
	}{
		"cache retry limit":                {2, failed(message.CodeOverloaded, true), "ok", 3},
		"retry cache limit":                {2, failed(message.CodeOverloaded, true), "ok", 3},
		"retry idempotency cache limit":    {2, failed(message.CodeOverloaded, true), "ok", 3},
		"idempotency cache retry":          {2, failed(message.CodeOverloaded, true), "ok", 3},
		"in-order cache idempotency retry": {2, failed(message.CodeOverloaded, true), "ok", 3},
		"cache idempotency retry limit":    {99, failed(message.CodeOverloaded, true), "!overloaded", 8},
		"retry in-order idempotency cache": {99, failed(message.CodeOverloaded, true), "!overloaded", 8},
		"cache limit retry idempotency":    {1, failed(message.CodeServiceLost, false), "!service_lost", 2},
		"idempotency in-order cache retry": {1, failed(message.CodeNotFound, false), "!not_found", 2},
	} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			w := newStacked(t, strings.Fields(order)...)
			s := service.New("shop")
			s.Handle("/**", route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
				if w.calls.Add(1) <= c.fails {
					_ = res.Fail(c.err)
					return
				}
				reply1(res, `"ok"`)
			}))
			run := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
			t.Cleanup(run.Close)
			if _, err := w.Serve(s, run); err != nil {
				t.Fatal(err)
			}
			if got := w.ask("shop:/x"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			w.ask("shop:/x")
			if n := w.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			w.drained()
		})
	}
}

// All that sees to answers, with calls that fail, panic, answer late or never,
// and callers that leave: no call is left open.
func TestFlightsConcurrently(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"in-order idempotency cache retry limit", "retry idempotency cache limit", "cache retry idempotency"} {
		w := newStacked(t, strings.Fields(order)...)
		var n atomic.Int32
		s := service.New("shop")
		s.Handle("/**", route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			switch n.Add(1) % 7 {
			case 0:
				_ = res.Fail(failed(message.CodeOverloaded, true))
			case 1:
				_ = res.Part(route.JSON([]byte("1")))
			case 2:
				<-ctx.Done()
				return
			case 3:
				panic("boom")
			}
			reply1(res, string(req.Message.Body))
		}))
		run := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
		t.Cleanup(run.Close)
		if _, err := w.Serve(s, run); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20+1)*time.Millisecond)
				defer cancel()
				a, err := w.Local().Call(ctx, fmt.Sprint("shop:/item/", i%3), i%5)
				if err == nil && string(a.Body) != fmt.Sprint(i%5) {
					t.Errorf("%s: got %s, want %d", order, a.Body, i%5)
				}
			})
		}
		wg.Wait()
		w.drained()
	}
}
