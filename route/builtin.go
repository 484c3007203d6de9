package route

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
)

// builtins returns new strategies, in the order of the documentation.
func builtins() []Strategy {
	return []Strategy{
		first(), &roundRobin{}, random(), leastBusyOfTwo(), sticky(), preferLocal(), instance(),
	}
}

// plain is a strategy without state.
type plain struct {
	name   string
	choose func(cands []Endpoint, key string) Endpoint
}

func (p *plain) Name() string { return p.name }

func (p *plain) Choose(cands []Endpoint, key string) Endpoint {
	if len(cands) == 0 {
		return nil
	}
	return p.choose(cands, key)
}

// first chooses the server that has served the longest.
func first() Strategy {
	return &plain{ByFirst, func(cands []Endpoint, _ string) Endpoint { return cands[0] }}
}

// random chooses any server.
func random() Strategy {
	return &plain{ByRandom, func(cands []Endpoint, _ string) Endpoint {
		return cands[rand.IntN(len(cands))] //nolint:gosec // spreads load, guards nothing
	}}
}

// leastBusyOfTwo looks at two servers chosen at random and takes the one with fewer
// calls in flight. That spreads nearly as well as looking at all, costs the
// same for any number of servers, and does not send every caller to the same
// server at once.
func leastBusyOfTwo() Strategy {
	return &plain{ByLeastBusy, func(cands []Endpoint, _ string) Endpoint { return leastBusy(cands) }}
}

func leastBusy(cands []Endpoint) Endpoint {
	n := len(cands)
	if n == 1 {
		return cands[0]
	}
	i, j := rand.IntN(n), rand.IntN(n-1) //nolint:gosec // spreads load, guards nothing
	if j >= i {
		j++
	}
	return freer(cands[i], cands[j])
}

func freer(a, b Endpoint) Endpoint {
	if b.InFlight() < a.InFlight() {
		return b
	}
	return a
}

// preferLocal is leastBusyOfTwo among the servers of this node if there are any,
// else among all.
func preferLocal() Strategy {
	return &plain{ByPreferLocal, func(cands []Endpoint, _ string) Endpoint {
		// Two of the local ones at random in one pass (reservoir sampling).
		var a, b Endpoint
		n := 0
		for _, e := range cands {
			if !e.Local() {
				continue
			}
			n++
			switch at := rand.IntN(n); { //nolint:gosec // spreads load, guards nothing
			case n == 1:
				a = e
			case n == 2:
				b = e
			case at == 0:
				a = e
			case at == 1:
				b = e
			}
		}
		switch n {
		case 0:
			return leastBusy(cands)
		case 1:
			return a
		}
		if rand.IntN(2) == 0 { //nolint:gosec // spreads load, guards nothing
			a, b = b, a // so that equally busy ones share the load
		}
		return freer(a, b)
	}}
}

// instance chooses the server whose id is the key, and none if it is not there.
func instance() Strategy {
	return &plain{ByInstance, func(cands []Endpoint, key string) Endpoint {
		for _, e := range cands {
			if e.ID() == key {
				return e
			}
		}
		return nil
	}}
}

// sticky chooses always the same server for the same key, as long as it is
// there, on every node and after every restart (rendezvous hashing): when a
// server goes only its keys move, and they spread over all others; when one
// comes it takes its share from each. It looks at every server.
func sticky() Strategy {
	return &plain{BySticky, func(cands []Endpoint, key string) Endpoint {
		var best Endpoint
		var most uint64
		keyHash := fnv(key)
		for _, e := range cands {
			id := e.ID()
			weight := mix(keyHash ^ mix(fnv(id)))
			// Equal weights are as good as impossible; the id decides, so
			// that the order of cands never does.
			if best == nil || weight > most || (weight == most && id < best.ID()) {
				best, most = e, weight
			}
		}
		return best
	}}
}

// fnv is FNV-1a. A fixed hash, because all nodes must agree for ever.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads a change of any bit over all of them (the finalizer of
// MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// turnsSize is how many routes round-robin keeps apart. Of two that share a
// counter each only gets a less regular turn.
const turnsSize = 256

// roundRobin chooses each server in turn. The turn is kept by list of servers,
// so that routes which are called alternately do not disturb each other; it
// begins anew somewhere when a server comes or goes.
type roundRobin struct {
	turns [turnsSize]atomic.Uint32
}

func (*roundRobin) Name() string { return ByRoundRobin }

func (r *roundRobin) Choose(cands []Endpoint, _ string) Endpoint {
	if len(cands) == 0 {
		return nil
	}
	// The address of a list stands for the list: rosters never change.
	turn := r.turns[maphash.Comparable(seed, &cands[0])%turnsSize].Add(1)
	return cands[turn%uint32(len(cands))] //nolint:gosec // a list is shorter than that
}
