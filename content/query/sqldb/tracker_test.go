package sqldb_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
)

func TestTracker(t *testing.T) {
	t.Parallel()
	tr := sqldb.NewTracker()
	var n atomic.Int64
	w := tr.Watch(func() { n.Add(1) })
	expect := func(what string, want int64) {
		t.Helper()
		if got := n.Swap(0); got != want {
			t.Errorf("%s: told %d times, want %d", what, got, want)
		}
	}
	mark := tr.Mark()
	tr.Changed("a")
	expect("nothing is watched", 0)
	w.Set([]string{"a", "b"}, mark)
	expect("it changed before it was set", 1)
	w.Set([]string{"a", "b"}, tr.Mark())
	expect("nothing new", 0)
	tr.Changed("a", "b", "c")
	expect("two at once", 1)
	tr.Changed("c")
	tr.Changed()
	expect("others", 0)
	tr.All()
	expect("all", 1)
	w.Set([]string{"c"}, tr.Mark())
	tr.Changed("a")
	expect("not any more", 0)
	mark = tr.Mark()
	tr.All()
	n.Store(0)
	w.Set([]string{"c"}, mark)
	expect("all before it was set", 1)
	if got := tr.Tables(); len(got) != 1 || got[0] != "c" {
		t.Errorf("the tables are %q", got)
	}
	if err := tr.WaitActive(t.Context()); err != nil {
		t.Error(err)
	}
	w.Stop()
	w.Stop()
	w.Set([]string{"a"}, 0)
	tr.Changed("a", "c")
	tr.All()
	expect("stopped", 0)
	if len(tr.Tables()) != 0 {
		t.Error("tables are left")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.WaitActive(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestTrackerHole checks that no change is lost between reading and Set,
// whatever happens at the same time, and that a watcher rests after Stop.
func TestTrackerHole(t *testing.T) {
	t.Parallel()
	tr := sqldb.NewTracker()
	var value atomic.Int64
	var wg sync.WaitGroup
	const rounds = 2000
	for range 8 {
		wg.Go(func() {
			ring := make(chan struct{}, 1)
			var stopped atomic.Bool
			w := tr.Watch(func() {
				if stopped.Load() {
					t.Error("told after Stop")
				}
				select {
				case ring <- struct{}{}:
				default:
				}
			})
			for {
				mark := tr.Mark()
				seen := value.Load()
				w.Set([]string{"t"}, mark)
				if seen == rounds {
					break
				}
				<-ring
			}
			w.Stop()
			stopped.Store(true)
		})
	}
	for range rounds {
		value.Add(1)
		tr.Changed("t")
	}
	wg.Wait()
}
