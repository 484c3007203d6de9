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
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// world is a node that calls are made in.
type world struct {
	*testing.T
	*exchange.Exchange

	reg   *prometheus.Registry
	calls atomic.Int32
}

// newWorld makes a node whose calls have a fallback, and are tried again inside
// of that.
func newWorld(t *testing.T, settings string) *world {
	t.Helper()
	x := exchange.New(exchange.Config{NodeID: strings.Repeat("ab", 16), Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(x.Close)
	w := &world{T: t, Exchange: x, reg: prometheus.NewRegistry()}
	env := middleware.Env{Registry: w.reg, Logger: slog.New(slog.DiscardHandler)}
	for _, e := range []struct {
		stage          route.Stage
		kind, settings string
	}{
		{route.StageInbound, route.KindFallback, settings},
		{route.StageCall, route.KindRetry, `{"times":2,"backoff":"1ms","routes":["shop:/**","eu:/**"]}`},
	} {
		entry, err := middleware.New(e.kind, "", json.RawMessage(e.settings), env)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Stack().Insert(e.stage, entry, route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// serve has a service answer with its name, path and query, and the input, or
// with an error.
func (w *world) serve(name string, err *message.Error) (stop func()) {
	w.Helper()
	s := service.New(name)
	s.Handle("/**", route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		w.calls.Add(1)
		if err != nil {
			_ = res.Fail(err)
			return
		}
		b, _ := json.Marshal(string(req.Message.To) + " " + string(req.Message.Body))
		_ = res.Reply(route.JSON(b))
	}))
	run := s.Runner(w.Context(), slog.New(slog.DiscardHandler))
	unserve, e := w.Serve(s, run)
	if e != nil {
		w.Fatal(e)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			unserve()
			run.Close()
		})
	}
	w.Cleanup(stop)
	return stop
}

// drained checks that no call is left open.
func (w *world) drained() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	if err := w.Drain(ctx); err != nil {
		w.Errorf("%d calls are still open", w.InFlight())
	}
}

func (w *world) ask(address string) string {
	w.Helper()
	a, err := w.Local().Call(w.Context(), address, 7)
	if err != nil {
		return "!" + string(message.CodeOf(err))
	}
	return strings.Trim(string(a.Body), `"`)
}

func TestFallback(t *testing.T) {
	t.Parallel()
	down, lost := failed(message.CodeOverloaded, true), failed(message.CodeServiceLost, false)
	for name, c := range map[string]struct {
		settings string
		shop, eu *message.Error // what they fail with
		none     string         // who is not there: shop, eu or both
		call     string
		want     string
		calls    int32
		by       string // "" if the fallback was not needed
	}{
		"not needed":      {`{"to":["eu:/item/{id}"]}`, nil, nil, "", "shop:/item/1", "shop:/item/1 7", 1, ""},
		"another address": {`{"to":["eu:/item/{id}"]}`, nil, nil, "shop", "shop:/item/1?a=b", "eu:/item/1?a=b 7", 1, "address"},
		"after retries":   {`{"to":["eu:/item/{id}"]}`, down, nil, "", "shop:/item/1", "eu:/item/1 7", 4, "address"},
		"both fail":       {`{"to":["eu:/item/{id}"]}`, down, down, "", "shop:/item/1", "!overloaded", 6, "none"},
		"not there":       {`{"to":["eu:/item/{id}"]}`, nil, nil, "both", "shop:/item/1", "!no_service", 0, ""},
		"answers no":      {`{"to":["eu:/item/{id}"]}`, down, failed(message.CodeNotFound, false), "", "shop:/item/1", "!not_found", 4, "address"},
		"maybe executed":  {`{"to":["eu:/item/{id}"],"value":0}`, lost, nil, "", "shop:/item/1", "0", 1, "value"},
		"no harm":         {`{"to":["eu:/item/{id}"],"idempotent":true}`, lost, nil, "", "shop:/item/1", "eu:/item/1 7", 2, "address"},
		"value":           {`{"to":["eu:/item/{id}"],"value":{"a":[1]}}`, down, down, "", "shop:/item/1", `{"a":[1]}`, 6, "value"},
		"null":            {`{"value":null}`, down, nil, "", "shop:/item/1", `null`, 3, "value"},
		"another error":   {`{"value":0}`, failed(message.CodeNotFound, false), nil, "", "shop:/item/1", "!not_found", 1, ""},
		"by choice":       {`{"value":0,"codes":["not_found"]}`, failed(message.CodeNotFound, false), nil, "", "shop:/item/1", "0", 1, "value"},
		"not by choice":   {`{"value":0,"codes":["not_found"]}`, down, nil, "", "shop:/item/1", "!overloaded", 3, ""},
		"another route":   {`{"value":0}`, down, nil, "", "shop:/items", "!overloaded", 3, ""},
		"longer":          {`{"to":["eu:/item/{id}","us:/item","eu:/other"]}`, down, down, "", "shop:/item/1", "!overloaded", 9, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, `{"routes":{"shop:/item/{id}":`+c.settings+`}}`)
			if c.none != "shop" && c.none != "both" {
				w.serve("shop", c.shop)
			}
			if c.none != "both" {
				w.serve("eu", c.eu)
			}
			if c.none == "shop" { // it was there
				s := service.New("shop")
				s.Handle("/item/{id}", route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {}))
				run := s.Runner(t.Context(), nil)
				unserve, err := w.Serve(s, run)
				if err != nil {
					t.Fatal(err)
				}
				unserve()
				run.Close()
			}
			if got := w.ask(c.call); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if n := w.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if n := counted(t, w.reg, "ropewalk_fallbacks_total", c.by); c.by != "" && n == 0 {
				t.Errorf("nothing was counted as %s", c.by)
			}
			w.drained()
		})
	}
}

