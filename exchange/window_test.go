package exchange_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// narrow is a wire that refuses parts while so many messages wait.
type narrow struct {
	*wire
	most int

	mu     sync.Mutex
	relief chan struct{}
}

func (n *narrow) Deliver(m *message.Message) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Verb == message.VerbPart && len(n.got) >= n.most {
		return message.NewError(message.CodeOverloaded, "full", "")
	}
	return n.wire.Deliver(m)
}

func (n *narrow) Relief() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.relief == nil {
		n.relief = make(chan struct{})
		if len(n.got) < n.most {
			r := n.relief
			close(r)
			n.relief = nil
			return r
		}
	}
	return n.relief
}

func (n *narrow) take(t *testing.T) message.Message {
	t.Helper()
	m := n.next(t)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.relief != nil && len(n.got) < n.most {
		close(n.relief)
		n.relief = nil
	}
	return m
}

// slow connects a client to node 0 that has room for few messages.
func (w *farWorld) slow() (end, *narrow) {
	w.t.Helper()
	w.next++
	l := &narrow{most: narrowMost, wire: &wire{
		id: fmt.Sprintf("%s%013d", message.NodeTag(w.ids[0]), w.next), got: make(chan message.Message, 4096),
	}}
	e := end{l.wire, w.nodes[0].Attach(l, 1<<20), w.t}
	l.take(w.t)
	return e, l
}

const (
	floodCost = 1024 + 64 // what a part of flood counts: its body, and partCost
	// floodWindow is how many of them a server sends without a credit. It may begin
	// one as long as there is any room.
	floodWindow = (256<<10 + floodCost - 1) / floodCost
	// narrowMost is how many messages wait in a narrow wire.
	narrowMost = 10
	// underWay is how many parts of flood are sent and not taken, at most: those in
	// the wire, one on its way there, and a window; and the one that was just taken.
	underWay = narrowMost + 1 + floodWindow + 1
)

// flood is a service that sends so many parts of 1 KB.
func flood(parts int, sent *atomic.Int64) *service.Service {
	s := service.New("flood")
	s.Handle("/", service.Stream(func(ctx context.Context, _ struct{}, send func(string) error) (string, error) {
		for i := range parts {
			if err := send(fmt.Sprintf("%01022d", i)); err != nil {
				return "", err
			}
			sent.Add(1)
		}
		return "done", ctx.Err()
	}))
	return s
}

// takesAll takes all that flood gives, in order, of which not too much is under
// way at any time.
func (n *narrow) takesAll(t *testing.T, parts int64, sent *atomic.Int64) {
	t.Helper()
	for i := range parts {
		m := n.take(t)
		if m.Verb != message.VerbPart || m.Seq != uint64(i+1) || string(m.Body) != fmt.Sprintf(`"%01022d"`, i) {
			t.Fatalf("message %d is %s %d: %.80s", i, m.Verb, m.Seq, m.Body)
		}
		if under := sent.Load() - i; under > underWay {
			t.Fatalf("%d parts are under way, want at most %d", under, underWay)
		}
	}
	if m := n.take(t); m.Verb != message.VerbReply || string(m.Body) != `"done"` {
		t.Fatalf("%s %s", m.Verb, m.Body)
	}
}

// full waits until flood, on node 1, has filled the window of a caller on node 0
// that takes nothing.
func (w *farWorld) full(sent *atomic.Int64) {
	w.t.Helper()
	within(w.t, "a full window", func() {
		for arrived := false; !arrived || sent.Load() < floodWindow; runtime.Gosched() {
			w.links[1][0].set(func(l *farWire) { arrived = len(l.queue) == 0 && !l.moving })
		}
	})
}

// A handler on another node waits for a slow caller as one of the same node
// does: nothing is lost, and not much is under way.
func TestFarHandlerWaits(t *testing.T) {
	t.Parallel()
	const parts = 3000
	var sent atomic.Int64
	w := newMesh(t, 2, false)
	w.nodes[1].local(flood(parts, &sent))
	w.announce()
	c, l := w.slow()
	c.send(`{"to":"flood:/","mid":"1","bdy":{}}`)
	l.takesAll(t, parts, &sent)
	w.still()
}

