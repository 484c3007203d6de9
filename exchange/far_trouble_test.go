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
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// A call for a server that is not there any more comes back, and another one
// answers it, with the same body.
func TestFarReturned(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	c, gone, s := w.connect(0), w.serving(1, "echo:/"), w.serving(2, "echo:/")
	gone.Gone() // and nobody has heard of it
	for i := range 20 {
		c.send(`{"to":"echo:/","mid":"%d","str":"first","bdy":{"n":%d}}`, i, i)
		m := s.next(t)
		if string(m.Body) != fmt.Sprintf(`{"n":%d}`, i) || m.Timeout <= 0 || string(m.From) != c.id+"@client:/" {
			t.Fatalf("the second server got %s from %s, %v left", m.Body, m.From, m.Timeout)
		}
		s.send(`{"rmid":%q,"bdy":%d}`, m.Mid, i)
		if m := c.want(message.VerbReply, fmt.Sprint(i), fmt.Sprint(i)); string(m.From) != s.id+"@echo:/" {
			t.Errorf("from %s", m.From)
		}
	}
	c.send(`{"to":"%s@echo:/","mid":"x","bdy":1}`, gone.id)
	if err := c.wantError("x", message.CodeServiceDown); !err.Retryable || !strings.Contains(err.Hint, "not executed") {
		t.Errorf("%+v", err)
	}
	s.Gone()
	c.send(`{"to":"echo:/","mid":"y","bdy":1}`)
	if err := c.wantError("y", message.CodeServiceDown); !err.Retryable {
		t.Errorf("%+v", err)
	}
	c.send(`{"vrb":"send","to":"echo:/","mid":"z","bdy":1}`)
	c.wantError("z", message.CodeServiceDown)
	c.send(`{"to":"echo:/","mid":"g","str":"all","bdy":1}`)
	for _, a := range c.gathered("g").Answers {
		if a.Err == nil || a.Err.Code != message.CodeServiceDown || !strings.HasPrefix(a.Node, "node-") {
			t.Errorf("%+v", a)
		}
	}
	w.still()
}

// However many servers return a call, it is handed to each of them once, and
// asking each server means just that.
func TestFarReturnedByMany(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	c := w.connect(0)
	gone := []end{w.serving(1, "echo:/"), w.serving(2, "echo:/")}
	s := w.serving(1, "echo:/")
	for _, g := range gone {
		g.Gone()
	}
	c.send(`{"to":"echo:/","mid":"1","str":"first","bdy":1}`)
	s.send(`{"rmid":%q,"bdy":1}`, s.next(t).Mid)
	c.want(message.VerbReply, "1", "1")
	c.send(`{"to":"echo:/","mid":"2","str":"all","bdy":2}`)
	s.send(`{"rmid":%q,"bdy":2}`, s.next(t).Mid)
	good := 0
	g := c.gathered("2")
	for _, a := range g.Answers {
		if a.Err == nil {
			good++
		}
	}
	if len(g.Answers) != 3 || good != 1 {
		t.Errorf("%+v", g)
	}
	s.none(t)
	for range 3 {
		more := w.serving(2, "echo:/")
		more.Gone()
	}
	s.Gone()
	c.send(`{"to":"echo:/","mid":"3","str":"first","bdy":1}`)
	if err := c.wantError("3", message.CodeServiceDown); !err.Retryable {
		t.Errorf("%+v", err)
	}
	w.still()
}

// A node that returns calls returns them for all its servers: those of others come
// first.
func TestFarReturnedByANode(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	c := w.connect(0)
	for range 10 {
		w.serving(1, "echo:/")
	}
	s := w.serving(2, "echo:/")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = w.nodes[1].Drain(ctx) // and nobody has heard of it
	c.send(`{"to":"echo:/","mid":"1","str":"first","bdy":1}`)
	s.send(`{"rmid":%q,"bdy":1}`, s.next(t).Mid)
	c.want(message.VerbReply, "1", "1")
	s.Gone()
	c.send(`{"to":"echo:/","mid":"2","str":"first","bdy":1}`)
	if err := c.wantError("2", message.CodeServiceDown); !err.Retryable {
		t.Errorf("%+v", err)
	}
	w.still()
}