// The last good answer is that of the same caller to the same call.
func TestFallbackLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		public bool
		asks   []*ask
		want   string
	}{
		"the same":      {false, []*ask{newAsk("anna", "shop:/x", "1"), newAsk("anna", "shop:/x", "1")}, "1"},
		"another user":  {false, []*ask{newAsk("anna", "shop:/x", "1"), newAsk("bert", "shop:/x", "1")}, "!overloaded"},
		"public":        {true, []*ask{newAsk("anna", "shop:/x", "1"), newAsk("bert", "shop:/x", "1")}, "1"},
		"another body":  {true, []*ask{newAsk("anna", "shop:/x", "1"), newAsk("anna", "shop:/x", "2")}, "!overloaded"},
		"another query": {true, []*ask{newAsk("anna", "shop:/x?1", "1"), newAsk("anna", "shop:/x?2", "1")}, "!overloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
				"shop:/x": {Last: seconds(60), Public: c.public},
			}})(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
				if n++; n == 1 {
					reply1(res, "1")
					return
				}
				_ = res.Fail(failed(message.CodeOverloaded, true))
			}))
			for _, a := range c.asks {
				a.to(h)
			}
			if got := c.asks[1].got(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var in taken
		h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
			"shop:/x": {Last: seconds(60), Value: []byte("0")},
		}})(&in)
		ask := func() *ask { return newAsk("anna", "shop:/x", "").to(h) }
		ask()
		reply1(in.calls[0], "1")
		time.Sleep(59 * time.Second)
		second := ask()
		_ = in.calls[1].Fail(failed(message.CodeNodeLost, false))
		time.Sleep(2 * time.Second)
		third := ask()
		_ = in.calls[2].Fail(failed(message.CodeNodeLost, false))
		if second.got() != "1" || third.got() != "0" {
			t.Errorf("after 59 s %s, after 61 s %s", second.got(), third.got())
		}
		ask()
		_ = in.calls[3].Part(route.JSON([]byte("p")))
		reply1(in.calls[3], "2")
		fifth := ask()
		_ = in.calls[4].Part(route.JSON([]byte("p")))
		_ = in.calls[4].Fail(failed(message.CodeNodeLost, false))
		sixth := ask()
		_ = in.calls[5].Fail(failed(message.CodeNodeLost, false))
		if fifth.got() != "!node_lost" || sixth.got() != "0" {
			t.Errorf("after a part: %s; after a good answer with parts: %s", fifth.got(), sixth.got())
		}
	})
}

func TestFallbackAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in taken
		h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
			"shop:/x": {To: []string{"eu:/x"}, After: seconds(1), Value: []byte("0"), Idempotent: true},
			"shop:/y": {To: []string{"eu:/y"}, After: seconds(1)},
		}})(&in)
		body := []byte("buffer")
		first := newAsk("anna", "shop:/x", "")
		first.req.Message.Body = body
		first.to(h)
		copy(body, "change")
		quick := newAsk("anna", "shop:/x", "1").to(h)
		reply1(in.calls[1], "quick")
		parts := newAsk("anna", "shop:/x", "2").to(h)
		_ = in.calls[2].Part(route.JSON([]byte("p")))
		unsafe := newAsk("anna", "shop:/y", "3").to(h)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if in.len() != 5 || string(in.reqs[4].Message.To) != "eu:/x" || string(in.reqs[4].Message.Body) != "buffer" {
			t.Fatalf("%d were asked", in.len())
		}
		if in.calls[0].Reply(route.Body{}) == nil || in.calls[0].Part(route.Body{}) == nil || in.calls[0].Fail(context.Canceled) == nil {
			t.Error("a late answer was taken")
		}
		_ = in.calls[4].Fail(failed(message.CodeForbidden, false))
		reply1(in.calls[2], "2")
		reply1(in.calls[3], "3")
		if got := first.got() + " " + quick.got() + " " + parts.got() + " " + unsafe.got(); got != "0 quick 2 3" {
			t.Errorf("got %s", got)
		}
	})
}

