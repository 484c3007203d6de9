package policy

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// minKept and maxKept are how many decisions are kept with a session: most
	// clients use a handful of addresses.
	minKept, maxKept = 8, 128
	// maxKeptNobody is how many are kept for the anonymous session, which may be
	// everybody's.
	maxKeptNobody = 4096
	// maxKeptText bounds the texts of a decision that is kept, in bytes. Longer
	// addresses are rare, unless somebody wants to fill the memory.
	maxKeptText = 256
	// ways is how many places there are for a decision.
	ways = 4
)

// memo keeps decisions: a table of a fixed number of places, each with a
// decision or none. Reading and writing take no lock; a decision that finds no
// place takes that of another.
type memo struct {
	of    *rulebook
	limit int
	table atomic.Pointer[table]
}

type table struct {
	places []atomic.Pointer[kept]
	full   atomic.Int32 // decisions that took the place of another
}

// kept is a decision and what it is about.
type kept struct {
	key      key
	hash     uint64
	decision Decision
}

// key is what a decision depends on, besides session and policy.
type key struct {
	verb                                   Verb
	name, path, method, instance, from, ip string
}

// key returns the key of an ask. What no rule looks at is left out.
func (p *Policy) key(ask *Ask) key {
	k := key{verb: ask.Verb, name: ask.Address.Name, path: ask.Address.Path, method: ask.Address.Method, instance: ask.Address.Instance}
	if p.uses.listener {
		k.from = ask.Listener
	}
	if p.uses.ip {
		k.ip = ask.IP
	}
	return k
}

// seed is secret, so that nobody can choose addresses that share their places.
var seed = maphash.MakeSeed()

func (k *key) hash() uint64 {
	const mix = 0x9e3779b97f4a7c15
	h := uint64(k.verb)*mix ^ maphash.String(seed, k.path)
	h = h*mix ^ maphash.String(seed, k.name)
	for _, s := range [...]string{k.method, k.instance, k.from, k.ip} {
		if s != "" {
			h ^= maphash.String(seed, s)
		}
		h *= mix
	}
	return h ^ h>>32
}

// clone copies the texts, which are part of a message.
func (k *key) clone() key {
	return key{
		verb: k.verb, name: strings.Clone(k.name), path: strings.Clone(k.path), method: strings.Clone(k.method),
		instance: strings.Clone(k.instance), from: strings.Clone(k.from), ip: strings.Clone(k.ip),
	}
}

// size is how many bytes the texts have.
func (k *key) size() int {
	return len(k.name) + len(k.path) + len(k.method) + len(k.instance) + len(k.from) + len(k.ip)
}

// find returns a decision, or nil.
func (m *memo) find(k *key, hash uint64) *Decision {
	t := m.table.Load()
	if t == nil {
		return nil
	}
	for i := range ways {
		if e := t.place(hash, i).Load(); e != nil && e.hash == hash && e.key == *k {
			return &e.decision
		}
	}
	return nil
}

func (t *table) place(hash uint64, i int) *atomic.Pointer[kept] {
	return &t.places[(hash+uint64(i))&uint64(len(t.places)-1)]
}

// keep remembers a decision.
func (m *memo) keep(k *key, hash uint64, d Decision) {
	if k.size() > maxKeptText {
		return
	}
	t := m.table.Load()
	if t == nil {
		m.table.CompareAndSwap(nil, newTable(minKept))
		t = m.table.Load()
	}
	if int(t.full.Load()) > len(t.places)/4 && len(t.places) < m.limit {
		m.table.CompareAndSwap(t, t.double())
		t = m.table.Load()
	}
	t.put(&kept{key: k.clone(), hash: hash, decision: d})
}

func newTable(n int) *table { return &table{places: make([]atomic.Pointer[kept], n)} }

// double returns a larger table with the same decisions.
func (t *table) double() *table {
	big := newTable(2 * len(t.places))
	for i := range t.places {
		if e := t.places[i].Load(); e != nil {
			big.put(e)
		}
	}
	big.full.Store(0)
	return big
}

func (t *table) put(e *kept) {
	for i := range ways {
		if t.place(e.hash, i).CompareAndSwap(nil, e) {
			return
		}
	}
	t.full.Add(1)
	// Which one has to go is as good as random.
	t.place(e.hash, int(e.hash>>40)%ways).Store(e)
}
