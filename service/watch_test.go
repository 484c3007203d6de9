package service_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// server runs the first route of a service.
type server struct {
	*testing.T

	route  service.Route
	runner *service.Runner
	h      route.Handler
	log    *syncBuffer
}

func serveFirst(t *testing.T, s *service.Service) *server {
	t.Helper()
	v := &server{T: t, route: s.Routes()[0], log: new(syncBuffer)}
	v.runner = s.Runner(context.Background(), slog.New(slog.NewTextHandler(v.log, nil)))
	t.Cleanup(v.runner.Close)
	v.h = v.runner.Handler(v.route.Handler)
	return v
}

// request makes a request as a node does.
func (v *server) request(verb message.Verb, address, body string) *call {
	v.Helper()
	c := newCall(address, body)
	c.req.Message.Verb = verb
	params, ok := v.route.Pattern.Match(c.req.Address.Path)
	if !ok {
		v.Fatalf("%s does not match", address)
	}
	c.req.Matched(route.Match{Name: "s", Route: "s:" + v.route.Pattern.String(), Params: params})
	return c
}

func (v *server) ask(verb message.Verb, address, body string) *call {
	v.Helper()
	c := v.request(verb, address, body)
	v.h.Handle(v.Context(), c.req, c)
	return c
}

func (v *server) watch(address, body string) *call {
	v.Helper()
	return v.ask(message.VerbSubscribe, address, body)
}

// has waits until these parts have come, and checks that no others have.
func (c *call) has(t *testing.T, want ...string) {
	t.Helper()
	late := time.AfterFunc(10*time.Second, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.over = true
		c.cond.Broadcast()
	})
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.parts) < len(want) && !c.over {
		c.cond.Wait()
	}
	if !slices.Equal(c.parts, want) {
		t.Fatalf("parts %q, want %q (%v)", c.parts, want, c.err)
	}
}

func (c *call) leave() { _ = c.finish(nil, message.NewError(message.CodeCanceled, "", "")) }

type symbol struct {
	Symbol string `path:"symbol"`
	Scale  int    `json:"scale,omitempty" jsonschema:"minimum=0"`
}

// ticker is a service whose function says when it runs, what it is to set, and
// when it has been left.
type ticker struct {
	runs  atomic.Int32
	begun chan symbol
	in    chan string
	fail  chan error
	left  chan struct{}
}

func newTicker() *ticker {
	return &ticker{begun: make(chan symbol, 10), in: make(chan string), fail: make(chan error), left: make(chan struct{}, 10)}
}

