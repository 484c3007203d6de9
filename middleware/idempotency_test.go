package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

const keyHeader = middleware.IdempotencyHeader

func keyed(user, to, body, key string) *ask { return newAsk(user, to, body).header(keyHeader, key) }

func TestIdempotency(t *testing.T) {
	t.Parallel()
	cart := session.New("", nil, nil)
	foreign := session.New("anna", nil, nil)
	foreign.Issuer = "https://elsewhere.example"
	for name, c := range map[string]struct {
		first, second *ask
		want          string // what the second one gets; the first gets 1
	}{
		"the same":         {keyed("anna", "a:/x", "1", "k"), keyed("anna", "a:/x", "1", "k"), "1"},
		"no key":           {newAsk("anna", "a:/x", "1"), newAsk("anna", "a:/x", "1"), "2"},
		"another key":      {keyed("anna", "a:/x", "1", "k"), keyed("anna", "a:/x", "1", "l"), "2"},
		"another body":     {keyed("anna", "a:/x", "1", "k"), keyed("anna", "a:/x", "2", "k"), "!conflict"},
		"another address":  {keyed("anna", "a:/x", "1", "k"), keyed("anna", "a:/y", "1", "k"), "!conflict"},
		"another query":    {keyed("anna", "a:/x?a", "1", "k"), keyed("anna", "a:/x?b", "1", "k"), "!conflict"},
		"another user":     {keyed("anna", "a:/x", "1", "k"), keyed("bert", "a:/x", "1", "k"), "2"},
		"another issuer":   {keyed("anna", "a:/x", "1", "k"), keyed("", "a:/x", "1", "k").of(foreign), "2"},
		"one session":      {keyed("", "a:/x", "1", "k").of(cart), keyed("", "a:/x", "1", "k").of(cart), "1"},
		"another session":  {keyed("", "a:/x", "1", "k").of(cart), keyed("", "a:/x", "1", "k").of(session.New("", nil, nil)), "2"},
		"one client":       {keyed("", "a:/x", "1", "k"), keyed("", "a:/x", "1", "k"), "1"},
		"another client":   {keyed("", "a:/x", "1", "k"), from(keyed("", "a:/x", "1", "k"), "p2"), "2"},
		"user and client":  {keyed("p1", "a:/x", "1", "k"), keyed("", "a:/x", "1", "k"), "2"},
		"user and session": {keyed("", "a:/x", "1", "k").of(cart), keyed(cart.ID, "a:/x", "1", "k"), "2"},
		"strange key":      {keyed("anna", "a:/x", "1", "\x00\r\n\u2028k"), keyed("anna", "a:/x", "1", "\x00\r\n\u2028k"), "1"},
		"too long":         {keyed("anna", "a:/x", "1", strings.Repeat("k", 255)), keyed("anna", "a:/x", "1", strings.Repeat("k", 256)), "!invalid_input"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n counting
			h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{})(&n)
			if got := c.first.to(h).got(); got != "1" {
				t.Fatalf("the first got %s", got)
			}
			if got := c.second.to(h).got(); got != c.want {
				t.Errorf("the second got %s, want %s", got, c.want)
			}
		})
	}
}

func from(a *ask, client string) *ask {
	a.req.Peer = peer{id: client}
	return a
}

func TestIdempotencyErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err        *message.Error
		idempotent bool
		again      bool // it is executed again
	}{
		"surely not executed": {failed(message.CodeOverloaded, true), false, true},
		"refused for good":    {failed(message.CodeNotFound, false), false, false},
		"internal":            {failed(message.CodeInternal, false), false, false},
		"lost":                {failed(message.CodeServiceLost, false), false, false},
		"lost, no harm":       {failed(message.CodeNodeLost, false), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{})(
				route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
					n++
					_ = res.Fail(c.err)
				}))
			for range 2 {
				a := keyed("anna", "a:/x", "1", "k")
				if c.idempotent {
					a.req.Message.Strategy = []byte(`{"idempotent":true}`)
				}
				if got := a.to(h).got(); got != "!"+string(c.err.Code) {
					t.Fatalf("got %s", got)
				}
			}
			if (n == 2) != c.again {
				t.Errorf("it was executed %d times", n)
			}
		})
	}
}

