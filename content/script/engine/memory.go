package engine

import (
	"bytes"
	"unsafe"

	"modernc.org/libc"
	quickjs "modernc.org/libquickjs"
)

const (
	// regionSize is what a machine takes at once, in bytes: a machine that is ready
	// for a script has about a third of it, and most scripts need no more than the
	// rest. The system gives it as it is used.
	regionSize = 1 << 20
	// blockHead stands before each block.
	blockHead = unsafe.Sizeof(block{})
	// align is what the addresses of blocks are multiples of.
	align = 16
	// countedHead is what a block counts beside its size.
	countedHead = 8
)

// memory is where a machine has all that it allocates, so that it can be brought
// back to what it was, byte by byte, or given back at once, whatever a script has
// done. It stands in memory that Go does not manage, where the functions that the
// machine calls find it. It belongs to the machine's goroutine, but for stop.
type memory struct {
	// stop is set to interrupt the machine, from any goroutine.
	stop int32
	// refused is set once there was no memory for something: the machine then loses
	// errors and promises without a word.
	refused int32
	// start, next and end are addresses: the region, and how far it is in use.
	start, next, end uintptr
	// high is how far it was ever in use.
	high uintptr
	// free has the blocks of the region that can be used again.
	free uintptr
	// list has the blocks outside of the region.
	list uintptr
}

const (
	// tries is how many blocks of the region are looked at for one to use again.
	tries = 16
	// least is how large what is left of such a block has to be to become one.
	least = 256
)

// block is the head of a block.
type block struct {
	prev, next uintptr // in a list
	size       uintptr // without the head
	outside    uintptr // 1: not in the region
}

// in returns what stands at an address that Go does not manage.
func in[T any](at uintptr) *T { return (*T)(unsafe.Add(nil, at)) }

// bytesAt returns n bytes from an address on.
func bytesAt(at, n uintptr) []byte { return unsafe.Slice(in[byte](at), n) }

