package sqldb

import (
	"context"
	"slices"
	"sync"
)

// Tracker knows who has to be told when a table changes. Make one with
// [NewTracker]. All methods may be called from any goroutine.
type Tracker struct {
	mu     sync.Mutex
	seq    uint64            // counts what is told
	last   map[string]uint64 // when a table changed last, if it did since all
	all    uint64            // when everything may have changed last
	tables map[string]map[*Watch]struct{}
	subs   map[*Watch]struct{}
	active chan struct{} // is closed while somebody watches
}

// maxRemembered bounds the tables whose last change is known.
const maxRemembered = 10_000

// NewTracker returns a Tracker that nobody uses.
func NewTracker() *Tracker {
	return &Tracker{
		last: map[string]uint64{}, tables: map[string]map[*Watch]struct{}{}, subs: map[*Watch]struct{}{},
		active: make(chan struct{}),
	}
}

// Watch is somebody who is told of changes. Its methods may be called from any
// goroutine.
type Watch struct {
	t       *Tracker
	changed func()

	names []string // guarded by t.mu

	mu      sync.Mutex // held while changed runs: it does not after Stop
	stopped bool
}

// Watch returns a Watch that watches no table yet, but is told by
// [Tracker.All]. changed must not block, nor use the Watch.
func (t *Tracker) Watch(changed func()) *Watch {
	w := &Watch{t: t, changed: changed}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.subs) == 0 {
		close(t.active)
	}
	t.subs[w] = struct{}{}
	return w
}

// Mark is a moment: what is told later has a greater one.
func (t *Tracker) Mark() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seq
}

// Set says which tables are watched from now on, in place of those before, and
// tells at once if one of them has changed since mark.
func (w *Watch) Set(tables []string, mark uint64) {
	t := w.t
	t.mu.Lock()
	if _, ok := t.subs[w]; !ok {
		t.mu.Unlock()
		return
	}
	if !slices.Equal(w.names, tables) {
		t.forget(w)
		w.names = slices.Clone(tables)
		for _, name := range w.names {
			if t.tables[name] == nil {
				t.tables[name] = map[*Watch]struct{}{}
			}
			t.tables[name][w] = struct{}{}
		}
	}
	late := t.all > mark
	for _, name := range w.names {
		late = late || t.last[name] > mark
	}
	t.mu.Unlock()
	if late {
		w.tell()
	}
}

// forget takes w out of the tables that it watched.
func (t *Tracker) forget(w *Watch) {
	for _, name := range w.names {
		delete(t.tables[name], w)
		if len(t.tables[name]) == 0 {
			delete(t.tables, name)
		}
	}
	w.names = nil
}

func (w *Watch) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.changed()
	}
}

// Stop ends it: nothing is told any more when Stop has returned.
func (w *Watch) Stop() {
	t := w.t
	t.mu.Lock()
	if _, ok := t.subs[w]; ok {
		t.forget(w)
		delete(t.subs, w)
		if len(t.subs) == 0 {
			t.active = make(chan struct{})
		}
	}
	t.mu.Unlock()
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
}

// Changed tells that tables have changed.
func (t *Tracker) Changed(tables ...string) {
	if len(tables) == 0 {
		return
	}
	t.mu.Lock()
	t.seq++
	if len(t.last) > maxRemembered {
		clear(t.last)
		t.all = t.seq
	}
	told := map[*Watch]struct{}{}
	for _, name := range tables {
		t.last[name] = t.seq
		for w := range t.tables[name] {
			told[w] = struct{}{}
		}
	}
	t.mu.Unlock()
	for w := range told {
		w.tell()
	}
}

// All tells that anything may have changed.
func (t *Tracker) All() {
	t.mu.Lock()
	t.seq++
	t.all = t.seq
	clear(t.last)
	list := make([]*Watch, 0, len(t.subs))
	for w := range t.subs {
		list = append(list, w)
	}
	t.mu.Unlock()
	for _, w := range list {
		w.tell()
	}
}

// Tables are the tables that somebody watches, in no order.
func (t *Tracker) Tables() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]string, 0, len(t.tables))
	for name := range t.tables {
		list = append(list, name)
	}
	return list
}

// WaitActive waits until somebody watches, or ctx ends, whose error it then
// returns.
func (t *Tracker) WaitActive(ctx context.Context) error {
	t.mu.Lock()
	c := t.active
	t.mu.Unlock()
	select {
	case <-c:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
