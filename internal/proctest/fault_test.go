//go:build linux

package proctest_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// hold begins a call that lasts until the worker says so.
func hold(t *testing.T, from *client.Client, w *worker) <-chan error {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		_, err := from.Call(t.Context(), "work:/hold", "x", call.WithTimeout(time.Hour))
		got <- err
	}()
	take(t, w.began, "the call on its way")
	return got
}

// A killed node is lost for all others in time, what it was doing fails as soon
// as that is known, and its clients and services go on elsewhere.
func TestKill(t *testing.T) {
	needed(t)
	nodes := trio(t)
	a, b, c := nodes[0], nodes[1], nodes[2]
	w := serve(t, c, b)
	visitor := dial(t, []*node{c, b})
	asker := dial(t, []*node{a})
	eventually(t, "the worker is known", func() bool { return a.servers("work:/hold") == 1 })
	got := hold(t, asker, w)
	c.kill()
	err := take(t, got, "the end of the call")
	at := time.Now()
	e := wantCode(t, err, message.CodeNodeLost)
	if e.Retryable || e.Hint == "" {
		t.Errorf("it may have been executed: %+v", e)
	}
	noticed(t, c, a, b)
	for _, i := range a.nodes() {
		if late := at.Sub(i.Since); i.Name == "c" && late > time.Second {
			t.Errorf("the call failed %v after a knew that c is lost", late)
		}
	}
	for _, c := range []*client.Client{visitor, w.c} {
		eventually(t, "the clients of c are elsewhere", func() bool { return c.State() == client.Online && c.Node().Name != "c" })
	}
	eventually(t, "the worker serves elsewhere", func() bool {
		got, err := ropewalk.Call[string](t.Context(), asker, "work:/once", "again")
		return err == nil && got == "again"
	})
	if got, err := ropewalk.Call[string](t.Context(), visitor, "work:/once", "there"); err != nil || got != "there" {
		t.Error(got, err)
	}
	eventually(t, "the routes of c are gone", func() bool { return a.servers("echo:/") == 2 && b.servers("echo:/") == 2 })
	eventually(t, "that its process is gone is known", func() bool {
		for _, i := range a.nodes() {
			if i.Name == "c" && i.Gone {
				return true
			}
		}
		return false
	})
	c = c.again(a, b)
	complete(t, []*node{a, b, c})
}

// A killed node costs no call that may be repeated, whether its caller was
// connected to it or its server ran there.
func TestKillUnderLoad(t *testing.T) {
	needed(t)
	nodes := trio(t)
	var clients []*client.Client
	for i := range nodes {
		at := append(append([]*node{}, nodes[i:]...), nodes[:i]...)
		clients = append(clients, dial(t, at))
	}
	l := begin(t, clients, 4, "echo:/", call.WithIdempotent())
	for i := range nodes {
		l.more(t, 200)
		others := append(append([]*node{}, nodes[:i]...), nodes[i+1:]...)
		nodes[i].kill()
		noticed(t, nodes[i], others...)
		l.more(t, 200)
		nodes[i] = nodes[i].again(others...)
		complete(t, nodes)
	}
	l.none(t)
}

// A node that stands still is lost. When it goes on it does no harm: what it had
// was answered long ago, and nothing is executed twice.
func TestPause(t *testing.T) {
	needed(t)
	nodes := trio(t)
	a, b, c := nodes[0], nodes[1], nodes[2]
	workers := []*worker{serve(t, a), serve(t, b), serve(t, c)}
	for _, n := range nodes {
		eventually(t, "all workers are known", func() bool { return n.servers("work:/once") == 3 })
	}
	l := begin(t, []*client.Client{dial(t, []*node{a}), dial(t, []*node{b})}, 4, "work:/once")
	for range 2 {
		l.more(t, 200)
		c.signal(syscall.SIGSTOP)
		noticed(t, c, a, b)
		if n := a.servers("work:/once"); n != 2 {
			t.Errorf("%d workers while c stands still", n)
		}
		l.more(t, 200)
		c.signal(syscall.SIGCONT)
		complete(t, nodes)
		for _, n := range nodes {
			eventually(t, "all workers are known again", func() bool { return n.servers("work:/once") == 3 })
		}
	}
	failed := l.end()
	for body, err := range failed {
		if message.CodeOf(err) != message.CodeNodeLost {
			t.Errorf("%s: %v", body, err)
		}
	}
	t.Logf("%d of %d calls failed", len(failed), l.calls.Load())
	done := runs(workers...)
	most(t, done)
	if int64(len(done)+len(failed)) < l.calls.Load() {
		t.Errorf("%d calls, %d executed, %d failed", l.calls.Load(), len(done), len(failed))
	}
	for _, n := range nodes {
		eventually(t, "nothing is in flight", func() bool {
			d, err := ropewalk.Call[nodeapi.Drained](t.Context(), n.ask(), "node:/drain", nil)
			return err == nil && d.InFlight == 0
		})
	}
}

