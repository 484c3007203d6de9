package exchange_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// insert puts middleware at the end of a stage.
func insert(t testing.TB, s *route.Stack, stage route.Stage, kind string, mw route.Middleware) {
	t.Helper()
	if err := s.Insert(stage, route.Entry{Name: kind, Kind: kind, Middleware: mw}, route.Last()); err != nil {
		t.Fatal(err)
	}
}

// quick is a configuration with which a test need not wait.
var quick = middleware.RetryConfig{Backoff: duration.Duration(time.Millisecond)}

// retrying has calls tried again.
func retrying(t testing.TB, cfg middleware.RetryConfig) func(*exchange.Config) {
	return func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "retry", middleware.Retry(nil, nil, cfg))
	}
}

// two connects two servers of x:/ with a body of the serve message each, of
// which the first gets calls as long as it is there.
func (w world) two(body string) (a, b end) {
	w.t.Helper()
	a, b = w.connect("s1"), w.connect("s2")
	for _, s := range []end{a, b} {
		s.send(`{"vrb":"serve","mid":"s","to":"x:/","bdy":%s}`, body)
		s.want(message.VerbReply, "s", "")
	}
	return a, b
}

// idle waits until no call is in flight: a caller has its answer just before.
func (w world) idle() {
	w.t.Helper()
	within(w.t, "the end of the calls in flight", func() {
		for w.InFlight() != 0 {
			runtime.Gosched()
		}
	})
}

const byFirst = `{"by":"first"}`

func TestServerLostAndIdempotent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ serve, str string }{
		"the caller says so": {`{}`, `{"by":"first","idempotent":true}`},
		"the server says so": {`{"idempotent":true}`, byFirst},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, retrying(t, quick))
			client := w.connect("c1")
			a, b := w.two(c.serve)
			client.send(`{"to":"x:/","mid":"1","str":%s,"bdy":{"keep":"this"}}`, c.str)
			a.next(t)
			a.Gone()
			got := b.next(t)
			if string(got.Body) != `{"keep":"this"}` || string(got.From) != "c1@client:/" || string(got.To) != "x:/" {
				t.Errorf("the second server got %s from %s to %s", got.Body, got.From, got.To)
			}
			b.send(`{"vrb":"part","rmid":%q,"bdy":1}`, got.Mid)
			b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, got.Mid)
			client.want(message.VerbPart, "1", "1")
			if m := client.want(message.VerbReply, "1", "2"); string(m.From) != "s2@x:/" {
				t.Errorf("the reply is from %s", m.From)
			}
			client.none(t)
			w.idle()
			if b.InFlight() != 0 {
				t.Errorf("%d calls in flight", b.InFlight())
			}
		})
	}
}

// What was not handed over is given to another server, whatever it is.
func TestServerFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, quick))
	client := w.connect("c1")
	a, b := w.two(`{}`)
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	client.send(`{"to":"x:/","mid":"1","str":"first","bdy":"precious"}`)
	got := b.next(t)
	if string(got.Body) != `"precious"` {
		t.Errorf("the second server got %s", got.Body)
	}
	b.send(`{"vrb":"reply","rmid":%q}`, got.Mid)
	client.want(message.VerbReply, "1", "")
}

