package ropewalk_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
)

// Nodes are stopped in turn and others take their places, under load, and no
// call fails: neither those to services in the nodes nor those to services on
// connections, which are executed once each.
func TestMeshRollingRestart(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		s := &street{town: w}
		for i := range 3 {
			s.open(i)
		}
		eventually(t, "all nodes know all", func() bool { return w.complete(3) })
		var (
			callers []*client.Client
			works   []*work
		)
		for i := range 3 {
			callers = append(callers, s.dial(i))
			works = append(works, newWork(fmt.Sprint("worker ", i)))
			if err := s.dial(i).Serve(t.Context(), works[i].service("shop")); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range w.nodes {
			eventually(t, "the shops", func() bool { return serversOf(n, "shop:/once") == 3 })
		}
		shop := newLoad()
		for i, c := range callers {
			for j := range 3 {
				shop.wg.Go(func() { shop.run(t.Context(), c, "shop:/once", fmt.Sprint(i, ".", j, "."), nil) })
				shop.wg.Go(func() { shop.run(t.Context(), c, "work:/echo", fmt.Sprint(i, "+", j, "+"), nil) })
			}
		}
		for i := range 3 {
			shop.more(t, 200)
			stop(t, w.nodes[i])
			shop.more(t, 200)
			s.open(i)
			eventually(t, "all nodes know all", func() bool { return w.complete(3) })
		}
		shop.more(t, 200)
		for body, err := range shop.end() {
			t.Errorf("%s: %v", body, err)
		}
		w.works = works
		for body, n := range w.runs() {
			if n != 1 {
				t.Errorf("%s was executed %d times", body, n)
			}
		}
	})
}

// street is a town whose nodes are replaced by others at the same addresses.
type street struct {
	*town
	addresses []string // where clients connect
	planes    []mesh.Backplane
}

// open starts the node in place i.
func (s *street) open(i int) {
	s.t.Helper()
	address := "127.0.0.1:0"
	if i < len(s.addresses) {
		address = s.addresses[i]
	}
	s.join = nil
	for j, p := range s.planes {
		if j != i && p.Addr() != "" {
			s.join = append(s.join, p.Addr())
		}
	}
	plane := s.plane()
	n, err := ropewalk.New(ropewalk.Config{
		Name: string(rune('a' + i)), Backplane: plane, Logger: slog.New(slog.DiscardHandler), Allow: ropewalk.AllowAll,
		Listeners: map[string]ropewalk.Listener{"main": {Address: address}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := n.Serve(newWork(n.Name()).service("work")); err != nil {
		s.t.Fatal(err)
	}
	if err := n.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { stop(s.t, n) })
	if i < len(s.nodes) {
		s.nodes[i], s.planes[i] = n, plane
		return
	}
	s.nodes, s.planes = append(s.nodes, n), append(s.planes, plane)
	s.addresses = append(s.addresses, n.Addrs()["main"].String())
}

// dial connects to the node in place i, or to the others.
func (s *street) dial(i int) *client.Client {
	s.t.Helper()
	opts := []client.Option{quiet, client.WithBackoff(time.Millisecond, 100*time.Millisecond)}
	for _, a := range slices.Concat(s.addresses[i+1:], s.addresses[:i]) {
		opts = append(opts, client.WithURLs("ws://"+a))
	}
	return dial(s.t, "ws://"+s.addresses[i], opts...)
}

// stop lets a node finish what it does.
func stop(t *testing.T, n *ropewalk.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("shut down %s: %v", n.Name(), err)
	}
}