// A short pause is no loss.
func TestShortPause(t *testing.T) {
	needed(t)
	nodes := trio(t)
	a, c := nodes[0], nodes[2]
	w := serve(t, c)
	eventually(t, "the worker is known", func() bool { return a.servers("work:/once") == 1 })
	l := begin(t, []*client.Client{dial(t, []*node{a})}, 4, "work:/once")
	for range 3 {
		l.more(t, 100)
		c.signal(syscall.SIGSTOP)
		<-time.After(500 * time.Millisecond) // so long it stands still
		c.signal(syscall.SIGCONT)
	}
	l.more(t, 100)
	l.none(t)
	l.exactly(t, w)
}

// Three nodes are restarted one after another under load, and no call fails or
// is executed twice, wherever its caller and its server are connected.
func TestRollingRestart(t *testing.T) {
	needed(t)
	nodes := trio(t)
	var (
		clients []*client.Client
		workers []*worker
	)
	for i := range nodes {
		at := append(append([]*node{}, nodes[i:]...), nodes[:i]...)
		clients = append(clients, dial(t, at), dial(t, at))
		workers = append(workers, serve(t, at...))
	}
	for _, n := range nodes {
		eventually(t, "all workers are known", func() bool { return n.servers("work:/once") == 3 })
	}
	once := begin(t, clients, 3, "work:/once")
	echo := begin(t, clients, 3, "echo:/")
	for i := range nodes {
		once.more(t, 200)
		echo.more(t, 200)
		others := append(append([]*node{}, nodes[:i]...), nodes[i+1:]...)
		nodes[i].stop()
		once.more(t, 200)
		nodes[i] = nodes[i].again(others...)
		complete(t, nodes)
	}
	once.more(t, 200)
	once.none(t)
	echo.none(t)
	once.exactly(t, workers...)
}

// A node that drains gives its clients and calls away, and takes them again.
func TestDrain(t *testing.T) {
	needed(t)
	nodes := trio(t)
	var clients []*client.Client
	for i := range nodes {
		clients = append(clients, dial(t, append(append([]*node{}, nodes[i:]...), nodes[:i]...)))
	}
	l := begin(t, clients, 4, "echo:/")
	drain := func(on bool) nodeapi.Drained {
		d, err := ropewalk.Call[nodeapi.Drained](t.Context(), nodes[0].ask(), nodeID(nodes[0], "b")+"@node:/drain", map[string]any{"on": on})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	l.more(t, 200)
	drain(true)
	for _, c := range clients {
		eventually(t, "the clients of b are elsewhere", func() bool { return c.State() == client.Online && c.Node().Name != "b" })
	}
	eventually(t, "others do not call b", func() bool { return nodes[0].servers("echo:/") == 2 && nodes[2].servers("echo:/") == 2 })
	l.more(t, 200)
	drain(false)
	eventually(t, "others call b again", func() bool { return nodes[0].servers("echo:/") == 3 && nodes[2].servers("echo:/") == 3 })
	l.more(t, 200)
	l.none(t)
}

func nodeID(n *node, name string) string {
	for _, i := range n.nodes() {
		if i.Name == name && i.State != mesh.Lost {
			return i.ID
		}
	}
	return ""
}

// Twenty processes find each other, see services come and go, and all notice
// the loss of one.
func TestTwentyNodes(t *testing.T) {
	needed(t)
	const count = 20
	nodes := make([]*node, count)
	nodes[0] = run(t, "n00", "", "127.0.0.1:0", "127.0.0.1:0")
	var all sync.WaitGroup
	for i := 1; i < count; i++ {
		all.Go(func() { nodes[i] = run(t, fmt.Sprintf("n%02d", i), "", "127.0.0.1:0", "127.0.0.1:0", nodes[0].cluster) })
	}
	all.Wait()
	for _, n := range nodes {
		if n == nil {
			t.Fatal("a node did not start")
		}
	}
	complete(t, nodes)
	w := serve(t, nodes[13])
	for _, n := range nodes {
		eventually(t, n.name+" sees the worker", func() bool { return n.servers("work:/once") == 1 })
	}
	g, err := nodes[4].ask().Gather(t.Context(), "node:/info", nil, call.WithTimeout(patience))
	if err != nil || len(g.Answers) != count {
		t.Fatalf("%+v, %v", g, err)
	}
	_ = w.c.Close()
	for _, n := range nodes {
		eventually(t, n.name+" sees that it is gone", func() bool { return n.servers("work:/once") <= 0 })
	}
	nodes[19].kill()
	noticed(t, nodes[19], nodes[:19]...)
	for _, n := range nodes[:19] {
		if names := n.sees(); !strings.HasSuffix(names, "(n19)") || strings.Count(names, "(") != 1 {
			t.Errorf("%s sees %s", n.name, names)
		}
	}
}
