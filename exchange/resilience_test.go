package exchange_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// breaking puts a breaker into the stage call, behind what is there.
func breaking(t testing.TB, cfg middleware.BreakerConfig) func(*exchange.Config) {
	return func(c *exchange.Config) {
		if c.Stack == nil {
			c.Stack = route.NewStack()
		}
		b := middleware.NewBreaker(slog.New(slog.DiscardHandler), nil, cfg)
		err := c.Stack.Insert(route.StageCall, route.Entry{Name: "breaker", Middleware: b.Middleware(), State: b}, route.Last())
		if err != nil {
			t.Fatal(err)
		}
	}
}

var nervous = middleware.BreakerConfig{Calls: 2, Trials: 1, Open: duration.Duration(10 * time.Second)}

// fails has a server answer its next call with an error, and the client see it.
func fails(client, server end, address string, code message.Code) {
	client.t.Helper()
	client.send(`{"to":%q,"mid":"f","str":"first"}`, address)
	got := server.next(client.t)
	server.send(`{"vrb":"error","rmid":%q,"bdy":{"code":%q,"message":"m"}}`, got.Mid, code)
	client.wantError("f", code)
}

// works has a server answer its next call, and the client see it.
func works(client, server end, address string) {
	client.t.Helper()
	client.send(`{"to":%q,"mid":"w","str":"first"}`, address)
	got := server.next(client.t)
	server.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
	client.want(message.VerbReply, "w", "1")
}

func circuitStates(t *testing.T, w world) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, s := range w.Stack().List() {
		for _, e := range s.Entries {
			list, _ := e.State.([]middleware.CircuitInfo)
			for _, c := range list {
				out[c.Server] = c.State
			}
		}
	}
	return out
}

