package topic

import (
	"iter"
	"sync"
)

// shared is a history that a Log writes and the topics of its node read, too. Who
// writes it holds mu, and so does who reads it and cannot write. No other lock is
// taken under it that a Log or topic has.
type shared struct {
	mu sync.Mutex
	history
}

func (s *shared) push(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.push(r)
}

func (s *shared) begin(floor uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.begin(floor)
}

func (s *shared) expire() {
	if s.bound.Age <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.expire()
}

func (s *shared) shed(since uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.shed(since)
}

// past is what a topic has told of its events. They are in a history of its own,
// or in that of a Log of this node, where there may be more already.
type past struct {
	*shared // nil: there was none

	own   bool
	floor uint64 // what was until this offset it does not tell
	told  uint64 // offset of the newest that it was told of
}

// lowest is the offset after which all events that the topic was told of are
// there, and not too old. mu is held.
func (p *past) lowest() uint64 {
	floor := max(p.floor, p.history.floor)
	if n := p.old(); n > 0 {
		floor = max(floor, p.entry(n-1).offset)
	}
	return floor
}

// whole tells whether all events after an offset are there that the topic was told
// of. mu is held.
func (p *past) whole(offset uint64) bool { return offset >= p.lowest() && offset <= p.told }

// since are the events after an offset. mu is held.
func (p *past) since(offset uint64) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		first, _ := p.after(max(offset, p.lowest()))
		for r := range p.from(first) {
			if r.offset > p.told || !yield(r) {
				return
			}
		}
	}
}

// back returns the offset after which there are n events, or all that are there.
// mu is held.
func (p *past) back(n int) uint64 {
	end, _ := p.after(p.told)
	if n >= end {
		return p.lowest()
	}
	return max(p.entry(end-n-1).offset, p.lowest())
}
