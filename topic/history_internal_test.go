package topic

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/route"
)

// TestHistoryKeepsTheNewest compares histories of all bounds with a plain list
// that is cut after each event.
func TestHistoryKeepsTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			checkHistory(t, rnd, route.History{
				Count: 1 + rnd.IntN(40), Bytes: 200 + rnd.IntN(20000), Age: duration.Duration(rnd.IntN(3)) * duration.Duration(time.Second),
			})
		}
	})
}

func checkHistory(t *testing.T, rnd *rand.Rand, bound route.History) {
	t.Helper()
	var plain []record
	came := make(map[uint64]time.Time)
	floor, last := uint64(0), uint64(0)
	mem := new(memory)
	h := history{bound: bound, mem: mem}
	cut := func(n int) {
		for range n {
			floor = plain[0].offset
			plain = plain[1:]
		}
	}
	for range 300 {
		switch rnd.IntN(20) {
		case 0:
			last += uint64(rnd.IntN(5))
			floor, plain = last, nil
			h.begin(last)
		case 1:
			time.Sleep(time.Duration(rnd.IntN(900)) * time.Millisecond)
		default:
			last++
			r := random(rnd, last)
			own := r
			own.stay()
			plain = append(plain, own)
			for sum(plain) > bound.Bytes && len(plain) > 1 || len(plain) > bound.Count {
				cut(1)
			}
			h.push(&r)
			if !r.stable { // it was valid for the moment only
				clear(r.body)
				clear(r.rest().publisher)
			}
			came[last] = time.Now()
		}
		h.expire()
		for bound.Age > 0 && len(plain) > 0 && time.Since(came[plain[0].offset]) > time.Duration(bound.Age) {
			cut(1)
		}
		if h.len() != len(plain) || h.floor != floor || h.last != last || h.bytes != sum(plain) {
			t.Fatalf("%+v: it has %d from %d to %d, %d bytes; want %d from %d to %d, %d bytes",
				bound, h.len(), h.floor, h.last, h.bytes, len(plain), floor, last, sum(plain))
		}
		if used := mem.used.Load(); used < int64(h.bytes) || used > int64(4*(h.bytes+chunkBytes+64*firstIndex)) {
			t.Fatalf("%+v: it has %d bytes and takes %d", bound, h.bytes, used)
		}
		checkChunks(t, &h.data)
		checkFrom(t, &h, plain, rnd.IntN(len(plain)+1))
		checkAfter(t, &h, plain, rnd.Uint64N(last+2))
	}
	h.begin(last)
	if used := mem.used.Load(); used != 0 {
		t.Fatalf("%+v: nothing takes %d bytes", bound, used)
	}
}

// checkChunks looks whether all memory is counted.
func checkChunks(t *testing.T, s *chunks) {
	t.Helper()
	known, sum := make(map[*byte]bool), 0
	for _, b := range append(append([][]byte{s.spare, s.cur}, s.few[:]...), s.list[:cap(s.list)]...) {
		if at := unsafe.SliceData(b[:cap(b)]); cap(b) > 0 && !known[at] {
			known[at] = true
			sum += cap(b)
		}
	}
	if sum != s.room {
		t.Fatalf("%d chunks of %d bytes are kept, and counted as %d", len(known), sum, s.room)
	}
}

// random is a record of any size.
func random(rnd *rand.Rand, offset uint64) record {
	sizes := []int{1, 100, 400, inData, inData + 1, 3000}
	r := record{body: make([]byte, rnd.IntN(sizes[rnd.IntN(len(sizes))]+1)), offset: offset, stable: rnd.IntN(2) == 0}
	for i := range r.body {
		r.body[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(3) == 0 {
		r.more = moreOf(more{
			contentType: strings.Repeat("c", rnd.IntN(300)), to: strings.Repeat("t", rnd.IntN(3)), fault: rnd.IntN(2) == 0,
			publisher: []byte(strings.Repeat("p", rnd.IntN(100)+1)),
		})
	}
	return r
}

// checkFrom reads the events from one on.
func checkFrom(t *testing.T, h *history, plain []record, first int) {
	t.Helper()
	i := first
	for got := range h.from(first) {
		want := &plain[i]
		if got.offset != want.offset || !reflect.DeepEqual(got.more, want.more) || !bytes.Equal(got.body, want.body) {
			t.Fatalf("%+v: event %d is %d, %+v; want %d, %+v", h.bound, i, got.offset, got.rest(), want.offset, want.rest())
		}
		i++
	}
	if i != len(plain) {
		t.Fatalf("from %d there are %d of %d", first, i, len(plain))
	}
	if n := h.newest(); (n == nil) != (len(plain) == 0) || n != nil && n.offset != plain[len(plain)-1].offset {
		t.Fatalf("the newest of %d is %+v", len(plain), n)
	}
}

func checkAfter(t *testing.T, h *history, plain []record, offset uint64) {
	t.Helper()
	first, whole := h.after(offset)
	want := 0
	for want < len(plain) && plain[want].offset <= offset {
		want++
	}
	if first != want || whole != (offset >= h.floor && offset <= h.last) {
		t.Fatalf("after %d: from event %d, whole %t; want %d", offset, first, whole, want)
	}
}

func sum(list []record) (n int) {
	for i := range list {
		n += list[i].size()
	}
	return n
}
