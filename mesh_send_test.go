package ropewalk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// inbox collects the bodies of what was sent to a client.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (b *inbox) add(_ context.Context, req *route.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, string(req.Message.Body))
}

func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func TestMeshSendsToClients(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b", "c"})
		boxes := make([]*inbox, 3)
		clients := make([]*client.Client, 3)
		for i := range boxes {
			boxes[i] = new(inbox)
			clients[i] = dial(t, w.urls[i], quiet, client.WithOnSend(boxes[i].add))
		}
		ctx := t.Context()
		if err := clients[0].Send(ctx, clients[1].ID()+"@client:/", 1, call.WithAck()); err != nil {
			t.Fatal(err)
		}
		if err := w.nodes[2].Send(ctx, clients[1].ID()+"@client:/", 2, call.WithAck()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "two messages", func() bool { return slices.Equal(boxes[1].all(), []string{"1", "2"}) })
		for i := range 500 { // order
			if err := clients[0].Send(ctx, clients[2].ID()+"@client:/", i); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all messages", func() bool { return len(boxes[2].all()) == 500 })
		for i, b := range boxes[2].all() {
			if b != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, b)
			}
		}
		gone := clients[2].ID()
		_ = clients[2].Close()
		eventually(t, "a client that is gone", func() bool {
			err := clients[0].Send(ctx, gone+"@client:/", 3, call.WithAck())
			return message.CodeOf(err) == message.CodeNoClient
		})
		if err := clients[0].Send(ctx, "*@client:/", "all", call.WithAck()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broadcast at b", func() bool { return slices.Contains(boxes[1].all(), `"all"`) })
		// One for the clients of a alone, and then one for all, which comes
		// behind it wherever it goes.
		other := new(inbox)
		dial(t, w.urls[0], quiet, client.WithOnSend(other.add))
		eventually(t, "the other client of a", func() bool { return clientsOf(t, w.nodes[0]) == 2 })
		if err := clients[0].Send(ctx, "*@client:/", "here", call.WithStrategy(route.Selection{Scope: route.ScopeNode}), call.WithAck()); err != nil {
			t.Fatal(err)
		}
		if err := clients[0].Send(ctx, "*@client:/main", "last", call.WithAck()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the last broadcast", func() bool {
			return slices.Contains(boxes[1].all(), `"last"`) && slices.Equal(other.all(), []string{`"here"`, `"last"`})
		})
		if got := boxes[1].all(); slices.Contains(got, `"here"`) {
			t.Errorf("a broadcast within a went to b: %s", got)
		}
	})
}

func clientsOf(t *testing.T, n *ropewalk.Node) int {
	t.Helper()
	i, err := ropewalk.Call[nodeapi.Info](t.Context(), n, "node:/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	return i.Clients
}

// A connection to another node serves like a service in it.
func TestMeshServiceOnAConnection(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		mine := newWork("client")
		server := dial(t, w.urls[1], quiet, client.WithCloseTimeout(100*time.Millisecond))
		if err := server.Serve(t.Context(), mine.service("shop")); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/where", "/parts", "/block"} { // they may be announced one after the other
			eventually(t, "the route at a", func() bool { return serversOf(w.nodes[0], "shop:"+path) == 1 })
		}
		c := dial(t, w.urls[0], quiet)
		if got, err := ropewalk.Call[string](t.Context(), c, "shop:/where", nil); err != nil || got != "client" {
			t.Fatal(got, err)
		}
		st := ropewalk.Stream[int, string](t.Context(), c, "shop:/parts", 1000, call.WithBuffer(1000))
		next := 0
		for p, err := range st.Parts() {
			if err != nil || p != next {
				t.Fatal(p, next, err)
			}
			next++
		}
		got := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), "shop:/block", "x")
			got <- err
		}()
		take(t, mine.began, "the call")
		_ = server.Close()
		e := wantCode(t, take(t, got, "the end of the call"), message.CodeServiceLost)
		if e.Retryable {
			t.Error("it may have been executed")
		}
		eventually(t, "the route is gone", func() bool {
			_, err := c.Call(t.Context(), "shop:/where", nil)
			return message.CodeOf(err) == message.CodeServiceDown
		})
	})
}

func TestMeshMiddlewareOfAnotherNode(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		// a lets its clients do all, b nothing: what counts is where they are.
		w.add([]string{"a"})
		w.add([]string{"b"}, func(c *ropewalk.Config) { c.Allow = nil })
		in := nodeapi.Insert{Stage: route.StageCall, Kind: "log", Name: "extra"}
		at := func(n *ropewalk.Node) string { return n.ID() + "@node:/middleware/insert" }
		_, err := dial(t, w.urls[1], quiet).Call(t.Context(), at(w.nodes[0]), in)
		wantCode(t, err, message.CodeForbidden)
		stages, err := ropewalk.Call[nodeapi.Stages](t.Context(), dial(t, w.urls[0], quiet), at(w.nodes[1]), in)
		if err != nil || !strings.Contains(fmt.Sprint(stages), "extra") {
			t.Fatal(stages, err)
		}
		if list := fmt.Sprint(w.nodes[0].Middleware().List()); strings.Contains(list, "extra") {
			t.Error("the other node was changed, too")
		}
		if list := fmt.Sprint(w.nodes[1].Middleware().List()); !strings.Contains(list, "extra") {
			t.Error("the node was not changed")
		}
	})
}

// A service that is a node's own is not shadowed at other nodes: what was served
// there before is taken away, and nothing is served any more.
func TestMeshOwnServicesCannotBeShadowed(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		own := ropewalk.NewService("own")
		own.Handle("/password", ropewalk.Handle(func(context.Context, json.RawMessage) (string, error) { return "the node", nil }))
		early := dial(t, w.urls[1], quiet)
		if err := early.Serve(t.Context(), newWork("a client").service("own")); err != nil {
			t.Fatal(err)
		}
		if err := w.nodes[0].ServeOwn(own); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the own service at b alone", func() bool {
			return serversOf(w.nodes[1], "own:/password") == 1 && serversOf(w.nodes[1], "own:/where") == 0 && serversOf(w.nodes[0], "own:/where") == 0
		})
		late := dial(t, w.urls[1], quiet)
		for _, name := range []string{"own", "free"} {
			err := late.Serve(t.Context(), newWork("a client").service(name))
			if name == "free" && err != nil {
				t.Error(err)
			} else if name == "own" {
				wantCode(t, err, message.CodeBadAddress)
			}
		}
		for range 20 {
			if got, err := ropewalk.Call[string](t.Context(), late, "own:/password", "hunter2"); err != nil || got != "the node" {
				t.Fatalf("%q, %v", got, err)
			}
		}
	})
}
