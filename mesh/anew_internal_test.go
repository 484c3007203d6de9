package mesh

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// hands is a backplane between two nodes; while it is held, what they send to
// each other waits.
type hands struct {
	mu   sync.Mutex
	held bool
	kept [][]byte
	to   *hands
	in   chan []byte
	done sync.WaitGroup
}

func (h *hands) Open(_ context.Context, _ string, r Receiver) error {
	h.done.Go(func() {
		for b := range h.in {
			r.Received(b)
		}
	})
	return nil
}

func (h *hands) Addr() string           { return "" }
func (h *hands) Publish(b []byte) error { return h.Send("", b) }

func (h *hands) Close(context.Context) error {
	h.hold(true)
	close(h.to.in)
	h.to.done.Wait()
	return nil
}

func (h *hands) Send(_ string, b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b = append([]byte(nil), b...)
	switch {
	case !h.held:
		h.to.in <- b
	case b[0] != kindCard:
		h.kept = append(h.kept, b)
	}
	return nil
}

func (h *hands) hold(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = yes
}

// told counts the routes that a node was told of.
type told struct {
	careful
	mu sync.Mutex
	n  int
}

func (h *told) Served(*Node, route.Seat) error { h.add(1); return nil }
func (h *told) Unserved(*Node, route.Seat)     { h.add(-1) }

func (h *told) Left(n *Node, _ *message.Error) { h.add(-len(n.serves)) }

func (h *told) add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n += n
}

// Both sides have lost the link and begun another, and then comes what each sent
// on the old one before it knew the other side: so each takes the old link of
// the other for the one of now. They find out, and begin once more.
func TestBothSidesKnowOldLinksOfEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		planes := [2]*hands{{in: make(chan []byte, 1000)}, {in: make(chan []byte, 1000)}}
		planes[0].to, planes[1].to = planes[1], planes[0]
		var (
			nodes [2]*Mesh
			seen  [2]*told
		)
		for i := range nodes {
			seen[i] = &told{careful: careful{t}}
			table := route.NewTable()
			p, err := route.ParsePattern("/add")
			if err != nil {
				t.Fatal(err)
			}
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
		meet := func() {
			for i, m := range nodes {
				card := nodes[1-i].Card()
				if err := (directory{m}).Seen(card); err != nil {
					t.Fatal(err)
				}
			}
		}
		planes[0].hold(true)
		planes[1].hold(true)
		meet()
		time.Sleep(10 * time.Millisecond) // the first packets of both are kept
		synctest.Wait()
		old := [2][][]byte{planes[0].kept, planes[1].kept}
		for _, m := range nodes {
			for _, n := range m.links(false) {
				m.lose(n, "of the test", lostSilent)
			}
		}
		meet()
		time.Sleep(10 * time.Millisecond)
		for i, m := range nodes {
			if len(old[i]) == 0 {
				t.Fatal("nothing was kept")
			}
			for _, b := range old[1-i] {
				m.Received(b)
			}
		}
		planes[0].hold(false)
		planes[1].hold(false)
		for range 4 { // somebody has to say something for it to be noticed
			time.Sleep(DefaultInterval)
			meet()
		}
		synctest.Wait()
		for i, m := range nodes {
			links := m.links(false)
			if len(links) != 1 || links[0].peer != nodes[1-i].links(false)[0].epoch || seen[i].n != 1 {
				t.Errorf("node %d does not know the link of the other, or its routes: %d", i, seen[i].n)
			}
		}
		for _, m := range nodes {
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// local is a server of the node itself.
type local struct {
	route.Endpoint
	id string
}

func (l *local) ID() string  { return l.id }
func (l *local) Local() bool { return true }
