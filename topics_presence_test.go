package ropewalk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
)

func withPresence(c *ropewalk.Config) {
	c.Topics = map[string]route.Topic{
		"room:/**": {Events: true, Presence: true}, "quiet:/**": {Events: true}, "board:/**": {Presence: true},
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withPresence)
	c := dial(t, url)
	w := c.Watch(t.Context(), "node:/presence/room/a%20b")
	count := func(want int) topic.Presence {
		t.Helper()
		return until(t, w, "presence", func(p topic.Presence) bool { return p.Count == want && len(p.Watchers) == want })
	}
	count(0)
	d := dial(t, url)
	room := d.Watch(t.Context(), "room:/a%20b")
	ready(t, room)
	ready(t, d.Watch(t.Context(), "room:/other"))
	if p := count(1); p.Watchers[0].Client != d.ID() || p.Watchers[0].Node != n.ID() || time.Since(p.Watchers[0].Since) > time.Minute {
		t.Errorf("%+v", p)
	}
	e := dial(t, url)
	ready(t, e.Watch(t.Context(), "room:/**"))
	if p := count(2); p.Watchers[1].Client != e.ID() {
		t.Errorf("%+v", p)
	}
	_ = room.Close()
	if p := count(1); p.Watchers[0].Client != e.ID() {
		t.Errorf("%+v", p)
	}
	_ = e.Close()
	count(0)
	for address, code := range map[string]message.Code{"node:/presence/quiet/x": message.CodeNotFound, "node:/presence/nobody/x": message.CodeNoService} {
		if _, err := c.Get(t.Context(), address); message.CodeOf(err) != code {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := c.Call(t.Context(), "node:/presence/room/x", nil); message.CodeOf(err) != message.CodeUnimplemented {
		t.Errorf("a call: %v", err)
	}
}

// Who may watch a topic may see who else does, and nobody else may.
func TestRightsOfPresence(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, withPresence, func(c *ropewalk.Config) {
		c.Allow = nil
		c.Permissions = policy.Config{Preset: "closed", Rules: []policy.Rule{
			{Verbs: []string{"watch"}, Addresses: []string{"room:/mine/**", "node:/**"}}, {Verbs: []string{"call"}, Addresses: []string{"node:/**"}},
		}}
	})
	c := dial(t, url)
	for path, code := range map[string]message.Code{"room/mine/x": "", "room/yours/x": message.CodeForbidden, "board/x": message.CodeForbidden} {
		for _, at := range []string{"node:/presence/", "node:/watchers/"} {
			if _, err := c.Get(t.Context(), at+path); message.CodeOf(err) != code {
				t.Errorf("get %s%s: %v", at, path, err)
			}
			if _, err := c.Watch(t.Context(), at+path).Next(t.Context()); message.CodeOf(err) != code {
				t.Errorf("watch %s%s: %v", at, path, err)
			}
		}
	}
}

// Presence is that of all nodes; one that dies takes its watchers with it.
func TestPresenceOfAllNodes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		for _, name := range []string{"a", "b", "c"} {
			w.one(name)
		}
		w.offer("room:/x", 3)
		x := w.nodes[0].Watch(t.Context(), "node:/presence/room/x")
		var rooms []*call.Watch
		for _, n := range w.nodes[1:] {
			rooms = append(rooms, n.Watch(t.Context(), "room:/x"))
			ready(t, rooms[len(rooms)-1])
		}
		p := until(t, x, "two", func(p topic.Presence) bool { return p.Count == 2 })
		if nodes := p.Watchers[0].Node + " " + p.Watchers[1].Node; !strings.Contains(nodes, w.nodes[1].ID()) || !strings.Contains(nodes, w.nodes[2].ID()) {
			t.Errorf("%+v", p)
		}
		w.net.Disconnect(w.nodes[2].ID())
		died := time.Now()
		until(t, x, "one", func(p topic.Presence) bool { return p.Count == 1 })
		if took := time.Since(died); took > 3*time.Second {
			t.Errorf("a node that died was seen after %s", took)
		}
		w.net.Reconnect(w.nodes[2].ID())
		until(t, x, "two again", func(p topic.Presence) bool { return p.Count == 2 })
		w.one("d")
		ready(t, w.nodes[3].Watch(t.Context(), "room:/x"))
		until(t, x, "three", func(p topic.Presence) bool { return p.Count == 3 })
		for _, r := range rooms {
			_ = r.Close()
		}
		until(t, x, "one again", func(p topic.Presence) bool { return p.Count == 1 })
		_ = x.Close()
	})
}

// A crowd is counted and not listed.
func TestPresenceOfMany(t *testing.T) {
	t.Parallel()
	var all topic.Presence
	for range topic.MaxPresent {
		all.Add(topic.Presence{Count: 1, Watchers: []topic.Watcher{{Node: "a"}}})
	}
	if all.Count != topic.MaxPresent || len(all.Watchers) != topic.MaxPresent {
		t.Errorf("%d, %d", all.Count, len(all.Watchers))
	}
	all.Add(topic.Presence{Count: 1, Watchers: []topic.Watcher{{Node: "b"}}})
	if all.Count != topic.MaxPresent+1 || all.Watchers != nil {
		t.Errorf("%d, %d", all.Count, len(all.Watchers))
	}
}