// A returned call finds a server of this node, through its serve stage, and
// back through middleware that wrapped the Responder.
func TestFarReturnedComesHome(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	served := make(chan string, 10)
	for stage, m := range map[route.Stage]route.Middleware{
		route.StageCall: func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				next.Handle(ctx, req, quoting{res})
			})
		},
		route.StageServe: func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				served <- req.Server.ID()
				next.Handle(ctx, req, res)
			})
		},
	} {
		if err := w.nodes[0].Stack().Insert(stage, route.Entry{Name: "x", Middleware: m}, route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	c, gone, s := w.connect(0), w.serving(1, "echo:/"), w.serving(0, "echo:/")
	gone.Gone()
	c.send(`{"to":"echo:/","mid":"1","str":"first","bdy":1}`)
	s.send(`{"rmid":%q,"bdy":2}`, s.next(t).Mid)
	c.want(message.VerbReply, "1", `{"quoted":2}`)
	if id := <-served; id != s.id || len(served) != 0 {
		t.Errorf("served by %s and %d others", id, len(served))
	}
	w.still()
}

// A call that is canceled while it is on its way back is over.
func TestFarReturnedTooLate(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, true)
	c, gone, s := w.connect(0), w.serving(1, "echo:/"), w.serving(0, "echo:/")
	gone.Gone()
	c.send(`{"to":"echo:/","mid":"1","str":"first","bdy":1}`)
	w.links[0][1].step()
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	c.wantError("1", message.CodeCanceled)
	for w.links[1][0].step() || w.links[0][1].step() {
	}
	s.none(t)
	w.still()
}

func TestFarDrain(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 3, false)
	c, s1, s2 := w.connect(0), w.serving(1, "echo:/"), w.serving(2, "echo:/")
	c.send(`{"to":"%s@echo:/","mid":"1","bdy":1}`, s1.id)
	m := s1.next(t)
	drained := make(chan error, 1)
	go func() { drained <- w.nodes[1].Drain(t.Context()) }()
	s1.want(message.VerbDrain, "", "")
	c.send(`{"to":"echo:/","mid":"2","str":"first","bdy":2}`)
	s2.send(`{"rmid":%q,"bdy":2}`, s2.next(t).Mid)
	c.want(message.VerbReply, "2", "2")
	s1.send(`{"vrb":"part","rmid":%q,"bdy":0}`, m.Mid)
	s1.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	c.want(message.VerbPart, "1", "0")
	c.want(message.VerbReply, "1", "1")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	c.send(`{"vrb":"send","to":"%s@client:/","mid":"3","bdy":1}`, s1.id)
	c.wantError("3", message.CodeShuttingDown)
	w.still()
}

func TestFarResign(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	w.nodes[1].local(countTo(3)) // in the node itself
	c, s, stays := w.connect(0), w.serving(1, "echo:/"), w.connect(1)
	w.nodes[1].Resign(true)
	if s.want(message.VerbDrain, "", ""); !w.nodes[1].Resigned() {
		t.Error("not resigned")
	}
	stays.want(message.VerbDrain, "", "")
	w.nodes[1].Resign(true) // again
	s.none(t)
	c.send(`{"to":"count:/up","mid":"1","bdy":{}}`)
	c.wantError("1", message.CodeServiceDown)
	c.send(`{"to":"echo:/","mid":"5","bdy":5}`) // of a connection that stays
	s.send(`{"rmid":%q,"bdy":5}`, s.next(t).Mid)
	c.want(message.VerbReply, "5", "5")
	stays.send(`{"to":"echo:/","mid":"2","bdy":2}`) // of the same node
	s.send(`{"rmid":%q,"bdy":2}`, s.next(t).Mid)
	stays.want(message.VerbReply, "2", "2")
	c.send(`{"vrb":"send","to":"%s@client:/","mid":"3","bdy":1,"ack":true}`, stays.id)
	stays.want(message.VerbSend, "", "1")
	c.want(message.VerbReply, "3", "")
	w.nodes[1].Resign(false)
	c.send(`{"to":"echo:/","mid":"4","bdy":4}`)
	s.send(`{"rmid":%q,"bdy":4}`, s.next(t).Mid)
	c.want(message.VerbReply, "4", "4")
	w.still()
}

