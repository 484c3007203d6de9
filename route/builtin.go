package route

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
)

// builtins returns new strategies, in the order of the documentation. Some go by
// where home is.
func builtins(home *home) []Strategy {
	return []Strategy{
		first(), &roundRobin{}, random(), leastBusyOfTwo(home), sticky(), preferLocal(home), preferZone(home), instance(),
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
