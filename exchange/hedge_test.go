package exchange_test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// hedging has slow calls asked twice.
func hedging(t testing.TB, m *middleware.HedgeMetrics, cfg middleware.HedgeConfig) func(*exchange.Config) {
	return func(c *exchange.Config) {
		if c.Stack == nil {
			c.Stack = route.NewStack()
		}
		insert(t, c.Stack, route.StageCall, "hedge", middleware.Hedge(slog.New(slog.DiscardHandler), m, cfg))
	}
}

var after50 = middleware.HedgeConfig{After: duration.Duration(50 * time.Millisecond)}

const twice = `{"by":"first","idempotent":true}`

func TestHedge(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(client, a, b end){
		"the second is faster": func(client, a, b end) {
			slow, quickly := a.next(a.t), b.next(b.t)
			if string(quickly.Body) != `"keep"` {
				a.t.Errorf("the second got %s", quickly.Body)
			}
			b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, quickly.Mid)
			if m := client.want(message.VerbReply, "1", "2"); string(m.From) != "s2@x:/" {
				a.t.Errorf("the answer is from %s", m.From)
			}
			if m := a.next(a.t); m.Verb != message.VerbCancel || string(m.Rmid) != string(slow.Mid) {
				a.t.Errorf("the first got %s", m.Verb)
			}
			a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, slow.Mid)
		},
		"the first is faster": func(client, a, b end) {
			slow, second := a.next(a.t), b.next(b.t)
			a.send(`{"vrb":"part","rmid":%q,"bdy":0}`, slow.Mid)
			client.want(message.VerbPart, "1", "0")
			if m := b.next(b.t); m.Verb != message.VerbCancel {
				a.t.Errorf("the second got %s", m.Verb)
			}
			b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, second.Mid)
			a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, slow.Mid)
			if m := client.want(message.VerbReply, "1", "1"); string(m.From) != "s1@x:/" {
				a.t.Errorf("the answer is from %s", m.From)
			}
		},
		"in time": func(client, a, _ end) {
			got := a.next(a.t)
			time.Sleep(40 * time.Millisecond) // of the bubble
			a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
			client.want(message.VerbReply, "1", "1")
			time.Sleep(40 * time.Millisecond) // of the bubble
		},
		"after a part": func(client, a, _ end) {
			got := a.next(a.t)
			a.send(`{"vrb":"part","rmid":%q,"bdy":0}`, got.Mid)
			time.Sleep(time.Second) // of the bubble
			a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
			client.want(message.VerbPart, "1", "0")
			client.want(message.VerbReply, "1", "1")
		},
		"the first fails at once": func(client, a, _ end) {
			got := a.next(a.t)
			a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, got.Mid)
			client.wantError("1", message.CodeOverloaded)
			time.Sleep(time.Second) // of the bubble
		},
		"the first fails": func(client, a, b end) {
			one, two := a.next(a.t), b.next(b.t)
			a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"internal","message":"m"}}`, one.Mid)
			b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, two.Mid)
			client.want(message.VerbReply, "1", "2")
		},
		"both fail": func(client, a, b end) {
			one, two := a.next(a.t), b.next(b.t)
			a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"internal","message":"m"}}`, one.Mid)
			b.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"not_found","message":"m"}}`, two.Mid)
			client.wantError("1", message.CodeInternal)
		},
		"one is lost": func(client, a, b end) {
			a.next(a.t)
			two := b.next(b.t)
			a.Gone()
			b.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, two.Mid)
			client.want(message.VerbReply, "1", "2")
		},
		"canceled": func(client, a, b end) {
			a.next(a.t)
			b.next(b.t)
			client.send(`{"vrb":"cancel","rmid":"1"}`)
			client.wantError("1", message.CodeCanceled)
			if x, y := a.next(a.t), b.next(b.t); x.Verb != message.VerbCancel || y.Verb != message.VerbCancel {
				a.t.Errorf("they got %s and %s", x.Verb, y.Verb)
			}
		},
		"too late": func(client, a, b end) {
			a.next(a.t)
			b.next(b.t)
			client.wantError("1", message.CodeDeadlineExceeded)
			if x, y := a.next(a.t), b.next(b.t); x.Verb != message.VerbCancel || y.Verb != message.VerbCancel {
				a.t.Errorf("they got %s and %s", x.Verb, y.Verb)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, hedging(t, nil, after50))
				client := w.connect("c1")
				a, b := w.two(`{}`)
				client.send(`{"to":"x:/","mid":"1","tmo":5,"str":%s,"bdy":"keep"}`, twice)
				play(client, a, b)
				synctest.Wait()
				client.none(t)
				a.none(t)
				b.none(t)
				if a.InFlight() != 0 || b.InFlight() != 0 {
					t.Errorf("%d and %d calls in flight", a.InFlight(), b.InFlight())
				}
				w.idle()
			})
		})
	}
}

// What may not be executed twice is not asked twice.
func TestHedgeNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := after50
		cfg.Except = []string{"y:/"}
		w := newWorld(t, hedging(t, nil, cfg))
		client := w.connect("c1")
		a, b := w.two(`{}`)
		for _, s := range []end{a, b} {
			s.serve("y:/")
		}
		for i, c := range []string{
			`{"to":"x:/","mid":"%d","str":"first"}`,
			`{"to":"s1@x:/","mid":"%d","str":{"idempotent":true}}`,
			`{"to":"x:/","mid":"%d","str":{"by":"instance","instance":"s1","idempotent":true}}`,
			`{"to":"y:/","mid":"%d","str":{"by":"first","idempotent":true}}`,
			`{"to":"x:/","mid":"%d","tmo":0.04,"str":{"by":"first","idempotent":true}}`,
		} {
			client.send(c, i)
			a.next(t)
			time.Sleep(10 * time.Second) // of the bubble
			b.none(t)
		}
	})
}

// A race is one try of the retries outside of it, and its servers are those that
// a breaker inside of it lets through.
func TestHedgeWithRetryAndBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, retrying(t, quick), hedging(t, nil, after50), breaking(t, nervous))
		client := w.connect("c1")
		a, b := w.two(`{"idempotent":true}`)
		lose := func(s end) {
			got := s.next(t)
			if string(got.Body) != `"keep"` {
				t.Errorf("%s got %s", s.id, got.Body)
			}
			s.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, got.Mid)
		}
		call := func() { client.send(`{"to":"x:/","mid":"1","str":"first","bdy":"keep"}`) }
		call()
		slow := a.next(t)
		lose(b) // the race is a.s now
		a.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"overloaded","message":"m"}}`, slow.Mid)
		lose(b) // the second try, without s1: there is nobody to race with
		got := a.next(t)
		a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
		client.want(message.VerbReply, "1", "1")
		// The circuit of s2 is open: calls of s1 are raced with nobody.
		call()
		got = a.next(t)
		time.Sleep(time.Second) // of the bubble
		b.none(t)
		a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, got.Mid)
		client.want(message.VerbReply, "1", "1")
		w.idle()
	})
}

