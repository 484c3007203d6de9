package route

import (
	"math/rand/v2"
	"sync/atomic"
)

// What a server that is not on this node counts as, in calls in flight.
const (
	// nearCost is that of another node nearby: an idle server here is preferred
	// to an idle one there, because the way costs about as much as the node's
	// own work on a call, and the first call that has to wait here goes there.
	nearCost = 1
	// farCost is that of another zone. The way there takes a millisecond rather
	// than a tenth of one, and is often paid for; a queue of four calls here is
	// the longer wait even where calls are short.
	farCost = 4
)

// home is where the node is that the strategies belong to.
type home struct{ place atomic.Pointer[Place] }

func newHome() *home {
	h := &home{}
	h.place.Store(&Place{})
	return h
}

// load is how busy a server is, the way there included.
func (h *home) load(e Endpoint) int {
	busy := e.InFlight()
	if e.Local() {
		return busy
	}
	there, here := zoneOf(e), h.place.Load().Zone
	if there == here || there == "" || here == "" {
		return busy + nearCost
	}
	return busy + farCost
}

func (h *home) freer(a, b Endpoint) Endpoint {
	if h.load(b) < h.load(a) {
		return b
	}
	return a
}

// leastBusyOfTwo looks at two servers chosen at random and takes the one with fewer
// calls in flight. That spreads nearly as well as looking at all, costs the
// same for any number of servers, and does not send every caller to the same
// server at once. The way to a server counts as calls.
func leastBusyOfTwo(h *home) Strategy {
	return &plain{ByLeastBusy, func(cands []Endpoint, _ string) Endpoint { return h.leastBusy(cands) }}
}

func (h *home) leastBusy(cands []Endpoint) Endpoint {
	n := len(cands)
	if n == 1 {
		return cands[0]
	}
	i, j := rand.IntN(n), rand.IntN(n-1) //nolint:gosec // spreads load, guards nothing
	if j >= i {
		j++
	}
	return h.freer(cands[i], cands[j])
}

// preferLocal is leastBusyOfTwo among the servers of this node if there are any,
// else among those of its zone, else among all.
func preferLocal(h *home) Strategy {
	return &plain{ByPreferLocal, func(cands []Endpoint, _ string) Endpoint {
		place := h.place.Load()
		var here, near sample
		for _, e := range cands {
			switch {
			case e.Local():
				here.add(e)
			case here.seen == 0 && place.near(e):
				near.add(e)
			}
		}
		switch {
		case here.seen > 0:
			return here.freer(h)
		case near.seen > 0:
			return near.freer(h)
		}
		return h.leastBusy(cands)
	}}
}

// preferZone is leastBusyOfTwo among the servers of this zone if there are any,
// else among all.
func preferZone(h *home) Strategy {
	return &plain{ByPreferZone, func(cands []Endpoint, _ string) Endpoint {
		place := h.place.Load()
		var near sample
		for _, e := range cands {
			if place.near(e) {
				near.add(e)
			}
		}
		if near.seen > 0 {
			return near.freer(h)
		}
		return h.leastBusy(cands)
	}}
}

// sample is two of some servers at random, found in one pass over them
// (reservoir sampling).
type sample struct {
	a, b Endpoint
	seen int
}

func (s *sample) add(e Endpoint) {
	s.seen++
	switch at := rand.IntN(s.seen); { //nolint:gosec // spreads load, guards nothing
	case s.seen == 1:
		s.a = e
	case s.seen == 2:
		s.b = e
	case at == 0:
		s.a = e
	case at == 1:
		s.b = e
	}
}

// freer returns the less busy of the two; either if they are equally busy.
func (s *sample) freer(h *home) Endpoint {
	a, b := s.a, s.b
	if s.seen == 1 {
		return a
	}
	if rand.IntN(2) == 0 { //nolint:gosec // spreads load, guards nothing
		a, b = b, a // so that equally busy ones share the load
	}
	return h.freer(a, b)
}