// A server that fails is left out, then tried, and comes back when it works.
func TestBreakerLeavesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, breaking(t, nervous))
		client := w.connect("c1")
		a, b := w.two(`{}`)
		fails(client, a, "x:/", message.CodeInternal)
		fails(client, a, "x:/", message.CodeInternal)
		for range 5 {
			works(client, b, "x:/")
		}
		if s := circuitStates(t, w); s["s1"] != "open" || s["s2"] != "closed" {
			t.Errorf("states %v", s)
		}
		a.none(t)
		client.send(`{"to":"s1@x:/","mid":"7"}`)
		if err := client.wantError("7", message.CodeCircuitOpen); !err.Retryable || err.RetryAfter <= 0 || err.RetryAfter > 12*time.Second {
			t.Errorf("%+v", err)
		}
		// One call is a trial; another that comes meanwhile goes elsewhere.
		time.Sleep(13 * time.Second) // of the bubble
		client.send(`{"to":"x:/","mid":"8","str":"first"}`)
		trial := a.next(t)
		works(client, b, "x:/")
		a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"internal","message":"m"}}`, trial.Mid)
		client.wantError("8", message.CodeInternal)
		works(client, b, "x:/")
		time.Sleep(13 * time.Second) // of the bubble
		for range 3 {
			works(client, a, "x:/")
		}
		if s := circuitStates(t, w); s["s1"] != "closed" {
			t.Errorf("states %v", s)
		}
	})
}

// With no server left a call fails at once, and where the caller wants one of
// some it is told of these.
func TestBreakerOpensAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, breaking(t, nervous))
	client := w.connect("c1")
	a, b := w.two(`{}`)
	for range 2 {
		fails(client, a, "x:/", message.CodeInternal)
	}
	for range 2 {
		fails(client, b, "x:/", message.CodeOverloaded)
	}
	for i, str := range []string{`"first"`, `{"by":"first","scope":"node"}`, `{"by":"instance","instance":"s2"}`, `"sticky"`} {
		client.send(`{"to":"x:/","mid":"%d","str":%s}`, i, str)
		client.wantError(string(rune('0'+i)), message.CodeCircuitOpen)
	}
	client.send(`{"to":"x:/","mid":"g","str":"all"}`)
	if m := client.next(t); m.Verb != message.VerbReply || string(m.Rmid) != "g" {
		t.Errorf("a gather got %s %s", m.Verb, m.Body)
	}
	a.none(t)
	b.none(t)
	w.idle()
}

// What says nothing about the server does not open its circuit.
func TestBreakerIgnores(t *testing.T) {
	t.Parallel()
	w := newWorld(t, breaking(t, nervous))
	client, server := w.connect("c1"), w.connect("s1")
	server.serve("x:/")
	for range 5 {
		fails(client, server, "x:/", message.CodeNotFound)
		client.send(`{"to":"x:/","mid":"t","tmo":0.001}`) // such a caller has no patience
		server.next(t)
		client.wantError("t", message.CodeDeadlineExceeded)
		server.next(t) // cancel
		client.send(`{"to":"x:/","mid":"c"}`)
		server.next(t)
		client.send(`{"vrb":"cancel","rmid":"c"}`)
		client.wantError("c", message.CodeCanceled)
		server.next(t)
	}
	works(client, server, "x:/")
}

// Each try of a call counts, and the next one goes past an open circuit, on
// whichever side of the retries the breaker stands.
func TestBreakerWithRetry(t *testing.T) {
	t.Parallel()
	outside := func(c *exchange.Config) {
		breaking(t, nervous)(c)
		insert(t, c.Stack, route.StageCall, "retry", middleware.Retry(nil, nil, quick))
	}
	for name, change := range map[string][]func(*exchange.Config){
		"inside": {retrying(t, quick), breaking(t, nervous)}, "outside": {outside},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change...)
			client := w.connect("c1")
			a, b := w.two(`{"idempotent":true}`)
			for range 2 {
				client.send(`{"to":"x:/","mid":"1","str":"first"}`)
				got := a.next(t)
				a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, got.Mid)
				got = b.next(t)
				b.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
				client.want(message.VerbReply, "1", "1")
			}
			works(client, b, "x:/")
			a.none(t)
		})
	}
}

// A circuit by route opens for whoever serves it, on other nodes too.
func TestBreakerByRoute(t *testing.T) {
	t.Parallel()
	cfg := nervous
	cfg.By = middleware.BreakByRoute
	w := newMesh(t, 2, false, breaking(t, cfg))
	client := w.connect(0)
	far := w.serving(1, "x:/")
	for range 2 {
		client.send(`{"to":"x:/","mid":"1"}`)
		got := far.next(t)
		far.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"internal","message":"m"}}`, got.Mid)
		client.wantError("1", message.CodeInternal)
	}
	client.send(`{"to":"x:/","mid":"2"}`)
	client.wantError("2", message.CodeCircuitOpen)
}

func TestBreakerSet(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := middleware.NewBreakerMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		b := middleware.NewBreaker(slog.New(slog.DiscardHandler), m, nervous)
		if err := c.Stack.Insert(route.StageCall, route.Entry{Name: "breaker", Middleware: b.Middleware(), State: b}, route.Last()); err != nil {
			t.Fatal(err)
		}
	})
	client := w.connect("c1")
	a, b := w.two(`{}`)
	set := func(change string) error {
		return w.Stack().SetState(route.StageCall, "breaker", json.RawMessage(change))
	}
	for _, c := range []struct{ change, field string }{
		{`{"route":"x:/","server":"s1","state":"open"}`, ""},
		{`{"route":"x:/","state":"wide"}`, "state"},
		{`{"state":"open"}`, "route"},
		{`{"rout":"x:/"}`, "settings"},
	} {
		err := set(c.change)
		if (err == nil) != (c.field == "") || err != nil && message.AsError(err).Path != c.field {
			t.Errorf("%s: %v", c.change, err)
		}
	}
	works(client, b, "x:/")
	if err := set(`{"route":"x:/","state":"open"}`); err != nil {
		t.Fatal(err)
	}
	client.send(`{"to":"x:/","mid":"1"}`)
	client.wantError("1", message.CodeCircuitOpen)
	if n := testutil.CollectAndCount(registry, "ropewalk_circuit_refusals_total"); n != 1 {
		t.Errorf("%v routes were refused", n)
	}
	if err := set(`{"route":"x:/","state":"closed"}`); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		fails(client, a, "x:/", message.CodeInternal)
	}
	if err := set(`{"route":"x:/","state":"auto"}`); err != nil {
		t.Fatal(err)
	}
	fails(client, a, "x:/", message.CodeInternal)
	fails(client, a, "x:/", message.CodeInternal)
	works(client, b, "x:/")
}

