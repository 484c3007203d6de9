package exchange_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func TestFarSends(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	a, b, c := w.connect(0), w.connect(1), w.connect(2)
	a.send(`{"vrb":"send","to":"%s@client:/","mid":"1","typ":"chat","bdy":"hi"}`, b.id)
	m := b.next(t)
	if m.Verb != message.VerbSend || string(m.From) != a.id+"@client:/" || string(m.Body) != `"hi"` || string(m.Type) != "chat" || string(m.Mid) != "1" || m.Rmid != nil {
		t.Fatalf("b got %s %q from %s: %s", m.Verb, m.Mid, m.From, m.Body)
	}
	a.send(`{"vrb":"send","to":"%s@client:/","mid":"2","ack":true,"bdy":"hi"}`, c.id)
	a.want(message.VerbReply, "2", "")
	c.next(t)
	a.send(`{"vrb":"send","to":"%s0000000000000@client:/","mid":"3"}`, b.id[:8])
	a.wantError("3", message.CodeNoClient)
	a.send(`{"vrb":"send","to":"dddddddd0000000000000@client:/","mid":"4"}`)
	a.wantError("4", message.CodeNoClient)
	if err := w.nodes[0].Local().Send(t.Context(), b.id+"@client:/", "hi", call.WithAck()); err != nil {
		t.Error(err)
	}
	if m := b.next(t); string(m.From) != w.ids[0]+"@node:/" {
		t.Errorf("from %s", m.From)
	}
	log := w.serving(2, "log:/")
	a.send(`{"vrb":"send","to":"log:/","mid":"5","ack":true,"bdy":"line"}`)
	if m := log.next(t); m.Verb != message.VerbSend || string(m.Body) != `"line"` || string(m.Mid) != "5" {
		t.Fatalf("the service got %s %q %s", m.Verb, m.Mid, m.Body)
	}
	a.want(message.VerbReply, "5", "")
	b.mu.Lock()
	b.full = true
	b.mu.Unlock()
	a.send(`{"vrb":"send","to":"%s@client:/","mid":"6"}`, b.id)
	a.wantError("6", message.CodeOverloaded)
	w.still()
	a.none(t)
	b.none(t)
	c.none(t)
}

// Each client of the mesh gets a broadcast once, and its sender none.
func TestFarBroadcast(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	w := newMesh(t, 3, false, func(c *exchange.Config) {
		name := c.NodeName
		c.Allow = func(p route.Peer, v message.Verb, a message.Address) error {
			if v == message.VerbSend {
				asked <- name + p.ID()
			}
			return nil
		}
	})
	a := w.connect(0)
	others := []end{w.connect(0), w.connect(1), w.connect(1), w.connect(2)}
	for i, listener := range []string{"", "main", "elsewhere"} {
		a.send(`{"vrb":"send","to":"*@client:/%s","mid":"%d","ack":true,"bdy":"all"}`, listener, i)
		a.want(message.VerbReply, fmt.Sprint(i), "")
		for _, o := range others {
			if listener == "elsewhere" {
				continue
			}
			if m := o.want(message.VerbSend, "", `"all"`); string(m.Mid) != fmt.Sprint(i) || string(m.From) != a.id+"@client:/" {
				t.Errorf("mid %q from %s", m.Mid, m.From)
			}
		}
	}
	a.send(`{"vrb":"send","to":"*@client:/","mid":"n","ack":true,"str":{"scope":"node"},"bdy":"here"}`)
	a.want(message.VerbReply, "n", "")
	others[0].want(message.VerbSend, "", `"here"`)
	a.send(`{"vrb":"send","to":"*@client:/","mid":"s","str":{"scope":"nowhere"}}`)
	a.wantError("s", message.CodeBadMessage)
	w.still()
	for _, o := range append(others, a) {
		o.none(t)
	}
	if len(asked) != 5 {
		t.Errorf("permission was asked for %d times, want once for each broadcast", len(asked))
	}
}

