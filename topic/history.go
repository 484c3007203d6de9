package topic

import (
	"iter"
	"time"
	"unsafe"

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

// history keeps the newest events of a topic, oldest first. There may be many, of
// many topics: so that the collector has nothing to look at, and a new event no
// memory to ask for, those that are small lie in pieces of memory that are used again
// and again.
type history struct {
	index   []entry // a ring that grows up to what its bound allows
	head    int     // where the oldest is
	count   int
	floor   uint64 // all events after this offset are there
	last    uint64 // offset of the newest that there ever was
	grew    uint64 // when an event came last, by the clock of mem
	bytes   int    // what the events count together
	rest    int    // memory of index, large and came
	counted int    // what mem knows of
	mem     *memory
	bound   route.History
	data    chunks
	large   [][]byte // bodies too large for data, oldest first
	came    []moment // when those in index came; nil if nobody asks for their age
}

// entry is where an event is: its body, and after it what else there is.
type entry struct {
	offset uint64
	chunk  uint32 // of data
	at     uint32
	body   uint32
	tail   uint32
}

// inData is the size of the largest bodies that are copied into data; to keep a
// larger one as it is costs the collector little a byte.
const inData = 1024

// size is what it takes of data.
func (e *entry) size() int { return e.inside() + int(e.tail) }

// inside is the part of its body that is in data: all of it or nothing.
func (e *entry) inside() int {
	if e.body > inData {
		return 0
	}
	return int(e.body)
}

// firstIndex is how many events there is room for at first.
const firstIndex = 4

// begin forgets everything: the events after an offset follow.
func (h *history) begin(floor uint64) {
	h.index, h.head, h.count, h.bytes = nil, 0, 0, 0
	h.data, h.large, h.came, h.rest = chunks{}, nil, nil, 0
	h.floor, h.last = floor, floor
	h.tell()
}

// tell has mem know how much memory it takes.
func (h *history) tell() {
	if now := h.data.room + h.rest; now != h.counted {
		h.mem.add(now - h.counted)
		h.counted = now
	}
}

// Sizes in memory.
const (
	entryBytes  = int(unsafe.Sizeof(entry{}))
	momentBytes = int(unsafe.Sizeof(moment(0)))
)

// len is how many events there are.
func (h *history) len() int { return h.count }

// from are the events from one on; the oldest is number 0. What they point to is
// valid until the next is pushed.
func (h *history) from(first int) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		large := 0
		for i := range h.count {
			e := h.entry(i)
			r := record{offset: e.offset}
			if e.body > inData {
				r.body, r.stable = h.large[large], true
				large++
			}
			if i < first {
				continue
			}
			piece := h.data.piece(e.chunk, e.at, e.size())
			if !r.stable {
				r.body = piece[:e.inside():e.inside()]
			}
			r.more = parseMore(piece[e.inside():])
			if !yield(&r) {
				return
			}
		}
	}
}

// newest is the newest event; nil if there is none.
func (h *history) newest() *record {
	for r := range h.from(h.count - 1) {
		return r
	}
	return nil
}

func (h *history) entry(i int) *entry { return &h.index[h.place(i)] }

func (h *history) place(i int) int {
	if i += h.head; i >= len(h.index) {
		i -= len(h.index)
	}
	return i
}

// rebound gives it other bounds, and drops what is too much. What has no age yet
// comes of age from now on.
func (h *history) rebound(bound route.History) {
	if h.bound.Age <= 0 && bound.Age > 0 {
		h.rest += (len(h.index) - len(h.came)) * momentBytes
		h.came = make([]moment, len(h.index))
		for i := range h.came {
			h.came[i] = now()
		}
	}
	h.bound = bound
	for h.count > 1 && (h.count > bound.Count || h.bytes > bound.Bytes) { // the newest stays
		h.pop()
	}
	h.tell()
}

// push adds the newest event, of which it makes a copy, and drops what is too
// much.
func (h *history) push(r *record) {
	h.dropOld()
	size := r.size()
	for h.count > 0 && (h.count >= h.bound.Count || h.bytes+size > h.bound.Bytes) {
		h.pop()
	}
	if h.count == len(h.index) {
		h.grow()
	}
	e := entry{offset: r.offset, body: uint32(len(r.body)), tail: uint32(r.more.size())} //nolint:gosec // messages are smaller
	e.chunk, e.at = h.data.take(e.size())
	if to := h.data.cur[e.at:e.at]; e.body <= inData {
		r.more.appendTo(append(to, r.body...))
	} else {
		h.large = append(h.large, r.owned())
		h.rest += len(r.body)
		r.more.appendTo(to)
	}
	i := h.place(h.count)
	h.index[i] = e
	if h.bound.Age > 0 {
		h.came[i] = now()
	}
	h.count++
	h.bytes += size
	h.last = r.offset
	h.grew = h.mem.clock.Add(1)
	h.tell()
}

// grow makes room for more entries.
func (h *history) grow() {
	n := min(max(2*len(h.index), firstIndex), max(h.bound.Count, 1))
	h.rest += (n - len(h.index)) * entryBytes
	h.index = unrolled(h.index, h.head, n)
	if h.bound.Age > 0 {
		h.rest += (n - len(h.came)) * momentBytes
		h.came = unrolled(h.came, h.head, n)
	}
	h.head = 0
}

// unrolled returns a ring with room for n, whose head is 0.
func unrolled[E any](ring []E, head, n int) []E {
	longer := make([]E, n)
	copy(longer[copy(longer, ring[head:]):], ring[:head])
	return longer
}

// expire drops what is too old.
func (h *history) expire() {
	h.dropOld()
	h.tell()
}

func (h *history) dropOld() {
	for range h.old() {
		h.pop()
	}
}

// old is how many events are too old.
func (h *history) old() (n int) {
	if h.bound.Age <= 0 {
		return 0
	}
	oldest := now() - moment(h.bound.Age)
	for n < h.count && h.came[h.place(n)] < oldest {
		n++
	}
	return n
}

// pop drops the oldest.
func (h *history) pop() {
	e := h.entry(0)
	if e.body > inData {
		h.rest -= int(e.body)
		h.large[0] = nil
		h.large = h.large[1:]
	}
	h.bytes -= sizeOf(int(e.body), int(e.tail))
	h.floor = e.offset
	h.head = h.place(1)
	h.count--
	switch {
	case h.count == 0:
		h.data.clear()
	case h.entry(0).chunk != e.chunk:
		h.data.free(h.entry(0).chunk)
	}
}

// after returns which is the first event after an offset, and whether from there on
// they are all that there were.
func (h *history) after(offset uint64) (first int, whole bool) {
	first = h.count
	for first > 0 && h.entry(first-1).offset > offset {
		first--
	}
	return first, offset >= h.floor && offset <= h.last
}