// A server that is slow loses the call to another, and nobody hears what it says
// later.
func TestTryTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := quick
		cfg.Try = duration.Duration(30 * time.Millisecond)
		w := newWorld(t, retrying(t, cfg))
		client := w.connect("c1")
		a, b := w.two(`{"idempotent":true}`)
		client.send(`{"to":"x:/","mid":"1","str":"first","bdy":"keep"}`)
		slow := a.next(t)
		quickly := b.next(t)
		if m := a.next(t); m.Verb != message.VerbCancel || string(quickly.Body) != `"keep"` {
			t.Errorf("the first got %s, the second %s", m.Verb, quickly.Body)
		}
		a.send(`{"vrb":"reply","rmid":%q,"bdy":"late"}`, slow.Mid)
		b.send(`{"vrb":"part","rmid":%q,"bdy":1}`, quickly.Mid)
		client.want(message.VerbPart, "1", "1")
		// With a part it has all the time of the call.
		time.AfterFunc(60*time.Millisecond, func() { b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, quickly.Mid) })
		client.want(message.VerbReply, "1", "2")
		// All are slow.
		client.send(`{"to":"x:/","mid":"2","str":"first"}`)
		client.wantError("2", message.CodeDeadlineExceeded)
		w.idle()
	})
}

// A handler in the process that is given up gets its context canceled, and does
// not answer for the next one.
func TestTryTimeOfServices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := quick
		cfg.Try, cfg.Times = duration.Duration(20*time.Millisecond), 3
		w := newWorld(t, retrying(t, cfg))
		var tries atomic.Int32
		svc := service.New("slow", service.WithVersion("1.0.0"))
		svc.Handle("/", service.Handle(func(ctx context.Context, _ struct{}) (int, error) {
			n := tries.Add(1)
			if n < 3 {
				<-ctx.Done()
				return 0, message.NewError(message.CodeInternal, "given up", "")
			}
			return int(n), nil
		}), service.WithIdempotent())
		w.local(svc)
		a, err := w.Local().Call(t.Context(), "slow:/", nil)
		if err != nil || string(a.Body) != "3" {
			t.Fatalf("%v, %v after %d tries", a, err, tries.Load())
		}
	})
}

// Not parallel: allocations are counted for the whole process.
func TestBreakerCostsNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	measure := func(change ...func(*exchange.Config)) float64 {
		w := newWorld(t, change...)
		client, server := &sink{wire: wire{id: "c1"}}, &sink{wire: wire{id: "s1"}}
		c, s := w.Attach(client, 1<<20), w.Attach(server, 1<<20)
		s.Receive(&message.Message{Verb: message.VerbServe, To: []byte("echo:/"), Mid: []byte("s")})
		return testing.AllocsPerRun(1000, callOnce(t, c, s, server))
	}
	if without, with := measure(), measure(breaking(t, nervous)); with > without {
		t.Errorf("%v allocations a call, %v without", with, without)
	}
}

// A server that a breaker admits and another one refuses has not done what the
// server does that is asked in its place.
func TestBreakersThatDisagree(t *testing.T) {
	t.Parallel()
	first := middleware.NewBreaker(slog.New(slog.DiscardHandler), nil, nervous)
	second := middleware.NewBreaker(slog.New(slog.DiscardHandler), nil, nervous)
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "one", first.Middleware())
		insert(t, c.Stack, route.StageCall, "two", second.Middleware())
	})
	client := w.connect("c1")
	_, b := w.two(`{}`)
	if err := second.SetState([]byte(`{"route":"x:/","server":"s1","state":"open"}`)); err != nil {
		t.Fatal(err)
	}
	fails(client, b, "x:/", message.CodeInternal)
	fails(client, b, "x:/", message.CodeInternal)
	w.idle()
	for _, c := range first.State().([]middleware.CircuitInfo) { //nolint:forcetypeassert // it is
		if c.Server == "s1" && (c.Calls > 0 || c.State != "closed") {
			t.Errorf("the circuit of a server that was not asked is %+v", c)
		}
	}
}
