package topic

import (
	"hash/maphash"
	"iter"
	"math"
)

// ring is what a Log has of one address.
type ring struct {
	// The address, if it is short: of many rings it is fetched from memory together
	// with what else an event needs.
	name   [addressRoom]byte
	length uint8
	long   string // the address if it is not short

	log     *Log
	readers []listener
	first   [1]listener // where the usual one is
	in      *line       // in which it stands; nil: nothing was published there
	past    shared

	next         *ring  // another one of the same hash
	newer, older *ring  // in the line
	placed       uint64 // the newest offset when it came in
}

// addressRoom is enough for most addresses.
const addressRoom = 63

// is tells whether an address is its.
func (r *ring) is(to []byte) bool {
	if r.long != "" {
		return r.long == string(to)
	}
	return string(r.name[:r.length]) == string(to)
}

// to is its address.
func (r *ring) to() string {
	if r.long != "" {
		return r.long
	}
	return string(r.name[:r.length])
}

// rings are those of a Log, by address.
type rings struct {
	seed maphash.Seed
	by   map[uint64]*ring // by hash
	n    int
	mask uint64 // of hashes: all bits, but where tests want them to be equal
}

func newRings() rings {
	return rings{seed: maphash.MakeSeed(), by: make(map[uint64]*ring), mask: math.MaxUint64}
}

func (s *rings) hash(to []byte) uint64 { return maphash.Bytes(s.seed, to) & s.mask }

// at returns that of an address, or nil.
func (s *rings) at(to []byte) *ring {
	r := s.by[s.hash(to)]
	for r != nil && !r.is(to) {
		r = r.next
	}
	return r
}

// add adds one for an address that has none.
func (s *rings) add(r *ring, to []byte) {
	if len(to) <= addressRoom {
		r.length = uint8(copy(r.name[:], to)) //nolint:gosec // checked above
	} else {
		r.long = string(to)
	}
	hash := s.hash(to)
	r.next = s.by[hash]
	s.by[hash] = r
	s.n++
}

// remove takes one out.
func (s *rings) remove(r *ring) {
	hash := s.hash([]byte(r.to()))
	at := s.by[hash]
	if at == r {
		if r.next == nil {
			delete(s.by, hash)
		} else {
			s.by[hash] = r.next
		}
	}
	for ; at != nil && at != r; at = at.next {
		if at.next == r {
			at.next = r.next
		}
	}
	r.next = nil
	s.n--
}

// all are all of them; that at hand may be removed.
func (s *rings) all() iter.Seq[*ring] {
	return func(yield func(*ring) bool) {
		for _, r := range s.by {
			for r != nil {
				next := r.next
				if !yield(r) {
					return
				}
				r = next
			}
		}
	}
}

// line is an order of rings, of which each stands in one.
type line struct {
	newest, oldest *ring
	n              int
}

// push has a ring, which stands in none, be the newest.
func (l *line) push(r *ring) {
	r.in, r.older = l, l.newest
	if l.newest == nil {
		l.oldest = r
	} else {
		l.newest.newer = r
	}
	l.newest = r
	l.n++
}

// remove takes a ring out.
func (l *line) remove(r *ring) {
	if r.newer == nil {
		l.newest = r.older
	} else {
		r.newer.older = r.older
	}
	if r.older == nil {
		l.oldest = r.newer
	} else {
		r.older.newer = r.newer
	}
	r.in, r.newer, r.older = nil, nil, nil
	l.n--
}