// address returns a function as the machine calls it. It must be no closure.
func address[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// newMemory takes a region. It returns nil if there is none.
func newMemory(tls *libc.TLS) *memory {
	at := libc.Xcalloc(tls, 1, quickjs.Tsize_t(unsafe.Sizeof(memory{})))
	if at == 0 {
		return nil
	}
	m := in[memory](at)
	if m.start = libc.Xmalloc(tls, regionSize); m.start == 0 {
		libc.Xfree(tls, at)
		return nil
	}
	m.next, m.high, m.end = m.start, m.start, m.start+regionSize
	return m
}

func (m *memory) at() uintptr { return uintptr(unsafe.Pointer(m)) }

// release gives all back.
func (m *memory) release(tls *libc.TLS) {
	m.drop(tls)
	libc.Xfree(tls, m.start)
	libc.Xfree(tls, m.at())
}

// drop gives the blocks outside of the region back.
func (m *memory) drop(tls *libc.TLS) {
	for b := m.list; b != 0; {
		next := in[block](b).next
		libc.Xfree(tls, b)
		b = next
	}
	m.list = 0
}

// image is what a machine was at some time: what of its region was in use then, as
// it was, or as what it is different in from another image.
type image struct {
	base       *image // nil: parts is one part, which is all
	parts      []part
	next, free uintptr
}

// part is what a place of the region had.
type part struct {
	at uintptr // from the start of the region
	b  []byte
}

// page is how large parts are that are compared, in bytes.
const page = 256

// keep returns what there is now, for back; base is an image of before, or nil. It
// returns nil if that is more than fits in the region.
func (m *memory) keep(base *image) *image {
	if m.list != 0 {
		return nil
	}
	now := bytesAt(m.start, m.next-m.start)
	i := &image{base: base, next: m.next, free: m.free}
	if base == nil {
		i.parts = []part{{0, bytes.Clone(now)}}
		return i
	}
	old := base.parts[0].b
	for at := 0; at < len(now); at += page {
		b := now[at:min(at+page, len(now))]
		if at+len(b) > len(old) || !bytes.Equal(b, old[at:at+len(b)]) {
			i.parts = append(i.parts, part{uintptr(at), bytes.Clone(b)})
		}
	}
	return i
}

// back makes everything what it was when i was kept. Nothing is left of what came
// after.
func (m *memory) back(tls *libc.TLS, i *image) {
	m.drop(tls)
	if i.base != nil {
		m.put(i.base.parts)
	}
	m.put(i.parts)
	if m.high > i.next {
		clear(bytesAt(i.next, m.high-i.next))
	}
	m.next, m.high, m.free, m.refused = i.next, i.next, i.free, 0
}

func (m *memory) put(parts []part) {
	for _, p := range parts {
		copy(bytesAt(m.start+p.at, uintptr(len(p.b))), p.b)
	}
}

// take returns a new block, or 0.
func (m *memory) take(tls *libc.TLS, size uintptr) uintptr {
	size = (size + align - 1) &^ (align - 1)
	if b := m.find(size); b != 0 {
		return b + blockHead
	}
	if free := m.end - m.next; blockHead <= free && size <= free-blockHead {
		b := m.next
		m.next += blockHead + size
		m.high = max(m.high, m.next)
		*in[block](b) = block{size: size}
		return b + blockHead
	}
	b := libc.Xmalloc(tls, quickjs.Tsize_t(blockHead+size))
	if b == 0 {
		return 0
	}
	*in[block](b) = block{size: size, outside: 1}
	m.link(b, m.list)
	return b + blockHead
}

// find returns a block of the region that was given back, or 0.
func (m *memory) find(size uintptr) uintptr {
	for b, before, n := m.free, uintptr(0), 0; b != 0 && n < tries; n++ {
		h := in[block](b)
		if h.size < size {
			b, before = h.next, b
			continue
		}
		next := h.next
		if rest := h.size - size; rest >= blockHead+least {
			h.size = size
			next = b + blockHead + size
			*in[block](next) = block{next: h.next, size: rest - blockHead}
		}
		if before == 0 {
			m.free = next
		} else {
			in[block](before).next = next
		}
		return b
	}
	return 0
}

// link puts a block outside of the region at the head of the list.
func (m *memory) link(b, next uintptr) {
	h := in[block](b)
	h.prev, h.next = 0, next
	if next != 0 {
		in[block](next).prev = b
	}
	m.list = b
}

func (m *memory) unlink(b uintptr) {
	h := in[block](b)
	if h.prev == 0 {
		m.list = h.next
	} else {
		in[block](h.prev).next = h.next
	}
	if h.next != 0 {
		in[block](h.next).prev = h.prev
	}
}

// give takes a block back.
func (m *memory) give(tls *libc.TLS, at uintptr) {
	b := at - blockHead
	h := in[block](b)
	switch {
	case h.outside != 0:
		m.unlink(b)
		libc.Xfree(tls, b)
	case at+h.size == m.next:
		m.next = b
	default:
		h.next, m.free = m.free, b
	}
}

// grow makes a block larger or smaller, and returns where it is then, or 0: then
// it is as it was.
func (m *memory) grow(tls *libc.TLS, at, size uintptr) uintptr {
	b := at - blockHead
	h := in[block](b)
	if h.outside != 0 {
		size = (size + align - 1) &^ (align - 1)
		m.unlink(b)
		to := libc.Xrealloc(tls, b, quickjs.Tsize_t(blockHead+size))
		if to == 0 {
			m.link(b, m.list)
			return 0
		}
		in[block](to).size = size
		m.link(to, m.list)
		return to + blockHead
	}
	if size <= h.size {
		return at
	}
	to := m.take(tls, size)
	if to == 0 {
		return 0
	}
	copy(bytesAt(to, h.size), bytesAt(at, h.size))
	m.give(tls, at)
	return to
}

// What the machine calls, with the state that it counts in.

func allocate(tls *libc.TLS, state uintptr, size quickjs.Tsize_t) uintptr {
	s := in[quickjs.TJSMallocState](state)
	m := in[memory](s.Fopaque)
	var at uintptr
	if size <= s.Fmalloc_limit && s.Fmalloc_size <= s.Fmalloc_limit-size {
		at = m.take(tls, uintptr(size))
	}
	if at == 0 {
		m.refused = 1
		return 0
	}
	s.Fmalloc_count++
	s.Fmalloc_size += usable(tls, at) + countedHead
	return at
}

func release(tls *libc.TLS, state, at uintptr) {
	if at == 0 {
		return
	}
	s := in[quickjs.TJSMallocState](state)
	s.Fmalloc_count--
	s.Fmalloc_size -= usable(tls, at) + countedHead
	in[memory](s.Fopaque).give(tls, at)
}

func reallocate(tls *libc.TLS, state, at uintptr, size quickjs.Tsize_t) uintptr {
	switch {
	case at == 0 && size == 0:
		return 0
	case at == 0:
		return allocate(tls, state, size)
	case size == 0:
		release(tls, state, at)
		return 0
	}
	s := in[quickjs.TJSMallocState](state)
	m := in[memory](s.Fopaque)
	old := usable(tls, at)
	if size > old && (size-old > s.Fmalloc_limit || s.Fmalloc_size > s.Fmalloc_limit-(size-old)) {
		at = 0
	} else {
		at = m.grow(tls, at, uintptr(size))
	}
	if at == 0 {
		m.refused = 1
		return 0
	}
	s.Fmalloc_size += usable(tls, at) - old
	return at
}

func usable(_ *libc.TLS, at uintptr) quickjs.Tsize_t {
	if at == 0 {
		return 0
	}
	return quickjs.Tsize_t(in[block](at - blockHead).size)
}
