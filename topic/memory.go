package topic

import (
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
	enough   atomic.Int64  // so much there may be until histories are looked through again; 0: limit
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
	used := m.used.Add(int64(bytes))
	if m.limit > 0 && bytes > 0 && used > max(m.limit, m.enough.Load()) && m.shedding.CompareAndSwap(false, true) {
		m.soon(m.shed)
	}
}

const (
	// spare is the part of the limit that is free after histories were forgotten, so
	// that they are not looked through for each event.
	spare = 4
	// sample is of how many histories it is looked when they grew, to guess which are
	// old.
	sample = 1000
	// most is how often they are looked through at a time: the guess may be wrong.
	most = 8
)

// shed forgets histories that have not grown for long.
func (m *memory) shed() {
	defer func() { // of what cannot be forgotten there may be more than the limit
		m.enough.Store(m.used.Load() + m.limit/spare)
		m.shedding.Store(false)
	}()
	list := m.others()
	for _, l := range m.all() {
		list = l.histories(list)
	}
	for range most {
		surplus := m.used.Load() - (m.limit - m.limit/spare)
		if surplus <= 0 {
			return
		}
		old := old(list, float64(surplus)/float64(m.used.Load()))
		for _, s := range list {
			if at := s.oldest(); at > 0 && at <= old && s.shed(at) {
				m.forgot()
			}
		}
	}
}

// old guesses when those histories grew last that are to be forgotten, a part of
// all.
func old(list []shedder, part float64) uint64 {
	ages := make([]uint64, 0, sample)
	for i := 0; i < len(list); i += max(1, len(list)/sample) {
		if at := list[i].oldest(); at > 0 {
			ages = append(ages, at)
		}
	}
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return ages[min(int(part*float64(len(ages))), len(ages)-1)]
}

// all are the logs of the node.
func (m *memory) all() []*Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.logs)
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

func (h *history) oldest() uint64 {
	if h.counted == 0 {
		return 0
	}
	return h.grew
}

func (h *history) shed(since uint64) bool {
	if h.counted == 0 || h.grew != since {
		return false
	}
	h.begin(h.last)
	return true
}

func (t *topic) oldest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.past.own { // the log has it
		return 0
	}
	return t.past.oldest()
}

func (t *topic) shed(since uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.past.own || !t.past.shed(since) {
		return false
	}
	t.trim()
	return true
}

// forgotten is told that the log that it reads has forgotten what it had. The log's
// lock is held.
func (t *topic) forgotten() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim()
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

// histories adds those of the log.
func (l *Log) histories(list []shedder) []shedder {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.rings.all() {
		list = append(list, r)
	}
	return list
}

func (r *ring) oldest() uint64 {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.stays() {
		return 0
	}
	return r.past.oldest()
}

// stays tells whether it cannot be forgotten: the content of a state topic that
// somebody watches.
func (r *ring) stays() bool { return !r.log.topic.Events && len(r.readers) > 0 }

func (r *ring) shed(since uint64) bool {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.stays() || !r.past.shed(since) {
		return false
	}
	for _, w := range r.readers {
		if w.topic != nil {
			w.topic.forgotten()
		}
	}
	if len(r.readers) == 0 {
		l.forget(r)
	}
	return true
}

var (
	_ shedder = (*topic)(nil)
	_ shedder = (*source)(nil)
	_ shedder = (*ring)(nil)
)
