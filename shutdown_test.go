package ropewalk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// Whoever watches a node does not keep it from stopping.
func TestShutdownWhileTapped(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, func(c *ropewalk.Config) {
		c.Services = map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}}
	})
	st := dial(t, url).Stream(t.Context(), "node:/tap", nodeapi.Tap{})
	seen, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for range st.Parts() {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}()
	often := time.NewTicker(5 * time.Millisecond) // more than a busy machine can watch would end the tap
	defer often.Stop()
	for there := false; !there; {
		_, _ = n.Call(t.Context(), "echo:/", nil)
		select {
		case <-seen:
			there = true
		case <-often.C:
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-ended
	if _, err := st.Answer(); message.CodeOf(err) != message.CodeShuttingDown {
		t.Errorf("the tap ended with %v", err)
	}
	if err := n.Serve(mathService()); err == nil {
		t.Error("a node that was shut down serves")
	}
}

// A handler that does not look at its context does not keep a node from
// stopping either, when its time is over.
func TestShutdownWithoutTheHandler(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{})
	if err != nil {
		t.Fatal(err)
	}
	release, running := make(chan struct{}), make(chan struct{})
	s := ropewalk.NewService("deaf")
	s.HandleFunc("/", func(context.Context, *route.Request, route.Responder) {
		close(running)
		<-release
	})
	if err := n.Serve(s); err != nil {
		t.Fatal(err)
	}
	st := n.Stream(t.Context(), "deaf:/", nil)
	<-running
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shut down: %v", err)
	}
	close(release)
	if _, err := st.Answer(); message.CodeOf(err) == "" {
		t.Error("the call was answered")
	}
}

// A tap of one path shows the answers too, however the path is served.
func TestTapOfOnePath(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	s := ropewalk.NewService("any")
	s.HandleFunc("/{x}", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.JSON([]byte("1"))) })
	if err := n.Serve(s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	taps := ropewalk.Stream[nodeapi.Tapped, nodeapi.TapEnd](ctx, dial(t, url), "node:/tap", nodeapi.Tap{Pattern: "any:/a"})
	calling := make(chan struct{})
	go func() {
		defer close(calling)
		for ctx.Err() == nil {
			_, _ = n.Call(ctx, "any:/b", nil)
			_, _ = n.Call(ctx, "any:/a", nil)
		}
	}()
	verbs := map[string]int{}
	for p, err := range taps.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		if verbs[p.Verb]++; p.Verb == "call" && p.To != "any:/a" {
			t.Errorf("%+v", p)
		}
		if verbs["call"]+verbs["reply"] >= 20 {
			break
		}
	}
	cancel()
	<-calling
	if verbs["reply"] == 0 || verbs["call"] == 0 {
		t.Errorf("%v", verbs)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	for range 5 {
		dial(t, url)
	}
	var ids []string
	for _, address := range []string{"node:/clients?limit=2", "node:/clients?skip=2&limit=2", "node:/clients?skip=4", "node:/clients?skip=5"} {
		list, err := ropewalk.Call[[]exchange.ClientInfo](t.Context(), n, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			ids = append(ids, c.ID)
		}
	}
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	if len(ids) != 5 || len(seen) != 5 {
		t.Errorf("%v", ids)
	}
	for _, address := range []string{"node:/services?limit=2001", "node:/clients?skip=-1"} {
		if _, err := n.Call(t.Context(), address, nil); message.CodeOf(err) != message.CodeInvalidInput {
			t.Errorf("%s: %v", address, err)
		}
	}
}
