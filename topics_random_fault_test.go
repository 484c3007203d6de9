package ropewalk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/race"
)

// drama lets one writer publish ever larger numbers while watchers come and the
// owner of the topic may die, and checks what they see.
type drama struct {
	rnd     *rand.Rand
	alive   []*ropewalk.Node
	address string
	events  bool

	mu    sync.Mutex
	tried int          // the newest number that was published, perhaps in vain
	acked map[int]bool // what was taken, for certain
}

const (
	dramaWrites = 10
	finale      = 1000 // numbers from here on are published when the owner has died
)

// pause is a little while, in which others go on.
func (d *drama) pause() {
	d.mu.Lock()
	took := time.Duration(d.rnd.IntN(50)) * time.Millisecond
	d.mu.Unlock()
	time.Sleep(took)
}

// write publishes until so many numbers are taken, from one on. What fails may have
// been taken, so each try has a number of its own.
func (d *drama) write(ctx context.Context, n *ropewalk.Node, from, writes int) error {
	for i := from; writes > 0; i++ {
		d.pause()
		d.mu.Lock()
		d.tried = i
		d.mu.Unlock()
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := n.Publish(try, d.address, i)
		cancel()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: nobody takes %d: %w", d.address, i, err)
		case err == nil:
			writes--
			d.mu.Lock()
			d.acked[i] = true
			d.mu.Unlock()
		}
	}
	return nil
}

// lost is a number that was taken between two others.
func (d *drama) lost(after, before int) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := after + 1; i < before; i++ {
		if d.acked[i] {
			return i
		}
	}
	return 0
}

// watch reads until the finale: contents in order, events without a hole that is not
// told.
func (d *drama) watch(ctx context.Context, n *ropewalk.Node) error {
	d.pause()
	w := n.Watch(ctx, d.address, call.WithBuffer(100))
	defer func() { _ = w.Close() }()
	if err := w.Ready(ctx); err != nil {
		return fmt.Errorf("%s: ready: %w", d.address, err)
	}
	d.mu.Lock()
	begin := d.tried // what comes after this has to be seen
	d.mu.Unlock()
	gap := false
	for seen := 0; seen < finale; {
		u, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("%s: after %d: %w", d.address, seen, err)
		}
		if gap = gap || u.Gap; u.Gap || u.Fault != nil {
			continue
		}
		i, err := strconv.Atoi(string(u.Body))
		if err != nil || i < seen || d.events && i == seen {
			return fmt.Errorf("%s: %s after %d, %w", d.address, u.Body, seen, err)
		}
		if lost := d.lost(max(seen, begin), i); d.events && !gap && lost > 0 {
			return fmt.Errorf("%s: %d after %d (%d when it began), and no word of %d", d.address, i, seen, begin, lost)
		}
		seen, gap = i, false
	}
	return nil
}

// run has a writer and some watchers, at nodes that live on; dead is closed when
// the other one has died.
func (d *drama) run(ctx context.Context, dead <-chan struct{}) error {
	node := func() *ropewalk.Node { return d.alive[d.rnd.IntN(len(d.alive))] }
	writer, watchers := node(), make([]*ropewalk.Node, 1+d.rnd.IntN(4))
	for i := range watchers {
		watchers[i] = node()
	}
	errs := make(chan error, 1+len(watchers))
	var all sync.WaitGroup
	for _, n := range watchers {
		all.Go(func() { errs <- d.watch(ctx, n) })
	}
	all.Go(func() {
		if err := d.write(ctx, writer, 1, dramaWrites); err != nil {
			errs <- err
			return
		}
		<-dead
		errs <- d.write(ctx, writer, finale, 1)
	})
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestFaultOwnersLostAtRandom kills one of three nodes at some moment while many
// topics are watched and published to, of which a third is its own, again and
// again. Contents come in order up to the newest; of events each that was taken
// comes once, or it is told that there is a gap.
func TestFaultOwnersLostAtRandom(t *testing.T) {
	t.Parallel()
	const topics = 100
	acts := 100
	if race.Enabled {
		acts = 3
	}
	seed := uint64(time.Now().UnixNano()) // outside of the bubble, where it is always the same time
	t.Log("seed", seed)
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		end := w.store(t)
		defer end()
		rnd := rand.New(rand.NewPCG(seed, 1))
		for act := range acts {
			w.offer("store:/x", len(w.nodes))
			w.offer("prices:/x", len(w.nodes))
			victim := rnd.IntN(len(w.nodes))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			dead := make(chan struct{})
			var all sync.WaitGroup
			for i := range topics {
				d := &drama{rnd: rand.New(rand.NewPCG(rnd.Uint64(), 2)), acked: map[int]bool{}, address: fmt.Sprintf("store:/%d/%d", act, i)}
				if d.events = i%2 == 0; d.events {
					d.address = fmt.Sprintf("prices:/%d/%d", act, i)
				}
				d.alive = append(append(d.alive, w.nodes[:victim]...), w.nodes[victim+1:]...)
				all.Go(func() {
					if err := d.run(ctx, dead); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
			w.net.Disconnect(w.nodes[victim].ID())
			close(dead)
			all.Wait()
			cancel()
			w.net.Reconnect(w.nodes[victim].ID())
			if t.Failed() {
				return
			}
		}
	})
}
