package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// local has the node serve a service in the process of the test.
func (w world) local(svc *service.Service) {
	w.t.Helper()
	run := svc.Runner(context.Background(), nil)
	w.t.Cleanup(run.Close)
	unserve, err := w.Serve(svc, run)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(unserve)
}

func countTo(n int) *service.Service {
	s := service.New("count")
	s.Handle("/up", service.Stream(func(_ context.Context, _ struct{}, send func(int) error) (string, error) {
		for i := range n {
			if err := send(i); err != nil {
				return "", err
			}
		}
		return "done", nil
	}))
	s.Handle("/wait", service.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}))
	s.Handle("/panic", service.Handle(func(context.Context, struct{}) (string, error) { panic("secret text") }))
	return s
}

// A gather ends with what there is before the context of its caller does.
func TestLocalGatherWithinAContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.local(countTo(3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g, err := w.Local().Gather(ctx, "count:/*", json.RawMessage("{}"))
		if err != nil || g.Servers != 3 {
			t.Fatalf("%+v, %v", g, err)
		}
	})
}

func TestLocalCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.local(countTo(3))
	st := w.Local().Stream(t.Context(), "count:/up", nil)
	var parts []string
	for p, err := range st.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(p.Body))
	}
	if a, err := st.Answer(); err != nil || string(a.Body) != `"done"` || !slices.Equal(parts, []string{"0", "1", "2"}) {
		t.Errorf("parts %v, answer %+v, %v", parts, a, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := w.Local().Stream(ctx, "count:/wait", nil)
	cancel()
	if _, err := waiting.Answer(); message.CodeOf(err) != message.CodeCanceled {
		t.Errorf("canceled call: %v", err)
	}
	if _, err := w.Local().Call(t.Context(), "count:/wait", nil, call.WithTimeout(30*time.Millisecond)); message.CodeOf(err) != message.CodeDeadlineExceeded {
		t.Errorf("late call: %v", err)
	}
	_, err := w.Local().Call(t.Context(), "count:/panic", nil)
	var e *message.Error
	if !errors.As(err, &e) || e.Code != message.CodeInternal || e.Message == "secret text" {
		t.Errorf("panicking call: %v", err)
	}
	if _, err := w.Local().Call(ctx, "count:/up", nil); message.CodeOf(err) != message.CodeCanceled {
		t.Errorf("call with an ended context: %v", err)
	}
	if _, err := w.Local().Call(t.Context(), "nothing:/", nil); message.CodeOf(err) != message.CodeNoService {
		t.Errorf("call to nobody: %v", err)
	}
	if _, err := w.Local().Call(t.Context(), "count:/up", make(chan int)); message.CodeOf(err) != message.CodeInvalidInput {
		t.Errorf("call with a body that is no JSON: %v", err)
	}
}

func TestLocalReachesConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.connect("s1")
	s.serve("echo:/")
	answer := make(chan *call.Answer, 1)
	go func() {
		a, err := w.Local().Call(t.Context(), "echo:/", []byte{0, 1, 2})
		if err != nil {
			t.Error(err)
		}
		answer <- a
	}()
	m := s.next(t)
	if string(m.ContentType) != call.Octets || string(m.Body) != "\x00\x01\x02" {
		t.Fatalf("the server got %s %q", m.ContentType, m.Body)
	}
	s.Receive(&message.Message{Verb: message.VerbReply, Rmid: m.Mid, ContentType: m.ContentType, Body: m.Body})
	if a := <-answer; a.ContentType != call.Octets || a.From != "s1@echo:/" || string(a.Body) != "\x00\x01\x02" {
		t.Errorf("%+v", a)
	}
	if err := w.Local().Send(t.Context(), "s1@client:/", "hi"); err != nil {
		t.Error(err)
	}
	s.want(message.VerbSend, "", `"hi"`)
	if err := w.Local().Send(t.Context(), "nosuch@client:/", "hi"); message.CodeOf(err) != message.CodeNoClient {
		t.Errorf("send to nobody: %v", err)
	}
	w.local(countTo(1))
	g, err := w.Local().Gather(t.Context(), "count:/up", nil)
	if err != nil || len(g.Answers) != 1 || string(g.Answers[0].Body) != `"done"` {
		t.Errorf("%+v, %v", g, err)
	}
}

