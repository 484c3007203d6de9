package ropewalk_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// TestFaultChaos has many things happen to a mesh under load. Whatever it is:
// each call ends once; nothing is executed twice; what failed and may be repeated
// was not executed; what succeeded was; and in the end all is well again.
func TestFaultChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *town) {
				w.found("a", "b", "c", "d")
				c := chaos{town: w, rand: rand.New(rand.NewPCG(seed, 7))}
				l := w.begin("work:/once", 3)
				for range 30 {
					c.op()
					<-time.After(time.Duration(c.rand.IntN(1500)) * time.Millisecond)
				}
				c.heal()
				eventually(t, "all is well again", func() bool { return w.complete(4) })
				l.more(t, 200)
				failed := l.end()
				for _, n := range w.nodes {
					eventually(t, "nothing is in flight", func() bool { return inFlight(t, n) == 0 })
				}
				w.account(t, l, failed)
				if len(failed) == 0 {
					t.Error("nothing failed: there were no faults")
				}
			})
		})
	}
}

// account compares what callers were told with what was executed.
func (w *town) account(t *testing.T, l *load, failed map[string]error) {
	t.Helper()
	runs := w.runs()
	for body, n := range runs {
		if n > 1 {
			t.Errorf("%s was executed %d times", body, n)
		}
	}
	for body, err := range failed {
		switch e := message.AsError(err); {
		case e.Retryable && runs[body] > 0:
			t.Errorf("%s was executed, and may be repeated: %v", body, err)
		case !e.Retryable && e.Code != message.CodeNodeLost:
			t.Errorf("%s: %v", body, err)
		}
	}
	good := 0
	for body := range runs {
		if failed[body] == nil {
			good++
		}
	}
	if want := int(l.calls.Load()) - len(failed); good != want {
		t.Errorf("%d calls went well, and of these %d were executed", want, good)
	}
}

// chaos does things to a town.
type chaos struct {
	*town
	rand *rand.Rand
}

func (c *chaos) op() {
	id := func() string { return c.nodes[c.rand.IntN(len(c.nodes))].ID() }
	switch c.rand.IntN(10) {
	case 0:
		c.net.Pause(id())
	case 1:
		for _, n := range c.nodes {
			c.net.Resume(n.ID())
		}
	case 2:
		c.net.Disconnect(id())
	case 3:
		for _, n := range c.nodes {
			c.net.Reconnect(n.ID())
		}
	case 4:
		var all []string
		for _, n := range c.nodes {
			all = append(all, n.ID())
		}
		c.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		c.net.Partition(all[:2], slices.Clone(all[2:]))
	case 5:
		c.net.Block(id(), id())
	case 6:
		c.net.Heal()
	case 7:
		c.net.Drop(c.rand.Float64() / 4)
	case 8:
		c.net.Delay(0, time.Duration(c.rand.IntN(50))*time.Millisecond)
	case 9:
		n := c.nodes[c.rand.IntN(len(c.nodes))]
		n.SetDraining(!n.Mesh().Draining())
	}
}

// heal ends all that op began.
func (c *chaos) heal() {
	c.net.Heal()
	c.net.Drop(0)
	c.net.Delay(0, 0)
	for _, n := range c.nodes {
		c.net.Resume(n.ID())
		c.net.Reconnect(n.ID())
		n.SetDraining(false)
	}
}
