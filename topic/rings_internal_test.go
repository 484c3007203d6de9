package topic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Rings are found by their addresses, long ones and such whose hashes are equal,
// too, and stand in lines in the order in which they came.
func TestRings(t *testing.T) {
	t.Parallel()
	for _, mask := range []uint64{0, 3, newRings().mask} {
		s, rnd := newRings(), rand.New(rand.NewPCG(mask, 1))
		s.mask = mask
		known := make(map[string]*ring)
		var order line
		var want []*ring
		for range 3000 {
			to := fmt.Sprintf("s:/%s/%d", strings.Repeat("x", rnd.IntN(2)*addressRoom), rnd.IntN(20))
			r := s.at([]byte(to))
			if r != known[to] || r != nil && r.to() != to {
				t.Fatalf("%s: %v, want %v", to, r, known[to])
			}
			if r == nil {
				r = new(ring)
				s.add(r, []byte(to))
				known[to] = r
				order.push(r)
				want = append(want, r)
				continue
			}
			s.remove(r)
			delete(known, to)
			order.remove(r)
			want = without(want, r)
			checkRings(t, &s, known)
			checkLine(t, &order, want)
		}
		for r := range s.all() {
			s.remove(r)
		}
		if s.n != 0 || len(s.by) != 0 {
			t.Errorf("%d of %d are left", len(s.by), s.n)
		}
	}
}

func without(list []*ring, r *ring) (rest []*ring) {
	for _, o := range list {
		if o != r {
			rest = append(rest, o)
		}
	}
	return rest
}

func checkRings(t *testing.T, s *rings, known map[string]*ring) {
	t.Helper()
	n := 0
	for r := range s.all() {
		if known[r.to()] != r {
			t.Fatalf("%s is not known", r.to())
		}
		n++
	}
	if n != len(known) || n != s.n {
		t.Fatalf("there are %d, counted as %d; want %d", n, s.n, len(known))
	}
}

func checkLine(t *testing.T, l *line, want []*ring) {
	t.Helper()
	at := l.oldest
	for i, r := range want {
		if at != r || r.in != l {
			t.Fatalf("number %d of %d is another one", i, len(want))
		}
		at = at.newer
	}
	at = l.newest
	for range want {
		at = at.older
	}
	if at != nil || l.n != len(want) {
		t.Fatalf("there are %d, or more; want %d", l.n, len(want))
	}
}
