package topic

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

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
				Count: 1 + rnd.IntN(20), Bytes: 200 + rnd.IntN(4000), Age: duration.Duration(rnd.IntN(3)) * duration.Duration(time.Second),
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
	for range 200 {
		switch rnd.IntN(20) {
		case 0:
			last += uint64(rnd.IntN(5))
			floor, plain = last, nil
			h.begin(last)
		case 1:
			time.Sleep(time.Duration(rnd.IntN(900)) * time.Millisecond)
		default:
			last++
			r := record{body: make([]byte, rnd.IntN(400)), offset: last}
			if rnd.IntN(3) == 0 {
				r.more = &more{publisher: make([]byte, rnd.IntN(100))}
			}
			h.push(r)
			came[last] = time.Now()
			plain = append(plain, r)
			for sum(plain) > bound.Bytes && len(plain) > 1 || len(plain) > bound.Count {
				cut(1)
			}
		}
		h.expire()
		for bound.Age > 0 && len(plain) > 0 && time.Since(came[plain[0].offset]) > time.Duration(bound.Age) {
			cut(1)
		}
		if h.len() != len(plain) || h.floor != floor || h.last != last || h.bytes != sum(plain) || mem.used.Load() != int64(h.bytes) {
			t.Fatalf("%+v: it has %d from %d to %d, %d bytes, counted as %d; want %d from %d to %d, %d bytes",
				bound, h.len(), h.floor, h.last, h.bytes, mem.used.Load(), len(plain), floor, last, sum(plain))
		}
		for i, r := range plain {
			if got := h.get(i); got.offset != r.offset || got.more != r.more || !bytes.Equal(got.body, r.body) {
				t.Fatalf("%+v: event %d is %d, want %d", bound, i, got.offset, r.offset)
			}
		}
		checkAfter(t, &h, plain, rnd.Uint64N(last+2))
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