// Who comes while the first is running gets its answer, also when the first
// caller has left by then.
func TestIdempotencyWaits(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := middleware.NewIdempotencyMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	var in taken
	h := middleware.Idempotency(nil, m, middleware.IdempotencyConfig{})(&in)
	body := []byte("the reader's buffer")
	first := keyed("anna", "a:/x", "", "k")
	first.req.Message.Body = body
	first.to(h)
	second := keyed("anna", "a:/x", "the reader's buffer", "k").to(h)
	copy(body, "something else now!")
	first.leave()
	third := keyed("anna", "a:/x", "the reader's buffer", "k").to(h)
	second.leave()
	if in.len() != 1 || third.got() != "…" {
		t.Fatalf("%d run, the third got %s", in.len(), third.got())
	}
	if got := string(in.reqs[0].Message.Body); got != "the reader's buffer" {
		t.Errorf("the body is %q", got)
	}
	third.leave()
	reply1(in.calls[0], "done")
	if got := keyed("anna", "a:/x", "the reader's buffer", "k").to(h).got(); got != "done" || in.len() != 1 {
		t.Fatalf("after all had left: %s, %d ran", got, in.len())
	}
	for _, a := range []*ask{first, second, third} {
		if a.got() != "!canceled" {
			t.Errorf("one that had left got %s", a.got())
		}
	}
	for result, want := range map[string]float64{"first": 1, "waited": 2, "replayed": 1} {
		if got := counted(t, reg, "ropewalk_idempotency_calls_total", result); got != want {
			t.Errorf("%s: %v, want %v", result, got, want)
		}
	}
	if err := in.calls[0].Reply(route.Body{}); err == nil {
		t.Error("a second reply was taken")
	}
}

// counted is one counter of a registry.
func counted(t *testing.T, reg *prometheus.Registry, name, label string) (n float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestIdempotencyDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in taken
		h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Keep: seconds(60)})(&in)
		first := keyed("anna", "a:/x", "1", "k")
		first.req.Deadline = time.Now().Add(time.Second)
		first.to(h)
		first.leave()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := keyed("anna", "a:/x", "1", "k").to(h).got(); got != "!deadline_exceeded" || in.len() != 1 {
			t.Fatalf("after the deadline: %s, %d ran", got, in.len())
		}
		if in.calls[0].Reply(route.Body{}) == nil {
			t.Error("a late reply was taken")
		}
		time.Sleep(time.Minute)
		if keyed("anna", "a:/x", "1", "k").to(h); in.len() != 2 {
			t.Error("an old key was not forgotten")
		}
		reply1(in.calls[1], "x")
	})
}

func TestIdempotencyParts(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Answer: 2000})(&in)
	first := keyed("anna", "a:/x", "1", "k").to(h)
	second := keyed("anna", "a:/x", "1", "k").to(h)
	buf := []byte("one")
	_ = in.calls[0].Part(route.JSON(buf))
	copy(buf, "two")
	_ = in.calls[0].(route.Patient).PartWhenRoom(t.Context(), route.JSON(buf))
	if got := fmt.Sprint(first.parts, second.parts); got != "[one two] []" {
		t.Errorf("parts so far %s", got)
	}
	reply1(in.calls[0], "end")
	third := keyed("anna", "a:/x", "1", "k").to(h)
	for _, a := range []*ask{first, second, third} {
		if got := fmt.Sprint(a.parts, " ", a.got()); got != "[one two] end" {
			t.Errorf("got %s", got)
		}
	}

	first = keyed("anna", "a:/x", "1", "large").to(h)
	second = keyed("anna", "a:/x", "1", "large").to(h)
	for range 20 {
		_ = in.calls[1].Part(route.JSON([]byte(strings.Repeat("x", 200))))
	}
	third = keyed("anna", "a:/x", "1", "large").to(h)
	reply1(in.calls[1], "end")
	fourth := keyed("anna", "a:/x", "1", "large").to(h)
	if len(first.parts) != 20 || first.got() != "end" {
		t.Errorf("the first got %d parts and %s", len(first.parts), first.got())
	}
	for _, a := range []*ask{second, third, fourth} {
		if a.got() != "!conflict" || len(a.parts) > 0 || in.len() != 2 {
			t.Errorf("too large an answer: %s", a.got())
		}
	}
}

func TestIdempotencyBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg   middleware.IdempotencyConfig
		known []string // of anna1, anna2, anna3, bert1 that are known at the end
	}{
		"perUser": {middleware.IdempotencyConfig{PerUser: 2}, []string{"anna2", "anna3", "bert1"}},
		"entries": {middleware.IdempotencyConfig{Entries: 2}, []string{"anna3", "bert1"}},
		"bytes":   {middleware.IdempotencyConfig{Bytes: 1100}, []string{"anna3", "bert1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			h := middleware.Idempotency(nil, nil, c.cfg)(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
				n++
				reply1(res, "x")
			}))
			all := []string{"anna1", "anna2", "anna3", "bert1"}
			for _, k := range all {
				keyed(k[:4], "a:/x", "1", k).to(h)
			}
			var known []string
			for i := range slices.Backward(all) {
				before := n
				if keyed(all[i][:4], "a:/x", "1", all[i]).to(h); n == before {
					known = append([]string{all[i]}, known...)
				} else {
					break // from here on each drives another out
				}
			}
			want := c.known
			if fmt.Sprint(known) != fmt.Sprint(want) {
				t.Errorf("known are %v, want %v", known, want)
			}
		})
	}
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{PerUser: 2})(&in)
	keyed("anna", "a:/x", "1", "1").to(h)
	keyed("anna", "a:/x", "1", "2").to(h)
	third, other := keyed("anna", "a:/x", "1", "3").to(h), keyed("bert", "a:/x", "1", "1").to(h)
	if third.got() != "!overloaded" || third.err.RetryAfter == 0 || other.got() != "…" {
		t.Errorf("with too many running: %s, and another's %s", third.got(), other.got())
	}
	for range 101 {
		third = keyed("anna", "a:/x", "1", "1").to(h)
	}
	if third.got() != "!overloaded" {
		t.Errorf("with too many waiting: %s", third.got())
	}
	for _, c := range in.calls {
		reply1(c, "x")
	}
}

// A change of the session is made once, for somebody who is there.
func TestIdempotencySessionChange(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{})(&in)
	first := keyed("anna", "a:/x", "1", "k").to(h)
	first.leave()
	_ = in.calls[0].Reply(route.Body{Bytes: []byte("1"), Session: &session.Patch{Set: session.Claims{"a": 1}}})
	second, third := keyed("anna", "a:/x", "1", "k").to(h), keyed("anna", "a:/x", "1", "k").to(h)
	if second.change == nil || third.change != nil || third.got() != "1" {
		t.Errorf("changes %v, %v", second.change, third.change)
	}
}

func TestIdempotencyContainsPanics(t *testing.T) {
	t.Parallel()
	var log buffer
	h := middleware.Idempotency(slog.New(slog.NewTextHandler(&log, nil)), nil, middleware.IdempotencyConfig{Routes: []string{"a:/x"}})(
		route.HandlerFunc(func(context.Context, *route.Request, route.Responder) { panic("boom") }))
	if got := keyed("anna", "a:/x", "1", "k").to(h).got(); got != "!internal" || !strings.Contains(log.String(), "boom") {
		t.Errorf("got %s, log %s", got, log.String())
	}
	defer func() {
		if recover() == nil {
			t.Error("another route was not left alone")
		}
	}()
	keyed("anna", "a:/y", "1", "k").to(h)
}

