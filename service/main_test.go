package service_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is one request as a node would make it, and what became of it.
type call struct {
	req *route.Request

	mu        sync.Mutex
	parts     []string
	reply     *route.Body
	err       *message.Error
	over      bool
	answers   int // attempts to finish
	finishers []route.Finisher
	done      chan struct{}
	cond      sync.Cond // a part has come
}

func newCall(address, body string) *call {
	a, err := message.ParseStrict(address)
	if err != nil {
		panic(err)
	}
	c := &call{req: &route.Request{Address: a}, done: make(chan struct{})}
	c.cond.L = &c.mu
	c.req.Message.Verb, c.req.Message.Mid = message.VerbCall, []byte("m1")
	if body != "" {
		c.req.Message.Body = []byte(body)
	}
	return c
}

func (c *call) Part(b route.Body) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return message.NewError(message.CodeCanceled, "the call is over", "")
	}
	text := string(b.Bytes)
	if b.Fault {
		text = string(message.DecodeError(b.Bytes).Code)
	}
	c.parts = append(c.parts, text)
	c.cond.Broadcast()
	return nil
}

func (c *call) Reply(b route.Body) error { return c.finish(&b, nil) }

func (c *call) Fail(err error) error { return c.finish(nil, message.AsError(err)) }

func (c *call) finish(reply *route.Body, err *message.Error) error {
	c.mu.Lock()
	c.answers++
	if c.over {
		c.mu.Unlock()
		return message.NewError(message.CodeCanceled, "the call is over", "")
	}
	c.over, c.err = true, err
	if reply != nil {
		c.reply = &route.Body{Bytes: slices.Clone(reply.Bytes), ContentType: reply.ContentType}
	}
	told := c.finishers
	c.finishers = nil
	c.mu.Unlock()
	for _, f := range told {
		f.Finished(route.Outcome{Route: c.req.Route, Err: err})
	}
	close(c.done)
	return nil
}

func (c *call) OnFinish(f route.Finisher) {
	c.mu.Lock()
	if !c.over {
		c.finishers = append(c.finishers, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f.Finished(route.Outcome{Err: c.err})
}

// wait returns when the call is finished.
func (c *call) wait(t *testing.T) *call {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the call was not finished")
	}
	return c
}

func (c *call) code() message.Code {
	if c.err == nil {
		return ""
	}
	return c.err.Code
}

// run has the service's handler of a pattern answer a call.
func run(t *testing.T, s *service.Service, pattern string, c *call) *call {
	t.Helper()
	for _, r := range s.Routes() {
		if r.Pattern.String() != pattern {
			continue
		}
		params, ok := r.Pattern.Match(c.req.Address.Path)
		if !ok {
			t.Fatalf("%s does not match %s", pattern, c.req.Address.Path)
		}
		c.req.Matched(route.Match{Name: s.Name(), Route: s.Name() + ":" + pattern, Params: params})
		runner := s.Runner(t.Context(), slog.New(slog.DiscardHandler))
		defer runner.Close()
		runner.Handler(r.Handler).Handle(t.Context(), c.req, c)
		return c.wait(t)
	}
	t.Fatalf("no route %s", pattern)
	return nil
}

func answer(text string) route.Handler {
	return route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
		_ = res.Reply(route.JSON(json.RawMessage(text)))
	})
}
