package exchange_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// servers connects n servers of a path, s0, s1 …
func (w world) servers(n int, address string) []end {
	out := make([]end, n)
	for i := range out {
		out[i] = w.connect(fmt.Sprintf("s%d", i))
		out[i].serve(address)
	}
	return out
}

func (e end) gathered(rmid string) *call.Gathered {
	e.t.Helper()
	m := e.next(e.t)
	if m.Verb != message.VerbReply || string(m.Rmid) != rmid {
		e.t.Fatalf("got %s of %q with %s", m.Verb, m.Rmid, m.Body)
	}
	g, err := call.DecodeGathered(m.Body)
	if err != nil {
		e.t.Fatalf("%s: %v", m.Body, err)
	}
	return g
}

func TestGatherAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(3, "math:/decimal/mul")
	servers[0].serve("math:/decimal/add")
	c.send(`{"to":"math:/decimal/*","mid":"1","str":"all","bdy":{"a":2}}`)
	for _, s := range servers {
		m := s.next(t)
		s.send(`{"rmid":%q,"bdy":{"path":%q}}`, m.Mid, m.To)
	}
	m := servers[0].next(t)
	servers[0].send(`{"vrb":"error","rmid":%q,"bdy":{"code":"conflict","message":"no"}}`, m.Mid)
	g := c.gathered("1")
	if g.Servers != 4 || len(g.Answers) != 4 || len(g.Missing) != 0 {
		t.Fatalf("%+v", g)
	}
	var failed int
	for _, a := range g.Answers {
		if a.Err != nil {
			failed++
			if a.Err.Code != message.CodeConflict || a.ID != "s0" {
				t.Errorf("%+v", a)
			}
			continue
		}
		if want := fmt.Sprintf(`{"path":"math:%s"}`, a.Path); string(a.Body) != want || a.Name != "math" {
			t.Errorf("%s@%s:%s answered %s", a.ID, a.Name, a.Path, a.Body)
		}
	}
	if failed != 1 {
		t.Errorf("%d failed, want 1", failed)
	}
}

func TestGatherFirstCancelsTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(3, "echo:/")
	c.send(`{"to":"echo:/","mid":"1","str":{"by":"all","first":1,"parts":true}}`)
	calls := make([]message.Message, len(servers))
	for i, s := range servers {
		calls[i] = s.next(t)
	}
	servers[1].send(`{"rmid":%q,"bdy":"me"}`, calls[1].Mid)
	if m := c.next(t); m.Verb != message.VerbPart {
		t.Fatalf("got %s %s, want a part", m.Verb, m.Body)
	}
	g := c.gathered("1")
	if len(g.Answers) != 1 || g.Answers[0].ID != "s1" || len(g.Missing) != 2 {
		t.Errorf("%+v", g)
	}
	for _, i := range []int{0, 2} {
		servers[i].want(message.VerbCancel, string(calls[i].Mid), "")
	}
	servers[1].none(t)
	if w.InFlight() != 0 {
		t.Errorf("%d in flight", w.InFlight())
	}
}

func TestGatherDeadlineQuorumAndLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(3, "echo:/")
	c.send(`{"to":"echo:/","mid":"1","tmo":0.2,"str":"all"}`)
	m := servers[0].next(t)
	servers[0].send(`{"rmid":%q,"bdy":0}`, m.Mid)
	servers[1].next(t)
	servers[1].Gone()
	g := c.gathered("1")
	if len(g.Answers) != 2 || len(g.Missing) != 1 || g.Missing[0].ID != "s2" {
		t.Fatalf("%+v", g)
	}
	if i := slices.IndexFunc(g.Answers, func(a call.ServerAnswer) bool { return a.ID == "s1" }); i < 0 || g.Answers[i].Err.Code != message.CodeServiceLost {
		t.Errorf("the lost server is not reported: %+v", g.Answers)
	}
	servers[2].next(t)
	servers[2].next(t) // cancel
	c.send(`{"to":"echo:/","mid":"2","str":{"by":"all","quorum":3}}`)
	c.wantError("2", message.CodeNoQuorum) // there are only two, so it is known at once
	c.send(`{"to":"nothing:/**","mid":"3","str":"all"}`)
	c.wantError("3", message.CodeNoService)
}

func TestGatherMajority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(3, "vote:/")
	c.send(`{"to":"vote:/","mid":"1","str":"majority"}`)
	for i, s := range servers[:2] {
		m := s.next(t)
		s.send(`{"rmid":%q,"bdy":"yes"}`, m.Mid)
		if i == 0 {
			c.none(t)
		}
	}
	if g := c.gathered("1"); len(g.Answers) != 2 || len(g.Missing) != 1 {
		t.Errorf("%+v", g)
	}
}

func TestGatherCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(2, "slow:/")
	c.send(`{"to":"slow:/","mid":"1","str":"all"}`)
	for _, s := range servers {
		s.next(t)
	}
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	c.wantError("1", message.CodeCanceled)
	for _, s := range servers {
		if m := s.next(t); m.Verb != message.VerbCancel {
			t.Errorf("%s got %s", s.id, m.Verb)
		}
	}
	c.none(t)
	if w.InFlight() != 0 {
		t.Errorf("%d in flight", w.InFlight())
	}
}

func TestWildcardWithoutGather(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("math:/decimal/mul")
	s.serve("math:/decimal/add")
	c.send(`{"to":"*:/decimal/*","mid":"1"}`)
	m := s.next(t)
	if string(m.To) != "math:/decimal/add" {
		t.Errorf("the call went to %s", m.To)
	}
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	c.want(message.VerbReply, "1", "1")
}

func TestInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(3, "echo:/")
	for range 5 {
		c.send(`{"to":"s2@echo:/","mid":"1"}`)
		m := servers[2].next(t)
		servers[2].send(`{"rmid":%q,"bdy":1}`, m.Mid)
		c.want(message.VerbReply, "1", "1")
	}
	c.send(`{"to":"nosuch@echo:/","mid":"1"}`)
	m := c.next(t)
	if e := message.DecodeError(m.Body); e.Code != message.CodeServiceDown && e.Code != message.CodeNoService {
		t.Errorf("%s", m.Body)
	}
}

func TestLeastBusySpreads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	servers := w.servers(2, "slow:/")
	for i := range 40 {
		c.send(`{"to":"slow:/","mid":"%d"}`, i)
	}
	for _, s := range servers {
		if n := s.InFlight(); n < 15 || n > 25 {
			t.Errorf("%s has %d of 40 calls", s.id, n)
		}
	}
}

// Each server of a gather executes a call with a key, once.
func TestGatherWithKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "idempotency", middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{}))
	})
	a, b := w.two(`{}`)
	client := w.connect("c1")
	for range 2 {
		client.send(`{"to":"x:/","mid":"1","str":"all","hdr":{"idempotency-key":"k"}}`)
		for _, s := range []end{a, b} {
			if len(s.got) == 0 {
				continue
			}
			m := s.next(t)
			s.send(`{"vrb":"reply","rmid":%q,"bdy":%q}`, m.Mid, s.id)
		}
		g := client.gathered("1")
		if len(g.Answers) != 2 {
			t.Fatalf("%+v", g)
		}
		for _, got := range g.Answers {
			if string(got.Body) != `"`+got.Server.ID+`"` {
				t.Errorf("%s is said to have answered %s", got.Server, got.Body)
			}
		}
	}
	a.none(t)
	b.none(t)
}
