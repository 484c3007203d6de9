package ropewalk_test

import (
	"context"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
)

// Who may not watch any more sees nothing more, on this node or on another.
func TestTapEndsWithThePermission(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		t.Helper()
		w.add([]string{"a", "b"}, keys, func(c *ropewalk.Config) {
			c.Permissions.Rules = []policy.Rule{{
				Name: "watchers", Verbs: []string{"admin"}, Addresses: []string{"node:/tap"}, When: "has(claims.role) && claims.role == 'editor'",
			}}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for _, at := range []string{"", w.nodes[0].ID() + "@", w.nodes[1].ID() + "@"} {
			c := dial(t, w.urls[0], quiet)
			if _, err := ropewalk.Call[any](ctx, c, "node:/session/open", nodeapi.Open{Token: tokenOf(t)}); err != nil {
				t.Fatal(err)
			}
			s := call.Streamed[nodeapi.Tapped, nodeapi.TapEnd](ctx, c, at+"node:/tap", nodeapi.Tap{Pattern: "echo:/**", Nodes: "this"})
			talk := w.nodes[0]
			if at == w.nodes[1].ID()+"@" {
				talk = w.nodes[1]
			}
			seen := make(chan error, 1)
			go func() {
				var last error
				first := true
				for _, err := range s.Parts() {
					if last = err; err == nil && first {
						first = false
						seen <- nil
					}
				}
				seen <- last
			}()
			say := func() { _, _ = ropewalk.Call[any](ctx, talk, "echo:/", 1) }
			eventually(t, "the tap shows something", func() bool { say(); return len(seen) == 1 })
			<-seen
			if _, err := ropewalk.Call[any](ctx, c, "node:/session/close", nodeapi.Close{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the tap ends", func() bool { say(); return len(seen) == 1 })
			err := <-seen
			if code := message.CodeOf(err); code != message.CodeForbidden && code != message.CodeUnauthenticated {
				t.Errorf("%stap ends with %v", at, err)
			}
			_ = s.Close()
		}
	})
}
