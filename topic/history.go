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

// moment is a time, as the time since the process began; a time.Time is three times
// as large.
type moment time.Duration

var began = time.Now() //nolint:gochecknoglobals // from when moments count

func now() moment { return moment(time.Since(began)) }

// history keeps the newest events of a topic, oldest first, in a ring that grows
// up to what its bound allows.
type history struct {
	ring  []kept
	head  int // where the oldest is
	count int
	bytes int
	floor uint64 // all events after this offset are there
	last  uint64 // offset of the newest that there ever was
	grew  uint64 // when an event came last, by the clock of mem
	bound route.History
	mem   *memory // counts it; nil: nobody does
}

type kept struct {
	record

	came moment // 0 if nobody asks for its age
}

// firstRing is how many events there is room for at first.
const firstRing = 4

// begin forgets everything: the events after an offset follow.
func (h *history) begin(floor uint64) {
	before := h.bytes
	for h.count > 0 {
		h.pop()
	}
	h.floor, h.last = floor, floor
	h.tell(before)
}

// tell has mem know how large it is; it was so large before.
func (h *history) tell(before int) {
	if h.mem != nil && h.bytes != before {
		h.mem.add(h.bytes - before)
	}
}

// len is how many events there are.
func (h *history) len() int { return h.count }

// get returns one of them, until the next is pushed; the oldest is number 0.
func (h *history) get(i int) *record { return &h.ring[h.place(i)].record }

func (h *history) place(i int) int {
	if i += h.head; i >= len(h.ring) {
		i -= len(h.ring)
	}
	return i
}

// rebound gives it other bounds, and drops what is too much. What has no age yet
// comes of age from now on.
func (h *history) rebound(bound route.History) {
	if h.bound.Age <= 0 && bound.Age > 0 {
		came := now()
		for i := range h.count {
			h.ring[h.place(i)].came = came
		}
	}
	h.bound = bound
	before := h.bytes
	for h.count > 1 && (h.count > bound.Count || h.bytes > bound.Bytes) { // the newest stays
		h.pop()
	}
	h.tell(before)
}

// push adds the newest event, and drops what is too much.
func (h *history) push(r record) {
	size, before := r.size(), h.bytes
	k := kept{record: r}
	if h.bound.Age > 0 {
		h.dropOld()
		k.came = now()
	}
	for h.count > 0 && (h.count >= h.bound.Count || h.bytes+size > h.bound.Bytes) {
		h.pop()
	}
	if h.count == len(h.ring) {
		h.grow()
	}
	h.ring[h.place(h.count)] = k
	h.count++
	h.bytes += size
	h.last = r.offset
	if h.mem != nil {
		h.grew = h.mem.clock.Add(1)
	}
	h.tell(before)
}

func (h *history) grow() {
	ring := make([]kept, min(max(2*len(h.ring), firstRing), max(h.bound.Count, 1)))
	n := copy(ring, h.ring[h.head:])
	copy(ring[n:], h.ring[:h.head])
	h.ring, h.head = ring, 0
}

// expire drops what is too old.
func (h *history) expire() {
	before := h.bytes
	h.dropOld()
	h.tell(before)
}

func (h *history) dropOld() {
	if h.bound.Age <= 0 {
		return
	}
	oldest := now() - moment(h.bound.Age)
	for h.count > 0 && h.ring[h.head].came < oldest {
		h.pop()
	}
}

// pop drops the oldest.
func (h *history) pop() {
	k := &h.ring[h.head]
	h.bytes -= k.size()
	h.floor = k.offset
	*k = kept{}
	h.head = h.place(1)
	h.count--
}

// after returns which is the first event after an offset, and whether from there on
// they are all that there were.
func (h *history) after(offset uint64) (first int, whole bool) {
	first = h.count
	for first > 0 && h.ring[h.place(first-1)].offset > offset {
		first--
	}
	return first, offset >= h.floor && offset <= h.last
}
