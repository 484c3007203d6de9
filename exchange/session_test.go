package exchange_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// byClaim is a Guard: what is under a name is for those who have a claim of this
// name, unless it is free.
type byClaim struct{ free string }

func (g byClaim) Permits(_ route.Peer, s *session.Session, act string, a message.Address) *message.Error {
	if _, ok := s.Claim(a.Name); ok || a.Name == g.free || act == exchange.ActServe || act == exchange.ActSession {
		return nil
	}
	return message.NewError(message.CodeForbidden, "may not "+act+" "+a.String(), "Have the claim.")
}

func (g byClaim) Might(p route.Peer, s *session.Session, act string, a message.Address) bool {
	return g.Permits(p, s, act, a) == nil
}

// patcher is Sessions that applies patches as they are.
type patcher struct{}

func (patcher) Change(_ context.Context, p *exchange.Peer, patch session.Patch) error {
	next, err := patch.Apply(p.Session())
	if err == nil {
		p.SetSession(next)
	}
	return err
}

func (patcher) Used(*exchange.Peer, *session.Session, time.Time) {}

func guardedBy(g exchange.Guard) func(*exchange.Config) {
	return func(c *exchange.Config) { c.Guard, c.Sessions = g, patcher{} }
}

func holder(subject string, names ...string) *session.Session {
	claims := make(session.Claims)
	for _, n := range names {
		claims[n] = true
	}
	return session.New(subject, claims, nil)
}

// queued holds requests back until they are let go.
func (w world) queued() (letGo func()) {
	waiting := make(chan func(), 100)
	err := w.Stack().Insert(route.StageCall, route.Entry{Name: "queue", Kind: "queue", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			req.Keep()
			waiting <- func() { next.Handle(ctx, req, res) }
		})
	}}, route.Last())
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		for len(waiting) > 0 {
			(<-waiting)()
		}
	}
}

func TestCallThatLostItsPermissionInAQueue(t *testing.T) {
	t.Parallel()
	for _, str := range []string{`"least-busy"`, `"all"`} {
		t.Run(str, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, guardedBy(byClaim{}))
			server, client := w.connect("s1"), w.connect("c1")
			server.serve("vault:/")
			letGo := w.queued()
			client.SetSession(holder("anna", "vault"))
			client.send(`{"to":"vault:/","mid":"1","str":%s}`, str)
			client.SetSession(session.Anonymous())
			letGo()
			if str != `"all"` {
				client.wantError("1", message.CodeForbidden)
			} else if m := client.next(t); !strings.Contains(string(m.Body), "forbidden") {
				t.Errorf("the gather says %s", m.Body)
			}
			server.none(t)
		})
	}
}

func TestGatherOutlivesChangesThatDoNotConcernIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guardedBy(byClaim{free: "open"}))
	a, b, c, client := w.connect("s1"), w.connect("s2"), w.connect("s3"), w.connect("c1")
	a.serve("open:/x")
	b.serve("shut:/x")
	c.serve("late:/x")
	client.SetSession(holder("anna", "late"))
	client.send(`{"to":"*:/x","mid":"1","str":"all"}`)
	asked := []message.Message{a.next(t), c.next(t)}
	b.none(t)
	client.SetSession(holder("anna", "late", "lang")) // b is as forbidden as before
	client.SetSession(holder("anna", "lang"))         // and now c is, too
	if m := c.next(t); m.Verb != message.VerbCancel {
		t.Errorf("the one who may not be asked any more got %s", m.Verb)
	}
	a.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, asked[0].Mid)
	g := client.gathered("1")
	if len(g.Answers) != 2 {
		t.Fatalf("%+v", g)
	}
	for _, got := range g.Answers {
		if refused := got.Err != nil && got.Err.Code == message.CodeForbidden; refused != (got.Name == "late") {
			t.Errorf("%s: %v", got.Name, got.Err)
		}
	}
}

func TestPatchIsForWhoHasCalled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after *session.Session
		patch         string
		want          message.Code // "": it is done
	}{
		"the same":            {holder("anna"), nil, `{"set":{"vip":true}}`, ""},
		"somebody else":       {holder("anna"), holder("eve"), `{"set":{"vip":true}}`, message.CodeConflict},
		"logged out":          {holder("anna"), session.Anonymous(), `{"set":{"vip":true}}`, message.CodeConflict},
		"end of another":      {holder("anna"), holder("eve"), `{"end":true}`, message.CodeConflict},
		"logged out already":  {holder("anna"), session.Anonymous(), `{"end":true}`, ""},
		"logged in meanwhile": {session.Anonymous(), holder("anna"), `{"set":{"vip":true}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, guardedBy(byClaim{free: "shop"}))
			server, client := w.connect("s1"), w.connect("c1")
			server.serve("shop:/")
			client.SetSession(test.before)
			client.send(`{"to":"shop:/","mid":"1"}`)
			m := server.next(t)
			if test.after != nil {
				client.SetSession(test.after)
			}
			server.send(`{"vrb":"reply","rmid":%q,"ses":%s,"bdy":1}`, m.Mid, test.patch)
			if test.want == "" {
				client.want(message.VerbReply, "1", "1")
				return
			}
			client.wantError("1", test.want)
			if _, vip := client.Session().Claim("vip"); vip || client.Session().Subject != test.after.Subject {
				t.Errorf("the session is %v with %v", client.Session(), client.Session().Public)
			}
		})
	}
}

func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(e end){
		"many": func(e end) {
			for i := range 65 {
				e.send(`{"vrb":"send","to":"echo:/","mid":"%d"}`, i)
			}
		},
		"headers": func(e end) { e.send(`{"vrb":"send","to":"echo:/","hdr":{"x":%q}}`, strings.Repeat("x", 300<<10)) },
		"bodies": func(e end) {
			for range 3 {
				e.send(`{"vrb":"send","to":"echo:/","bdy":%q}`, strings.Repeat("x", 100<<10))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server, client := w.connect("s1"), w.connect("c1")
			server.serve("echo:/")
			client.Hold()
			send(client)
			client.mu.Lock()
			closed := client.closed
			client.mu.Unlock()
			if closed != exchange.CloseSlowConsumer {
				t.Errorf("closed with %d", closed)
			}
			client.Release()
			client.send(`{"vrb":"send","to":"echo:/"}`)
			server.none(t)
		})
	}
}

func TestHoldKeepsTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, client := w.connect("s1"), w.connect("c1")
	server.serve("echo:/")
	client.Hold()
	for i := range 60 {
		client.send(`{"vrb":"send","to":"echo:/","bdy":%d}`, i)
	}
	server.none(t)
	client.Release()
	client.send(`{"vrb":"send","to":"echo:/","bdy":60}`)
	for i := range 61 {
		if m := server.next(t); string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("%s came as number %d", m.Body, i)
		}
	}
}
