package topic

import "slices"

// chunks is memory of which pieces are taken in a row, and given back in the same
// order. What lies in it is no work for the collector, but for the chunks.
type chunks struct {
	cur    []byte    // the newest one; its length is what of it is taken
	newest uint32    // its number
	first  uint32    // the number of list[0]; it may go round
	room   int       // bytes of all
	list   [][]byte  // all, oldest first
	few    [2][]byte // where list is while they are few
	spare  []byte    // one that was given back
}

const (
	// chunkBytes is the size of a chunk of those who have several: a small part of
	// what they have.
	chunkBytes = 4096
	// firstPieces is how many pieces of the size of the first have room in the first.
	firstPieces = 2
)

// take returns where a piece of n bytes is: in which chunk, and from which byte on.
func (s *chunks) take(n int) (number, at uint32) {
	if len(s.cur)+n > cap(s.cur) {
		s.open(n)
	}
	at = uint32(len(s.cur)) //nolint:gosec // a chunk is small, or has one piece
	s.cur = s.cur[:len(s.cur)+n]
	return s.newest, at
}

// open makes another chunk the newest one.
func (s *chunks) open(n int) {
	b := s.spare
	if s.spare = nil; cap(b) < n {
		s.room -= cap(b)
		b = make([]byte, max(n, min(max(s.room, firstPieces*n), chunkBytes)))
		s.room += cap(b)
	}
	s.cur = b[:0]
	if s.newest++; len(s.list) == 0 {
		s.first = s.newest
	}
	if s.list == nil {
		s.list = s.few[:0]
	}
	if s.list = append(s.list, b[:cap(b)]); len(s.list) > len(s.few) {
		clear(s.few[:]) // list is elsewhere
	}
}

// piece is a piece that was taken.
func (s *chunks) piece(number, at uint32, n int) []byte {
	if n == 0 {
		return nil
	}
	return s.list[number-s.first][at:][:n:n]
}

// free gives the chunks back before one with a number.
func (s *chunks) free(number uint32) {
	n := number - s.first
	for _, b := range s.list[:n] {
		s.keep(b)
	}
	s.list = slices.Delete(s.list, 0, int(n))
	s.first = number
}

// clear gives all chunks back.
func (s *chunks) clear() {
	for _, b := range s.list {
		s.keep(b)
	}
	clear(s.list)
	s.list, s.cur = s.list[:0], nil
}

// keep keeps a chunk that nobody needs, if it is the best for the next.
func (s *chunks) keep(b []byte) {
	if cap(b) > cap(s.spare) && cap(b) <= chunkBytes {
		b, s.spare = s.spare, b
	}
	s.room -= cap(b)
}
