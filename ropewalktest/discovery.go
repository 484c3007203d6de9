package ropewalktest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
)

// DiscoveryFeatures is what a discovery promises. It is tested for exactly that.
type DiscoveryFeatures struct {
	// Finds says that nodes find each other.
	Finds bool
	// Stranger is the name of a node that must not be taken in; "" if everybody
	// who gets through is.
	Stranger string
}

// TestDiscovery tests an implementation of mesh.Discovery. newPair is called
// for each test and returns the discoveries of two nodes named "a" and "b" that
// are to find each other.
func TestDiscovery(t *testing.T, f DiscoveryFeatures, newPair func(t *testing.T) (a, b mesh.Discovery)) {
	t.Helper()
	t.Run("has a name", func(t *testing.T) {
		t.Parallel()
		if a, b := newPair(t); a.Name() == "" || a.Name() != b.Name() {
			t.Errorf("the names are %q and %q", a.Name(), b.Name())
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		t.Parallel()
		newBoard(t, newPair).stop(t)
	})
	t.Run("strangers", func(t *testing.T) {
		t.Parallel()
		a, _ := newPair(t)
		if f.Stranger != "" && a.Trusts(&mesh.Card{Name: f.Stranger}) {
			t.Errorf("%s is trusted", f.Stranger)
		}
		if a.Trusts(&mesh.Card{Name: "b"}) != f.Finds {
			t.Errorf("whether it trusts b is not %t", f.Finds)
		}
	})
	if !f.Finds {
		t.Run("tells nobody", func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, newPair)
			b.desks[0].change("2")
			b.stop(t)
			for _, d := range b.desks {
				if n := d.published.n(); n > 0 {
					t.Errorf("%s has spread its card %d times", d.card.Name, n)
				}
			}
		})
		return
	}
	t.Run("nodes find each other", func(t *testing.T) {
		t.Parallel()
		b := newBoard(t, newPair)
		b.desks[0].waitFor(t, "b", "1")
		b.desks[1].waitFor(t, "a", "1")
		b.stop(t)
	})
	t.Run("again and again", func(t *testing.T) {
		t.Parallel()
		b := newBoard(t, newPair)
		for range 3 {
			b.desks[0].forget()
			b.desks[0].waitFor(t, "b", "1")
		}
		b.stop(t)
	})
	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		b := newBoard(t, newPair)
		b.desks[0].waitFor(t, "b", "1")
		b.desks[1].change("2")
		b.desks[0].waitFor(t, "b", "2")
		b.stop(t)
	})
}

// board is two nodes with a discovery each, and the backplane between them.
type board struct {
	desks  [2]*desk
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newBoard(t *testing.T, newPair func(t *testing.T) (a, b mesh.Discovery)) *board {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	b := &board{cancel: cancel}
	ds := [2]mesh.Discovery{}
	ds[0], ds[1] = newPair(t)
	for i, name := range []string{"a", "b"} {
		b.desks[i] = &desk{
			discovery: ds[i], changed: make(chan struct{}), seen: make(map[string]string), news: make(chan struct{}, 1),
			card: mesh.Card{
				Protocol: mesh.Protocol, ID: message.NewNodeID(), Name: name, Version: "1", State: mesh.Alive, Started: time.Now(),
			},
		}
	}
	b.desks[0].other, b.desks[1].other = b.desks[1], b.desks[0]
	for i, d := range b.desks {
		b.wg.Go(func() { ds[i].Run(ctx, d) })
	}
	return b
}

// stop ends both and waits for them.
func (b *board) stop(t *testing.T) {
	t.Helper()
	b.cancel()
	done := make(chan struct{})
	go func() {
		b.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Run does not return when its context has ended")
	}
}

// counter counts from several goroutines.
type counter struct {
	mu    sync.Mutex
	count int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
}

func (c *counter) n() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// desk is one node as a discovery sees it. It implements mesh.Directory.
type desk struct {
	discovery mesh.Discovery
	other     *desk
	published counter

	mu      sync.Mutex
	card    mesh.Card
	changed chan struct{}
	seen    map[string]string // versions by name
	news    chan struct{}
}

// Interval implements mesh.Directory.
func (*desk) Interval() time.Duration { return 50 * time.Millisecond }

// Card implements mesh.Directory.
func (d *desk) Card() mesh.Card {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.card
}

// Changed implements mesh.Directory.
func (d *desk) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// Publish implements mesh.Directory.
func (d *desk) Publish() {
	d.published.add()
	c := d.Card()
	if d.other.discovery.Trusts(&c) {
		_ = d.other.Seen(c)
	}
}

// Seen implements mesh.Directory.
func (d *desk) Seen(c mesh.Card) error {
	d.mu.Lock()
	d.seen[c.Name] = c.Version
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
	return nil
}

func (d *desk) change(version string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.card.Version = version
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.seen)
}

func (d *desk) waitFor(t *testing.T, name, version string) {
	t.Helper()
	end := time.After(patience)
	for {
		d.mu.Lock()
		got := d.seen[name]
		d.mu.Unlock()
		if got == version {
			return
		}
		select {
		case <-d.news:
		case <-end:
			t.Fatalf("%s has not heard of %s with version %s", d.card.Name, name, version)
		}
	}
}

var _ mesh.Directory = (*desk)(nil)
