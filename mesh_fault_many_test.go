package ropewalk_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/route"
)

// Twenty nodes find each other, see each other's services come and go, and all
// notice the loss of one.
func TestFaultTwentyNodes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		names := make([]string, 20)
		for i := range names {
			names[i] = fmt.Sprintf("n%02d", i)
		}
		at := time.Now()
		w.found(names...)
		if took := time.Since(at); took > 2*mesh.DefaultInterval {
			t.Errorf("they needed %v to meet", took)
		}
		g, err := w.nodes[7].Gather(t.Context(), "work:/where", nil)
		if err != nil || good(g) != 20 {
			t.Fatalf("%+v, %v", g, err)
		}
		lost := w.nodes[19]
		w.net.Disconnect(lost.ID())
		at = time.Now()
		w.nodes = w.nodes[:19]
		eventually(t, "all have noticed", func() bool { return w.complete(19) })
		if took := time.Since(at); took > noticed {
			t.Errorf("it took %v", took)
		}
		w.nodes = append(w.nodes, lost)
		w.net.Reconnect(lost.ID())
		eventually(t, "it is back", func() bool { return w.complete(20) })
	})
}

// A majority that one server cannot take part in any more is still one.
func TestFaultMajority(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		w.net.Disconnect(w.nodes[2].ID())
		g, err := w.nodes[0].Gather(t.Context(), "work:/echo", "x", call.WithStrategy(route.Selection{By: route.ByMajority}))
		if err != nil || good(g) != 2 {
			t.Fatalf("%+v, %v", g, err)
		}
	})
}
