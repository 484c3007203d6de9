package edge

import (
	"math/bits"
	"sync"
)

// Buffers for input that is not complete yet come from pools by size: powers
// of two from 512 bytes on. Only connections in the middle of a frame hold one.
const (
	minBuffer   = 9  // 512 B
	maxBuffer   = 21 // 2 MiB: the default limit of a frame and its header
	bufferSizes = maxBuffer - minBuffer + 1
)

type buffer struct {
	b []byte
}

//nolint:gochecknoglobals // pools are only useful when they are shared
var bufferPools [bufferSizes]sync.Pool

// getBuffer returns an empty buffer with room for n bytes or more.
func getBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n-1, 0))), minBuffer) - minBuffer
	if class >= bufferSizes {
		return &buffer{b: make([]byte, 0, n)}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<(class+minBuffer))}
}

// free puts the buffer back; nil is nothing.
func (b *buffer) free() {
	if b == nil {
		return
	}
	class := bits.Len(uint(cap(b.b))) - 1 - minBuffer
	if class < 0 || class >= bufferSizes || cap(b.b) != 1<<(class+minBuffer) {
		return
	}
	b.b = b.b[:0]
	bufferPools[class].Put(b)
}

// roomFor is the capacity of a buffer that has got have bytes and is going to
// need more. Room is given at most twice as much as there are bytes, whatever
// length the other end has announced: memory follows what it has really sent.
func roomFor(have, need int) int { return min(need, max(2*have, 1<<minBuffer)) }

// grow returns a buffer with the same bytes and room for more.
func (b *buffer) grow(need int) *buffer {
	n := roomFor(len(b.b), need)
	if n <= cap(b.b) {
		return b
	}
	g := getBuffer(n)
	g.b = append(g.b, b.b...)
	b.free()
	return g
}

// replace returns a buffer with the bytes of p, which is not in b, and room for
// more. b may be nil.
func (b *buffer) replace(p []byte, need int) *buffer {
	n := roomFor(len(p), need)
	if b == nil || cap(b.b) < n {
		b.free()
		b = getBuffer(n)
	}
	b.b = append(b.b[:0], p...)
	return b
}
