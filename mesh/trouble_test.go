package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

// line is a backplane whose messages take their time, one after another.
type line struct {
	mesh.Backplane

	perByte time.Duration
	deaf    func(data []byte) bool // what is lost

	mu   sync.Mutex
	free time.Time // when what was sent before is through
	sent int       // bytes
	wg   sync.WaitGroup
}

func (l *line) Send(node string, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf != nil && l.deaf(data) {
		return nil
	}
	l.sent += len(data)
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(len(data)) * l.perByte)
	wait, data := time.Until(l.free), bytes.Clone(data)
	l.wg.Go(func() {
		time.Sleep(wait)
		_ = l.Backplane.Send(node, data)
	})
	return nil
}

func (l *line) Close(ctx context.Context) error {
	l.wg.Wait()
	return l.Backplane.Close(ctx)
}

func over(b mesh.Backplane) func(*mesh.Config) {
	return func(c *mesh.Config) { c.Backplane = b }
}

// A line that is slower than what is to go over it gets each byte once: what is
// sent again without need would make it slower still, until nothing gets through.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	const crawling = 100 << 10
	for _, rate := range []int{crawling, 1 << 20, 20 << 20} { // bytes a second
		synctest.Test(t, func(t *testing.T) {
			h := ropewalktest.NewNetwork(1)
			l := &line{Backplane: h.Node(), perByte: time.Second / time.Duration(rate)}
			a, b := start(t, h, "a", over(l)), start(t, h, "b")
			time.Sleep(time.Second)
			const n, size = 64, 128 << 10
			body := `"` + strings.Repeat("x", size) + `"`
			for range n {
				if err := send(a.link("b"), body); err != nil {
					t.Fatal(err)
				}
			}
			for range 1000 {
				if time.Sleep(time.Second); len(b.received()) == n {
					break
				}
			}
			synctest.Wait()
			if len(b.received()) != n || len(a.left)+len(b.left) > 0 {
				t.Errorf("at %d bytes a second %d of %d messages arrived; lost %q, %q", rate, len(b.received()), n, a.left, b.left)
			}
			most := n * size * 5 / 4
			if rate == crawling { // one message takes longer than acknowledgements are waited for
				most *= 4
			}
			if l.sent > most {
				t.Errorf("at %d bytes a second %d bytes were sent for %d", rate, l.sent, n*size)
			}
			a.stop(t)
			b.stop(t)
		})
	}
}

// A node that is heard, but takes nothing of what is sent to it, is given up,
// before what waits for it fills the memory.
func TestNodeThatAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		const ackPacket = 3
		l := &line{Backplane: h.Node()}
		a, b := start(t, h, "a"), start(t, h, "b", over(l))
		time.Sleep(time.Second)
		l.mu.Lock()
		l.deaf = func(data []byte) bool { return data[0] == ackPacket }
		l.mu.Unlock()
		old := a.link("b")
		if err := send(old, "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if a.link("b") != old {
			t.Error("it was given up at once")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !slices.Contains(a.left, "b node_lost") {
			t.Errorf("it was not given up: %q", a.left)
		}
		a.stop(t)
		b.stop(t)
	})
}

// A node that has lost its backplane waits; it does not try all the time.
func TestBackplaneAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		time.Sleep(time.Second)
		h.Disconnect(a.id)
		synctest.Wait()
		body := `"` + strings.Repeat("x", 100<<10) + `"`
		for range 10 {
			if err := send(a.link("b"), body); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // it would never be over if somebody were busy
		h.Reconnect(a.id)
		time.Sleep(time.Second)
		if n := len(b.received()); n != 10 {
			t.Errorf("%d of 10 messages arrived", n)
		}
		a.stop(t)
		b.stop(t)
	})
}

// Whoever leaves takes back first what it does not serve any more: others must
// not send it calls that nobody answers.
func TestTakenBackBeforeLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		s := &here{id: "a1"}
		a.serve(t, s, "math", "/add", "1.0.0")
		time.Sleep(time.Second)
		if b.served() == "" {
			t.Fatal("b knows nothing")
		}
		b.mu.Lock()
		b.atLeft = func() {
			if len(b.routes) > 0 {
				t.Errorf("a has left with %v", b.routes)
			}
		}
		b.mu.Unlock()
		a.table.UnserveAll(s)
		a.stop(t)
		synctest.Wait()
		if len(b.left) != 1 {
			t.Errorf("a has not left: %q", b.left)
		}
		b.stop(t)
	})
}

