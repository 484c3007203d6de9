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
)

// within fails the test, with the stacks of all goroutines, when f takes too
// long: it waits for itself.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: no end", what)
	}
}

// A caller in the process that does not read its parts loses its call, not the
// goroutine that brought them.
func TestSlowLocalReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.connect("s1")
	s.serve("many:/")
	st := w.Local().Stream(t.Context(), "many:/", nil, call.WithBuffer(2))
	m := s.next(t)
	within(t, "parts that nobody reads", func() {
		for i := range 10 {
			s.send(`{"vrb":"part","rmid":%q,"bdy":%d}`, m.Mid, i)
		}
	})
	if _, err := st.Answer(); message.CodeOf(err) != message.CodeSlowConsumer {
		t.Errorf("the stream ended with %v", err)
	}
	if got := s.next(t); got.Verb != message.VerbCancel {
		t.Errorf("the server got %s", got.Verb)
	}
	if n := w.InFlight(); n != 0 {
		t.Errorf("%d calls in flight", n)
	}
}

// A middleware of the outbound stage that panics costs the answer, and nothing
// waits for it.
func TestPanicOnTheWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.Stack().Insert(route.StageOutbound, route.Entry{Name: "bug", Kind: "bug", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if string(req.Message.Body) == "1" {
				panic("a bug")
			}
			next.Handle(ctx, req, res)
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	c.send(`{"to":"x:/","mid":"1"}`)
	m := s.next(t)
	within(t, "a reply that panics", func() {
		defer func() { _ = recover() }()
		s.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, m.Mid)
	})
	within(t, "a cancel after that", func() { c.send(`{"vrb":"cancel","rmid":"1"}`) })
	c.wantError("1", message.CodeInternal)
	if n := w.InFlight(); n != 0 {
		t.Errorf("%d calls in flight", n)
	}
}

// limited is a wire with a largest frame.
type limited struct {
	*wire
	max int
}

func (l limited) Deliver(m *message.Message) error {
	if len(m.Body) > l.max {
		return message.NewError(message.CodeTooLarge, "too large", "")
	}
	return l.wire.Deliver(m)
}

// A server cannot have its callers disconnected by an error that is too large
// to be passed on.
func TestErrorTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.connect("s1")
	s.serve("x:/")
	l := limited{&wire{id: "c1", got: make(chan message.Message, 16)}, 1000}
	c := end{l.wire, w.Attach(l, 1000), t}
	c.next(t)
	c.send(`{"to":"x:/","mid":"1"}`)
	s.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"conflict","message":"no","details":%q}}`, s.next(t).Mid, strings.Repeat("x", 2000))
	e := c.wantError("1", message.CodeConflict)
	if e.Message != "no" || len(e.Details) > 0 {
		t.Errorf("%+v", e)
	}
	c.send(`{"to":"x:/","mid":"2"}`)
	s.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"conflict","message":%q}}`, s.next(t).Mid, strings.Repeat("x", 2000))
	c.wantError("2", message.CodeConflict)
	if l.closed != 0 {
		t.Errorf("the caller was closed with %d", l.closed)
	}
}

// Serving a route again replaces what was said about it, and counts once.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) { c.MaxServes = 3 })
	s := w.connect("s1")
	for range 10 {
		s.serve("x:/a")
	}
	if n := s.Info().Serves; n != 1 {
		t.Errorf("it serves %d routes", n)
	}
	s.send(`{"vrb":"unserve","to":"x:/a","mid":"u"}`)
	s.next(t)
	if n := s.Info().Serves; n != 0 {
		t.Errorf("it serves %d routes", n)
	}
	s.serve("x:/a")
	s.send(`{"vrb":"drain"}`)
	if n := s.Info().Serves; n != 0 {
		t.Errorf("after drain it serves %d routes", n)
	}
}

// Who asks for parts gets each answer as a part before the reply that has it.
func TestGatherPartsBeforeReply(t *testing.T) {
	t.Parallel()
	const servers = 8
	w := newWorld(t)
	c := w.connect("c1")
	all := make([]end, servers)
	for i := range all {
		all[i] = w.connect(fmt.Sprintf("s%d", i))
		all[i].serve("x:/")
	}
	for round := range 200 {
		mid := fmt.Sprint(round)
		c.send(`{"to":"x:/","mid":%q,"str":{"by":"all","parts":true}}`, mid)
		done := make(chan struct{}, servers)
		for _, s := range all {
			m := s.next(t)
			go func() {
				s.send(`{"vrb":"reply","rmid":%q,"bdy":1}`, m.Mid)
				done <- struct{}{}
			}()
		}
		for range servers {
			<-done
		}
		for i := range servers {
			if m := c.next(t); m.Verb != message.VerbPart {
				t.Fatalf("round %d: after %d parts came %s %s", round, i, m.Verb, m.Body)
			}
		}
		if m := c.next(t); m.Verb != message.VerbReply {
			t.Fatalf("round %d: %s %s", round, m.Verb, m.Body)
		}
	}
}

