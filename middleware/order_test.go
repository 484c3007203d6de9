package middleware_test

import (
	"context"
	"encoding/json"
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

func ordered(cfg middleware.OrderConfig) route.Middleware {
	cfg.Routes = []string{"a:/x", "a:/y"}
	return middleware.InOrder(nil, nil, cfg)
}

func TestInOrder(t *testing.T) {
	t.Parallel()
	one, two := session.New("anna", nil, nil), session.New("anna", nil, nil)
	x := func() *ask { return newAsk("", "a:/x", "1") }
	long := strings.Repeat("k", 1000)
	for name, c := range map[string]struct {
		cfg           middleware.OrderConfig
		first, second *ask
		waits         bool
	}{
		"one session":      {middleware.OrderConfig{}, x().of(one), from(x(), "p2").of(one), true},
		"another route":    {middleware.OrderConfig{}, x().of(one), newAsk("", "a:/y", "").of(one), true},
		"a free route":     {middleware.OrderConfig{}, x().of(one), newAsk("", "a:/z", "").of(one), false},
		"another session":  {middleware.OrderConfig{}, x().of(one), x().of(two), false},
		"one client":       {middleware.OrderConfig{}, x(), x(), true},
		"another client":   {middleware.OrderConfig{}, x(), from(x(), "p2"), false},
		"client is no id":  {middleware.OrderConfig{}, from(x(), one.ID), x().of(one), false},
		"by client":        {middleware.OrderConfig{By: "client"}, x().of(one), x().of(two), true},
		"by client, other": {middleware.OrderConfig{By: "client"}, x().of(one), from(x(), "p2").of(one), false},
		"by header":        {middleware.OrderConfig{By: "header", Header: "h"}, x().header("h", "1"), from(x(), "p2").header("h", "1"), true},
		"other value":      {middleware.OrderConfig{By: "header", Header: "h"}, x().header("h", "1"), x().header("h", "2"), false},
		"no header":        {middleware.OrderConfig{By: "header", Header: "h"}, x(), x(), false},
		"long value":       {middleware.OrderConfig{By: "header", Header: "h"}, x().header("h", long), x().header("h", long), true},
		"long values":      {middleware.OrderConfig{By: "header", Header: "h"}, x().header("h", long), x().header("h", long+"1"), false},
		"a send":           {middleware.OrderConfig{}, x(), send(x()), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in taken
			h := ordered(c.cfg)(&in)
			c.first.to(h)
			c.second.to(h)
			if in.len() == 1 != c.waits {
				t.Fatalf("%d run", in.len())
			}
			reply1(in.calls[0], "1")
			if in.len() != 2 {
				t.Fatalf("%d ran in the end", in.len())
			}
			reply1(in.calls[1], "2")
			if c.first.got()+c.second.got() != "12" {
				t.Errorf("got %s, %s", c.first.got(), c.second.got())
			}
		})
	}
}

func send(a *ask) *ask {
	a.req.Message.Verb = message.VerbSend
	return a
}

func TestInOrderBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		m, err := middleware.NewOrderMetrics(reg)
		if err != nil {
			t.Fatal(err)
		}
		var in taken
		h := middleware.InOrder(nil, m, middleware.OrderConfig{
			Routes: []string{"a:/x"}, Queue: 2, Waiting: 3, Wait: seconds(5),
		})(&in)
		x := func(client string) *ask { return from(newAsk("", "a:/x", "1"), client).to(h) }
		first, second, third, fourth := x("p1"), x("p1"), x("p1"), x("p1")
		if fourth.got() != "!overloaded" || fourth.err.RetryAfter == 0 {
			t.Errorf("one too many in the line: %s", fourth.got())
		}
		other, otherToo, late := x("p2"), x("p2"), x("p2")
		if late.got() != "!overloaded" {
			t.Errorf("one too many in all: %s", late.got())
		}
		second.leave()
		if late = x("p2"); late.got() != "…" {
			t.Errorf("who left kept a place: %s", late.got())
		}
		reply1(in.calls[0], "r")
		if in.len() != 3 || in.reqs[2] != third.req {
			t.Fatalf("who left ran: %d", in.len())
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if otherToo.got() != "!overloaded" || late.got() != "!overloaded" || third.got() != "…" || other.got() != "…" {
			t.Errorf("after the wait: %s %s %s %s", otherToo.got(), late.got(), third.got(), other.got())
		}
		third.leave() // while it runs: the next may begin
		if x("p1"); in.len() != 4 || first.got() != "r" {
			t.Errorf("%d ran", in.len())
		}
		for result, want := range map[string]float64{"at_once": 3, "waited": 1, "left": 3, "refused": 2} {
			if got := counted(t, reg, "ropewalk_in_order_calls_total", result); got != want {
				t.Errorf("%s: %v, want %v", result, got, want)
			}
		}
	})
}

