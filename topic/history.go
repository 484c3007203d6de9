package topic

import (
	"time"

	"github.com/ropewalk/ropewalk/route"
)

// Bounds of a history for which none are given.
const (
	// DefaultHistoryCount is how many events are kept: enough for who was away for
	// a moment.
	DefaultHistoryCount = 256
	// DefaultHistoryBytes is how large they may be together.
	DefaultHistoryBytes = 1 << 20
)

// bounds are those of a history, with what is given by default.
func bounds(h route.History) route.History {
	if h.Count <= 0 {
		h.Count = DefaultHistoryCount
	}
	if h.Bytes <= 0 {
		h.Bytes = DefaultHistoryBytes
	}
	return h
}

// aged is what a history keeps.
type aged interface {
	comparable

	size() int
	number() uint64
	when() time.Time
}

func (e *event) number() uint64  { return e.offset }
func (e *event) when() time.Time { return e.at }

// history keeps the newest events of a topic, oldest first.
type history[E aged] struct {
	bound route.History
	list  []E
	head  int
	bytes int
	floor uint64 // all events after this offset are there
	last  uint64 // offset of the newest that there ever was
	drop  func(E)
}

// begin forgets everything: the events after an offset follow.
func (h *history[E]) begin(floor uint64) {
	for range h.len() {
		h.pop()
	}
	h.floor, h.last = floor, floor
}

// rebound gives it other bounds, and drops what is too much.
func (h *history[E]) rebound(bound route.History) {
	h.bound = bound
	h.trim()
}

func (h *history[E]) len() int { return len(h.list) - h.head }

// all are the events that are kept. It must not be changed, nor kept.
func (h *history[E]) all() []E { return h.list[h.head:] }

// push adds the newest event, and drops what is too much.
func (h *history[E]) push(e E) {
	if h.head > 0 && len(h.list) == cap(h.list) {
		n := copy(h.list, h.list[h.head:])
		clear(h.list[n:])
		h.list, h.head = h.list[:n], 0
	}
	h.list = append(h.list, e)
	h.bytes += e.size()
	h.last = e.number()
	h.trim()
	h.expire(e.when())
}

// trim drops what is too much, but the newest.
func (h *history[E]) trim() {
	for h.len() > 1 && (h.len() > h.bound.Count || h.bytes > h.bound.Bytes) {
		h.pop()
	}
}

// expire drops what is too old.
func (h *history[E]) expire(now time.Time) {
	if h.bound.Age <= 0 {
		return
	}
	for h.len() > 0 && now.Sub(h.list[h.head].when()) > time.Duration(h.bound.Age) {
		h.pop()
	}
}

func (h *history[E]) pop() {
	var none E
	e := h.list[h.head]
	h.list[h.head] = none
	h.head++
	h.bytes -= e.size()
	h.floor = e.number()
	if h.head == len(h.list) {
		h.list, h.head = h.list[:0], 0
	}
	if h.drop != nil {
		h.drop(e)
	}
}

// after returns the events after an offset, and whether they are all that there
// were.
func (h *history[E]) after(offset uint64) (list []E, whole bool) {
	all := h.all()
	at := len(all)
	for at > 0 && all[at-1].number() > offset {
		at--
	}
	return all[at:], offset >= h.floor && offset <= h.last
}