// about is the service that each node has of itself.
func (w world) about(name string) {
	s := service.New("node")
	s.Handle("/name", service.Handle(func(context.Context, struct{}) (string, error) { return name, nil }))
	s.Handle("/secret", service.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		req := service.FromContext(ctx)
		return name + " for " + req.Peer.ID(), w.Allowed(req.Peer, message.VerbCall, req.Address)
	}))
	w.local(s)
}

// node: is the node that one is connected to, unless another is named or all
// are asked; the caller's node decides who may.
func TestFarNodePaths(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false, func(c *exchange.Config) {
		c.Allow = func(p route.Peer, _ message.Verb, _ message.Address) error {
			if strings.HasSuffix(p.ID(), "1") { // the first client that a test connects
				return nil
			}
			return message.NewError(message.CodeForbidden, "not you", "")
		}
	})
	for i, id := range w.ids {
		w.nodes[i].about("node-" + id[:1])
	}
	w.announce()
	c, other := w.connect(0), w.connect(0)
	ask := func(c end, to, want string, code message.Code) {
		t.Helper()
		c.send(`{"to":%q,"mid":"1","str":"random","bdy":{}}`, to)
		if code != "" {
			c.wantError("1", code)
			return
		}
		c.want(message.VerbReply, "1", want)
	}
	for range 10 {
		ask(c, "node:/name", `"node-a"`, "")
		ask(c, "node:/nam*", "", message.CodeNoService)
		ask(c, "*:/name", `"node-a"`, "")
	}
	ask(c, w.ids[0]+"@node:/name", `"node-a"`, "")
	ask(c, w.ids[1]+"@node:/name", `"node-b"`, "")
	ask(c, "node:/secret", `"node-a for `+c.id+`"`, "")
	ask(c, w.ids[1]+"@node:/secret", `"node-b for `+c.id+`"`, "")
	ask(other, "node:/secret", "", message.CodeForbidden)
	ask(other, w.ids[1]+"@node:/secret", "", message.CodeForbidden)
	for _, tc := range []struct {
		c       end
		to      string
		servers int
		good    int
	}{{c, "node:/name", 2, 2}, {c, "node:/secret", 2, 2}, {other, "node:/secret", 2, 0}, {c, "*:/name", 1, 1}, {c, w.ids[1] + "@node:/**", 2, 2}} {
		tc.c.send(`{"to":%q,"mid":"1","str":"all","bdy":{}}`, tc.to)
		g := tc.c.gathered("1")
		good := 0
		for _, a := range g.Answers {
			if a.Err == nil {
				good++
			}
			if wantNode := map[bool]string{true: "node-b"}[a.ID == w.ids[1]]; a.Node != wantNode {
				t.Errorf("%s is said to be on %q", a.ID, a.Node)
			}
		}
		if g.Servers != tc.servers || good != tc.good {
			t.Errorf("%s: %d servers, %d good: %+v", tc.to, g.Servers, good, g)
		}
	}
	if a, err := w.nodes[0].Local().Call(t.Context(), w.ids[1]+"@node:/secret", nil); err != nil || string(a.Body) != `"node-b for `+w.ids[0]+`"` {
		t.Errorf("%+v %v", a, err)
	}
	w.nodes[1].Resign(true)
	ask(c, w.ids[1]+"@node:/name", `"node-b"`, "") // that it can always be asked
	w.still()
}

func TestFarGather(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	c := w.connect(0)
	servers := []end{w.serving(0, "math:/decimal/mul"), w.serving(1, "math:/decimal/mul"), w.serving(2, "math:/decimal/mul")}
	c.send(`{"to":"math:/decimal/*","mid":"1","str":"all","bdy":2}`)
	for i, s := range servers {
		m := s.next(t)
		if string(m.To) != "math:/decimal/mul" {
			t.Errorf("called as %s", m.To)
		}
		s.send(`{"rmid":%q,"bdy":%d}`, m.Mid, i)
	}
	if g := c.gathered("1"); len(g.Answers) != 3 || len(g.Missing) != 0 {
		t.Errorf("%+v", g)
	}
	c.send(`{"to":"math:/decimal/mul","mid":"2","str":"majority","bdy":2}`)
	last := servers[2].next(t)
	for _, s := range servers[:2] {
		s.send(`{"rmid":%q,"bdy":"same"}`, s.next(t).Mid)
	}
	if g := c.gathered("2"); len(g.Answers) != 2 || g.Missing[0].Node != "node-c" || g.Missing[0].ID != servers[2].id {
		t.Errorf("%+v", g)
	}
	servers[2].want(message.VerbCancel, string(last.Mid), "")
	c.send(`{"to":"math:/decimal/mul","mid":"3","str":{"by":"all","parts":true},"tmo":0.2}`)
	for _, s := range servers[:2] {
		s.send(`{"rmid":%q,"bdy":3}`, s.next(t).Mid)
		c.next(t)
	}
	if g := c.gathered("3"); len(g.Answers) != 2 || len(g.Missing) != 1 {
		t.Errorf("%+v", g)
	}
	w.still()
}