func TestFarGone(t *testing.T) {
	t.Parallel()
	split := func(a message.Address) *message.Error {
		if a.Name == "echo" || a.Name == "client" {
			return message.NewError(message.CodeMeshSplit, "node-b is out of reach", "")
		}
		return nil
	}
	w := newMesh(t, 2, false, func(c *exchange.Config) { c.Unreachable = split })
	c, s := w.connect(0), w.serving(1, "echo:/")
	own := w.serving(0, "own:/")
	c.send(`{"to":"echo:/","mid":"1","bdy":1}`)
	m := s.next(t)
	c.send(`{"to":"echo:/","mid":"2","str":"all","bdy":2}`)
	leg := s.next(t)
	s.send(`{"to":"own:/","mid":"3","bdy":3}`)
	asked := own.next(t)
	w.links[0][1].set(func(l *farWire) { l.cut = true })
	w.far[0][1].Gone(message.NewError(message.CodeNodeLost, "the node node-b was lost", ""))
	got := map[string]message.Message{}
	for range 2 {
		m := c.next(t)
		got[string(m.Rmid)] = m
	}
	err := message.DecodeError(got["1"].Body)
	if err.Code != message.CodeNodeLost || err.Retryable || !strings.Contains(err.Message, "node-b") || !strings.Contains(err.Hint, "may have been executed") {
		t.Errorf("%+v", err)
	}
	if g, err := call.DecodeGathered(got["2"].Body); err != nil || g.Answers[0].Err.Code != message.CodeNodeLost {
		t.Errorf("%s %v", got["2"].Body, err)
	}
	own.want(message.VerbCancel, string(asked.Mid), "")
	w.links[0][1].set(func(l *farWire) {
		if l.lost != "" {
			t.Errorf("a lost node was to be told something: %s", l.lost)
		}
	})
	if len(w.nodes[0].Nodes()) != 0 || w.far[0][1].Calling() != 0 || w.nodes[0].Table().Len() != 1 {
		t.Error("the node is still known")
	}
	for i, to := range []string{"echo:/", "*:/nothing", s.id + "@client:/"} {
		verb, want := "call", message.CodeMeshSplit
		switch i {
		case 1:
			want = message.CodeNoService
		case 2:
			verb = "send"
		}
		c.send(`{"vrb":%q,"to":%q,"mid":"9"}`, verb, to)
		c.wantError("9", want)
	}
	if err := w.far[0][1].Serve(s.id, "echo", mustPattern(t, "/"), route.Info{}); message.CodeOf(err) != message.CodeNodeLost {
		t.Errorf("serving of a lost node: %v", err)
	}
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid) // nobody hears it
	w.far[1][0].Gone(message.NewError(message.CodeNodeLost, "lost", ""))
	s.wantError("3", message.CodeNodeLost)
	s.want(message.VerbCancel, string(leg.Mid), "")
	c.none(t)
}

func mustPattern(t *testing.T, s string) route.Pattern {
	t.Helper()
	p, err := route.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFarLinkFull(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	c, s := w.connect(0), w.serving(1, "echo:/")
	out, back := w.links[0][1], w.links[1][0]
	out.set(func(l *farWire) { l.full = true })
	c.send(`{"to":"echo:/","mid":"1"}`)
	if err := c.wantError("1", message.CodeOverloaded); !err.Retryable || err.RetryAfter == 0 {
		t.Errorf("%+v", err)
	}
	out.set(func(l *farWire) { l.full, l.most = false, 10 })
	c.send(`{"to":"echo:/","mid":"2","bdy":"more than ten bytes"}`)
	c.wantError("2", message.CodeTooLarge)
	c.send(`{"to":"echo:/","mid":"3"}`)
	m := s.next(t)
	back.set(func(l *farWire) { l.most = 300 })
	s.send(`{"rmid":%q,"bdy":"%0400d"}`, m.Mid, 0)
	c.wantError("3", message.CodeTooLarge)
	c.send(`{"to":"echo:/","mid":"4"}`)
	m = s.next(t)
	back.set(func(l *farWire) { l.full = true })
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	back.set(func(l *farWire) {
		if l.lost == "" {
			t.Error("nobody was told that an answer was lost")
		}
	})
	w.far[0][1].Gone(message.NewError(message.CodeNodeLost, "lost", ""))
	c.wantError("4", message.CodeNodeLost)
}

// A reply for which there is no room is an answer that was given: who repeats the
// call would have it executed twice.
func TestFarReplyRefused(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false, retrying(t, middleware.RetryConfig{}))
	c, s := w.connect(0), w.serving(1, "echo:/")
	w.links[1][0].set(func(l *farWire) { l.busy = true })
	c.send(`{"to":"echo:/","mid":"1","bdy":1}`)
	s.send(`{"rmid":%q,"bdy":1}`, s.next(t).Mid)
	if err := c.wantError("1", message.CodeOverloaded); err.Retryable || err.RetryAfter > 0 || !strings.Contains(err.Hint, "may have been executed") {
		t.Errorf("%+v", err)
	}
	s.none(t)
}

