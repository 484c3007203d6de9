package middleware_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// ask is a call whose caller keeps what it gets.
type ask struct {
	req *route.Request

	mu        sync.Mutex
	over      bool
	finals    int // that were tried
	body      string
	parts     []string
	change    *session.Patch
	err       *message.Error
	finishers []route.Finisher
	done      chan struct{}
}

// newAsk makes a call of a user, "" for nobody, to an address, whose route is
// the same.
func newAsk(user, to, body string) *ask {
	a := &ask{req: newCall(to).req, done: make(chan struct{})}
	m := &a.req.Message
	m.To, m.Body = []byte(to), []byte(body)
	if body == "" {
		m.Body = nil
	}
	a.req.Address, _ = message.ParseStrict(to)
	if user != "" {
		a.req.SetSession(session.New(user, nil, nil))
	}
	return a
}

func (a *ask) header(name, value string) *ask {
	a.req.Message.SetHeader(name, value)
	return a
}

func (a *ask) of(s *session.Session) *ask {
	a.req.SetSession(s)
	return a
}

// matched gives the call a route of the table, so that it has parameters.
func (a *ask) matched(t testing.TB, pattern string) *ask {
	t.Helper()
	table := route.NewTable()
	if err := table.Serve(a.req.Address.Name, route.MustPattern(pattern), endpoint{}, route.Info{}); err != nil {
		t.Fatal(err)
	}
	m, err := table.Lookup(a.req.Address)
	if err != nil {
		t.Fatal(err)
	}
	a.req.Matched(m)
	return a
}

type endpoint struct{}

func (endpoint) ID() string                                              { return "s1" }
func (endpoint) InFlight() int                                           { return 0 }
func (endpoint) Local() bool                                             { return true }
func (endpoint) Handle(context.Context, *route.Request, route.Responder) {}
func (a *ask) PartWhenRoom(_ context.Context, b route.Body) error        { return a.Part(b) }

func (a *ask) Part(b route.Body) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return message.NewError(message.CodeConflict, "over", "")
	}
	a.parts = append(a.parts, string(b.Bytes))
	return nil
}

func (a *ask) Reply(b route.Body) error { return a.finish(b, nil) }
func (a *ask) Fail(err error) error     { return a.finish(route.Body{}, message.AsError(err)) }

func (a *ask) finish(b route.Body, err *message.Error) error {
	a.mu.Lock()
	a.finals++
	if a.over {
		a.mu.Unlock()
		return message.NewError(message.CodeConflict, "over", "")
	}
	a.over, a.body, a.err, a.change = true, string(b.Bytes), err, b.Session
	told := a.finishers
	a.finishers = nil
	a.mu.Unlock()
	for _, f := range told {
		f.Finished(route.Outcome{Route: a.req.Route, Err: err})
	}
	close(a.done)
	return nil
}

func (a *ask) OnFinish(f route.Finisher) {
	a.mu.Lock()
	if !a.over {
		a.finishers = append(a.finishers, f)
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	f.Finished(route.Outcome{Err: a.err})
}

// got is the answer: its body, "!" and the code of an error, or "…".
func (a *ask) got() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.over:
		return "…"
	case a.err != nil:
		return "!" + string(a.err.Code)
	}
	return a.body
}

// leave ends the call as its caller does who goes away.
func (a *ask) leave() { _ = a.Fail(message.NewError(message.CodeCanceled, "", "")) }

func (a *ask) to(h route.Handler) *ask {
	h.Handle(context.Background(), a.req, a)
	return a
}

// counting answers at once with the number of calls so far.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) Handle(_ context.Context, _ *route.Request, res route.Responder) {
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	_ = res.Reply(route.JSON([]byte{byte('0' + n)}))
}

func (c *counting) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func reply1(res route.Responder, body string) { _ = res.Reply(route.JSON([]byte(body))) }

func failed(code message.Code, retryable bool) *message.Error {
	e := message.NewError(code, "it failed", "")
	e.Retryable = retryable
	return e
}
