package standard_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/topic"
)

// TestPresence has the node tell who watches those contents for which that is
// switched on, also where they depend on who looks, and of no others.
func TestPresence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "scores/a.json", "1")
	write(t, dir, "other/a.json", "1")
	write(t, dir, "board/a.sql", "select 1 as n;")
	n := start(t, standard.Settings{
		Root: dir, Presence: []string{"json:/scores/**", "query:/board/{name}"},
		Query: standard.Query{Sharing: standard.Sharing{Shared: []string{"/board/**"}}},
	})
	for _, c := range []struct{ watched, at string }{
		{"json:/scores/a.json", "json/scores/a.json"},
		{"query:/board/a.sql", "query/board/a.sql"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		present := n.Watch(ctx, "node:/presence/"+c.at)
		defer func() { _ = present.Close() }()
		count := func(want int) {
			t.Helper()
			for {
				u, err := present.Next(ctx)
				if err != nil {
					t.Fatalf("%s: %v", c.at, err)
				}
				var p topic.Presence
				if err := json.Unmarshal(u.Body, &p); err != nil || len(p.Watchers) != p.Count {
					t.Fatalf("%s: %s, %v", c.at, u.Body, err)
				}
				if p.Count == want {
					return
				}
			}
		}
		count(0)
		w := n.Watch(ctx, c.watched)
		count(1)
		_ = w.Close()
		count(0)
	}
	if _, err := n.Get(t.Context(), "node:/presence/json/other/a.json"); message.CodeOf(err) != message.CodeNotFound {
		t.Errorf("where it is not switched on: %v", err)
	}
}