// A handler that waits for a slow caller is told when that, or its node, goes.
func TestFarHandlerWaitsInVain(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	w := newMesh(t, 2, false)
	w.nodes[1].local(flood(3000, &sent))
	w.announce()
	for i, leave := range []func(c end){
		func(c end) { c.send(`{"vrb":"cancel","rmid":"1"}`) },
		func(c end) { c.Gone() },
		func(end) {
			w.far[1][0].Gone(message.NewError(message.CodeNodeLost, "lost", ""))
			w.far[0][1].Gone(message.NewError(message.CodeNodeLost, "lost", ""))
		},
	} {
		sent.Store(0)
		c, l := w.slow()
		c.send(`{"to":"flood:/","mid":"1","bdy":{}}`)
		for len(l.got) < l.most || sent.Load() < 100 {
			runtime.Gosched()
		}
		leave(c)
		w.still()
		if n := sent.Load(); n > floodWindow {
			t.Errorf("%d: %d parts were sent, want at most %d", i, n, floodWindow)
		}
	}
}

// answeredBy has calls answered by what wrap makes of their responders.
func answeredBy(t *testing.T, wrap func(route.Responder) route.Responder) func(*exchange.Config) {
	return func(c *exchange.Config) {
		c.Stack = route.NewStack()
		insert(t, c.Stack, route.StageCall, "wrap", func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				next.Handle(ctx, req, wrap(res))
			})
		})
	}
}

// asked has a client of the first node call echo:/ at the second. It returns what
// the server gets, and the links there and back.
func (w *farWorld) asked(c, s end) (m message.Message, out, back *farWire) {
	w.t.Helper()
	c.send(`{"to":"echo:/","mid":"1"}`)
	out, back = w.links[0][1], w.links[1][0]
	out.step()
	return s.next(w.t), out, back
}

// Whoever held a server back lets it go on alone: one backlog may begin before the
// one before it has let go.
func TestFarWindowHeldTwice(t *testing.T) {
	t.Parallel()
	got := make(chan route.Window, 1)
	w := newMesh(t, 2, true, answeredBy(t, func(res route.Responder) route.Responder { return windowed{res, got} }))
	s, c := w.serving(1, "echo:/"), w.connect(0)
	m, out, back := w.asked(c, s)
	s.send(`{"vrb":"part","rmid":%q,"bdy":1}`, m.Mid)
	back.step()
	held := <-got
	held.Hold()
	held.Hold()
	held.Release()
	if out.step() {
		t.Error("the server got room although somebody holds it back")
	}
	held.Release()
	if !out.step() {
		t.Error("the server got no room when nobody held it back any more")
	}
	s.send(`{"rmid":%q,"bdy":2}`, m.Mid)
	back.step()
	w.still()
}

// windowed shows the window of the first part.
type windowed struct {
	route.Responder

	got chan<- route.Window
}

func (w windowed) Part(b route.Body) error {
	w.got <- b.Window
	return w.Responder.Part(b)
}

// late is told of the finisher of a leg when the test says so.
type late struct {
	route.Responder

	leg chan<- route.Finisher
}

func (l late) OnFinish(f route.Finisher) { l.leg <- f }

// A server that is held back gets no room at the end of its call: whoever waits
// is told of it first.
func TestFarNoCreditAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leg := make(chan route.Finisher, 1)
		var call route.Responder
		w := newMesh(t, 2, true, answeredBy(t, func(res route.Responder) route.Responder {
			call = res
			return late{res, leg}
		}))
		s := w.serving(1, "echo:/")
		c, _ := w.slow()
		m, out, back := w.asked(c, s)
		for range narrowMost + 1 {
			s.send(`{"vrb":"part","rmid":%q,"bdy":1}`, m.Mid)
			back.step()
		}
		call.OnFinish(finisher(func(route.Outcome) { synctest.Wait() })) // the backlog has seen what it can see
		call.OnFinish(<-leg)
		before := len(out.queue)
		c.send(`{"vrb":"cancel","rmid":"1"}`)
		synctest.Wait()
		if frames := out.queue[before:]; len(frames) != 1 || frames[0].m.Verb != message.VerbCancel {
			t.Errorf("the server's node was told %d things, want one: that the call is canceled", len(frames))
		}
		out.step()
		w.still()
	})
}

// What is sent to a caller that has left opens no window.
func TestFarNoCreditForNobody(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, true, answeredBy(t, func(res route.Responder) route.Responder { return refusing{res} }))
	s, c := w.serving(1, "echo:/"), w.connect(0)
	m, out, back := w.asked(c, s)
	for range 2 {
		s.send(`{"vrb":"part","rmid":%q,"bdy":%q}`, m.Mid, strings.Repeat("x", 100_000))
		back.step()
	}
	if out.step() {
		t.Error("parts that nobody took opened the window")
	}
	s.send(`{"rmid":%q,"bdy":2}`, m.Mid)
	back.step()
	w.still()
}

// refusing is what is left of a try that is over: it takes no parts.
type refusing struct{ route.Responder }

