package standard_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// ticks counts runs of a script, by node.
type ticks struct {
	text string // of the script; NAME is that of the node
	mu   sync.Mutex
	runs map[string]int
	told chan string
	got  chan string // if there is one: what the script says, after the name
}

// member is a node that serves a script.
func (c *ticks) member(t *testing.T, net *ropewalktest.Network, name, schedules string) *ropewalk.Node {
	t.Helper()
	n, err := ropewalk.New(ropewalk.Config{Name: name, Backplane: net.Node(), Logger: slog.New(slog.DiscardHandler), Allow: ropewalk.AllowAll, Topics: eventTopics})
	if err != nil {
		t.Fatal(err)
	}
	count := ropewalk.NewService("count-" + name)
	count.Handle("/up", ropewalk.Handle(func(_ context.Context, in struct {
		Text string `json:"text,omitempty"`
	}) (int, error) {
		if c.got != nil {
			c.got <- name + " " + in.Text
			return 0, nil
		}
		c.mu.Lock()
		c.runs[name]++
		c.mu.Unlock()
		c.told <- name
		return 0, nil
	}))
	dir := t.TempDir()
	write(t, dir, "a.js", strings.ReplaceAll(c.text, "NAME", name))
	set := standard.Settings{Script: standard.Script{
		Settings:  script.Settings{Root: dir, Grants: []script.Grant{{Paths: []string{"/**"}, Call: []string{"*:/**"}, Watch: []string{"prices:/**"}}}},
		Schedules: schedules,
	}}
	all, err := standard.New(set, standard.Env{Logger: slog.New(slog.DiscardHandler), Node: n})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(all.Services(), count) {
		if err := n.Serve(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Shutdown(context.Background())
		_ = all.Close()
	})
	all.Start()
	return n
}

// knows waits until a node knows that others run schedules, too.
func knows(t *testing.T, nodes ...*ropewalk.Node) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		owners := 0
		for _, n := range nodes {
			if n.Owns("script:/.schedules") {
				owners++
			}
		}
		if owners == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d nodes own the schedules", owners)
		}
	}
}

// Of several nodes one runs schedules, and another one when that is gone.
func TestSchedulesRunAtOneNode(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	c := &ticks{text: "export const schedule = 'every 1s'\nexport async function tick() { await call('count-NAME:/up', {}) }", runs: map[string]int{}, told: make(chan string, 100)}
	nodes := map[string]*ropewalk.Node{}
	for _, name := range []string{"a", "b"} {
		nodes[name] = c.member(t, net, name, "")
	}
	idle := c.member(t, net, "idle", standard.SchedulesNone)
	everywhere := c.member(t, net, "everywhere", standard.SchedulesEverywhere)
	knows(t, nodes["a"], nodes["b"], idle, everywhere)
	c.mu.Lock()
	clear(c.runs)
	c.mu.Unlock()
	everywhereRan := false
	next := func() string {
		for {
			select {
			case name := <-c.told:
				if name != "everywhere" {
					return name
				}
				everywhereRan = true
			case <-time.After(20 * time.Second):
				t.Fatal("nobody runs the schedule")
			}
		}
	}
	first := next()
	for range 2 {
		if name := next(); name != first {
			t.Errorf("both %s and %s run it", first, name)
		}
	}
	for n := 0; n < 20 && !everywhereRan; n++ {
		next()
	}
	c.mu.Lock()
	if !everywhereRan || c.runs["idle"] > 0 {
		t.Errorf("%v", c.runs)
	}
	c.mu.Unlock()
	if _, err := nodes[first].Get(t.Context(), "script:/.schedules"); message.CodeOf(err) != message.CodeUnimplemented {
		t.Error(err)
	}
	_ = nodes[first].Shutdown(context.Background())
	for name := next(); name == first; { // what it had begun
		name = next()
	}
}