// Random users, keys, answers, errors, and callers that leave: each call that
// stays has one answer, all answers of a key are that of the first execution,
// and nothing is executed twice that may have been executed.
func TestIdempotencyModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in taken
		h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{})(&in)
		type key struct{ user, key string }
		var calls []*ask
		keys := map[*ask]key{}
		running := map[key]int{} // index in in.calls
		done := map[key]string{} // what was answered for good
		waiting := map[key][]*ask{}
		left := map[*ask]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 4).Draw(t, "op"); {
			case op <= 1:
				k := key{rapid.SampledFrom([]string{"anna", "bert", ""}).Draw(t, "user"), rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")}
				before := in.len()
				a := keyed(k.user, "a:/x", "1", k.key).to(h)
				calls, keys[a] = append(calls, a), k
				_, isRunning := running[k]
				answer, isDone := done[k]
				switch {
				case isDone:
					if a.got() != answer || in.len() != before {
						t.Fatalf("%v got %s, want %s", k, a.got(), answer)
					}
				case isRunning:
					if a.got() != "…" || in.len() != before {
						t.Fatalf("%v was not made to wait: %s", k, a.got())
					}
					waiting[k] = append(waiting[k], a)
				default:
					if in.len() != before+1 {
						t.Fatalf("%v was not executed", k)
					}
					running[k], waiting[k] = before, []*ask{a}
				}
			case op <= 3 && len(running) > 0:
				var k key
				for _, k = range []key{{"anna", "k"}, {"anna", "l"}, {"bert", "k"}, {"bert", "l"}, {"", "k"}, {"", "l"}} {
					if _, ok := running[k]; ok && rapid.Bool().Draw(t, "this") {
						break
					}
				}
				i, ok := running[k]
				if !ok {
					continue
				}
				delete(running, k)
				var want string
				switch rapid.IntRange(0, 2).Draw(t, "how") {
				case 0:
					want = fmt.Sprintf("%s of %v", rapid.StringN(0, 5, 9).Draw(t, "body"), k)
					reply1(in.calls[i], want)
					done[k] = want
				case 1:
					want = "!internal"
					_ = in.calls[i].Fail(failed(message.CodeInternal, false))
					done[k] = want
				case 2:
					want = "!overloaded"
					_ = in.calls[i].Fail(failed(message.CodeOverloaded, true))
				}
				for _, a := range waiting[k] {
					if !left[a] && a.got() != want {
						t.Fatalf("%v got %s, want %s", k, a.got(), want)
					}
				}
				waiting[k] = nil
			case op == 4 && len(calls) > 0:
				a := calls[rapid.IntRange(0, len(calls)-1).Draw(t, "who")]
				if a.got() == "…" {
					left[a] = true
					a.leave()
				}
			}
		}
		for _, i := range running {
			reply1(in.calls[i], "the end")
		}
		for _, a := range calls {
			if a.got() == "…" {
				t.Fatalf("%v has no answer", keys[a])
			}
		}
	})
}

func TestIdempotencyConcurrently(t *testing.T) {
	t.Parallel()
	var n counting
	var wg sync.WaitGroup
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{})(
		route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			wg.Go(func() {
				_ = res.Part(route.JSON([]byte("p")))
				n.Handle(ctx, req, res)
			})
		}))
	calls := make([]*ask, 64)
	for i := range calls {
		calls[i] = keyed("anna", "a:/x", "1", "k")
		wg.Go(func() { calls[i].to(h) })
		if i%8 == 7 {
			wg.Go(calls[i].leave)
		}
	}
	for _, a := range calls {
		<-a.done
	}
	wg.Wait()
	for i, a := range calls {
		if i%8 != 7 && (a.got() != "1" || len(a.parts) != 1) {
			t.Errorf("call %d got %v %s", i, a.parts, a.got())
		}
	}
	if n.calls() != 1 {
		t.Errorf("it was executed %d times", n.calls())
	}
}

// An answer that is larger than all answers may be does not have its call
// executed again.
func TestIdempotencyAnswerLargerThanAll(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Bytes: 1000})(&in)
	first := keyed("anna", "a:/x", "1", "1").to(h)
	reply1(in.calls[0], strings.Repeat("x", 2000))
	again := keyed("anna", "a:/x", "1", "1").to(h)
	if len(first.got()) != 2000 || in.len() != 1 || again.got() != "!conflict" {
		t.Errorf("%d bytes, then %s; executed %d times", len(first.got()), again.got(), in.len())
	}
}
