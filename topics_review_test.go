package ropewalk_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// A server that gives a content and ends at once is asked again, but not without
// rest.
func TestReviewServerThatEndsAtOnce(t *testing.T) {
	t.Parallel()
	n, _ := startNode(t)
	var asked atomic.Int32
	svc := ropewalk.NewService("brief")
	svc.Handle("/x", route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
		asked.Add(1)
		_ = res.Part(route.Body{Bytes: []byte(`1`)})
		_ = res.Reply(route.Body{})
	}), service.WithInline(message.VerbSubscribe), service.WithTopic(route.Topic{}))
	if err := n.Serve(svc); err != nil {
		t.Fatal(err)
	}
	w := n.Watch(t.Context(), "brief:/x")
	if u := next(t, w); string(u.Body) != "1" {
		t.Fatalf("%+v", u)
	}
	<-time.After(300 * time.Millisecond)
	if got := asked.Load(); got > 10 {
		t.Errorf("asked %d times in 300 ms", got)
	}
}

// What is code at one of the servers of a route is code.
func TestReviewCodeAtAnyServer(t *testing.T) {
	t.Parallel()
	for _, codes := range [][2][]string{{{"js"}, nil}, {nil, {"js"}}} {
		n, url := startNode(t, func(c *ropewalk.Config) {
			c.Allow, c.Permissions = nil, policy.Config{Preset: "dev", Rules: []policy.Rule{
				{Name: "no code", Effect: "deny", Verbs: []string{"code"}, Addresses: []string{"files:/**"}},
			}}
		})
		for _, code := range codes {
			svc := ropewalk.NewService("files")
			svc.Handle("/**", route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
				_ = res.Reply(route.Body{})
			}), service.WithInline(message.VerbPublish), service.WithTopic(route.Topic{Code: code}))
			if err := n.Serve(svc); err != nil {
				t.Fatal(err)
			}
		}
		c := dialRaw(t.Context(), t, url)
		for _, path := range []string{"/a.js", "/b/c.JS"} {
			c.say(`{"vrb":"publish","mid":"1","to":"files:%s","bdy":1}`, path)
			if m := c.hear(); m.Verb != message.VerbError || message.DecodeError(m.Body).Code != message.CodeForbidden {
				t.Errorf("%v: %s: %s %s", codes, path, m.Verb, m.Body)
			}
		}
	}
}

// A watch from inside ends with its node.
func TestReviewInsideWatchEndsWithNode(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	w := n.Watch(t.Context(), "prices:/eur")
	ready(t, w)
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := w.Next(ctx); message.CodeOf(err) != message.CodeShuttingDown {
		t.Errorf("it goes on: %v", err)
	}
}