// Calls that have no fallback are not touched.
func TestFallbackPassesBy(t *testing.T) {
	t.Parallel()
	h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
		"shop:/**": {Value: []byte("0")},
	}})(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
		_ = res.Fail(failed(message.CodeOverloaded, true))
	}))
	for _, a := range []*ask{
		newAsk("", "blog:/x", ""), newAsk("", "s1@shop:/x", ""), newAsk("", "shop:/*", ""), newAsk("", "*:/x", ""), newAsk("", "shop:/", ""),
		newAsk("", "shop:/x/../y", ""), send(newAsk("", "shop:/x", "")), strategy(newAsk("", "shop:/x", ""), `"all"`),
		strategy(newAsk("", "shop:/x", ""), `{`),
	} {
		if a.to(h); a.got() != "!overloaded" {
			t.Errorf("%s got %s", a.req.Message.To, a.got())
		}
	}
	if a := newAsk("", "shop:/x/y?z", "").to(h); a.got() != "0" {
		t.Errorf("got %s", a.got())
	}
}

func TestFallbackConfig(t *testing.T) {
	t.Parallel()
	for settings, field := range map[string]string{
		`{}`:                                               "routes",
		`{"routes":{"x":{"value":1}}}`:                     "routes.x",
		`{"routes":{"*:/x":{"value":1}}}`:                  "routes.*:/x",
		`{"routes":{"a:/x":{}}}`:                           "routes.a:/x",
		`{"routes":{"a:/x":{"to":["b/x"]}}}`:               "routes.a:/x.to",
		`{"routes":{"a:/x":{"to":["b:/*"]}}}`:              "routes.a:/x.to",
		`{"routes":{"a:/x":{"to":["b:/**"]}}}`:             "routes.a:/x.to",
		`{"routes":{"a:/{x}":{"to":["b:/{y}"]}}}`:          "routes.a:/{x}.to",
		`{"routes":{"a:/x":{"to":["*:/x"]}}}`:              "routes.a:/x.to",
		`{"routes":{"a:/x":{"value":1,"codes":["moon"]}}}`: "routes.a:/x.codes",
		`{"routes":{"a:/x":{"value":1}},"entries":-1}`:     "entries",
		`{"routes":{"a:/x":{"value":1}},"bytes":-1}`:       "bytes",
		`{"routes":{"a:/x":{"value":1}},"answer":-1}`:      "answer",
	} {
		var cfg middleware.FallbackConfig
		if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
			t.Fatal(err)
		}
		if err := message.AsError(cfg.Validate()); err.Path != field || err.Hint == "" {
			t.Errorf("%s: %+v", settings, err)
		}
	}
}

// Servers that fail, lose calls, answer late or with parts, callers that leave,
// and a fallback that comes too late: each call has one answer, and nothing is
// left open.
func TestFallbackConcurrently(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"routes":{"shop:/item/{id}":{"to":["eu:/item/{id}"],"after":"1ms","last":"1m","value":0,"idempotent":true}}}`)
	for _, name := range []string{"shop", "eu"} {
		var n atomic.Int32
		s := service.New(name)
		s.Handle("/item/{id}", route.HandlerFunc(func(ctx context.Context, _ *route.Request, res route.Responder) {
			switch n.Add(1) % 7 {
			case 0:
				_ = res.Fail(failed(message.CodeOverloaded, true))
			case 1:
				_ = res.Fail(failed(message.CodeServiceLost, false))
			case 2:
				_ = res.Part(route.JSON([]byte("1")))
				_ = res.Fail(failed(message.CodeOverloaded, true))
			case 3:
				<-ctx.Done()
			case 4:
				panic("boom")
			default:
				reply1(res, "1")
			}
		}))
		run := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
		t.Cleanup(run.Close)
		if _, err := w.Serve(s, run); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20+1)*time.Millisecond)
			defer cancel()
			a, err := w.Local().Call(ctx, fmt.Sprintf("shop:/item/%d", i%3), i)
			if err == nil && string(a.Body) != "0" && string(a.Body) != "1" {
				t.Errorf("got %s", a.Body)
			}
		})
	}
	wg.Wait()
	w.drained()
}