func TestInOrderContainsPanicsAndDoesNotRecurse(t *testing.T) {
	t.Parallel()
	var log buffer
	const many = 5000
	depth, deepest, n := 0, 0, 0
	h := middleware.InOrder(slog.New(slog.NewTextHandler(&log, nil)), nil, middleware.OrderConfig{Routes: []string{"a:/x"}, Queue: many})(
		route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
			switch n++; n {
			case 1:
				return
			case 2:
				panic("boom")
			}
			depth++
			deepest = max(deepest, depth)
			_ = res.Reply(route.Body{})
			depth--
		}))
	body := []byte("a")
	var calls []*ask
	for range many + 1 {
		a := newAsk("", "a:/x", "")
		a.req.Message.Body = body
		calls = append(calls, a.to(h))
	}
	body[0] = 'b'
	_ = calls[0].Reply(route.Body{})
	if n != many+1 || deepest != 1 || calls[1].got() != "!internal" || !strings.Contains(log.String(), "boom") {
		t.Errorf("%d ran, %d deep, the second got %s", n, deepest, calls[1].got())
	}
	if string(calls[9].req.Message.Body) != "a" {
		t.Error("the body of a call that waited has changed")
	}
}

func TestOrderConfig(t *testing.T) {
	t.Parallel()
	for settings, field := range map[string]string{
		`{}`:                                "routes",
		`{"routes":["a:/x"],"by":"moon"}`:   "by",
		`{"routes":["a:/x"],"by":"header"}`: "header",
		`{"routes":["a:/x"],"header":"x"}`:  "header",
		`{"routes":["a:/x"],"queue":-1}`:    "queue",
		`{"routes":["a:/x"],"waiting":-1}`:  "waiting",
	} {
		var cfg middleware.OrderConfig
		if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
			t.Fatal(err)
		}
		if err := message.AsError(cfg.Validate()); err.Path != field || err.Hint == "" {
			t.Errorf("%s: %+v", settings, err)
		}
	}
}

// Random calls of some sessions that are answered, canceled while they wait or
// run, in any order: of each session one runs at a time, in the order in which
// they came, and each call gets one answer.
func TestInOrderModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in taken
		h := ordered(middleware.OrderConfig{})(&in)
		lines := map[string][]*ask{} // the first one runs
		var all []*ask
		handed := 0
		users := []string{"p1", "p2", "p3"}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			user := rapid.SampledFrom(users).Draw(t, "user")
			line := lines[user]
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op <= 1:
				a := from(newAsk("", "a:/x", user), user)
				all, lines[user] = append(all, a), append(line, a)
				a.to(h)
			case op == 2 && len(line) > 0:
				_ = line[0].Reply(route.JSON([]byte("r")))
				lines[user] = line[1:]
			case op == 3 && len(line) > 0:
				i := rapid.IntRange(0, len(line)-1).Draw(t, "leaves")
				line[i].leave()
				lines[user] = slices.Delete(slices.Clone(line), i, i+1)
			}
			for ; handed < in.len(); handed++ {
				user := string(in.reqs[handed].Message.Body)
				if line := lines[user]; len(line) == 0 || line[0].req != in.reqs[handed] {
					t.Fatalf("a call of %s ran out of order", user)
				}
			}
			for _, user := range users {
				if line := lines[user]; len(line) > 0 && !slices.Contains(in.reqs, line[0].req) {
					t.Fatalf("the first call of %s does not run", user)
				}
			}
		}
		for _, line := range lines {
			for _, a := range line {
				reply1(a, "r")
			}
		}
		for _, a := range all {
			if a.finals != 1 {
				t.Fatalf("%d answers", a.finals)
			}
		}
	})
}

func TestInOrderConcurrently(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	running := map[string]int{}
	var wg sync.WaitGroup
	h := ordered(middleware.OrderConfig{Queue: 1000})(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		id := req.Peer.ID()
		mu.Lock()
		if running[id]++; running[id] > 1 {
			t.Errorf("two calls of %s run", id)
		}
		mu.Unlock()
		wg.Go(func() {
			mu.Lock()
			running[id]--
			mu.Unlock()
			reply1(res, "r")
		})
	}))
	calls := make([]*ask, 600)
	for i := range calls {
		calls[i] = from(newAsk("", "a:/x", "1"), fmt.Sprint(i%5))
		wg.Go(func() { calls[i].to(h) })
	}
	for _, a := range calls {
		<-a.done
	}
	wg.Wait()
}

// A call that waits is part of its line before it can be its turn, so that its
// turn lasts until the call ends, and not until its first try does.
func TestInOrderIsToldOfTheCall(t *testing.T) {
	t.Parallel()
	var in taken
	first, last := newAsk("", "a:/x", "1"), newAsk("", "a:/x", "3")
	h := ordered(middleware.OrderConfig{})(&in)
	first.to(h)
	early := 0
	second := &hasty{ask: newAsk("", "a:/x", "2"), before: func() {
		reply1(in.calls[0], "1")
		early = in.len() - 1
	}}
	h.Handle(t.Context(), second.req, second)
	last.to(h)
	if in.len() != 2 {
		t.Fatalf("%d run", in.len())
	}
	if early != 0 {
		t.Error("the call ran before its end was seen to")
	}
	reply1(in.calls[1], "2")
	reply1(in.calls[2], "3")
	if first.got()+second.got()+last.got() != "123" {
		t.Errorf("got %s, %s, %s", first.got(), second.got(), last.got())
	}
}

// hasty is a call that has something happen just before a middleware is told of
// its end.
type hasty struct {
	*ask

	before func()
}

func (h *hasty) OnFinish(f route.Finisher) {
	if h.before != nil {
		h.before()
		h.before = nil
	}
	h.ask.OnFinish(f)
}
