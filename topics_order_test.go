package ropewalk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/race"
)

// interleavings is how many random ones are tried of each kind.
func interleavings() int {
	if race.Enabled {
		return 300
	}
	return 10000
}

// play lets one writer publish 1, 2, 3 … to an address while watchers come, each
// through one of some doors, and checks what they see.
type play struct {
	t       *testing.T
	rnd     *rand.Rand
	doors   []call.Watcher
	address string
	events  bool
	writes  int64
	acked   atomic.Int64
	reached []chan struct{} // closed when so many writes are acknowledged
}

func (p *play) door() call.Watcher { return p.doors[p.rnd.IntN(len(p.doors))] }

func (p *play) run(ctx context.Context) error {
	errs := make(chan error, 8)
	var all, seated sync.WaitGroup
	writer := p.door()
	watchers := 1 + p.rnd.IntN(4)
	starts := make([]int64, watchers)
	seats := make([]call.Watcher, watchers)
	for i := range watchers {
		starts[i], seats[i] = p.rnd.Int64N(p.writes+1), p.door()
	}
	p.reached = make([]chan struct{}, p.writes+1)
	for i := range p.reached {
		p.reached[i] = make(chan struct{})
	}
	close(p.reached[0])
	seated.Add(watchers)
	for i := range watchers {
		all.Go(func() { errs <- p.watch(ctx, seats[i], starts[i], seated.Done) })
	}
	all.Go(func() {
		for n := int64(1); n <= p.writes+1; n++ {
			if n > p.writes {
				seated.Wait() // everybody sees the last
			}
			if _, err := writer.Publish(ctx, p.address, n); err != nil {
				errs <- fmt.Errorf("publish %d: %w", n, err)
				return
			}
			p.acked.Store(n)
			if n <= p.writes {
				close(p.reached[n])
			}
		}
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

// watch begins when some writes were acknowledged, and has to see all that came
// after it was ready.
func (p *play) watch(ctx context.Context, door call.Watcher, start int64, seated func()) error {
	select {
	case <-p.reached[start]:
	case <-ctx.Done():
		return ctx.Err()
	}
	before := p.acked.Load()
	w := door.Watch(ctx, p.address, call.WithBuffer(int(p.writes)+1))
	defer func() { _ = w.Close() }()
	err := w.Ready(ctx)
	after := p.acked.Load()
	seated()
	if err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	// A client that watches already, and another node, begin with what they have,
	// which may be on its way to something newer.
	_, inside := door.(*ropewalk.Node)
	if !inside || len(p.doors) > 3 {
		before = 0
	}
	var last int64
	for last <= p.writes {
		u, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("%s after %d (acknowledged %d before, %d after): %w", p.address, last, before, after, err)
		}
		if u.Fault != nil && !p.events && before == 0 && last == 0 {
			continue // nothing was there yet
		}
		n, err := strconv.ParseInt(string(u.Body), 10, 64)
		switch {
		case err != nil || u.Gap:
			return fmt.Errorf("got %q, gap %v, fault %v", u.Body, u.Gap, u.Fault)
		case p.events && last > 0 && n != last+1, p.events && last == 0 && n > after+2: // one more was on its way

			return fmt.Errorf("%s: %d after %d (acknowledged %d before, %d after)", p.address, n, last, before, after)
		case !p.events && (n <= last || n < before):
			return fmt.Errorf("%s: content %d after %d (acknowledged %d before, %d after)", p.address, n, last, before, after)
		}
		last = n
	}
	return nil
}

func playAll(t *testing.T, doors []call.Watcher) {
	t.Helper()
	const lanes = 4
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for lane := range lanes {
		rnd := rand.New(rand.NewPCG(seed, uint64(lane)))
		all.Go(func() {
			for i := range interleavings() / lanes {
				p := &play{t: t, rnd: rnd, doors: doors, events: rnd.IntN(3) > 0, writes: 1 + rnd.Int64N(12)}
				p.address = fmt.Sprintf("state:/%d/%d", lane, i)
				if p.events {
					p.address = fmt.Sprintf("prices:/%d/%d", lane, i)
				}
				if err := p.run(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func withTopics(c *ropewalk.Config) { c.Topics = topics }

func TestWatchHasNoHole(t *testing.T) {
	t.Parallel()
	t.Run("one node", func(t *testing.T) {
		t.Parallel()
		n, url := startNode(t, withTopics)
		playAll(t, []call.Watcher{n, dial(t, url), dial(t, url)})
	})
	t.Run("two nodes", func(t *testing.T) {
		t.Parallel()
		w := towns["memory"](t)
		w.add([]string{"a", "b"}, withTopics)
		eventually(t, "both nodes offer the topics", func() bool {
			return serversOf(w.nodes[0], "prices:/x") == 2 && serversOf(w.nodes[1], "prices:/x") == 2
		})
		playAll(t, []call.Watcher{w.nodes[0], w.nodes[1], dial(t, w.urls[0]), dial(t, w.urls[1])})
	})
}
