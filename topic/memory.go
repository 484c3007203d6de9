package topic

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultMaxHistory is how large the histories of all topics of a node may be
// together, in bytes: some, of the largest size, for each of many topics, and not
// the memory of a small machine.
const DefaultMaxHistory = 256 << 20

// memory counts what the histories of a node take together, and has the oldest
// forgotten when that is too much.
type memory struct {
	limit    int64 // 0: there is none
	used     atomic.Int64
	clock    atomic.Uint64 // counts events
	shedding atomic.Bool
	soon     func(func()) // runs something without the locks that are held
	others   func() []shedder
	forgot   func() // a history was forgotten

	mu   sync.Mutex
	logs []*Log
}

// shedder is what has a history.
type shedder interface {
	// oldest tells when the history grew last; 0 if there is nothing to forget.
	oldest() uint64
	// shed forgets the history, if it has not grown since then.
	shed(since uint64) bool
}

// add takes note of bytes that have come, or gone if they are less than 0.
func (m *memory) add(bytes int) {
	if used := m.used.Add(int64(bytes)); m.limit > 0 && used > m.limit && bytes > 0 && m.shedding.CompareAndSwap(false, true) {
		m.soon(m.shed)
	}
}

// spare is the part of the limit that is free after histories were forgotten, so
// that they are not looked through for each event.
const spare = 8

// shed forgets the histories that have not grown for longest.
func (m *memory) shed() {
	defer m.shedding.Store(false)
	type aged struct {
		shedder

		at uint64
	}
	var all []aged
	m.mu.Lock()
	logs := slices.Clone(m.logs)
	m.mu.Unlock()
	list := m.others()
	for _, l := range logs {
		list = l.histories(list)
	}
	for _, s := range list {
		if at := s.oldest(); at > 0 {
			all = append(all, aged{s, at})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(a.at, b.at) })
	for _, s := range all {
		if m.used.Load() <= m.limit-m.limit/spare {
			return
		}
		if s.shed(s.at) {
			m.forgot()
		}
	}
}

// histories are those of topics and sources.
func (h *Hub) histories() []shedder {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]shedder, 0, len(h.topics)+len(h.sources))
	for _, t := range h.topics {
		list = append(list, t)
	}
	for _, s := range h.sources {
		list = append(list, s)
	}
	return list
}

func (h *history[E]) oldest() uint64 {
	if h.count == 0 {
		return 0
	}
	return h.grew
}

func (h *history[E]) shed(since uint64) bool {
	if h.count == 0 || h.grew != since {
		return false
	}
	h.begin(h.last)
	return true
}

func (t *topic) oldest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.past.oldest()
}

func (t *topic) shed(since uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.past.shed(since)
}

func (s *source) oldest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past.oldest()
}

func (s *source) shed(since uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past.shed(since)
}

// logged is the history of one address of a Log.
type logged struct {
	l *Log
	r *ring
}

// histories adds those of the log.
func (l *Log) histories(list []shedder) []shedder {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rings {
		list = append(list, logged{l, r})
	}
	return list
}

func (g logged) oldest() uint64 {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.r.past.oldest()
}

// shed implements shedder. The content of a state topic stays while somebody
// watches it.
func (g logged) shed(since uint64) bool {
	l, r := g.l, g.r
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.topic.Events && len(r.readers) > 0 || !r.past.shed(since) {
		return false
	}
	if len(r.readers) == 0 {
		l.forget(r)
	}
	return true
}

var (
	_ shedder = (*topic)(nil)
	_ shedder = (*source)(nil)
	_ shedder = logged{}
)
