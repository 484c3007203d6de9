package ropewalk_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

func TestMeshTapAndExplain(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		c := dial(t, w.urls[0], quiet)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		st := ropewalk.Stream[nodeapi.Tapped, nodeapi.TapEnd](ctx, c, "node:/tap", nodeapi.Tap{Pattern: "work:/**"})
		tapped := make(chan nodeapi.Tapped, 10_000)
		var reader sync.WaitGroup
		reader.Go(func() {
			for p, err := range st.Parts() {
				if err != nil {
					return
				}
				tapped <- p
			}
		})
		nodes := map[string]bool{}
		eventually(t, "messages of both nodes", func() bool {
			for _, n := range w.nodes {
				_, _ = n.Call(ctx, "work:/where", nil)
			}
			for len(tapped) > 0 {
				nodes[(<-tapped).Node] = true
			}
			return nodes["a"] && nodes["b"]
		})
		// A call across nodes is seen once: at its caller's.
		mid := fmt.Sprint("work:/echo?once=", time.Now().UnixNano())
		if _, err := w.nodes[1].Call(ctx, mid, "x", on(w.nodes[0])); err != nil {
			t.Fatal(err)
		}
		calls := 0
		eventually(t, "the call and its answer", func() bool {
			for len(tapped) > 0 {
				if p := <-tapped; strings.Contains(p.To, "once") && p.Verb == "call" {
					calls++
				}
			}
			return calls > 0
		})
		cancel()
		reader.Wait()
		for len(tapped) > 0 {
			if p := <-tapped; strings.Contains(p.To, "once") && p.Verb == "call" {
				calls++
			}
		}
		if calls != 1 {
			t.Errorf("a call was seen %d times", calls)
		}
		e, err := ropewalk.Call[nodeapi.Explanation](t.Context(), c, "node:/route/explain", nodeapi.Explain{Address: "work:/where"})
		if err != nil || len(e.Servers) != 2 {
			t.Fatal(e, err)
		}
		for _, s := range e.Servers {
			if s.Local != (s.Node == "a") {
				t.Errorf("%+v", s)
			}
		}
	})
}

// The right to watch others is asked for where the client is.
func TestMeshTapIsForbiddenWhereTheClientIs(t *testing.T) {
	t.Parallel()
	w := towns["memory"](t)
	w.add([]string{"a"})
	w.add([]string{"b"}, func(c *ropewalk.Config) { c.Allow = nil })
	st := dial(t, w.urls[1], quiet).Stream(t.Context(), w.nodes[0].ID()+"@node:/tap", nodeapi.Tap{})
	_, err := st.Answer()
	wantCode(t, err, message.CodeForbidden)
	if err := dial(t, w.urls[1], quiet).Send(t.Context(), "*@client:/", 1, call.WithAck()); message.CodeOf(err) != message.CodeForbidden {
		t.Errorf("a broadcast: %v", err)
	}
	if _, err := dial(t, w.urls[1], quiet).Call(t.Context(), w.nodes[0].ID()+"@node:/drain", map[string]bool{"on": true}); message.CodeOf(err) != message.CodeForbidden {
		t.Errorf("a drain: %v", err)
	}
	// Nobody can serve in another node's name.
	if err := dial(t, w.urls[0], quiet).Serve(t.Context(), newWork("x").service("node")); err == nil {
		t.Error("a client serves node:")
	}
}

func TestMeshMetrics(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		for range 10 {
			if _, err := w.nodes[0].Call(t.Context(), "work:/where", nil, on(w.nodes[1])); err != nil {
				t.Fatal(err)
			}
		}
		_, page := get(t, strings.Replace(w.urls[0], "ws://", "http://", 1)+"/metrics")
		for _, want := range []string{"ropewalk_mesh_nodes 2", "ropewalk_mesh_nodes_lost 0", `ropewalk_node_requests_total{event="sent"}`} {
			if !strings.Contains(page, want) {
				t.Errorf("the metrics have no %s", want)
			}
		}
	})
}