// What says that a call is over gets through where the rest is refused.
func TestRoomForErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a := start(t, h, "a", func(c *mesh.Config) { c.MaxPending = 10_000 })
		b := start(t, h, "b")
		time.Sleep(time.Second)
		h.Block(a.id, b.id)
		n := a.link("b")
		deliver := func(v message.Verb) error {
			return n.Deliver(mesh.Note{}, &message.Message{Verb: v, Rmid: []byte("1"), Body: []byte(`"` + strings.Repeat("x", 100) + `"`)})
		}
		count := func(v message.Verb) (k int) {
			for deliver(v) == nil && k < 1000 {
				k++
			}
			if err := deliver(v); message.CodeOf(err) != message.CodeOverloaded {
				t.Errorf("a %s too many: %v", v, err)
			}
			return k
		}
		parts, replies, errs := count(message.VerbPart), count(message.VerbReply), count(message.VerbError)
		if parts < 10 || replies < 2*parts || errs < parts+replies-10 {
			t.Errorf("there was room for %d parts, then %d replies, then %d errors", parts, replies, errs)
		}
		a.stop(t)
		b.stop(t)
	})
}

// A message that comes back because its node is lost is sent elsewhere: by then
// the lost node must not be among those who serve it.
func TestReturnedWhenRoutesAreGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		b.serve(t, &here{id: "b1"}, "math", "/add", "1.0.0")
		b.serve(t, &here{id: "b2"}, "math", "/add", "1.0.0")
		time.Sleep(time.Second)
		returned := 0
		a.messages = func(_ *mesh.Node, note mesh.Note, _ *message.Message) {
			if a.served() != "" {
				t.Errorf("while it is served: %s", a.served())
			}
			if note.Returned {
				returned++
			}
		}
		h.Block(a.id, b.id)
		h.Block(b.id, a.id)
		body := `"` + strings.Repeat("x", 100<<10) + `"`
		for range 100 { // more than may be under way
			if err := send(a.link("b"), body); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if returned == 0 || returned == 100 || len(a.left) != 1 {
			t.Errorf("%d of 100 came back; %q", returned, a.left)
		}
		a.stop(t)
		b.stop(t)
		a.check(t)
	})
}

// broken is a backplane that cannot be opened.
type broken struct{ mesh.Backplane }

func (broken) Addr() string { return "" }

func (broken) Open(context.Context, string, mesh.Receiver) error { return errors.New("broken") }

// A mesh that did not start leaves nothing behind, so that another may.
func TestStartFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		cfg := mesh.Config{
			ID: message.NewNodeID(), Name: "a", Backplane: broken{}, Table: route.NewTable(), Handler: &world{}, Registry: reg,
		}
		if _, err := mesh.Start(t.Context(), cfg); err == nil {
			t.Fatal("it started")
		}
		cfg.Name = "a\nb"
		if _, err := mesh.Start(t.Context(), cfg); err == nil {
			t.Fatal("it started")
		}
		if got, err := reg.Gather(); err != nil || len(got) > 0 {
			t.Errorf("%d metrics are left, %v", len(got), err)
		}
	})
}

// What a node says of itself is printed in tables and logs.
func TestCardsAreText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		d := &teller{}
		a := start(t, h, "a", func(c *mesh.Config) { c.Discovery = d })
		synctest.Wait()
		good := mesh.Card{Protocol: mesh.Protocol, ID: message.NewNodeID(), Name: "b", State: mesh.Alive}
		if err := d.seen(good); err != nil {
			t.Fatal(err)
		}
		const bad = "1\x1b[2J\n"
		for i, change := range []func(c *mesh.Card){
			func(c *mesh.Card) { c.Name = bad },
			func(c *mesh.Card) { c.Version = bad },
			func(c *mesh.Card) { c.Addr = bad },
			func(c *mesh.Card) { c.URLs = []string{bad} },
			func(c *mesh.Card) { c.Labels = map[string]string{"zone": bad} },
			func(c *mesh.Card) { c.Labels = map[string]string{bad: "a"} },
			func(c *mesh.Card) { c.State = bad },
		} {
			c := good
			change(&c)
			if d.seen(c) == nil {
				t.Errorf("the card %d was taken", i)
			}
		}
		a.stop(t)
	})
}

// teller is a discovery that knows what a test tells it.
type teller struct {
	mesh.Discovery

	mu sync.Mutex
	d  mesh.Directory
}

func (*teller) Name() string           { return "teller" }
func (*teller) Trusts(*mesh.Card) bool { return false }

func (d *teller) Run(ctx context.Context, dir mesh.Directory) {
	d.mu.Lock()
	d.d = dir
	d.mu.Unlock()
	<-ctx.Done()
}

