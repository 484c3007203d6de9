package natslog

import (
	"strings"
	"testing"
)

// TestRingIsBounded has more events come than there is room for, by number and by
// size.
func TestRingIsBounded(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		most    int
		event   event
		atMost  int
		atLeast int
	}{
		"number":              {8, event{body: []byte("1")}, 8, 8},
		"bodies":              {8192, event{body: []byte(large)}, 15, 15},
		"types":               {8192, event{contentType: large}, 15, 15},
		"publishers":          {8192, event{publisher: []byte(large)}, 15, 15},
		"paths":               {8192, event{path: large}, 15, 15},
		"larger than all":     {8192, event{body: []byte(strings.Repeat("x", ringBytes+1))}, 1, 1},
		"what an event takes": {1 << 20, event{}, ringBytes / eventRoom, ringBytes / eventRoom},
	} {
		r := ring{most: c.most}
		r.begin(100)
		const events = 300_000
		n := events
		if c.event.size() > 1<<10 {
			n = 100
		}
		for i := range n {
			e := c.event
			e.seq = 101 + uint64(i)
			r.push(&e)
		}
		got := r.all()
		bytes := 0
		for _, e := range got {
			bytes += e.size()
		}
		if len(got) > c.atMost || len(got) < c.atLeast || bytes != r.bytes {
			t.Errorf("%s: %d events of %d bytes, counted %d", name, len(got), bytes, r.bytes)
		}
		if last := got[len(got)-1].seq; last != 100+uint64(n) || r.last != last || got[0].seq != r.floor+1 {
			t.Errorf("%s: from %d to %d; after %d, up to %d", name, got[0].seq, last, r.floor, r.last)
		}
		if room := cap(r.list); room > 4*max(c.atMost, 8) {
			t.Errorf("%s: room for %d", name, room)
		}
	}
}