// A finisher that comes after the reply is told of a reply.
func TestOnFinishAfterReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outcomes := make(chan route.Outcome, 1)
	err := w.Stack().Insert(route.StageServe, route.Entry{Name: "late", Kind: "late", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			next.Handle(ctx, req, res)
			_ = res.Reply(route.JSON([]byte("1")))
			res.OnFinish(finisher(func(o route.Outcome) { outcomes <- o }))
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	c.send(`{"to":"x:/","mid":"1"}`)
	c.want(message.VerbReply, "1", "1")
	if o := <-outcomes; o.Err != nil || o.Route != "x:/" {
		t.Errorf("%+v", o)
	}
}

type finisher func(route.Outcome)

func (f finisher) Finished(o route.Outcome) { f(o) }

// A body that claims another type than JSON does not get round the check.
func TestValidateWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.send(`{"vrb":"serve","to":"x:/","mid":"s","bdy":{"in":{"type":"object"},"validate":true}}`)
	s.want(message.VerbReply, "s", "")
	for i, cty := range []string{"", "application/json", "text/plain"} {
		mid := fmt.Sprint(i)
		c.Receive(&message.Message{
			Verb: message.VerbCall, To: []byte("x:/"), Mid: []byte(mid), ContentType: append(make([]byte, 0, 1), cty...), Body: []byte("[]"),
		})
		c.wantError(mid, message.CodeInvalidInput)
	}
	s.none(t)
}

// Nobody hears of a client before the client has been welcomed.
func TestWelcomeIsFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.connect("o1")
	// So few each time that a client which does not read holds nobody up.
	const most = 50
	begin, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range begin {
			for range most {
				other.send(`{"vrb":"send","to":"*@client:/","bdy":1}`)
			}
			ended <- struct{}{}
		}
	}()
	for i := range 500 {
		begin <- struct{}{}
		w.connect(fmt.Sprintf("c%d", i)).Gone() // connect fails if something else comes first
		<-ended
	}
	close(begin)
	<-ended
}

// A panic in somebody's finisher keeps nobody else from being told.
func TestFinisherPanics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.Stack().Insert(route.StageCall, route.Entry{Name: "bug", Kind: "bug", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			res.OnFinish(finisher(func(route.Outcome) { panic("a bug") }))
			next.Handle(ctx, req, res)
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	c.send(`{"to":"x:/","mid":"1","tmo":0.02}`)
	s.next(t)
	c.wantError("1", message.CodeDeadlineExceeded)
	if m := s.next(t); m.Verb != message.VerbCancel {
		t.Errorf("the server got %s", m.Verb)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// Middleware may move the deadline of whatever passes it.
func TestDeadlineOfEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.Stack().Insert(route.StageCall, route.Entry{Name: "hurry", Kind: "hurry", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			res.(interface{ SetDeadline(time.Time) }).SetDeadline(time.Now().Add(10 * time.Millisecond)) //nolint:forcetypeassert // a Call
			if req.Message.Verb != message.VerbSend {
				next.Handle(ctx, req, res)
			}
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	c.send(`{"vrb":"send","to":"x:/","mid":"1"}`)
	c.wantError("1", message.CodeDeadlineExceeded)
	c.send(`{"to":"x:/","mid":"2","str":"all"}`)
	m := c.next(t)
	if m.Verb != message.VerbReply || !strings.Contains(string(m.Body), "deadline_exceeded") {
		t.Errorf("%s %s", m.Verb, m.Body)
	}
}

// The answers of a gather take no more memory than the caller could be sent,
// and those that fit arrive.
func TestGatherTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := limited{&wire{id: "c1", got: make(chan message.Message, 16)}, 4000}
	c := end{l.wire, w.Attach(l, 4000), t}
	c.next(t)
	servers := make([]end, 4)
	for i := range servers {
		servers[i] = w.connect(fmt.Sprintf("s%d", i))
		servers[i].serve("x:/")
	}
	c.send(`{"to":"x:/","mid":"1","str":"all"}`)
	for _, s := range servers {
		s.send(`{"vrb":"reply","rmid":%q,"bdy":%q}`, s.next(t).Mid, strings.Repeat("x", 1000))
	}
	m := c.next(t)
	if m.Verb != message.VerbReply {
		t.Fatalf("%s %s", m.Verb, m.Body)
	}
	g, err := call.DecodeGathered(m.Body)
	if err != nil || len(g.Answers) != 4 {
		t.Fatalf("%s: %v", m.Body, err)
	}
	for i, a := range g.Answers {
		if tooLarge := a.Err != nil && a.Err.Code == message.CodeTooLarge; tooLarge != (i >= 2) {
			t.Errorf("answer %d: %v", i, a.Err)
		}
	}
}

// Middleware is told of the end of each message, whatever its stage.
func TestEverythingIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := make(chan route.Stage, 100)
	for _, stage := range []route.Stage{route.StageDeliver, route.StageOutbound} {
		err := w.Stack().Insert(stage, route.Entry{Name: "watch", Kind: "watch", Middleware: func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				res.OnFinish(finisher(func(route.Outcome) { ends <- stage }))
				next.Handle(ctx, req, res)
			})
		}}, route.Last())
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := w.connect("a"), w.connect("b"), w.connect("c")
	a.send(`{"vrb":"send","to":"*@client:/","mid":"1","ack":true,"bdy":1}`)
	b.want(message.VerbSend, "", "1")
	c.want(message.VerbSend, "", "1")
	a.want(message.VerbReply, "1", "")
	got := map[route.Stage]int{}
	for range 3 {
		got[<-ends]++
	}
	if got[route.StageDeliver] != 2 || got[route.StageOutbound] != 1 || len(ends) != 0 {
		t.Errorf("%v, %d more", got, len(ends))
	}
}

