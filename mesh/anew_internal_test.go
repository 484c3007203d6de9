package mesh

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// hands is a backplane between two nodes. What it carries may take a time, and
// overtake; while it is held, what they send to each other waits.
type hands struct {
	takes func() time.Duration // nil: none

	mu    sync.Mutex
	turns func(b []byte) [][]byte // what is sent into what it carries; nil: it stays as it is
	held  bool
	kept  [][]byte
	to    *hands
	r     Receiver
	done  sync.WaitGroup // of what is on its way to this side
}

// shake returns both ends of such a backplane.
func shake(takes func() time.Duration) [2]*hands {
	a, b := &hands{takes: takes}, &hands{takes: takes}
	a.to, b.to = b, a
	return [2]*hands{a, b}
}

func (h *hands) Open(_ context.Context, _ string, r Receiver) error {
	h.r = r
	return nil
}

func (h *hands) Addr() string           { return "" }
func (h *hands) Publish(b []byte) error { return h.Send("", b) }

func (h *hands) Close(context.Context) error {
	h.hold(true)
	h.to.done.Wait()
	return nil
}

func (h *hands) Send(_ string, b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b = append([]byte(nil), b...)
	if h.turns == nil {
		h.carry(b)
		return nil
	}
	for _, b := range h.turns(b) {
		h.carry(b)
	}
	return nil
}

// carry has b come to the other side. h.mu is held.
func (h *hands) carry(b []byte) {
	switch {
	case !h.held:
		h.to.done.Go(func() {
			if h.takes != nil {
				time.Sleep(h.takes()) // of the bubble's clock
			}
			h.to.r.Received(b)
		})
	case b[0] != kindCard:
		h.kept = append(h.kept, b)
	}
}

func (h *hands) hold(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = yes
}

// told counts the routes that a node was told of.
type told struct {
	careful
	mu   sync.Mutex
	n    int
	last map[*Node]uint64 // number of the last message of a link
}

func (h *told) Served(*Node, route.Seat) error { h.add(1); return nil }
func (h *told) Unserved(*Node, route.Seat)     { h.add(-1) }

func (h *told) Left(n *Node, _ *message.Error) { h.add(-len(n.serves)) }

func (h *told) add(n int) (sum int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n += n
	return h.n
}

// pair starts two nodes that know each other by nothing but meet, and what each
// serves.
func pair(t *testing.T, planes [2]*hands) (nodes [2]*Mesh, seen [2]*told) {
	t.Helper()
	p, err := route.ParsePattern("/add")
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		seen[i] = &told{careful: careful{t}}
		table := route.NewTable()
		if err := table.Serve("math", p, &local{id: "s"}, route.Info{}); err != nil {
			t.Fatal(err)
		}
		nodes[i], err = Start(t.Context(), Config{
			ID: message.NewNodeID(), Name: string(rune('a' + i)), Backplane: planes[i], Table: table, Handler: seen[i],
			Discovery: NoDiscovery(), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return nodes, seen
}

// meet has each node see the card of the other.
func meet(t *testing.T, nodes [2]*Mesh) {
	t.Helper()
	for i, m := range nodes {
		if err := (directory{m}).Seen(nodes[1-i].Card()); err != nil {
			t.Fatal(err)
		}
	}
}

// settled wants both nodes to know the link of the other, and what it serves, and
// ends them.
func settled(t *testing.T, nodes [2]*Mesh, seen [2]*told) {
	t.Helper()
	synctest.Wait()
	for i, m := range nodes {
		links, others, routes := m.links(false), nodes[1-i].links(false), seen[i].add(0)
		if len(links) != 1 || len(others) != 1 || links[0].peer != others[0].epoch || routes != 1 {
			t.Errorf("node %d does not know the link of the other, or its routes: %d", i, routes)
		}
	}
	for _, m := range nodes {
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Both sides have lost the link and begun another, and then comes what each sent
// on the old one before it knew the other side: nobody takes the old link of the
// other for the one of now.
func TestBothSidesHearOfOldLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		planes := shake(nil)
		nodes, seen := pair(t, planes)
		planes[0].hold(true)
		planes[1].hold(true)
		meet(t, nodes)
		time.Sleep(10 * time.Millisecond) // the first packets of both are kept
		synctest.Wait()
		old := [2][][]byte{planes[0].kept, planes[1].kept}
		for _, m := range nodes {
			for _, n := range m.links(false) {
				m.lose(n, "of the test", lostSilent)
			}
		}
		meet(t, nodes)
		time.Sleep(10 * time.Millisecond)
		for i, m := range nodes {
			if len(old[i]) == 0 {
				t.Fatal("nothing was kept")
			}
			for _, b := range old[1-i] {
				m.Received(b)
			}
			if n := m.links(false)[0]; n.peer != 0 {
				t.Errorf("node %d takes an old link of the other for the one of now", i)
			}
		}
		planes[0].hold(false)
		planes[1].hold(false)
		for range 4 { // somebody has to say something for it to be noticed
			time.Sleep(DefaultInterval)
			meet(t, nodes)
		}
		settled(t, nodes, seen)
	})
}

// Two nodes lose their link again and again, while what they send to each other
// takes up to two seconds and overtakes. When the last loss has come through,
// nobody begins anew any more.
func TestLinksSettle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
			var mu sync.Mutex
			upTo := func(most time.Duration) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(r.Int64N(int64(most)))
			}
			nodes, seen := pair(t, shake(func() time.Duration { return upTo(2 * time.Second) }))
			begunAnew := func() (n float64) {
				for _, m := range nodes {
					n += testutil.ToFloat64(m.metrics.lost.WithLabelValues(string(lostAnew)))
				}
				return n
			}
			for range 8 {
				meet(t, nodes)
				time.Sleep(upTo(time.Second))
				m := nodes[upTo(2)]
				for _, n := range m.links(false) {
					m.lose(n, "of the test", lostSilent)
				}
			}
			before := 0.0
			for i := range 30 {
				if i == 3 {
					before = begunAnew()
				}
				meet(t, nodes)
				time.Sleep(DefaultInterval)
			}
			if n := begunAnew() - before; n > 0 {
				t.Errorf("seed %d: links were begun anew %v times more", seed, n)
			}
			settled(t, nodes, seen)
		})
	}
}

// local is a server of the node itself.
type local struct {
	route.Endpoint
	id string
}

func (l *local) ID() string  { return l.id }
func (l *local) Local() bool { return true }
