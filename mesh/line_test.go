package mesh_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// lined gives a node lines.
func lined(h *ropewalktest.Network) func(*mesh.Config) {
	return func(c *mesh.Config) { c.Lines = h.Lines() }
}

// pair starts two nodes with lines and waits until they have one. The first has
// the smaller id, and dials.
func pair(t *testing.T, h *ropewalktest.Network) (a, b *world) {
	t.Helper()
	a, b = start(t, h, "a", lined(h)), start(t, h, "b", lined(h))
	time.Sleep(10 * time.Second)
	if got := lines(a) + lines(b); got != "b=direct a=direct " {
		t.Fatalf("lines: %s", got)
	}
	if b.id < a.id {
		return b, a
	}
	return a, b
}

// lines says how a node sends to the others.
func lines(w *world) string {
	var b strings.Builder
	for _, n := range w.mesh.Nodes() {
		if !n.Self {
			fmt.Fprintf(&b, "%s=%s ", n.Name, n.Line)
		}
	}
	return b.String()
}

// bubble runs a test with two nodes that have a line.
func bubble(t *testing.T, test func(t *testing.T, h *ropewalktest.Network, a, b *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(3)
		a, b := pair(t, h)
		test(t, h, a, b)
		h.Heal()
		for _, w := range []*world{a, b} {
			w.check(t)
			w.stop(t)
		}
	})
}

func TestMessagesGoOverTheLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(3)
		var counts []*counter
		count := func(c *mesh.Config) {
			counts = append(counts, &counter{Backplane: c.Backplane})
			c.Backplane = counts[len(counts)-1]
		}
		a, b := start(t, h, "a", lined(h), count), start(t, h, "b", lined(h), count)
		time.Sleep(10 * time.Second)
		for _, c := range counts {
			c.mute.Store(true) // nothing gets through but by the line
		}
		for i := range 100 {
			if err := send(a.link("b"), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := b.received(); len(got) != 100 {
			t.Errorf("%d messages arrived", len(got))
		}
		time.Sleep(time.Minute) // cards go over the line as well
		if len(a.left)+len(b.left) > 0 {
			t.Errorf("lost: %v, %v", a.left, b.left)
		}
		a.stop(t)
		b.stop(t)
	})
}

// TestLineBreaks takes the line away in each way there is, in the middle of
// messages: nothing is lost, nothing comes twice or out of order, the nodes stay
// together, and there is a line again.
func TestLineBreaks(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(h *ropewalktest.Network, a, b string){
		"cut":       func(h *ropewalktest.Network, a, b string) { h.CutLines(a, b) },
		"hole":      func(h *ropewalktest.Network, a, b string) { h.HushLines(a, b); h.HushLines(b, a) },
		"hole here": func(h *ropewalktest.Network, a, b string) { h.HushLines(b, a) },
		"hole away": func(h *ropewalktest.Network, a, b string) { h.HushLines(a, b) },
	} {
		for _, phase := range []int{0, 300, 500, 700, 900} {
			t.Run(fmt.Sprint(name, " ", phase), func(t *testing.T) {
				bubble(t, func(t *testing.T, h *ropewalktest.Network, a, b *world) {
					t.Helper()
					const count = 3000
					var want []string
					for i := range count {
						if i == count/3 {
							time.Sleep(time.Duration(phase) * time.Millisecond)
							fault(h, a.id, b.id)
						}
						body := fmt.Sprint(i)
						want = append(want, a.name+" s1 "+body)
						if err := send(a.link(b.name), body); err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Millisecond)
					}
					time.Sleep(3 * time.Second)
					if got := b.received(); !slices.Equal(got, want) {
						t.Errorf("%d messages arrived, want %d in order", len(got), len(want))
					}
					if name != "cut" && !strings.Contains(lines(a)+lines(b), "nats") {
						t.Error("a line that loses everything was not given up")
					}
					h.Heal()
					time.Sleep(15 * time.Second)
					if got := lines(a) + lines(b); got != b.name+"=direct "+a.name+"=direct " {
						t.Errorf("lines afterwards: %s", got)
					}
					if len(a.left)+len(b.left) > 0 {
						t.Errorf("lost: %v, %v", a.left, b.left)
					}
				})
			})
		}
	}
}