func (refusing) Part(route.Body) error { return message.NewError(message.CodeCanceled, "over", "") }

// What a server on a connection of another node sends waits for a slow caller,
// in order, but not without end.
func TestFarBacklog(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	s := w.serving(1, "echo:/")
	c, l := w.slow()
	for _, last := range []string{"reply", "error"} {
		c.send(`{"to":"echo:/","mid":"1"}`)
		m := s.next(t)
		for i := range 100 {
			s.send(`{"vrb":"part","rmid":%q,"bdy":%d}`, m.Mid, i)
		}
		s.send(`{"vrb":%q,"rmid":%q,"bdy":{"code":"conflict"}}`, last, m.Mid)
		n := 0
		got := l.take(t)
		for ; got.Verb == message.VerbPart; got = l.take(t) {
			if string(got.Body) != fmt.Sprint(n) || got.Seq != uint64(n+1) {
				t.Fatalf("part %d is %d, %s", n+1, got.Seq, got.Body)
			}
			n++
		}
		if got.Verb.String() != last || n != 100 {
			t.Errorf("%d parts, then %s", n, got.Verb)
		}
		w.still()
	}
	c.send(`{"to":"echo:/","mid":"2"}`)
	m := s.next(t)
	for range 30 {
		s.send(`{"vrb":"part","rmid":%q,"bdy":%q}`, m.Mid, strings.Repeat("x", 100_000))
	}
	s.want(message.VerbCancel, string(m.Mid), "")
	w.still()
	var got message.Message
	for got = l.take(t); got.Verb == message.VerbPart; got = l.take(t) {
	}
	if err := message.DecodeError(got.Body); err.Code != message.CodeSlowConsumer {
		t.Errorf("%+v", err)
	}
}

// A credit that the link refuses is given later.
func TestFarCreditLater(t *testing.T) {
	t.Parallel()
	const parts = 2000
	var sent atomic.Int64
	w := newMesh(t, 2, true)
	w.nodes[1].local(flood(parts, &sent))
	w.announce()
	c := w.connect(0)
	c.send(`{"to":"flood:/","mid":"1","bdy":{}}`)
	out, back := w.links[0][1], w.links[1][0]
	out.step()
	room := make(chan struct{})
	out.set(func(l *farWire) { l.full, l.room = true, room })
	for got := 0; got < parts; {
		if back.step() {
			if m := c.next(t); m.Verb != message.VerbPart {
				t.Fatalf("%s %s", m.Verb, m.Body)
			}
			if got++; got == 200 {
				out.set(func(l *farWire) { l.full = false })
				close(room)
			}
		}
		out.step()
	}
	for !back.step() {
	}
	c.want(message.VerbReply, "1", `"done"`)
	w.still()
}

// Middleware that has several callers share an answer does not hide that one of
// them is slow: the handler on the other node waits, and goes on when nobody
// takes its parts any more.
func TestFarHandlerWaitsBehindMiddleware(t *testing.T) {
	t.Parallel()
	const parts = 3000
	for name, mw := range map[string]route.Middleware{
		"idempotency": middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{}),
		"cache": middleware.NewCache(nil, nil, middleware.CacheConfig{
			Routes: map[string]middleware.CacheRoute{"flood:/": {}},
		}).Middleware(),
		"hedge": middleware.Hedge(nil, nil, middleware.HedgeConfig{}),
		"fallback": middleware.Fallback(nil, nil, middleware.FallbackConfig{
			Routes: map[string]middleware.FallbackRoute{"flood:/": {Value: []byte("0")}},
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			w := newMesh(t, 2, false, func(c *exchange.Config) {
				c.Stack = route.NewStack()
				stage := route.StageCall
				if name == "fallback" {
					stage = route.StageInbound
				}
				insert(t, c.Stack, stage, name, mw)
			})
			w.nodes[1].local(flood(parts, &sent))
			w.announce()
			c, l := w.slow()
			c.send(`{"to":"flood:/","mid":"1","hdr":{"idempotency-key":"1"},"bdy":{}}`)
			l.takesAll(t, parts, &sent)
			w.still()
			sent.Store(0)
			c.send(`{"to":"flood:/","mid":"2","hdr":{"idempotency-key":"2"},"bdy":{}}`)
			w.full(&sent) // before that, what comes while the caller leaves may pass a middleware
			c.Gone()
			if name == "idempotency" { // for who comes back
				for sent.Load() < parts {
					runtime.Gosched()
				}
			}
			w.still()
			if n := sent.Load(); name != "idempotency" && n > floodWindow {
				t.Errorf("%d parts were sent, want at most %d", n, floodWindow)
			}
		})
	}
}
