package mesh_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

// world is what one node of a test has seen of the others. It implements
// mesh.Handler.
type world struct {
	mesh  *mesh.Mesh
	id    string
	table *route.Table
	name  string

	mu       sync.Mutex
	links    map[string]*mesh.Node // by name
	routes   map[string]string     // "node server name:/pattern" to version
	got      []string              // "node note body"
	left     []string
	order    []string // of events, to check that they come as promised
	messages func(n *mesh.Node, note mesh.Note, m *message.Message)
	atLeft   func() // before the node's routes are forgotten
}

func (w *world) Joined(n *mesh.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := n.Card().Name
	if w.links[name] != nil {
		w.order = append(w.order, "joined twice "+name)
	}
	w.links[name] = n
}

func (w *world) Served(n *mesh.Node, s route.Seat) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links[n.Card().Name] != n {
		w.order = append(w.order, "served before joined")
	}
	w.routes[key(n, s)] = s.Info.Version
	return nil
}

func (w *world) Unserved(n *mesh.Node, s route.Seat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.routes[key(n, s)]; !ok {
		w.order = append(w.order, "unserved what was not served")
	}
	delete(w.routes, key(n, s))
}

func key(n *mesh.Node, s route.Seat) string {
	return fmt.Sprintf("%s %s %s:%s", n.Card().Name, s.Server, s.Name, s.Pattern)
}

func (w *world) Message(n *mesh.Node, note mesh.Note, m *message.Message) {
	if w.messages != nil {
		w.messages(n, note, m)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links[n.Card().Name] != n {
		w.order = append(w.order, "message before joined")
	}
	mark := ""
	if note.Returned {
		mark = " returned"
	}
	w.got = append(w.got, fmt.Sprintf("%s %s%s %s", n.Card().Name, note.Server, mark, m.Body))
}

func (w *world) Left(n *mesh.Node, why *message.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := n.Card().Name
	if w.links[name] != n {
		w.order = append(w.order, "left before joined")
	}
	if w.atLeft != nil {
		w.atLeft()
	}
	delete(w.links, name)
	maps.DeleteFunc(w.routes, func(k, _ string) bool { return strings.HasPrefix(k, name+" ") })
	w.left = append(w.left, name+" "+string(why.Code))
}

func (w *world) link(name string) *mesh.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.links[name]
}

func (w *world) known() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.links))
}

func (w *world) served() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(w.routes)), ", ")
}

func (w *world) received() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *world) check(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.order {
		t.Errorf("%s: %s", w.name, e)
	}
}

// start starts a node in a network.
func start(t testing.TB, h *ropewalktest.Network, name string, change ...func(*mesh.Config)) *world {
	t.Helper()
	w := &world{
		id: message.NewNodeID(), table: route.NewTable(), name: name,
		links: make(map[string]*mesh.Node), routes: make(map[string]string),
	}
	cfg := mesh.Config{
		ID: w.id, Name: name, Backplane: h.Node(), Table: w.table, Handler: w,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	m, err := mesh.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.mesh = m
	return w
}

func (w *world) stop(t testing.TB) {
	t.Helper()
	if err := w.mesh.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// here is a server of this node.
type here struct {
	route.Endpoint
	id string
}

func (h *here) ID() string  { return h.id }
func (h *here) Local() bool { return true }

func (w *world) serve(t testing.TB, server *here, name, pattern, version string) {
	t.Helper()
	p, err := route.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.table.Serve(name, p, server, route.Info{Version: version}); err != nil {
		t.Fatal(err)
	}
}

func noteFor(server string) mesh.Note { return mesh.Note{Server: server} }

func send(n *mesh.Node, body string) error {
	return n.Deliver(noteFor("s1"), &message.Message{
		Verb: message.VerbCall, To: []byte("math:/add"), Mid: []byte("1"), Body: []byte(body),
	})
}

func TestNodesMeet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a := start(t, h, "a")
		a.serve(t, &here{id: "a1"}, "math", "/add", "1.0.0")
		b := start(t, h, "b")
		c := start(t, h, "c")
		synctest.Wait()
		time.Sleep(mesh.DefaultInterval) // of the bubble
		for _, w := range []*world{a, b, c} {
			if n := len(w.known()); n != 2 {
				t.Errorf("%s knows %v", w.name, w.known())
			}
		}
		if got := b.served(); got != "a a1 math:/add" {
			t.Errorf("b knows the routes %q", got)
		}
		if err := send(b.link("a"), "hello"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := a.received(); !slices.Equal(got, []string{"b s1 hello"}) {
			t.Errorf("a received %q", got)
		}
		b.stop(t)
		synctest.Wait()
		if got := a.known(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("after b stopped a knows %v", got)
		}
		a.stop(t)
		c.stop(t)
		for _, w := range []*world{a, b, c} {
			w.check(t)
		}
	})
}

func TestALostNodeIsNoticedWithinThreeSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		time.Sleep(time.Second)
		h.Disconnect(b.id)
		began := time.Now()
		for a.link("b") != nil {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		if !slices.Equal(a.left, []string{"b node_lost"}) {
			t.Errorf("a was told %q", a.left)
		}
		a.stop(t)
		b.stop(t)
	})
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		time.Sleep(time.Second)
		h.Drop(0.2)
		var want []string
		for i := range 500 {
			if err := send(a.link("b"), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("a s1 %d", i))
			if i%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		for range 1000 {
			time.Sleep(100 * time.Millisecond)
			if len(b.received()) == len(want) {
				break
			}
		}
		if got := b.received(); !slices.Equal(got, want) {
			t.Errorf("%d of %d messages arrived, or not in order; lost %q %q", len(got), len(want), a.left, b.left)
		}
		h.Drop(0)
		a.stop(t)
		b.stop(t)
		a.check(t)
		b.check(t)
	})
}

func TestAPartitionHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		s := &here{id: "b1"}
		b.serve(t, s, "math", "/add", "1.0.0")
		time.Sleep(time.Second)
		h.Partition([]string{a.id}, []string{b.id})
		b.serve(t, s, "math", "/sub", "1.0.0")
		time.Sleep(4 * time.Second)
		if a.link("b") != nil || b.link("a") != nil || a.served() != "" {
			t.Fatalf("they still know each other: %q", a.served())
		}
		addr := message.Address{Name: "math", Path: "/add"}
		if e := a.mesh.Unreachable(addr); e != nil {
			t.Errorf("without an address to ask, %v", e)
		}
		h.Heal()
		time.Sleep(3 * time.Second)
		if got := a.served(); got != "b b1 math:/add, b b1 math:/sub" {
			t.Errorf("after the partition a knows %q", got)
		}
		if err := send(a.link("b"), "again"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.received(); !slices.Equal(got, []string{"a s1 again"}) {
			t.Errorf("b received %q", got)
		}
		a.stop(t)
		b.stop(t)
		a.check(t)
		b.check(t)
	})
}

func TestOneWayIsNoWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		time.Sleep(time.Second)
		h.Block(a.id, b.id)
		time.Sleep(3 * time.Second)
		if a.link("b") != nil || b.link("a") != nil {
			t.Error("a node that hears, but is not heard, has a link")
		}
		h.Heal()
		time.Sleep(2 * time.Second)
		if a.link("b") == nil || b.link("a") == nil {
			t.Error("they do not meet again")
		}
		a.stop(t)
		b.stop(t)
		a.check(t)
		b.check(t)
	})
}

func TestMessagesOfAnEarlierLifeAreIgnored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		time.Sleep(time.Second)
		// b stands still, and a does not know it yet.
		h.Pause(b.id)
		if err := send(a.link("b"), "old"); err != nil {
			t.Fatal(err)
		}
		h.Block(b.id, a.id)
		time.Sleep(4 * time.Second)
		if a.link("b") != nil {
			t.Fatal("a has not noticed that b stands still")
		}
		h.Heal()
		h.Resume(b.id)
		time.Sleep(3 * time.Second)
		if a.link("b") == nil || b.link("a") == nil {
			t.Fatal("they do not meet again")
		}
		if err := send(a.link("b"), "new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := b.received()
		if n := len(got); n == 0 || got[n-1] != "a s1 new" {
			t.Errorf("b received %q", got)
		}
		a.stop(t)
		b.stop(t)
		a.check(t)
		b.check(t)
	})
}
