package line_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/line"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

func TestMessagesGoOverTheLine(t *testing.T) {
	t.Parallel()
	for _, driver := range []edge.Driver{edge.DriverAuto, edge.DriverGoroutine} {
		t.Run(driver.String(), func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, func(s *spot) { s.driver = driver })
			a.plane.on.Store(true)
			b.plane.on.Store(true)
			big := strings.Repeat("x", 2<<20) // in several packets
			for i := range 500 {
				a.send(t, fmt.Sprint(i))
				b.send(t, fmt.Sprint(i))
			}
			a.send(t, big)
			eventually(t, "all messages", func() bool { return a.received() == 500 && b.received() == 501 })
			for i := range 500 {
				if a.got[i] != fmt.Sprint(i) || b.got[i] != fmt.Sprint(i) {
					t.Fatalf("message %d is %s and %s", i, a.got[i], b.got[i])
				}
			}
			if b.got[500] != big {
				t.Error("the large message is another one")
			}
			if a.server.Count()+b.server.Count() != 0 {
				t.Error("a line counts as a client")
			}
		})
	}
}

// TestSecret wants no line, and no harm, between nodes of different secrets.
func TestSecret(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	a := start(t, net, "a")
	b := start(t, net, "b", func(s *spot) { s.cfg.Key = "another one that is long enough" })
	eventually(t, "a refusal", func() bool { return b.logs.count("direct line between nodes was refused") == 1 })
	if a.direct() || b.direct() {
		t.Error("a line between nodes of different secrets")
	}
	a.send(t, "x")
	eventually(t, "the backplane", func() bool { return b.received() == 1 })
	if err := testutil.GatherAndCompare(b.reg, strings.NewReader(`# HELP ropewalk_mesh_lines_refused_total Connections for a direct line whose other end was refused: it has another secret, or is no node.
# TYPE ropewalk_mesh_lines_refused_total counter
ropewalk_mesh_lines_refused_total 1
`), "ropewalk_mesh_lines_refused_total"); err != nil {
		t.Error(err)
	}
	for _, s := range []*spot{a, b} {
		if s.logs.count(goodKey)+s.logs.count("another one that") > 0 {
			t.Error("a secret in the log")
		}
	}
}

// TestWhereTo makes lines within the machine, if the mesh is there, or to others.
func TestWhereTo(t *testing.T) {
	t.Parallel()
	near := start(t, nil, "c")
	far := start(t, nil, "d", func(s *spot) { s.cfg.Local = func() bool { return false } })
	for addr, from := range map[string]*spot{
		"10.0.0.1:1": near, "example.com:1": near, "": near, "localhost:1": far, "127.0.0.1:1": far, "[::1]:1": far,
	} {
		err := from.lines.Dial(t.Context(), &mesh.Card{ID: strings.Repeat("e", 32), LineAddr: addr})
		if err == nil || !strings.Contains(err.Error(), "not an address for a line") {
			t.Errorf("dial %q: %v", addr, err)
		}
	}
}

// TestAnotherNode dials an address at which another node is.
func TestAnotherNode(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	a, b := start(t, net, "a"), start(t, net, "b")
	err := a.lines.Dial(t.Context(), &mesh.Card{ID: strings.Repeat("c", 32), LineAddr: b.addr()})
	if err == nil || !strings.Contains(err.Error(), "4102") {
		t.Errorf("dialed another node: %v", err)
	}
	if err := a.lines.Dial(t.Context(), &mesh.Card{ID: a.id, LineAddr: a.addr()}); err == nil {
		t.Error("a line to itself")
	}
}

// TestDialEnds lets nobody answer.
func TestDialEnds(t *testing.T) {
	t.Parallel()
	a, b := start(t, ropewalktest.NewNetwork(1), "a"), start(t, nil, "b") // b has no mesh yet
	if err := a.lines.Dial(t.Context(), &mesh.Card{ID: b.id, LineAddr: b.addr()}); err == nil {
		t.Error("a line to a node without a mesh")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := a.lines.Dial(ctx, &mesh.Card{ID: b.id, LineAddr: silent(t)}); err == nil || ctx.Err() == nil {
		t.Errorf("dialed what does not answer: %v", err)
	}
}

// TestLineBreaks has a proxy on the way die, or lose everything without a word,
// again and again while ten thousand messages go each way: all arrive, in order,
// and the nodes do not lose each other.
func TestLineBreaks(t *testing.T) {
	t.Parallel()
	const count = 10_000
	a, b := pair(t, func(s *spot) { s.proxied = true })
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for i := range count {
			a.send(t, fmt.Sprint(i))
			b.send(t, fmt.Sprint(i))
			if i%20 == 0 {
				<-pace.C
			}
		}
	}()
	for i := range 4 {
		eventually(t, "a line", func() bool { return a.direct() && b.direct() })
		want := (i + 1) * count / 10
		eventually(t, "messages", func() bool { return b.received() > want })
		for _, s := range []*spot{a, b} {
			if i%2 == 0 {
				s.proxy.cut()
				continue
			}
			s.proxy.frozen.Store(true)
		}
		if i%2 == 1 {
			eventually(t, "it is noticed", func() bool { return !a.direct() && !b.direct() })
			a.proxy.frozen.Store(false)
			b.proxy.frozen.Store(false)
			a.proxy.cut() // what was swallowed does not come back
			b.proxy.cut()
		}
	}
	<-sent
	eventually(t, "all messages", func() bool { return a.received() >= count && b.received() >= count })
	for _, s := range []*spot{a, b} {
		for i, body := range s.got {
			if body != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, body)
			}
		}
		if len(s.got) != count || s.left > 0 {
			t.Errorf("%d messages, %d times lost", len(s.got), s.left)
		}
	}
	eventually(t, "a line", func() bool { return a.direct() && b.direct() })
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := line.Config{ID: strings.Repeat("a", 32), Key: "k", Addr: func() string { return "" }, Local: func() bool { return true }}
	if _, err := line.New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*line.Config){
		"id": func(c *line.Config) { c.ID = "x" }, "key": func(c *line.Config) { c.Key = "" },
		"addr": func(c *line.Config) { c.Addr = nil }, "local": func(c *line.Config) { c.Local = nil },
	} {
		c := good
		if change(&c); c.ID != "" {
			if _, err := line.New(c); err == nil {
				t.Errorf("no error without %s", name)
			}
		}
	}
}

// What goes over a line leaves no garbage: frames and packets are used again.
func TestSendAllocations(t *testing.T) { //nolint:paralleltest // counts allocations
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	got := make(chan struct{}, 1)
	a, _ := pair(t, func(s *spot) { s.take = func([]byte) { got <- struct{}{} } })
	body := strings.Repeat("x", 128)
	once := func() {
		a.send(t, body)
		<-got
	}
	for range 1000 { // until there are as many packets as wait for acknowledgements
		once()
	}
	least := testing.AllocsPerRun(1000, once)
	for range 5 {
		least = min(least, testing.AllocsPerRun(1000, once))
	}
	if least > 6 { // what the test itself makes of a message
		t.Errorf("%v allocations a message", least)
	}
}