// TestQuietWithLines counts what goes over the backplane at rest.
func TestQuietWithLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(3)
		counts := make([]*counter, 4)
		nodes := make([]*world, len(counts))
		for i := range counts {
			nodes[i] = start(t, h, fmt.Sprint("n", i), lined(h), func(c *mesh.Config) {
				counts[i] = &counter{Backplane: c.Backplane}
				c.Backplane = counts[i]
			})
		}
		time.Sleep(20 * time.Second)
		for _, c := range counts {
			c.published.Store(0)
			c.sent.Store(0)
		}
		time.Sleep(50 * time.Second)
		for _, c := range counts {
			if p, s := c.published.Load(), c.sent.Load(); p > 11 || p < 9 || s > 0 {
				t.Errorf("%d cards to all and %d messages to one in 50 s", p, s)
			}
		}
		// Somebody without a line has to hear each second.
		h.ForbidLines(true)
		h.CutLines(nodes[0].id, nodes[1].id)
		time.Sleep(10 * time.Second)
		if p := counts[0].published.Load(); p < 18 {
			t.Errorf("%d cards to all where a line is missing", p)
		}
		for _, w := range nodes {
			if len(w.left) > 0 {
				t.Errorf("lost: %v", w.left)
			}
			w.check(t)
		}
		for _, w := range nodes {
			w.stop(t)
		}
	})
}

// TestLostAsSoonWithLines wants a node that is silent on all ways to be lost as
// soon as without lines, whichever way it is.
func TestLostAsSoonWithLines(t *testing.T) {
	for name, fault := range map[string]func(h *ropewalktest.Network, a, b string){
		"paused":    func(h *ropewalktest.Network, _, b string) { h.Pause(b) },
		"partition": func(h *ropewalktest.Network, a, b string) { h.Partition([]string{a}, []string{b}) },
		"one way":   func(h *ropewalktest.Network, a, b string) { h.Block(b, a) },
		"other way": func(h *ropewalktest.Network, a, b string) { h.Block(a, b) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *ropewalktest.Network, a, b *world) {
				t.Helper()
				time.Sleep(123 * time.Millisecond)
				fault(h, a.id, b.id)
				time.Sleep(3 * time.Second)
				if a.link(b.name) != nil {
					t.Error("not lost after three seconds")
				}
				if name != "paused" && b.link(a.name) != nil {
					t.Error("not lost on the other side after three seconds")
				}
				h.Heal()
				h.Resume(b.id)
				time.Sleep(10 * time.Second)
				if got := lines(a) + lines(b); got != b.name+"=direct "+a.name+"=direct " {
					t.Errorf("lines afterwards: %s", got)
				}
			})
		})
	}
}

// TestOtherSideDials lets only the node with the larger id dial.
func TestOtherSideDials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(3)
		var all []*world
		for i := range 4 {
			all = append(all, start(t, h, fmt.Sprint("n", i), func(c *mesh.Config) {
				c.Lines = picky{h.Lines(), c.ID}
			}))
		}
		time.Sleep(30 * time.Second)
		for _, w := range all {
			if got := lines(w); strings.Count(got, "direct") != 3 {
				t.Errorf("%s: %s", w.name, got)
			}
		}
		for _, w := range all {
			w.stop(t)
		}
	})
}

func TestLineMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(3)
		reg := prometheus.NewRegistry()
		a := start(t, h, "a", lined(h), func(c *mesh.Config) { c.Registry = reg })
		b := start(t, h, "b", lined(h))
		time.Sleep(20 * time.Second)
		h.ForbidLines(true)
		h.CutLines(a.id, b.id)
		time.Sleep(20 * time.Second)
		h.ForbidLines(false)
		time.Sleep(90 * time.Second)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP ropewalk_mesh_lines Direct lines to other nodes.
# TYPE ropewalk_mesh_lines gauge
ropewalk_mesh_lines 1
# HELP ropewalk_mesh_lines_lost_total Direct lines to other nodes that broke or were given up while the nodes were in reach.
# TYPE ropewalk_mesh_lines_lost_total counter
ropewalk_mesh_lines_lost_total 1
`), "ropewalk_mesh_lines", "ropewalk_mesh_lines_lost_total"); err != nil {
			t.Error(err)
		}
		a.stop(t)
		b.stop(t)
	})
}

// TestLinesWithoutPublish wants lines to stay with a discovery that does not use
// the backplane.
func TestLinesWithoutPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, d := ropewalktest.NewNetwork(3), new(board)
		found := func(c *mesh.Config) { c.Discovery = d }
		a, b := start(t, h, "a", lined(h), found), start(t, h, "b", lined(h), found)
		time.Sleep(10 * time.Second)
		for range 60 {
			if got := lines(a) + lines(b); got != "b=direct a=direct " {
				t.Fatalf("lines: %s", got)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		a.stop(t)
		b.stop(t)
	})
}