// A service in the process of another node is called like one of the same.
func TestFarService(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	w.nodes[1].local(countTo(50))
	w.announce()
	local := w.nodes[0].Local()
	st := local.Stream(t.Context(), "count:/up", nil)
	n := 0
	for p, err := range st.Parts() {
		if err != nil || string(p.Body) != fmt.Sprint(n) {
			t.Fatalf("part %d: %s %v", n, p.Body, err)
		}
		n++
	}
	if a, err := st.Answer(); err != nil || string(a.Body) != `"done"` || n != 50 || a.From != w.ids[1]+"@count:/" {
		t.Errorf("%d parts, %+v, %v", n, a, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := local.Stream(ctx, "count:/wait", nil)
	cancel()
	if _, err := waiting.Answer(); message.CodeOf(err) != message.CodeCanceled {
		t.Errorf("canceled call: %v", err)
	}
	if _, err := local.Call(t.Context(), "count:/wait", nil, call.WithTimeout(30*time.Millisecond)); message.CodeOf(err) != message.CodeDeadlineExceeded {
		t.Errorf("late call: %v", err)
	}
	if _, err := local.Call(t.Context(), "count:/panic", nil); message.CodeOf(err) != message.CodeInternal {
		t.Errorf("panicking call: %v", err)
	}
	if err := local.Send(t.Context(), "count:/up", struct{}{}, call.WithAck()); err != nil {
		t.Error(err)
	}
	w.still()
}

// Each message passes each stage once: those of the caller on its node, serve
// and deliver on the other; taps see it where its caller is.
func TestFarStages(t *testing.T) {
	t.Parallel()
	order, seen := make(chan string, 40), make(chan string, 40)
	w := newMesh(t, 2, false)
	for i := range w.nodes {
		name := w.ids[i][:1]
		for _, stage := range route.Stages() {
			mark := route.Entry{Name: string(stage), Middleware: func(next route.Handler) route.Handler {
				return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
					order <- name + " " + string(stage)
					next.Handle(ctx, req, res)
				})
			}}
			if err := w.nodes[i].Stack().Insert(stage, mark, route.Last()); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(w.nodes[i].Tap(func(e exchange.TapEvent) { seen <- name + " " + e.Verb.String() }))
	}
	c, s := w.connect(0), w.serving(1, "echo:/")
	read := func(what chan string) string {
		var out []string
		for len(what) > 0 {
			out = append(out, <-what)
		}
		return strings.Join(out, ", ")
	}
	read(order)
	read(seen)
	c.send(`{"to":"echo:/","mid":"1"}`)
	m := s.next(t)
	s.send(`{"vrb":"part","rmid":%q,"bdy":0}`, m.Mid)
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	c.want(message.VerbPart, "1", "0")
	c.want(message.VerbReply, "1", "1")
	if got := read(order); got != "a inbound, a call, b serve, a outbound, a outbound" {
		t.Errorf("a call: %s", got)
	}
	c.send(`{"vrb":"send","to":"%s@client:/","mid":"2","ack":true}`, s.id)
	c.want(message.VerbReply, "2", "")
	if got := read(order); got != "a inbound, b deliver, a outbound" {
		t.Errorf("a send: %s", got)
	}
	w.still()
	if got := read(seen); got != "a call, a part, a reply, a send, a reply" {
		t.Errorf("taps saw %s", got)
	}
}
