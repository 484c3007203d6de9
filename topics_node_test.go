package ropewalk_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
)

// until reads a watch until its content is as it should be.
func until[T any](t *testing.T, w *call.Watch, what string, good func(T) bool) T {
	t.Helper()
	for {
		u := next(t, w)
		if u.Fault != nil {
			t.Fatalf("%s: %v", what, u.Fault)
		}
		var v T
		if err := json.Unmarshal(u.Body, &v); err != nil {
			t.Fatalf("%s: %s: %v", what, u.Body, err)
		}
		if good(v) {
			return v
		}
	}
}

// find returns what is said of a topic.
func find(list []topic.Info, address string) (topic.Info, bool) {
	for _, i := range list {
		if i.Address == address {
			return i, true
		}
	}
	return topic.Info{}, false
}

func TestNodeListsTopics(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withTopics)
	c := dial(t, url)
	for range 2 {
		ready(t, dial(t, url).Watch(t.Context(), "prices:/eur"))
	}
	filtered := c.Watch(t.Context(), "state:/x", call.WithParams(map[string]any{"a": 1}))
	ready(t, filtered)
	for i := range 3 {
		if _, err := n.Publish(t.Context(), "prices:/eur", i); err != nil {
			t.Fatal(err)
		}
	}
	list, err := ropewalk.Call[[]topic.Info](t.Context(), c, "node:/topics", nil)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := find(list, "prices:/eur")
	if i.Kind != "events" || i.Watchers != 2 || i.Nodes != 1 || i.Owner != n.ID() || i.OwnerName != "test" || i.Updates != 3 ||
		i.Offset != 3 || i.Epoch == "" || i.Lost {
		t.Errorf("%+v", i)
	}
	if i, _ := find(list, "state:/x"); i.Kind != "state" || i.Watchers != 1 || string(i.Params) != `{"a":1}` {
		t.Errorf("%+v", i)
	}
	one, err := ropewalk.Call[[]topic.Info](t.Context(), c, "node:/topics", nodeapi.Page{Skip: 1, Limit: 1})
	if err != nil || len(one) != 1 || one[0].Address != "state:/x" {
		t.Errorf("%+v, %v", one, err)
	}
	services, err := ropewalk.Call[[]route.ServiceInfo](t.Context(), c, "node:/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		declared := s.Name == "prices" || s.Name == "state" || s.Name == "room"
		if watchable := declared || s.Path == "/topics" || s.Path == "/clients"; watchable && s.Topic == nil || s.Name == "echo" && s.Topic != nil {
			t.Errorf("%s:%s is a topic: %+v", s.Name, s.Path, s.Topic)
		}
		if s.Topic != nil && s.Topic.Events != (s.Name == "prices" || s.Name == "room") {
			t.Errorf("%s: %+v", s.Name, s.Topic)
		}
	}
}

func TestNodeIsLive(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withTopics)
	c := dial(t, url)
	clients := c.Watch(t.Context(), "node:/clients")
	until(t, clients, "one client", func(l []exchange.ClientInfo) bool { return len(l) == 1 })
	services := c.Watch(t.Context(), "node:/services")
	until(t, services, "services", func(l []route.ServiceInfo) bool { return len(l) > 5 })
	topics := c.Watch(t.Context(), "node:/topics")
	until(t, topics, "what is watched", func(l []topic.Info) bool { _, ok := find(l, "node:/clients"); return ok })
	nodes := c.Watch(t.Context(), "node:/nodes")
	until(t, nodes, "itself", func(l []nodeapi.NodeStatus) bool { return len(l) == 1 && l[0].ID == n.ID() })

	d := dial(t, url)
	until(t, clients, "two clients", func(l []exchange.ClientInfo) bool { return len(l) == 2 })
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	until(t, services, "the new service", func(l []route.ServiceInfo) bool { return l[0].Name == "math" })
	w := d.Watch(t.Context(), "prices:/eur")
	ready(t, w)
	until(t, topics, "the new topic", func(l []topic.Info) bool { i, _ := find(l, "prices:/eur"); return i.Watchers == 1 })
	_ = d.Close()
	until(t, topics, "the topic gone", func(l []topic.Info) bool { _, ok := find(l, "prices:/eur"); return !ok })
	until(t, clients, "one client again", func(l []exchange.ClientInfo) bool { return len(l) == 1 })
	n.SetDraining(true)
	until(t, nodes, "draining", func(l []nodeapi.NodeStatus) bool { return l[0].State == mesh.Draining })

	u, err := c.Get(t.Context(), "node:/nodes")
	if err != nil || len(u.Body) < 10 {
		t.Errorf("%v, %v", u, err)
	}
	if _, err := c.Publish(t.Context(), "node:/nodes", 1); message.CodeOf(err) != message.CodeUnimplemented {
		t.Errorf("published: %v", err)
	}
}

// A list of topics that is watched does not change for being told.
func TestListOfTopicsRests(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		far := w.nodes[0].Watch(t.Context(), w.nodes[1].ID()+"@node:/topics")
		back := w.nodes[1].Watch(t.Context(), w.nodes[0].ID()+"@node:/topics")
		nodes := w.nodes[0].Watch(t.Context(), "node:/nodes")
		seen := 0
		ctx, cancel := context.WithTimeout(t.Context(), 20e9)
		defer cancel()
		for _, x := range []*call.Watch{far, back, nodes} {
			for {
				if _, err := x.Next(ctx); err != nil {
					break
				}
				seen++
			}
			_ = x.Close()
		}
		if seen < 3 || seen > 30 {
			t.Errorf("%d contents in 20 seconds in which nothing happened", seen)
		}
	})
}

// A watch of what a node tells about itself takes the rights of the call.
func TestRightsOfLiveNode(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, withTopics, func(c *ropewalk.Config) {
		c.Allow = nil
		c.Permissions = policy.Config{Preset: "closed", Rules: []policy.Rule{
			{Verbs: []string{"watch"}, Addresses: []string{"*:/**"}},
			{Verbs: []string{"call"}, Addresses: []string{"node:/services", "node:/topics"}},
		}}
	})
	c := dial(t, url)
	for address, code := range map[string]message.Code{
		"node:/services": "", "node:/clients": message.CodeForbidden, "node:/nodes": message.CodeForbidden, "node:/topics": message.CodeForbidden,
	} {
		u, err := c.Watch(t.Context(), address).Next(t.Context())
		if message.CodeOf(err) != code {
			t.Errorf("watch %s: %v, %v", address, u, err)
		}
		if _, err := c.Get(t.Context(), address); message.CodeOf(err) != code {
			t.Errorf("get %s: %v", address, err)
		}
		if _, err := c.Call(t.Context(), address, nil); message.CodeOf(err) != code {
			t.Errorf("call %s: %v", address, err)
		}
	}
}