func (d *teller) seen(c mesh.Card) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.d.Seen(c)
}

// A lost node is blamed for what it served, and for nothing else.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0") // so that b may still run
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b", func(c *mesh.Config) { c.Backplane = addressed{c.Backplane, l.Addr().String()} })
		b.serve(t, &here{id: message.NewClientID(b.id)}, "math", "/add", "1.0.0")
		b.serve(t, &here{id: b.id}, "node", "/info", "")
		time.Sleep(time.Second)
		h.Partition([]string{a.id}, []string{b.id})
		time.Sleep(4 * time.Second)
		synctest.Wait()
		other := message.NewNodeID()
		for addr, want := range map[string]bool{
			"math:/add":                              true,
			"math:/sub":                              false,
			"math:/*":                                true,
			"*:/add":                                 true,
			"text:/*":                                false,
			message.NewClientID(b.id) + "@math:/add": true,
			message.NewClientID(other) + "@math:/add":     false,
			b.id + "@node:/info":                          true,
			other + "@node:/info":                         false,
			message.NewClientID(b.id) + "@client:/":       true,
			message.NewClientID(other) + "@client:/":      false,
			"nobody@client:/":                             false,
			fmt.Sprintf("%s@math:/add", b.id[:len("ab")]): false,
		} {
			p, err := message.ParseStrict(addr)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.mesh.Unreachable(p); (got != nil) != want || got != nil && got.Code != message.CodeMeshSplit {
				t.Errorf("%s: %v, want an error: %v", addr, got, want)
			}
		}
		a.stop(t)
		b.stop(t)
	})
}

// addressed is a backplane that tells where its node is.
type addressed struct {
	mesh.Backplane

	addr string
}

func (a addressed) Addr() string { return a.addr }

// A description that is too large to be announced does not keep the nodes apart.
func TestLargeDescription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a, b := start(t, h, "a"), start(t, h, "b")
		p, err := route.ParsePattern("/add")
		if err != nil {
			t.Fatal(err)
		}
		info := route.Info{Version: "1.2.3", Idempotent: true, Description: strings.Repeat("<", 1<<20)}
		if err := a.table.Serve("math", p, &here{id: "a1"}, info); err != nil {
			t.Fatal(err)
		}
		a.serve(t, &here{id: "a1"}, "math", "/sub", "1.0.0")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := b.served(); got != "a a1 math:/add, a a1 math:/sub" || len(b.left) > 0 {
			t.Errorf("b knows %q, and lost %q", got, b.left)
		}
		if got := b.routes["a a1 math:/add"]; got != "1.2.3" {
			t.Errorf("the version is %q", got)
		}
		a.stop(t)
		b.stop(t)
	})
}

// A node that takes larger messages than another sends that one none of these:
// they would cost the link, with all that is on it.
func TestNodesOfDifferentFrames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		a := start(t, h, "a")
		b := start(t, h, "b", func(c *mesh.Config) { c.MaxFrame = 1 << 20 })
		time.Sleep(time.Second)
		body := `"` + strings.Repeat("x", 3<<20) + `"`
		if err := send(a.link("b"), body); message.CodeOf(err) != message.CodeTooLarge {
			t.Errorf("to the one that takes less: %v", err)
		}
		for _, n := range a.mesh.Nodes() {
			if n.Frame != 0 {
				t.Errorf("people are told of %d bytes", n.Frame)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(a.left) > 0 || len(b.received()) > 0 {
			t.Errorf("a has lost %q, b has %d messages", a.left, len(b.received()))
		}
		a.stop(t)
		b.stop(t)
	})
}

// Nodes that come and go, as one that crashes again and again, do not keep new
// ones out.
func TestManyNodesComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &teller{}
		a := start(t, ropewalktest.NewNetwork(1), "a", func(c *mesh.Config) { c.Discovery = d })
		synctest.Wait()
		card := func() mesh.Card {
			return mesh.Card{Protocol: mesh.Protocol, ID: message.NewNodeID(), Name: "b", State: mesh.Alive, Started: time.Now()}
		}
		for range 1100 { // more than are remembered
			if err := d.seen(card()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second) // they are lost
		last := card()
		if err := d.seen(last); err != nil {
			t.Fatal(err)
		}
		list := a.mesh.Nodes()
		if !slices.ContainsFunc(list, func(i mesh.NodeInfo) bool { return i.ID == last.ID && i.State == mesh.Alive }) {
			t.Errorf("the last of 1101 nodes is not among the %d that are known", len(list))
		}
		if len(list) > 1001 {
			t.Errorf("%d nodes are known", len(list))
		}
		a.stop(t)
	})
}
