package ropewalk_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
)

// ownerOf is the node that answers a get of a topic.
func (w *town) ownerOf(via *ropewalk.Node, address string) *ropewalk.Node {
	w.t.Helper()
	a, err := via.Publish(w.t.Context(), address, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range w.nodes {
		if a.From[:len(n.ID())] == n.ID() {
			return n
		}
	}
	w.t.Fatalf("nobody is %s", a.From)
	return nil
}

// publish goes on until somebody has taken it.
func publish(t *testing.T, n *ropewalk.Node, address string, v int) {
	t.Helper()
	var err error
	eventually(t, "somebody takes what is published", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = n.Publish(ctx, address, v)
		return err == nil
	})
}

// store has all nodes serve the same contents, until end is called.
func (w *town) store(t *testing.T) (end func()) {
	t.Helper()
	p := contenttest.NewMemory()
	var all []*content.Service
	for _, n := range w.nodes {
		svc := content.NewService("store", p, content.Options{})
		if err := n.Serve(svc.Service); err != nil {
			t.Fatal(err)
		}
		all = append(all, svc)
	}
	return func() {
		for _, svc := range all {
			_ = svc.Close()
		}
	}
}

// A content that all nodes can reach has one owner. When that is lost the next
// one goes on, and nobody misses what is published then.
func TestFaultOwnerOfContentLost(t *testing.T) {
	t.Parallel()
	for kill := range 6 {
		bubble(t, func(t *testing.T, w *town) {
			w.found("a", "b", "c")
			end := w.store(t)
			defer end()
			eventually(t, "all offer it", func() bool { return serversOf(w.nodes[0], "store:/x") == 3 && serversOf(w.nodes[2], "store:/x") == 3 })
			const address = "store:/x"
			owner := w.ownerOf(w.nodes[0], address)
			var watches []*call.Watch
			var alive []*ropewalk.Node
			for _, n := range w.nodes {
				if n != owner {
					alive = append(alive, n)
				}
				watches = append(watches, n.Watch(t.Context(), address))
			}
			for _, x := range watches {
				ready(t, x)
			}
			const writes = 12
			for i := 1; i <= writes; i++ {
				if i == 1+2*kill {
					w.net.Disconnect(owner.ID())
				}
				publish(t, alive[i%2], address, i)
			}
			w.net.Reconnect(owner.ID())
			for i, x := range watches {
				last := -1
				for last < writes {
					u, err := x.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if u.Fault != nil {
						continue
					}
					n, err := strconv.Atoi(string(u.Body))
					if err != nil || (n < last && w.nodes[i] != owner) {
						t.Fatalf("%s after %d, %v", u.Body, last, err)
					}
					last = n
				}
				_ = x.Close()
			}
		})
	}
}

// Events are kept by their owner alone: when that is lost, watchers are told that
// there may be a gap, and then get all that come.
func TestFaultOwnerOfEventsLost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		const address = "prices:/eur"
		eventually(t, "all offer it", func() bool {
			return serversOf(w.nodes[0], address) == 3 && serversOf(w.nodes[1], address) == 3 && serversOf(w.nodes[2], address) == 3
		})
		owner := w.ownerOf(w.nodes[0], address)
		var alive []*ropewalk.Node
		for _, n := range w.nodes {
			if n != owner {
				alive = append(alive, n)
			}
		}
		x := alive[0].Watch(t.Context(), address, call.WithBuffer(100))
		ready(t, x)
		var seen []string
		until := func(last string) {
			t.Helper()
			for len(seen) == 0 || seen[len(seen)-1] != last {
				u := next(t, x)
				if u.Gap {
					seen = append(seen, "gap")
					continue
				}
				seen = append(seen, string(u.Body))
			}
		}
		for i := 1; i <= 20; i++ {
			if i == 10 {
				until("9")
				w.net.Disconnect(owner.ID())
			}
			publish(t, alive[1], address, i)
		}
		until("20")
		if got, want := fmt.Sprint(seen), "[1 2 3 4 5 6 7 8 9 gap 10 11 12 13 14 15 16 17 18 19 20]"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		_ = x.Close()
		w.net.Reconnect(owner.ID())
	})
}

// What was published to a topic with nothing behind it outlives its owner, as
// long as somebody watches it somewhere else.
func TestFaultOwnerOfStateLost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		const address = "state:/x"
		w.offer(address, 3)
		owner := w.ownerOf(w.nodes[0], address)
		var alive []*ropewalk.Node
		for _, n := range w.nodes {
			if n != owner {
				alive = append(alive, n)
			}
		}
		publish(t, alive[0], address, 7)
		x := alive[0].Watch(t.Context(), address)
		if u := next(t, x); string(u.Body) != "7" {
			t.Fatalf("%s", u.Body)
		}
		w.net.Disconnect(owner.ID())
		eventually(t, "the next owner has it", func() bool {
			u, err := alive[1].Get(t.Context(), address)
			return err == nil && string(u.Body) == "7"
		})
		publish(t, alive[1], address, 8)
		if u := next(t, x); string(u.Body) != "8" {
			t.Fatalf("%s, %v", u.Body, u.Fault)
		}
		_ = x.Close()
		w.net.Reconnect(owner.ID())
	})
}

// offer waits until all nodes know that so many offer an address.
func (w *town) offer(address string, servers int) {
	w.t.Helper()
	eventually(w.t, "all know who offers "+address, func() bool {
		for _, n := range w.nodes {
			if serversOf(n, address) != servers {
				return false
			}
		}
		return true
	})
}

// Topics move to nodes that come, and nobody misses an event for it.
func TestEventsWhileNodesCome(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		addresses := make([]string, 5)
		watches := make([]*call.Watch, 2*len(addresses))
		for i := range addresses {
			addresses[i] = fmt.Sprintf("prices:/%d", i)
			w.offer(addresses[i], 2)
			for j := range 2 {
				watches[2*i+j] = w.nodes[j].Watch(t.Context(), addresses[i], call.WithBuffer(1000))
				ready(t, watches[2*i+j])
			}
		}
		const events = 300
		for i := 1; i <= events; i++ {
			if i%50 == 0 && len(w.nodes) < 6 {
				w.one(fmt.Sprint("n", i))
			}
			for j, address := range addresses {
				publish(t, w.nodes[(i+j)%2], address, i)
			}
			time.Sleep(20 * time.Millisecond)
		}
		moved := false
		for _, x := range watches {
			for want := 1; want <= events; want++ {
				u := next(t, x)
				if u.Gap || string(u.Body) != fmt.Sprint(want) {
					t.Fatalf("%s: %s, gap %v, want %d", x.Address(), u.Body, u.Gap, want)
				}
				moved = moved || want > 1 && u.Offset < uint64(want)
			}
			_ = x.Close()
		}
		if !moved {
			t.Log("no topic has moved")
		}
	})
}