// What may have been executed, or has been answered in part, is not repeated.
func TestNotRepeated(t *testing.T) {
	t.Parallel()
	idempotent := `{"by":"first","idempotent":true}`
	for name, c := range map[string]struct {
		call string // what the client sends
		end  string // what the first server does; "" is gone
		code message.Code
	}{
		"not idempotent":     {`{"to":"x:/","mid":"1","str":"first"}`, "", message.CodeServiceLost},
		"after a part":       {`{"to":"x:/","mid":"1","str":` + idempotent + `}`, `{"vrb":"part","rmid":%q}`, message.CodeServiceLost},
		"another error":      {`{"to":"x:/","mid":"1","str":` + idempotent + `}`, `{"vrb":"error","rmid":%q,"bdy":{"code":"not_found","message":"m"}}`, message.CodeNotFound},
		"the server's time":  {`{"to":"x:/","mid":"1","str":` + idempotent + `}`, `{"vrb":"error","rmid":%q,"bdy":{"code":"deadline_exceeded","message":"m","retryable":true}}`, message.CodeDeadlineExceeded},
		"no time left":       {`{"to":"x:/","mid":"1","tmo":3,"str":"first"}`, `{"vrb":"error","rmid":%q,"bdy":{"code":"rate_limited","message":"m","retryAfter":60}}`, message.CodeRateLimited},
		"its body was gone":  {`{"to":"x:/","mid":"1","str":"first","bdy":1}`, `{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, message.CodeOverloaded},
		"canceled":           {`{"to":"x:/","mid":"1","str":` + idempotent + `}`, `{"vrb":"error","rmid":%q,"bdy":{"code":"canceled","message":"m"}}`, message.CodeCanceled},
		"an excepted route":  {`{"to":"y:/","mid":"1","str":` + idempotent + `}`, "", message.CodeServiceLost},
		"a bad range":        {`{"to":"x:/","mid":"1","str":{"version":"?"}}`, "none", message.CodeBadMessage},
		"out of every scope": {`{"to":"x:/","mid":"1","str":{"version":"^9"}}`, "none", message.CodeServiceDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quick
			cfg.Except = []string{"y:/"}
			w := newWorld(t, retrying(t, cfg))
			client := w.connect("c1")
			a, b := w.two(`{}`)
			a.serve("y:/")
			b.serve("y:/")
			if name == "no time left" {
				b.send(`{"vrb":"unserve","mid":"u","to":"x:/"}`) // or else that is asked at once
				b.next(t)
			}
			client.send("%s", c.call)
			if c.end != "none" {
				m := a.next(t)
				if c.end != "" {
					a.send(c.end, m.Mid)
				}
				if c.end == "" || name == "after a part" {
					a.Gone()
				}
			}
			if name == "after a part" {
				client.want(message.VerbPart, "1", "")
			}
			client.wantError("1", c.code)
			b.none(t)
			w.idle()
		})
	}
}

// With the only server there is, an error that says when to come back is obeyed.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, middleware.RetryConfig{Backoff: quick.Backoff, Times: 1, Routes: []string{"x:/"}}))
	client, server := w.connect("c1"), w.connect("s1")
	server.serve("x:/")
	client.send(`{"to":"x:/","mid":"1"}`)
	first := server.next(t)
	since := time.Now()
	server.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m","retryAfter":0.05}}`, first.Mid)
	second := server.next(t)
	if took := time.Since(since); took < 50*time.Millisecond {
		t.Errorf("it was tried again after %v", took)
	}
	server.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"still"}}`, second.Mid)
	if e := client.wantError("1", message.CodeOverloaded); e.Message != "still" {
		t.Errorf("the error is %q", e.Message)
	}
	server.none(t)
}

// Whoever takes a call back while it waits for its next try is answered at once.
func TestCanceledBetweenTries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, middleware.RetryConfig{Backoff: duration.Duration(10 * time.Minute)}))
	client := w.connect("c1")
	a, b := w.two(`{}`)
	client.send(`{"to":"x:/","mid":"1","tmo":3600,"str":"first"}`)
	m := a.next(t)
	a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, m.Mid)
	a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, m.Mid)
	client.none(t)
	client.send(`{"vrb":"cancel","rmid":"1"}`)
	client.wantError("1", message.CodeCanceled)
	b.none(t)
	w.idle()
}

// When the last server goes, another one that comes in time gets the call;
// otherwise the caller learns how the first was lost.
func TestNobodyLeft(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := middleware.NewRetryMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "retry", middleware.Retry(nil, m, quick))
	})
	client, server := w.connect("c1"), w.connect("s1")
	server.serve("x:/")
	client.send(`{"to":"x:/","mid":"1","str":{"idempotent":true}}`)
	server.next(t)
	server.Gone()
	client.wantError("1", message.CodeServiceLost)
	if n := testutil.CollectAndCount(registry, "ropewalk_call_retries_total"); n != 2 { // service_lost and service_down
		t.Errorf("%d codes were counted", n)
	}
}

// Each try has its own place in a limit of its server.
func TestTriesAndLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, quick))
	insert(t, w.Stack(), route.StageServe, "limit", middleware.Limit(nil, middleware.LimitConfig{Calls: 1, Queue: 1}))
	client := w.connect("c1")
	a, b := w.two(`{"idempotent":true}`)
	client.send(`{"to":"x:/","mid":"1","str":"first"}`)
	a.next(t)
	a.Gone()
	got := b.next(t)
	b.send(`{"vrb":"reply","rmid":%q}`, got.Mid)
	client.want(message.VerbReply, "1", "")
}

// A call that waits in the queue of a limit inside of the retries is tried again
// like any other.
func TestTriesOfQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, quick))
	insert(t, w.Stack(), route.StageCall, "limit", middleware.Limit(nil, middleware.LimitConfig{Calls: 1, Queue: 5}))
	client := w.connect("c1")
	a, b := w.two(`{}`)
	for i := range 3 {
		client.send(`{"to":"x:/","mid":"%d","bdy":%d,"str":{"by":"first","idempotent":true}}`, i, i)
	}
	a.next(t)
	a.Gone()
	for range 3 {
		got := b.next(t)
		b.send(`{"vrb":"reply","rmid":%q,"bdy":%s}`, got.Mid, got.Body)
		if m := client.next(t); m.Verb != message.VerbReply || string(m.Rmid) != string(m.Body) {
			t.Errorf("%s got %s %s", m.Rmid, m.Verb, m.Body)
		}
	}
}

func TestPanicInATry(t *testing.T) {
	t.Parallel()
	var after atomic.Int32 // so many tries are good
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageInbound, "recover", middleware.Recover(slog.New(slog.DiscardHandler)))
		insert(t, c.Stack, route.StageCall, "retry", middleware.Retry(slog.New(slog.DiscardHandler), nil, quick))
		insert(t, c.Stack, route.StageCall, "panics", func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				if after.Add(-1) < 0 {
					panic("a bug")
				}
				next.Handle(ctx, req, res)
			})
		})
	})
	client := w.connect("c1")
	a, _ := w.two(`{"idempotent":true}`)
	client.send(`{"to":"x:/","mid":"1"}`)
	client.wantError("1", message.CodeInternal)
	after.Store(1)
	client.send(`{"to":"x:/","mid":"2","str":"first"}`)
	a.next(t)
	a.Gone()
	client.wantError("2", message.CodeInternal)
}

// A middleware that wraps what takes the answer does so for each try.
func TestTriesOfWrapped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "quote", func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				next.Handle(ctx, req, quoting{res})
			})
		})
		insert(t, c.Stack, route.StageCall, "retry", middleware.Retry(nil, nil, quick))
	})
	client := w.connect("c1")
	a, b := w.two(`{"idempotent":true}`)
	client.send(`{"to":"x:/","mid":"1","str":"first"}`)
	a.next(t)
	a.Gone()
	got := b.next(t)
	b.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
	client.want(message.VerbReply, "1", `{"quoted":1}`)
}

// A handler in the process that refuses a call gets it again, with all that
// belongs to it.
func TestTriesOfServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, quick))
	var tries atomic.Int32
	svc := service.New("busy", service.WithVersion("1.0.0"))
	svc.Handle("/{n}", route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		if tries.Add(1) < 3 {
			_ = res.Fail(message.NewError(message.CodeOverloaded, "busy", ""))
			return
		}
		_ = res.Reply(route.JSON(append([]byte(req.Param("n")), req.Message.Body...)))
	}))
	w.local(svc)
	a, err := w.Local().Call(t.Context(), "busy:/7", 42)
	if err != nil || string(a.Body) != "742" || tries.Load() != 3 {
		t.Fatalf("%v, %v after %d tries", a, err, tries.Load())
	}
	tries.Store(-5)
	_, err = w.Local().Call(t.Context(), "busy:/7", 42)
	if message.CodeOf(err) != message.CodeOverloaded || tries.Load() != -2 {
		t.Errorf("%v after %d tries", err, tries.Load()+5)
	}
}

// What a gather asks of one server is not asked of another.
func TestTriesOfGathers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, retrying(t, quick))
	client := w.connect("c1")
	a, b := w.two(`{"idempotent":true}`)
	client.send(`{"to":"x:/","mid":"1","str":"all"}`)
	a.next(t)
	mb := b.next(t)
	a.Gone()
	b.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, mb.Mid)
	mb = b.next(t)
	b.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, mb.Mid)
	m := client.next(t)
	g, err := call.DecodeGathered(m.Body)
	if err != nil || len(g.Answers) != 2 {
		t.Fatalf("%v: %s", err, m.Body)
	}
	for _, a := range g.Answers {
		if a.Server.ID == "s1" && message.CodeOf(a.Err) != message.CodeServiceLost || a.Server.ID == "s2" && string(a.Body) != "1" {
			t.Errorf("%s", m.Body)
		}
	}
	b.none(t)
}

// The node of a server is lost, or a queue there is full.
func TestTriesAcrossNodes(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false, retrying(t, quick))
	client := w.connect(0)
	one, two := w.serving(1, "x:/"), w.serving(2, "x:/")
	client.send(`{"to":"x:/","mid":"1","bdy":"b","str":{"by":"first","idempotent":true}}`)
	one.next(t)
	w.far[0][1].Gone(&message.Error{Code: message.CodeNodeLost, Message: "it is gone"})
	got := two.next(t)
	if string(got.Body) != `"b"` {
		t.Errorf("the other node got %s", got.Body)
	}
	two.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, got.Mid)
	got = two.next(t)
	two.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
	client.want(message.VerbReply, "1", "1")
	w.nodes[0].idle()
}

// Calls that may be repeated all succeed while servers come and go, and each is
// answered once.
func TestTriesWhileServersGo(t *testing.T) {
	t.Parallel()
	const callers, calls = 8, 60
	cfg := quick
	cfg.Times = 20
	cfg.Budget.PerSecond = callers * calls * float64(cfg.Times) // how often servers go depends on the machine
	w := newWorld(t, retrying(t, cfg))
	var servers, callersLeft sync.WaitGroup
	done := make(chan struct{})
	steady := w.connect("steady")
	steady.serve("x:/")
	answer := func(s end, m message.Message) { s.send(`{"vrb":"reply","rmid":%q,"bdy":%s}`, m.Mid, m.Body) }
	servers.Go(func() {
		for {
			select {
			case m := <-steady.got:
				if m.Verb == message.VerbCall {
					answer(steady, m)
				}
			case <-done:
				return
			}
		}
	})
	servers.Go(func() {
		for n := 0; ; n++ {
			s := w.connect(fmt.Sprint("s", n))
			s.send(`{"vrb":"serve","mid":"s","to":"x:/"}`)
			for i := range 4 { // the acknowledgement, calls that it answers, and the one with which it goes
				select {
				case m := <-s.got:
					if m.Verb == message.VerbCall && i < 3 {
						answer(s, m)
					}
				case <-done:
					s.Gone()
					return
				}
			}
			s.Gone()
		}
	})
	for c := range callers {
		client := w.connect(fmt.Sprint("c", c))
		callersLeft.Go(func() {
			for i := range calls {
				client.send(`{"to":"x:/","mid":"%d","bdy":%d,"str":{"idempotent":true}}`, i, i)
				if m := client.next(t); m.Verb != message.VerbReply || string(m.Body) != fmt.Sprint(i) {
					t.Errorf("call %d of %s: %s %s", i, client.id, m.Verb, m.Body)
				}
			}
			client.none(t)
		})
	}
	callersLeft.Wait()
	close(done)
	servers.Wait()
}

// Not parallel: allocations are counted for the whole process.
func TestRetryCostsNothing(t *testing.T) {
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
	if without, with := measure(), measure(retrying(t, quick)); with > without {
		t.Errorf("%v allocations a call, %v without", with, without)
	}
}

// A call that succeeds at once, with nothing in its way, and with retries.
func BenchmarkRetry(b *testing.B) {
	for name, change := range map[string][]func(*exchange.Config){"without": nil, "with": {retrying(b, quick)}} {
		b.Run(name, func(b *testing.B) {
			cfg := exchange.Config{NodeID: "n", Allow: allowAll}
			for _, f := range change {
				f(&cfg)
			}
			x := exchange.New(cfg)
			defer x.Close()
			client, server := &sink{wire: wire{id: "c1"}}, &sink{wire: wire{id: "s1"}}
			c, s := x.Attach(client, 1<<20), x.Attach(server, 1<<20)
			s.Receive(&message.Message{Verb: message.VerbServe, To: []byte("echo:/"), Mid: []byte("s")})
			once := callOnce(b, c, s, server)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}
