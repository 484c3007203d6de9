package service_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// inlineService answers a subscribe with a part, and later with a reply by who
// is told of the call; and everything else as usual.
func inlineService(h handle, mw ...route.Middleware) (*service.Service, *service.Runner, *syncBuffer) {
	log := new(syncBuffer)
	s := service.New("a", service.WithConcurrency(1, 0))
	s.HandleFunc("/**", h, service.WithInline(message.VerbSubscribe), service.WithTopic(route.Topic{Personal: true}))
	s.Use(mw...)
	return s, s.Runner(context.Background(), slog.New(slog.NewTextHandler(log, nil))), log
}

func subscribe(address string) *call {
	c := newCall(address, "")
	c.req.Message.Verb = message.VerbSubscribe
	return c
}

func TestInlineRunsOnItsCaller(t *testing.T) {
	t.Parallel()
	var inside []string
	s, run, _ := inlineService(func(ctx context.Context, req *route.Request, res route.Responder) {
		inside = append(inside, string(req.Message.Mid)) // no lock: the race detector would tell
		if service.FromContext(ctx) != req {
			t.Error("the context has not the request")
		}
		_ = res.Part(route.JSON([]byte("1")))
	}, func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			inside = append(inside, "middleware")
			next.Handle(ctx, req, res)
		})
	})
	defer run.Close()
	r := s.Routes()[0]
	if r.Info.Topic == nil || !r.Info.Topic.Personal {
		t.Errorf("the topic is %+v", r.Info.Topic)
	}
	h := run.Handler(r.Handler)
	for range 3 { // more than may run at a time
		c := subscribe("a:/x")
		h.Handle(t.Context(), c.req, c)
		if c.over || len(c.parts) != 1 || c.req.Kept() {
			t.Fatalf("over %v, parts %v, kept %v", c.over, c.parts, c.req.Kept())
		}
	}
	if len(inside) != 6 || inside[0] != "middleware" || inside[1] != "m1" || run.InFlight() != 0 {
		t.Errorf("inside %v, %d in flight", inside, run.InFlight())
	}
}

func TestInlineOtherVerbsHaveTheirGoroutine(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s, run, _ := inlineService(func(_ context.Context, req *route.Request, res route.Responder) {
		<-release
		if !req.Kept() {
			t.Error("the request is not kept")
		}
		_ = res.Reply(route.JSON([]byte("2")))
	})
	defer run.Close()
	c := newCall("a:/x", "")
	run.Handler(s.Routes()[0].Handler).Handle(t.Context(), c.req, c)
	close(release)
	if got := c.wait(t); got.err != nil || string(got.reply.Bytes) != "2" {
		t.Errorf("%v, %v", got.reply, got.err)
	}
}

func TestInlinePanic(t *testing.T) {
	t.Parallel()
	s, run, log := inlineService(func(context.Context, *route.Request, route.Responder) { panic("secret reason") })
	defer run.Close()
	c := subscribe("a:/x")
	run.Handler(s.Routes()[0].Handler).Handle(t.Context(), c.req, c)
	if c.code() != message.CodeInternal || strings.Contains(c.err.Message, "secret") || !strings.Contains(log.String(), "inline_test.go") {
		t.Errorf("%v; log %q", c.err, log.String())
	}
}

func TestInlineIsRefusedByARunnerThatStops(t *testing.T) {
	t.Parallel()
	s, run, _ := inlineService(func(context.Context, *route.Request, route.Responder) { t.Error("called") })
	h := run.Handler(s.Routes()[0].Handler)
	if err := run.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := subscribe("a:/x")
	h.Handle(t.Context(), c.req, c)
	if c.code() != message.CodeShuttingDown {
		t.Error(c.err)
	}
	run.Close()
}
