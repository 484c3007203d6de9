package ropewalktest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

func TestNetworkIsABackplane(t *testing.T) {
	t.Parallel()
	ropewalktest.TestBackplane(t, func(*testing.T) []mesh.Backplane {
		n := ropewalktest.NewNetwork(1)
		return []mesh.Backplane{n.Node(), n.Node(), n.Node(), n.Node()}
	})
}

// box keeps what arrives.
type box struct {
	mu     sync.Mutex
	got    []string
	states []bool
	when   []time.Time
}

func (b *box) Received(data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got, b.when = append(b.got, string(data)), append(b.when, time.Now())
}

func (b *box) Connected(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states = append(b.states, yes)
}

// take waits until all is quiet, and returns what has come since.
func (b *box) take() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

type trio struct {
	*ropewalktest.Network
	plane map[string]mesh.Backplane
	box   map[string]*box
}

// inBubble runs f with a network of the nodes a, b and c.
func inBubble(t *testing.T, f func(t *testing.T, n trio)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := trio{ropewalktest.NewNetwork(7), map[string]mesh.Backplane{}, map[string]*box{}}
		for _, id := range []string{"a", "b", "c"} {
			n.plane[id], n.box[id] = n.Node(), &box{}
			if err := n.plane[id].Open(t.Context(), id, n.box[id]); err != nil {
				t.Fatal(err)
			}
		}
		f(t, n)
		for _, p := range n.plane {
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

func (n trio) send(t *testing.T, from, to, text string) {
	t.Helper()
	if err := n.plane[from].Send(to, []byte(text)); err != nil {
		t.Error(err)
	}
}

func (n trio) want(t *testing.T, at string, want ...string) {
	t.Helper()
	if got := n.box[at].take(); !slices.Equal(got, want) {
		t.Errorf("%s got %q, want %q", at, got, want)
	}
}

func TestPartition(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Partition([]string{"a", "b"}, []string{"c"})
		n.send(t, "a", "b", "1")
		n.send(t, "a", "c", "2")
		n.send(t, "c", "b", "3")
		n.send(t, "c", "c", "4")
		if err := n.plane["a"].Publish([]byte("5")); err != nil {
			t.Error(err)
		}
		n.want(t, "b", "1", "5")
		n.want(t, "c", "4")
		if n.Lost() != 3 {
			t.Errorf("%d lost, want 3", n.Lost())
		}
		n.Heal()
		n.send(t, "a", "c", "6")
		n.want(t, "c", "6")
	})
}

func TestPartitionLosesWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Delay(time.Second, time.Second)
		n.send(t, "a", "b", "1")
		n.send(t, "a", "c", "2")
		time.Sleep(time.Second / 2)
		n.Partition([]string{"c"}, []string{"a", "b"})
		time.Sleep(time.Second)
		n.want(t, "b", "1")
		n.want(t, "c")
	})
}

func TestBlock(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Block("a", "b")
		n.send(t, "a", "b", "1")
		n.send(t, "b", "a", "2")
		n.want(t, "a", "2")
		n.want(t, "b")
		n.Heal()
		n.send(t, "a", "b", "3")
		n.want(t, "b", "3")
	})
}

func TestDrop(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Drop(0.25)
		for range 1000 {
			n.send(t, "a", "b", "x")
			n.send(t, "a", "a", "x")
		}
		if got := len(n.box["b"].take()); got < 650 || got > 850 {
			t.Errorf("%d of 1000 arrived, a quarter should be lost", got)
		}
		if got := len(n.box["a"].take()); got != 1000 {
			t.Errorf("%d of 1000 arrived at the node itself", got)
		}
		n.Drop(0)
		n.send(t, "a", "b", "y")
		n.want(t, "b", "y")
	})
}

func TestDelayKeepsTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		const least, most = 10 * time.Millisecond, 50 * time.Millisecond
		n.Delay(least, most)
		start := time.Now()
		var want []string
		for i := range 200 {
			n.send(t, "a", "b", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
		}
		time.Sleep(most)
		n.want(t, "b", want...)
		for _, at := range n.box["b"].when {
			if d := at.Sub(start); d < least || d > most {
				t.Fatalf("took %v", d)
			}
		}
	})
}

func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Pause("b")
		n.send(t, "a", "b", "1")
		n.send(t, "b", "a", "2")
		if err := n.plane["b"].Publish([]byte("3")); err != nil {
			t.Error(err)
		}
		n.send(t, "a", "b", "4")
		n.want(t, "a")
		n.want(t, "b")
		n.want(t, "c")
		n.Resume("b")
		n.want(t, "a", "2", "3")
		n.want(t, "b", "1", "4")
		n.want(t, "c", "3")
	})
}

func TestDisconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Disconnect("b")
		n.Disconnect("b")
		n.send(t, "a", "b", "1")
		if err := n.plane["b"].Send("a", []byte("2")); err == nil {
			t.Error("no error of a node that is disconnected")
		}
		n.want(t, "a")
		n.want(t, "b")
		n.Reconnect("b")
		n.send(t, "a", "b", "3")
		n.want(t, "b", "3")
		if got := n.box["b"].states; !slices.Equal(got, []bool{false, true}) {
			t.Errorf("was told %v", got)
		}
	})
}

func TestNetworkBoundsWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		n.Pause("b")
		data := make([]byte, mesh.MaxMessage)
		for range 200 {
			if err := n.plane["a"].Send("b", data); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.Lost(); got != 200-128 {
			t.Errorf("%d lost of 100 MiB, want what is over 64 MiB", got)
		}
	})
}

func TestNetworkRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, n trio) {
		if err := n.plane["a"].Send("b", make([]byte, mesh.MaxMessage+1)); err == nil {
			t.Error("no error of a message that is too large")
		}
		if err := n.plane["a"].Send("", nil); err == nil {
			t.Error("no error of a message for no node")
		}
		if err := n.Node().Open(t.Context(), "a", &box{}); err == nil {
			t.Error("two nodes have one id")
		}
		p := n.Node()
		if err := p.Send("a", nil); err == nil {
			t.Error("no error of a backplane that is not open")
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