// What is slow is known from what was before.
func TestHedgePercentile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		m, err := middleware.NewHedgeMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, hedging(t, m, middleware.HedgeConfig{
			Percentile: 95, Budget: middleware.Budget{Share: 0.01, PerSecond: 0.1},
		}))
		client := w.connect("c1")
		a, b := w.two(`{}`)
		ask := func() message.Message {
			client.send(`{"to":"x:/","mid":"1","str":%s}`, twice)
			return a.next(t)
		}
		for i := range 64 {
			got := ask()
			took := 10 * time.Millisecond
			if i < 4 {
				took = 30 * time.Millisecond
			}
			time.Sleep(took) // of the bubble
			a.send(`{"vrb":"reply","rmid":%q}`, got.Mid)
			client.want(message.VerbReply, "1", "")
			time.Sleep(time.Second) // of the bubble
		}
		b.none(t)
		slow := ask()
		began := time.Now()
		got := b.next(t)
		if after := time.Since(began); after != 30*time.Millisecond {
			t.Errorf("the second server was asked after %v", after)
		}
		b.send(`{"vrb":"reply","rmid":%q}`, got.Mid)
		client.want(message.VerbReply, "1", "")
		a.next(t) // cancel
		a.send(`{"vrb":"reply","rmid":%q}`, slow.Mid)
		// That was the budget of ten seconds.
		slow = ask()
		time.Sleep(time.Second) // of the bubble
		b.none(t)
		a.send(`{"vrb":"reply","rmid":%q}`, slow.Mid)
		client.want(message.VerbReply, "1", "")
		if n := testutil.CollectAndCount(registry, "ropewalk_hedges_total"); n != 2 { // won, refused
			t.Errorf("%d results were counted", n)
		}
	})
}

// Over nodes it is the same.
func TestHedgeAcrossNodes(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false, hedging(t, nil, after50))
	client := w.connect(0)
	one, two := w.serving(1, "x:/"), w.serving(2, "x:/")
	client.send(`{"to":"x:/","mid":"1","bdy":"b","str":%s}`, twice)
	one.next(t)
	got := two.next(t)
	two.send(`{"vrb":"reply","rmid":%q,"bdy":2}`, got.Mid)
	if m := client.want(message.VerbReply, "1", "2"); string(m.From) != fmt.Sprint(two.id, "@x:/") {
		t.Errorf("the answer is from %s", m.From)
	}
	if m := one.next(t); m.Verb != message.VerbCancel {
		t.Errorf("the first got %s", m.Verb)
	}
	w.nodes[0].idle()
}
