package topic

import (
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
	var plain []*event
	came := make(map[*event]time.Time)
	floor, last, dropped := uint64(0), uint64(0), 0
	h := history[*event]{bound: bound, drop: func(*event) { dropped++ }}
	pushed := 0
	cut := func(n int) {
		for range n {
			floor = plain[0].number()
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
			e := &event{body: make([]byte, rnd.IntN(400)), stamp: &route.Stamp{Offset: last}}
			h.push(e)
			came[e] = time.Now()
			pushed++
			plain = append(plain, e)
			for sum(plain) > bound.Bytes && len(plain) > 1 || len(plain) > bound.Count {
				cut(1)
			}
		}
		h.expire()
		for bound.Age > 0 && len(plain) > 0 && time.Since(came[plain[0]]) > time.Duration(bound.Age) {
			cut(1)
		}
		if h.len() != len(plain) || h.floor != floor || h.last != last || h.bytes != sum(plain) || dropped != pushed-len(plain) {
			t.Fatalf("%+v: it has %d from %d to %d, %d bytes, has dropped %d; want %d from %d to %d, %d bytes, %d",
				bound, h.len(), h.floor, h.last, h.bytes, dropped, len(plain), floor, last, sum(plain), pushed-len(plain))
		}
		for i, e := range plain {
			if h.get(i) != e {
				t.Fatalf("%+v: event %d is %d, want %d", bound, i, h.get(i).number(), e.number())
			}
		}
		checkAfter(t, &h, plain, rnd.Uint64N(last+2))
	}
}

func checkAfter(t *testing.T, h *history[*event], plain []*event, offset uint64) {
	t.Helper()
	first, whole := h.after(offset)
	want := 0
	for want < len(plain) && plain[want].number() <= offset {
		want++
	}
	if first != want || whole != (offset >= h.floor && offset <= h.last) {
		t.Fatalf("after %d: from event %d, whole %t; want %d", offset, first, whole, want)
	}
}

func sum(list []*event) (n int) {
	for _, e := range list {
		n += e.size()
	}
	return n
}