// What a client asks of a service in the process ends with the client.
func TestLocalServiceIsCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	s := service.New("slow")
	s.Handle("/", service.Handle(func(ctx context.Context, _ struct{}) (int, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return 0, ctx.Err()
	}))
	w.local(s)
	c := w.connect("c1")
	c.send(`{"to":"slow:/","mid":"1"}`)
	<-began
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	if err := <-ended; message.CodeOf(err) != message.CodeCanceled {
		t.Errorf("the handler was told %v", err)
	}
	c.wantError("1", message.CodeCanceled)
	c.send(`{"to":"slow:/","mid":"2"}`)
	<-began
	c.Gone()
	if err := <-ended; message.CodeOf(err) != message.CodeCanceled {
		t.Errorf("the handler was told %v", err)
	}
}

func TestTap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.local(countTo(2))
	seen := make(chan exchange.TapEvent, 10)
	remove := w.Tap(func(e exchange.TapEvent) {
		e.Body = slices.Clone(e.Body)
		seen <- e
	})
	c := w.connect("c1")
	c.send(`{"to":"count:/up","mid":"1","bdy":{}}`)
	var got []message.Verb
	for range 4 {
		e := <-seen
		got = append(got, e.Verb)
		if e.Verb == message.VerbReply && (e.Took <= 0 || e.Route != "count:/up") {
			t.Errorf("%+v", e)
		}
	}
	want := []message.Verb{message.VerbCall, message.VerbPart, message.VerbPart, message.VerbReply}
	if !slices.Equal(got, want) {
		t.Errorf("the tap saw %v, want %v", got, want)
	}
	remove()
	c.send(`{"to":"count:/up","mid":"2","bdy":{}}`)
	for range 6 {
		c.next(t)
	}
	if len(seen) != 0 {
		t.Error("a removed tap still sees messages")
	}
}

func TestMiddlewareStages(t *testing.T) {
	t.Parallel()
	stack := route.NewStack()
	order := make(chan string, 20)
	mark := func(name string) route.Entry {
		return route.Entry{Name: name, Middleware: func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				order <- name
				next.Handle(ctx, req, res)
			})
		}}
	}
	for _, stage := range route.Stages() {
		if err := stack.Insert(stage, mark(string(stage)), route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, func(c *exchange.Config) { c.Stack = stack })
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	m := s.next(t)
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	c.want(message.VerbReply, "1", "1")
	c.send(`{"vrb":"send","to":"s1@client:/","bdy":1}`)
	s.next(t)
	var got []string
	for len(order) > 0 {
		got = append(got, <-order)
	}
	if want := []string{"inbound", "outbound", "inbound", "call", "serve", "outbound", "inbound", "deliver"}; !slices.Equal(got, want) {
		t.Errorf("stages ran as %v, want %v", got, want)
	}
}

// A middleware that wraps the Responder changes the answer, and everything
// still comes back to the caller.
func TestMiddlewareWrapsResponder(t *testing.T) {
	t.Parallel()
	stack := route.NewStack()
	err := stack.Insert(route.StageCall, route.Entry{Name: "quote", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			next.Handle(ctx, req, quoting{res})
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *exchange.Config) { c.Stack = stack })
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	m := s.next(t)
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	if got := c.want(message.VerbReply, "1", `{"quoted":1}`); string(got.From) != "s1@echo:/" {
		t.Errorf("from %s", got.From)
	}
}

type quoting struct{ route.Responder }

func (q quoting) Unwrap() route.Responder { return q.Responder }

func (q quoting) Reply(b route.Body) error {
	return q.Responder.Reply(route.JSON(slices.Concat([]byte(`{"quoted":`), b.Bytes, []byte("}"))))
}

// A handler that is faster than its caller waits for it; a server on a
// connection, which cannot be made to wait, has its call ended.
func TestPartsWaitForSlowCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.local(countTo(3))
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("count:/far")
	fill := func(full bool) {
		c.mu.Lock()
		c.full = full
		c.mu.Unlock()
	}
	c.room = make(chan struct{})
	c.send(`{"to":"count:/far","mid":"1"}`)
	m := s.next(t)
	fill(true)
	c.send(`{"to":"count:/up","mid":"2","bdy":{}}`) // its handler begins to wait
	fill(false)
	close(c.room)
	for i := range 3 {
		c.want(message.VerbPart, "2", fmt.Sprint(i))
	}
	c.want(message.VerbReply, "2", `"done"`)
	c.mu.Lock()
	c.partsFull = true
	c.mu.Unlock()
	s.send(`{"vrb":"part","rmid":%q,"bdy":1}`, m.Mid)
	c.wantError("1", message.CodeSlowConsumer)
	s.want(message.VerbCancel, string(m.Mid), "")
}