func (k *ticker) watch(ctx context.Context, in symbol, set func(string) error) error {
	k.runs.Add(1)
	k.begun <- in
	for {
		select {
		case v := <-k.in:
			if err := set(v); err != nil {
				return err
			}
		case err := <-k.fail:
			return err
		case <-ctx.Done():
			k.left <- struct{}{}
			return ctx.Err()
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	k := newTicker()
	s := service.New("s")
	s.Handle("/t/{symbol}", service.Watch(k.watch), service.WithTopic(route.Topic{Presence: true}), service.WithDescription("x"))
	v := serveFirst(t, s)
	if top := v.route.Info.Topic; top == nil || top.Events || !top.Presence {
		t.Fatalf("%+v", top)
	}
	one := v.watch("s:/t/ACME", `{"params":{"scale":2}}`)
	if in := <-k.begun; in != (symbol{"ACME", 2}) {
		t.Fatal(in)
	}
	two := v.watch("s:/t/ACME", `{"params":{"scale":2}}`)
	k.in <- "a"
	one.has(t, `"a"`)
	two.has(t, `"a"`)
	k.in <- "a" // the same again
	k.in <- "b"
	one.has(t, `"a"`, `"b"`)
	three := v.watch("s:/t/ACME", `{"params":{"scale":2}}`)
	three.has(t, `"b"`) // at once
	for _, verb := range []message.Verb{message.VerbGet, message.VerbCall} {
		body := `{"params":{"scale":2}}`
		if verb == message.VerbCall {
			body = `{"scale":2}`
		}
		if got := v.ask(verb, "s:/t/ACME", body).wait(t); got.err != nil || string(got.reply.Bytes) != `"b"` {
			t.Fatal(verb, got.reply, got.err)
		}
	}
	one.leave()
	two.leave()
	k.in <- "c"
	three.has(t, `"b"`, `"c"`)
	if k.runs.Load() != 1 {
		t.Fatal("it runs more than once")
	}
	three.leave()
	<-k.left
	one.has(t, `"a"`, `"b"`)

	// A get alone has it run for one content.
	got := v.ask(message.VerbGet, "s:/t/OTHER", "")
	if in := <-k.begun; in != (symbol{"OTHER", 0}) {
		t.Fatal(in)
	}
	k.in <- "x"
	if got.wait(t); string(got.reply.Bytes) != `"x"` {
		t.Fatal(got.err)
	}
	<-k.left
}

// TestWatchOneRunAtATime has somebody come again before the function has seen
// that nobody watched.
func TestWatchOneRunAtATime(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	release := make(chan struct{})
	s := service.New("s")
	s.Handle("/", service.Watch(func(ctx context.Context, _ struct{}, set func(int32) error) error {
		n := running.Add(1)
		most.Store(max(most.Load(), n))
		defer running.Add(-1)
		_ = set(n)
		<-ctx.Done()
		<-release
		if set(9) == nil {
			t.Error("it is over")
		}
		return nil
	}))
	v := serveFirst(t, s)
	for range 3 {
		c := v.watch("s:/", "")
		if most.Load() == 0 {
			c.has(t, "1")
		}
		c.leave()
	}
	last := v.watch("s:/", "")
	close(release)
	last.has(t, "1")
	if most.Load() != 1 {
		t.Fatal("two ran at the same time")
	}
	last.leave()
}

func TestEvents(t *testing.T) {
	t.Parallel()
	k := newTicker()
	s := service.New("s")
	s.Handle("/t/{symbol}", service.Events(k.watch))
	v := serveFirst(t, s)
	if !v.route.Info.Topic.Events {
		t.Fatal("it is not said")
	}
	one := v.watch("s:/t/A", "")
	<-k.begun
	k.in <- "a"
	k.in <- "a"
	one.has(t, `"a"`, `"a"`)
	two := v.watch("s:/t/A", "")
	k.in <- "b"
	two.has(t, `"b"`)
	one.has(t, `"a"`, `"a"`, `"b"`)
	if got := v.ask(message.VerbGet, "s:/t/A", "").wait(t); got.code() != message.CodeUnimplemented {
		t.Error(got.err)
	}
	k.fail <- message.NewError(message.CodeSourceDown, "gone", "")
	one.has(t, `"a"`, `"a"`, `"b"`, "source_down")
	three := v.watch("s:/t/A", "")
	three.has(t, "source_down")
	<-k.begun
	k.in <- "c"
	three.has(t, "source_down", `"c"`)
	four := v.watch("s:/t/A", "")
	k.in <- "d"
	four.has(t, `"d"`)
}

func TestWatchPersonal(t *testing.T) {
	t.Parallel()
	s := service.New("s")
	s.Handle("/", service.Watch(func(ctx context.Context, _ struct{}, set func(string) error) error {
		return set(service.SessionOf(ctx).Subject)
	}), service.WithTopic(route.Topic{Personal: true}))
	v := serveFirst(t, s)
	for _, name := range []string{"anna", "ben"} {
		c := v.request(message.VerbSubscribe, "s:/", "")
		c.req.SetSession(session.New(name, nil, nil))
		v.h.Handle(t.Context(), c.req, c)
		c.has(t, strconv.Quote(name))
	}
	shared := service.New("s")
	shared.Handle("/", service.Watch(func(ctx context.Context, _ struct{}, set func(bool) error) error {
		return set(service.FromContext(ctx) == nil && service.SessionOf(ctx).Anonymous())
	}))
	v = serveFirst(t, shared)
	c := v.request(message.VerbSubscribe, "s:/", "")
	c.req.SetSession(session.New("anna", nil, nil))
	v.h.Handle(t.Context(), c.req, c)
	c.has(t, "true")
}

func TestOnPublish(t *testing.T) {
	t.Parallel()
	news := make(chan string, 1)
	s := service.New("s")
	s.Handle("/{symbol}", service.Watch(func(ctx context.Context, _ symbol, set func(string) error) error {
		for {
			select {
			case v := <-news:
				_ = set(v)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}), service.OnPublish(service.Handle(func(_ context.Context, in struct {
		Symbol string `path:"symbol"`
		Price  int    `json:"price"`
	}) (int, error) {
		news <- in.Symbol + strconv.Itoa(in.Price)
		return in.Price, nil
	})))
	v := serveFirst(t, s)
	c := v.watch("s:/A", "")
	if got := v.ask(message.VerbPublish, "s:/A", `{"price":3}`).wait(t); got.err != nil || string(got.reply.Bytes) != "3" {
		t.Fatal(got.err)
	}
	c.has(t, `"A3"`)
	if got := v.ask(message.VerbPublish, "s:/A", `{"price":"x"}`).wait(t); got.code() != message.CodeInvalidInput {
		t.Fatal(got.err)
	}
}

// TestWatchManyComeAndGo has readers of few topics come and go while contents are
// set: each that stays has the last one in the end.
func TestWatchManyComeAndGo(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	setters := map[int]func(int) error{}
	s := service.New("s")
	s.Handle("/{n}", service.Watch(func(ctx context.Context, in struct {
		N int `path:"n"`
	}, set func(int) error) error {
		mu.Lock()
		setters[in.N] = set
		mu.Unlock()
		_ = set(0)
		<-ctx.Done()
		return ctx.Err()
	}))
	v := serveFirst(t, s)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				c := v.watch("s:/"+strconv.Itoa((w+i)%3), "")
				if i%2 == 0 {
					v.ask(message.VerbGet, "s:/"+strconv.Itoa(i%3), "").wait(t)
				}
				c.leave()
			}
		})
	}
	wg.Go(func() {
		for i := range 1000 {
			mu.Lock()
			set := setters[i%3]
			mu.Unlock()
			if set != nil {
				_ = set(i)
			}
		}
	})
	stay := []*call{v.watch("s:/0", ""), v.watch("s:/1", ""), v.watch("s:/2", "")}
	wg.Wait()
	for i, c := range stay {
		c.mu.Lock()
		for len(c.parts) == 0 {
			c.cond.Wait()
		}
		c.mu.Unlock()
		mu.Lock()
		err := setters[i](5000)
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		if last := c.parts[len(c.parts)-1]; last != "5000" || len(slices.Compact(slices.Clone(c.parts))) != len(c.parts) {
			t.Errorf("parts %v", c.parts)
		}
		c.mu.Unlock()
	}
}

func BenchmarkWatchSet(b *testing.B) {
	var set func(int) error
	ready := make(chan struct{})
	s := service.New("s")
	s.Handle("/", service.Watch(func(ctx context.Context, _ struct{}, f func(int) error) error {
		set = f
		close(ready)
		<-ctx.Done()
		return nil
	}))
	runner := s.Runner(b.Context(), nil)
	defer runner.Close()
	c := newCall("s:/", "")
	c.req.Message.Verb = message.VerbSubscribe
	runner.Handler(s.Routes()[0].Handler).Handle(b.Context(), c.req, c)
	<-ready
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = set(i)
	}
}
