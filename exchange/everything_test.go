package exchange_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// everything is a stack of all kinds that have to do with faults, in their usual
// order, with settings that have each of them do something.
func everything(t *testing.T) func(*exchange.Config) {
	return func(c *exchange.Config) {
		c.Stack = route.NewStack()
		env := middleware.Env{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
		for _, k := range []struct {
			stage    route.Stage
			kind     string
			settings string
		}{
			{route.StageInbound, route.KindRecover, ``},
			{route.StageInbound, route.KindRate, `{"rate":100000}`},
			{route.StageInbound, route.KindFallback, `{"routes":{"fall:/":{"to":["plain:/"],"after":"200ms","value":"fixed"},"last:/":{"last":"1m"}}}`},
			{route.StageCall, route.KindMetrics, ``},
			{route.StageCall, route.KindLog, ``},
			{route.StageCall, route.KindShed, `{"calls":60,"delay":"1h"}`},
			{route.StageCall, route.KindDeadline, `{"max":"3s"}`},
			{route.StageCall, route.KindOrder, `{"routes":["order:/"],"by":"client","queue":5}`},
			{route.StageCall, route.KindRetry, `{"times":3,"backoff":"5ms","try":"100ms"}`},
			{route.StageCall, route.KindIdempotency, `{}`},
			{route.StageCall, route.KindCache, `{"routes":{"cached:/":{"keep":"50ms","public":true}}}`},
			{route.StageCall, route.KindHedge, `{"after":"20ms"}`},
			{route.StageCall, route.KindBreaker, `{"share":0.6,"open":"100ms"}`},
			{route.StageCall, route.KindLimit, `{"calls":20,"queue":20,"wait":"300ms","adapt":{"min":5,"max":50}}`},
			{route.StageServe, route.KindLimit, `{"calls":10,"queue":5,"wait":"100ms"}`},
		} {
			e, err := middleware.New(k.kind, "", json.RawMessage(k.settings), env)
			if err == nil {
				err = c.Stack.Insert(k.stage, e, route.Last())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if list := c.Stack.Warnings(); len(list) > 0 {
			t.Errorf("warnings %q", list)
		}
	}
}

var shakyRoutes = []string{"plain:/", "again:/", "cached:/", "order:/", "fall:/", "last:/"}

// shaky is a server that answers, fails, is slow, says nothing, or goes.
type shaky struct {
	end

	mu   sync.Mutex
	gone bool
}

func (w world) shaky(id string) *shaky {
	s := &shaky{end: w.connect(id)}
	for _, r := range shakyRoutes {
		s.end.send(`{"vrb":"serve","mid":"s","to":%q,"bdy":{"idempotent":%v}}`, r, r != "plain:/" && r != "order:/")
		s.next(w.t)
	}
	return s
}

// say sends, unless the server has gone.
func (s *shaky) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.send(format, args...)
	}
}

func (s *shaky) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.Gone()
}

// serve answers until the server has gone, or done is closed.
func (s *shaky) serve(r *rand.Rand, done <-chan struct{}) {
	for {
		select {
		case <-done:
			s.leave()
			return
		case m := <-s.got:
			if m.Verb != message.VerbCall {
				continue
			}
			mid, slow := string(m.Mid), time.Duration(r.IntN(150))*time.Millisecond
			reply := fmt.Sprintf(`{"vrb":"reply","rmid":%q,"bdy":"x"}`, mid)
			code := []message.Code{
				message.CodeInternal, message.CodeOverloaded, message.CodeNotFound, message.CodeServiceDown, message.CodeRateLimited,
			}[r.IntN(5)]
			switch r.IntN(12) {
			default:
				s.say("%s", reply)
			case 0, 1, 2, 3:
				time.AfterFunc(slow, func() { s.say("%s", reply) })
			case 4, 5:
				s.say(`{"vrb":"error","rmid":%q,"bdy":{"code":%q,"message":"m"}}`, mid, code)
			case 6:
				s.say(`{"vrb":"part","rmid":%q,"bdy":1}`, mid)
				time.AfterFunc(slow, func() { s.say("%s", reply) })
			case 7:
				s.say(`{"vrb":"part","rmid":%q,"bdy":1}`, mid)
				s.say(`{"vrb":"error","rmid":%q,"bdy":{"code":%q,"message":"m"}}`, mid, code)
			case 8: // nothing
			case 9:
				if r.IntN(4) == 0 {
					s.leave()
					return
				}
				s.say("%s", reply)
				s.say("%s", reply) // once too often
			}
		}
	}
}

// Whatever servers do, and whatever middleware makes of it, each call gets one
// final answer, and nothing is left behind.
func TestOneAnswerThroughEverything(t *testing.T) {
	t.Parallel()
	const callers, calls = 10, 100
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, everything(t))
				done := make(chan struct{})
				var servers, clients sync.WaitGroup
				for n := range 4 {
					servers.Go(func() {
						r := rand.New(rand.NewPCG(seed, uint64(n)))
						for life := 0; ; life++ {
							w.shaky(fmt.Sprintf("s%d-%d", n, life)).serve(r, done)
							select {
							case <-done:
								return
							case <-time.After(50 * time.Millisecond): // it comes back
							}
						}
					})
				}
				codes, ends := make([]map[message.Code]int, callers), make([]end, callers)
				for n := range callers {
					r := rand.New(rand.NewPCG(seed, uint64(100+n)))
					codes[n] = map[message.Code]int{}
					ends[n] = w.connect(fmt.Sprint("c", n))
					clients.Go(func() { askAll(t, ends[n], r, calls, codes[n]) })
				}
				clients.Wait()
				synctest.Wait()
				for _, e := range ends {
					e.none(t)
				}
				w.idle()
				close(done)
				servers.Wait()
				all := map[message.Code]int{}
				for _, some := range codes {
					for code, n := range some {
						all[code] += n
					}
				}
				t.Log(all)
				if all["ok"] < callers*calls/4 || len(all) < 4 {
					t.Errorf("these calls were no test of anything: %v", all)
				}
			})
		})
	}
}

// askAll makes calls, a few at a time, and checks what becomes of them.
func askAll(t *testing.T, client end, r *rand.Rand, calls int, codes map[message.Code]int) {
	open := map[string]bool{}
	take := func() {
		m := <-client.got
		mid := string(m.Rmid)
		if !open[mid] {
			t.Errorf("%s of %s, which is over", m.Verb, mid)
		}
		switch m.Verb {
		case message.VerbPart:
			return
		case message.VerbReply:
			codes["ok"]++
		case message.VerbError:
			codes[message.DecodeError(m.Body).Code]++
		default:
			t.Errorf("%s got %s", client.id, m.Verb)
		}
		delete(open, mid)
	}
	for i := range calls {
		mid := fmt.Sprint(i)
		open[mid] = true
		str, hdr := `{}`, `{}`
		if r.IntN(2) == 0 {
			str = `{"idempotent":true}`
		}
		if r.IntN(3) == 0 {
			hdr = fmt.Sprintf(`{"idempotency-key":"k%d"}`, r.IntN(20))
		}
		client.send(`{"to":%q,"mid":%q,"tmo":%g,"str":%s,"hdr":%s,"bdy":%d}`,
			shakyRoutes[r.IntN(len(shakyRoutes))], mid, 0.01+r.Float64()*float64(1+r.IntN(3)), str, hdr, r.IntN(3))
		if r.IntN(20) == 0 {
			client.send(`{"vrb":"cancel","rmid":%q}`, mid)
		}
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond) // of the bubble
		}
		for len(open) >= 8 {
			take()
		}
	}
	for len(open) > 0 {
		take()
	}
}
