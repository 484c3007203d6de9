package natslog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
)

// trio starts three nodes that keep events together, three copies of each.
func trio(t *testing.T) (nodes []*node, again func(i int) *node) {
	t.Helper()
	addrs, dirs := make([]string, 3), make([]string, 3)
	for i := range 3 {
		addrs[i], dirs[i] = freePort(t), t.TempDir()
	}
	again = func(i int) *node {
		return start(t, fmt.Sprint("node", i), natsplane.Config{Cluster: addrs[i], Join: addrs, Store: dirs[i], Secret: secret}, 0, route.History{Count: 100_000, Bytes: 64 << 20})
	}
	for i := range 3 {
		nodes = append(nodes, again(i))
	}
	eventually(t, "all nodes to offer the topic", func() error {
		for _, n := range nodes {
			list, err := call.Do[[]route.ServiceInfo](t.Context(), n, "node:/services", nodeapi.Page{})
			if err != nil {
				return err
			}
			for _, s := range list {
				if s.Name == "orders" && len(s.Servers) != 3 {
					return fmt.Errorf("%d servers", len(s.Servers))
				}
			}
		}
		return nil
	})
	eventually(t, "the store to take something", func() error {
		_, err := nodes[0].Publish(t.Context(), "orders:/warm", 1)
		return err
	})
	w := nodes[0].Watch(t.Context(), "orders:/warm") // its follower looks after the copies
	defer func() { _ = w.Close() }()
	ready(t, w)
	eventually(t, "three copies", func() error {
		js, err := nodes[0].plane.JetStream()
		if err != nil {
			return err
		}
		for s := range js.ListStreams(t.Context()).Info() {
			if s.Config.Replicas == 3 && s.Cluster != nil && s.Cluster.Leader != "" && len(s.Cluster.Replicas) == 2 &&
				s.Cluster.Replicas[0].Current && s.Cluster.Replicas[1].Current {
				return nil
			}
		}
		return context.DeadlineExceeded
	})
	return nodes, again
}

// ownerOf is which of the nodes has the topic.
func ownerOf(t *testing.T, nodes []*node, at string) (owner int) {
	t.Helper()
	eventually(t, "an owner", func() error {
		list, err := call.Do[[]topic.Info](t.Context(), nodes[0], "node:/topics", nodeapi.Page{})
		if err != nil {
			return err
		}
		for _, i := range list {
			for n := range nodes {
				if i.Address == at && i.Owner == nodes[n].ID() {
					owner = n
					return nil
				}
			}
		}
		return fmt.Errorf("%+v", list)
	})
	return owner
}

// item is what is published.
type item struct {
	By, N int
	Last  bool
}

// writer publishes until it is stopped, and remembers what was acknowledged.
func writer(t *testing.T, n *node, by int, at string, stop <-chan struct{}) (acked []int) {
	t.Helper()
	for i := 1; ; i++ {
		last := false
		select {
		case <-stop:
			last = true
		default:
		}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			_, err := n.Publish(ctx, at, item{By: by, N: i, Last: last})
			cancel()
			if err == nil {
				acked = append(acked, i)
				break
			}
			if t.Context().Err() != nil {
				return acked
			}
			if last {
				i++ // what failed may be there, or not
				continue
			}
			break
		}
		if last {
			return acked
		}
	}
}

// check reads until both writers have said their last, and checks that all that
// was acknowledged came, once and in order.
func check(t *testing.T, name string, w *call.Watch, writers int) map[int]map[int]bool {
	t.Helper()
	seen, at := make(map[int]map[int]bool), make(map[int]int)
	var offset uint64
	for left := writers; left > 0; {
		u := next(t, w)
		var i item
		if err := json.Unmarshal(u.Body, &i); err != nil || u.Gap {
			t.Fatalf("%s: %s, gap %v", name, u.Body, u.Gap)
		}
		if i.N <= at[i.By] || u.Offset <= offset {
			t.Fatalf("%s: %+v at %d came after %d at %d", name, i, u.Offset, at[i.By], offset)
		}
		at[i.By], offset = i.N, u.Offset
		if seen[i.By] == nil {
			seen[i.By] = make(map[int]bool)
		}
		seen[i.By][i.N] = true
		if i.Last {
			left--
		}
	}
	return seen
}

// The owner of a topic dies while others publish and watch: nothing that was
// acknowledged is lost, nothing comes twice, and the order stays. Then all nodes
// are restarted, and who comes back gets what it has missed.
func TestOwnerDies(t *testing.T) {
	t.Parallel()
	nodes, again := trio(t)
	const at = "orders:/x"
	w := nodes[0].Watch(t.Context(), at, buffer())
	ready(t, w)
	owner := ownerOf(t, nodes, at)
	_ = w.Close()
	var alive []*node
	for i, n := range nodes {
		if i != owner {
			alive = append(alive, n)
		}
	}
	watches := map[string]*call.Watch{
		"a": alive[0].Watch(t.Context(), at, buffer()), "b": alive[1].Watch(t.Context(), at, buffer()),
		"pattern": alive[0].Watch(t.Context(), "orders:/**", buffer()),
	}
	for _, w := range watches {
		ready(t, w)
	}
	stop := make(chan struct{})
	acked := make([][]int, 2)
	var writers sync.WaitGroup
	for by, n := range alive {
		writers.Go(func() { acked[by] = writer(t, n, by, at, stop) })
	}
	for range 100 {
		next(t, watches["b"]) // under way
	}
	if err := nodes[owner].plane.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for range 300 {
		next(t, watches["b"])
	}
	close(stop)
	writers.Wait()
	delete(watches, "b")
	watches["late"] = alive[1].Watch(t.Context(), at, buffer(), call.WithHistory(100_000))
	var last call.Position
	for name, w := range watches {
		seen := check(t, name, w, 2)
		for by, list := range acked {
			for _, n := range list {
				if !seen[by][n] {
					t.Errorf("%s: %d of writer %d was acknowledged and did not come", name, n, by)
				}
			}
		}
		t.Logf("%s: %d and %d acknowledged, %d and %d came", name, len(acked[0]), len(acked[1]), len(seen[0]), len(seen[1]))
	}
	publish(t, alive[0], at, 0, 0)
	for _, w := range watches {
		u := next(t, w)
		last = u.Position()
	}
	publish(t, alive[0], at, 1, 5)
	for i, n := range nodes {
		n.stop(t)
		nodes[i] = nil
	}
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() { nodes[i] = again(i) })
	}
	all.Wait()
	reads(t, nodes[owner].Watch(t.Context(), at, buffer(), call.WithRecover(last)), 1, 5)
}