// Deadlines that pass while calls are on their way do not meet half of what
// routing writes.
func TestExpiredOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pass := func(next route.Handler) route.Handler { return next }
	for _, stage := range []route.Stage{route.StageInbound, route.StageOutbound} {
		m := pass
		if stage == route.StageInbound {
			m = func(next route.Handler) route.Handler {
				return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
					req.Keep()
					res.OnFinish(finisher(func(route.Outcome) {})) // the end happens meanwhile
					go next.Handle(ctx, req, res)
				})
			}
		}
		if err := w.Stack().Insert(stage, route.Entry{Name: "n", Kind: "n", Middleware: m}, route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	c := w.connect("c1")
	s := w.connect("s1")
	s.send(`{"vrb":"serve","mid":"s","to":"x:/{a}"}`)
	s.want(message.VerbReply, "s", "")
	for i := range 300 {
		c.send(`{"to":"x:/a","mid":"%d","str":%s}`, i, []string{`"all"`, `"first"`}[i%2])
		c.send(`{"vrb":"cancel","rmid":"%d"}`, i)
		c.wantError(fmt.Sprint(i), message.CodeCanceled)
	}
}

// stranger is a route.Peer that is neither a connection nor the process.
type stranger struct{ route.Peer }

// Whoever is not known to be the process itself needs permission.
func TestAllowedFailsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) { c.Allow = nil })
	for _, p := range []route.Peer{nil, stranger{w.Local()}, w.connect("c1").Peer} {
		if err := w.Allowed(p, message.VerbCall, message.Address{Name: "node", Path: "/tap"}); message.CodeOf(err) != message.CodeForbidden {
			t.Errorf("%T may: %v", p, err)
		}
	}
	if err := w.Allowed(w.Local(), message.VerbCall, message.Address{}); err != nil {
		t.Error(err)
	}
}

// What a server says about a route is kept and listed, so it is bounded.
func TestServeTooMuch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.connect("s1")
	s.send(`{"vrb":"serve","to":"x:/","mid":"1","bdy":{"description":%q}}`, strings.Repeat("x", 64<<10))
	s.wantError("1", message.CodeTooLarge)
}

// Two may wait for the end at once.
func TestDrainTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	c.send(`{"to":"x:/","mid":"1"}`)
	m := s.next(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 3)
	for range 3 {
		go func() { done <- w.Drain(ctx) }()
	}
	<-w.Draining()
	s.next(t) // drain
	s.send(`{"vrb":"reply","rmid":%q}`, m.Mid)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// An id may be used again as soon as its answer has come.
func TestIDUsedAgainAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	calls := make(chan message.Message)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range calls {
			s.Receive(&message.Message{Verb: message.VerbReply, Rmid: m.Mid})
		}
	}()
	for range 5000 {
		c.send(`{"to":"x:/","mid":"1"}`)
		calls <- s.next(t)
		c.want(message.VerbReply, "1", "")
	}
	close(calls)
	<-done
}