// What makes no sense does no harm.
func TestFarStrays(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, true)
	f := w.far[1][0]
	s := w.serving(1, "echo:/")
	one, bad := []byte("1"), []byte("-")
	echo := []byte("echo:/")
	for _, m := range []message.Message{
		{}, {Verb: message.VerbServe, To: echo, Mid: one}, {Verb: message.VerbWelcome}, {Verb: message.VerbDrain},
		{Verb: message.VerbCall, To: echo}, {Verb: message.VerbCall, To: echo, Mid: bad}, {Verb: message.VerbCall, Mid: one},
		{Verb: message.VerbSend}, {Verb: message.VerbSend, To: []byte("x@client:/")}, {Verb: message.VerbSend, Mid: bad, To: echo},
		{Verb: message.VerbReply, Rmid: one}, {Verb: message.VerbPart, Rmid: bad}, {Verb: message.VerbError}, {Verb: message.VerbPart, Mid: one},
		{Verb: message.VerbCancel}, {Verb: message.VerbCancel, Rmid: one},
		{Verb: message.VerbCall, To: []byte(s.id + "@client:/"), Mid: []byte("2")},
		{Verb: message.VerbCall, To: []byte("*:/**"), Mid: []byte("3")},
	} {
		for _, n := range []exchange.Note{{}, {Server: "nobody"}, {Returned: true}, {Server: s.id, Returned: true}, {Server: w.ids[1], Granted: true}} {
			f.Receive(n, &m)
		}
	}
	s.none(t)
	for range 2 { // the second has the id of the first, which is open
		f.Receive(exchange.Note{Server: s.id}, &message.Message{Verb: message.VerbCall, To: echo, Mid: one})
	}
	m := s.next(t)
	s.none(t)
	s.send(`{"rmid":%q}`, m.Mid)
	w.still()
	for name, server := range map[string]string{"client": w.ids[0], "node": "somebody", "x": ""} {
		if err := w.far[1][0].Serve(server, name, mustPattern(t, "/"), route.Info{}); message.CodeOf(err) != message.CodeBadAddress {
			t.Errorf("%s may serve %s: %v", server, name, err)
		}
	}
	f.Unserve("nobody", "x", mustPattern(t, "/"))
}

// A call that waits for a node that says nothing ends at its deadline.
func TestFarSilence(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, true, func(c *exchange.Config) { c.DefaultTimeout = 30 * time.Millisecond })
	c, s := w.connect(0), w.serving(1, "echo:/")
	c.send(`{"to":"echo:/","mid":"0"}`)
	w.links[0][1].step()
	s.next(t)
	c.wantError("0", message.CodeDeadlineExceeded)
	c.send(`{"to":"echo:/","mid":"1"}`)
	c.wantError("1", message.CodeDeadlineExceeded)
	if w.links[1][0].step() {
		t.Error("both nodes answered a call at its deadline")
	}
	c.send(`{"vrb":"send","to":"echo:/","mid":"2"}`)
	c.wantError("2", message.CodeDeadlineExceeded)
	c.send(`{"vrb":"send","to":"%s@client:/","mid":"3"}`, s.id)
	c.wantError("3", message.CodeDeadlineExceeded)
	for w.links[0][1].step() {
	}
	w.still()
}
