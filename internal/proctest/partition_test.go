//go:build linux

package proctest_test

import (
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// Two parts of a mesh go on by themselves, tell their callers that they are
// parts, and are one again when they can.
func TestPartition(t *testing.T) {
	needed(t)
	l := newLab(t, 3)
	nodes := l.nodes()
	a, b, c := nodes[0], nodes[1], nodes[2]
	w := serve(t, c)
	asker := dial(t, []*node{a})
	inC := dial(t, []*node{c})
	eventually(t, "the worker is known", func() bool { return a.servers("work:/hold") == 1 })
	got := hold(t, asker, w)

	l.split(2)
	wantCode(t, take(t, got, "the end of the call"), message.CodeNodeLost)
	noticed(t, c, a, b)
	noticed(t, a, c)
	noticed(t, b, c)
	if err := take(t, w.ended, "the end of the handler"); err == nil {
		t.Error("the handler was not canceled")
	}
	_, err := asker.Call(t.Context(), "work:/once", "x")
	if e := wantCode(t, err, message.CodeMeshSplit); !e.Retryable {
		t.Errorf("it was not executed: %+v", e)
	}
	_, err = asker.Call(t.Context(), "none:/", "x")
	wantCode(t, err, message.CodeNoService)
	if err := asker.Send(t.Context(), inC.ID()+"@client:/", 1, call.WithAck()); message.CodeOf(err) != message.CodeMeshSplit {
		t.Errorf("a send to a client of c: %v", err)
	}
	for _, at := range []*client.Client{asker, inC} {
		if got, err := ropewalk.Call[string](t.Context(), at, "echo:/", "x"); err != nil || got != "x" {
			t.Errorf("within a part: %s, %v", got, err)
		}
	}
	l.join(2)
	complete(t, nodes)
	eventually(t, "the worker is back", func() bool {
		got, err := ropewalk.Call[string](t.Context(), asker, "work:/once", "y")
		return err == nil && got == "y"
	})
	most(t, runs(w))
}

// A cable is taken out again and again under load. What may be repeated never
// fails where there is another server.
func TestCable(t *testing.T) {
	needed(t)
	l := newLab(t, 3)
	nodes := l.nodes()
	a, b, c := nodes[0], nodes[1], nodes[2]
	k := begin(t, []*client.Client{dial(t, []*node{a}), dial(t, []*node{b})}, 4, "echo:/", call.WithIdempotent())
	for range 2 {
		k.more(t, 200)
		l.unplug(2)
		noticed(t, c, a, b)
		k.more(t, 200)
		l.plug(2)
		complete(t, nodes)
	}
	k.none(t)
}

// A machine that goes down says nothing, not even that nobody listens.
func TestMachineIsGone(t *testing.T) {
	needed(t)
	l := newLab(t, 3)
	nodes := l.nodes()
	a, b, c := nodes[0], nodes[1], nodes[2]
	w := serve(t, c)
	asker := dial(t, []*node{a})
	eventually(t, "the worker is known", func() bool { return a.servers("work:/hold") == 1 })
	got := hold(t, asker, w)
	l.unplug(2)
	c.kill()
	wantCode(t, take(t, got, "the end of the call"), message.CodeNodeLost)
	noticed(t, c, a, b)
	_, err := asker.Call(t.Context(), "work:/once", "x")
	wantCode(t, err, message.CodeMeshSplit) // for all that a knows it may run
	l.plug(2)
	c = c.again(a, b)
	complete(t, []*node{a, b, c})
	eventually(t, "the worker has found its node again", func() bool {
		_, err := asker.Call(t.Context(), "work:/once", "x")
		return err == nil
	})
}

// What one machine sends to another is lost, and nothing of the other direction:
// the two lose each other, and the third one nobody.
func TestOneWay(t *testing.T) {
	needed(t)
	l := newLab(t, 3)
	nodes := l.nodes()
	a, b, c := nodes[0], nodes[1], nodes[2]
	w := serve(t, c)
	asker := dial(t, []*node{a})
	eventually(t, "the worker is known", func() bool { return a.servers("work:/hold") == 1 })
	got := hold(t, asker, w)
	l.deaden(2, 0)
	wantCode(t, take(t, got, "the end of the call"), message.CodeNodeLost)
	eventually(t, "a and c have lost each other", func() bool { return a.sees() == "a b (c)" && c.sees() == "b c (a)" })
	if got := b.sees(); got != "a b c" {
		t.Errorf("b sees %s", got)
	}
	_, err := asker.Call(t.Context(), "work:/once", "x")
	wantCode(t, err, message.CodeMeshSplit)
	l.revive(2, 0)
	complete(t, nodes)
}

// A slow and lossy line costs time, and no call.
func TestSlowLine(t *testing.T) {
	needed(t)
	for name, qdisc := range map[string][]string{
		// The queue is short, so that much is lost: with or without netem.
		"tbf":   {"tbf", "rate", "2mbit", "burst", "4kb", "limit", "20kb"},
		"netem": {"netem", "delay", "60ms", "20ms", "loss", "3%"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 3)
			nodes := l.nodes()
			a, c := nodes[0], nodes[2]
			w := serve(t, c)
			eventually(t, "the worker is known", func() bool { return a.servers("work:/once") == 1 })
			if !l.shape(2, qdisc...) {
				t.Skip("this kernel cannot do that to a line")
			}
			k := begin(t, []*client.Client{dial(t, []*node{a}), dial(t, []*node{nodes[1]})}, 4, "work:/once")
			k.more(t, 300)
			k.none(t)
			k.exactly(t, w)
			l.straighten(2)
			if a.sees() != "a b c" {
				t.Errorf("a sees %s", a.sees())
			}
		})
	}
}
