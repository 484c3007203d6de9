package keeper

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultEntries is how many sessions a memory store takes.
	DefaultEntries = 1_000_000
	// DefaultBytes is how much memory they may take together.
	DefaultBytes = 256 << 20
	// entryCost is what a session takes besides its JSON: maps, pointers, times.
	entryCost = 512
	// sweepEvery is how many sessions are created between two looks for those
	// that have expired; and one is when the store is full.
	sweepEvery = 4096
)

// Memory is a [Store] in the memory of one node: for development, and for a
// node alone. Make one with [NewMemory].
type Memory struct {
	maxEntries, maxBytes int

	mu      sync.RWMutex
	entries map[string]entry
	bytes   int
	turn    uint64 // the last revision
	created int    // since the last sweep
	swept   time.Time
}

type entry struct {
	*Record

	size int
}

// NewMemory returns a store for so many sessions, and so many bytes of them; 0
// is the default of each.
func NewMemory(entries, bytes int) *Memory {
	if entries <= 0 {
		entries = DefaultEntries
	}
	if bytes <= 0 {
		bytes = DefaultBytes
	}
	return &Memory{maxEntries: entries, maxBytes: bytes, entries: make(map[string]entry)}
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, id string) (*Record, error) {
	m.mu.RLock()
	e, ok := m.entries[id]
	m.mu.RUnlock()
	if !ok || e.Session.Expired(time.Now()) {
		return nil, ErrNotFound
	}
	return e.Record, nil
}

// Create implements Store.
func (m *Memory) Create(_ context.Context, r *Record) (*Record, error) {
	size, err := sizeOf(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.created++
	full := len(m.entries) >= m.maxEntries || m.bytes+size > m.maxBytes
	if m.created >= sweepEvery || full && now.Sub(m.swept) >= time.Second {
		m.sweep(now)
		full = len(m.entries) >= m.maxEntries || m.bytes+size > m.maxBytes
	}
	old, ok := m.entries[r.Session.ID]
	switch {
	case ok && !old.Session.Expired(now):
		return nil, ErrExists
	case full:
		return nil, ErrFull
	}
	return m.put(r, size), nil
}

// sweep removes what has expired. m.mu is held.
func (m *Memory) sweep(now time.Time) {
	m.created, m.swept = 0, now
	for id, e := range m.entries {
		if e.Session.Expired(now) {
			m.bytes -= e.size
			delete(m.entries, id)
		}
	}
}

// put keeps r with the next revision. m.mu is held.
func (m *Memory) put(r *Record, size int) *Record {
	m.turn++
	r = r.WithRevision(m.turn)
	id := r.Session.ID
	m.bytes += size - m.entries[id].size
	m.entries[id] = entry{r, size}
	return r
}

// Update implements Store.
func (m *Memory) Update(_ context.Context, r *Record) (*Record, error) {
	size, err := sizeOf(r)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.entries[r.Session.ID]
	switch {
	case !ok || old.Session.Expired(time.Now()):
		return nil, ErrNotFound
	case old.Session.Revision != r.Session.Revision:
		return nil, ErrChanged
	case m.bytes+size-old.size > m.maxBytes:
		return nil, ErrFull
	}
	return m.put(r, size), nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, id string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[id]
	if gone := !ok || e.Session.Expired(time.Now()); revision != 0 {
		switch {
		case gone:
			return ErrNotFound
		case e.Session.Revision != revision:
			return ErrChanged
		}
	}
	m.bytes -= e.size
	delete(m.entries, id)
	return nil
}

// All implements Store.
func (m *Memory) All(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		m.mu.RLock()
		all := slices.Collect(maps.Values(m.entries))
		m.mu.RUnlock()
		now := time.Now()
		for _, e := range all {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !e.Session.Expired(now) && !yield(e.Record, nil) {
				return
			}
		}
	}
}

func sizeOf(r *Record) (int, error) {
	b, err := r.Encode()
	return len(b) + entryCost, err
}

var _ Store = (*Memory)(nil)
