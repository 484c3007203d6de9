package edge

import (
	"iter"
	"sync/atomic"
)

const (
	fdChunk  = 1024
	fdChunks = 1 << 12 // four million descriptors
)

// fdTable finds connections by their file descriptor. Sockets are put in by the
// poller that accepts them and looked up by the one that owns them.
type fdTable struct {
	chunks [fdChunks]atomic.Pointer[[fdChunk]atomic.Pointer[Conn]]
}

func (t *fdTable) get(fd int) *Conn {
	if chunk := t.chunks[fd/fdChunk].Load(); chunk != nil {
		return chunk[fd%fdChunk].Load()
	}
	return nil
}

func (t *fdTable) set(fd int, c *Conn) {
	slot := &t.chunks[fd/fdChunk]
	chunk := slot.Load()
	if chunk == nil {
		slot.CompareAndSwap(nil, new([fdChunk]atomic.Pointer[Conn]))
		chunk = slot.Load()
	}
	chunk[fd%fdChunk].Store(c)
}

func (t *fdTable) all() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for i := range t.chunks {
			chunk := t.chunks[i].Load()
			if chunk == nil {
				continue
			}
			for j := range chunk {
				if c := chunk[j].Load(); c != nil && !yield(c) {
					return
				}
			}
		}
	}
}
