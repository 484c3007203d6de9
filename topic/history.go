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
}

func (e *event) number() uint64 { return e.stamp.Offset }

// moment is a time, as the time since the process began; a time.Time is three times
// as large.
type moment time.Duration

var began = time.Now() //nolint:gochecknoglobals // from when moments count

func now() moment { return moment(time.Since(began)) }

// history keeps the newest events of a topic, oldest first, in a ring that grows
// up to what its bound allows.
type history[E aged] struct {
	bound route.History
	ring  []kept[E]
	head  int // where the oldest is
	count int
	bytes int
	floor uint64 // all events after this offset are there
	last  uint64 // offset of the newest that there ever was
	drop  func(E)
	mem   *memory // counts it; nil: nobody does
	grew  uint64  // when an event came last, by the clock of mem
}

// kept is an event with what is asked of it when it goes: by then it would have to
// be fetched from memory for that.
type kept[E aged] struct {
	e    E
	at   uint64
	size int
	came moment // 0 if nobody asks for its age
}

// firstRing is how many events there is room for at first.
const firstRing = 4

// begin forgets everything: the events after an offset follow.
func (h *history[E]) begin(floor uint64) {
	for h.count > 0 {
		h.pop()
	}
	h.floor, h.last = floor, floor
}

// len is how many events there are.
func (h *history[E]) len() int { return h.count }

// get returns one of them; the oldest is number 0.
func (h *history[E]) get(i int) E { return h.ring[h.place(i)].e }

func (h *history[E]) place(i int) int {
	if i += h.head; i >= len(h.ring) {
		i -= len(h.ring)
	}
	return i
}

// rebound gives it other bounds, and drops what is too much. What has no age yet
// comes of age from now on.
func (h *history[E]) rebound(bound route.History) {
	if h.bound.Age <= 0 && bound.Age > 0 {
		came := now()
		for i := range h.count {
			h.ring[h.place(i)].came = came
		}
	}
	h.bound = bound
	for h.count > 1 && (h.count > bound.Count || h.bytes > bound.Bytes) { // the newest stays
		h.pop()
	}
}

// push adds the newest event, and drops what is too much.
func (h *history[E]) push(e E) {
	k := kept[E]{e: e, at: e.number(), size: e.size()}
	if h.bound.Age > 0 {
		h.expire()
		k.came = now()
	}
	for h.count > 0 && (h.count >= h.bound.Count || h.bytes+k.size > h.bound.Bytes) {
		h.pop()
	}
	if h.count == len(h.ring) {
		h.grow()
	}
	h.ring[h.place(h.count)] = k
	h.count++
	h.bytes += k.size
	h.last = k.at
	if h.mem != nil {
		h.grew = h.mem.clock.Add(1)
		h.mem.add(k.size)
	}
}

func (h *history[E]) grow() {
	ring := make([]kept[E], min(max(2*len(h.ring), firstRing), max(h.bound.Count, 1)))
	n := copy(ring, h.ring[h.head:])
	copy(ring[n:], h.ring[:h.head])
	h.ring, h.head = ring, 0
}

// expire drops what is too old.
func (h *history[E]) expire() {
	if h.bound.Age <= 0 {
		return
	}
	oldest := now() - moment(h.bound.Age)
	for h.count > 0 && h.ring[h.head].came < oldest {
		h.pop()
	}
}

func (h *history[E]) pop() {
	k := h.ring[h.head]
	h.ring[h.head] = kept[E]{}
	h.head = h.place(1)
	h.count--
	h.bytes -= k.size
	if h.mem != nil {
		h.mem.add(-k.size)
	}
	h.floor = k.at
	if h.drop != nil {
		h.drop(k.e)
	}
}

// after returns which is the first event after an offset, and whether from there on
// they are all that there were.
func (h *history[E]) after(offset uint64) (first int, whole bool) {
	first = h.count
	for first > 0 && h.ring[h.place(first-1)].at > offset {
		first--
	}
	return first, offset >= h.floor && offset <= h.last
}
