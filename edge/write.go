package edge

import "sync"

const (
	// flushBytes is how much of one connection is written at once. More than
	// that waits until the other dirty connections had their turn.
	flushBytes  = 64 << 10
	flushFrames = 256
)

// scratch is what somebody needs who writes: pollers and flushers have one
// each, others borrow one.
type scratch struct {
	frames []*Frame // taken from one connection
	sizes  []int    // of these on the wire
	buf    []byte   // the frames on the wire …
	big    []byte   // … and the payload of a frame too large to be copied, to be written behind buf
}

func newScratch() *scratch {
	return &scratch{
		frames: make([]*Frame, 0, flushFrames),
		sizes:  make([]int, 0, flushFrames),
		buf:    make([]byte, 0, flushBytes),
	}
}

//nolint:gochecknoglobals // a pool is only useful when it is shared
var scratchPool = sync.Pool{New: func() any { return newScratch() }}

// take begins to write: it puts the head of the pending list into w. When it
// returns false there is nothing to write now; else done has to follow.
func (c *Conn) take(w *scratch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.blocked || len(c.pending) == 0 || state(c.state.Load()) == stateDead {
		return false
	}
	w.frames = w.frames[:0]
	room := flushBytes
	for _, f := range c.pending {
		room -= len(f.Payload) + maxHeader
		if len(w.frames) > 0 && room < 0 || len(w.frames) == flushFrames {
			break
		}
		w.frames = append(w.frames, f)
	}
	c.inflight = len(w.frames)
	c.writing = true
	return true
}

// encode fills buf, big and sizes from frames for a WebSocket.
func (w *scratch) encode(c *Conn) {
	w.buf, w.big, w.sizes = w.buf[:0], nil, w.sizes[:0]
	for _, f := range w.frames {
		if f.op == opRaw {
			w.buf = append(w.buf, f.Payload...)
			w.sizes = append(w.sizes, len(f.Payload))
			continue
		}
		first, body := c.wire(f)
		w.buf = appendHeader(w.buf, first, len(body))
		if len(w.frames) == 1 && len(w.buf)+len(body) > flushBytes {
			w.big = body
		} else {
			w.buf = append(w.buf, body...)
		}
		w.sizes = append(w.sizes, headerSize(len(body))+len(body))
	}
}

// wire returns the first byte and the payload of f as c sends it.
func (c *Conn) wire(f *Frame) (first byte, body []byte) {
	if f.op != opData {
		return finBit | byte(f.op), f.Payload
	}
	op := opText
	if c.framing == FramingSplit {
		op = opBinary
	}
	if c.deflate && len(f.Payload) >= minDeflate {
		if packed, ok := f.deflated(); ok {
			return finBit | rsv1Bit | byte(op), packed
		}
	}
	return finBit | byte(op), f.Payload
}

// rest returns the bytes in w behind the first off.
func (w *scratch) rest(off int) (head, tail []byte) {
	if off < len(w.buf) {
		return w.buf[off:], w.big
	}
	return nil, w.big[off-len(w.buf):]
}

// done ends what take began: wrote bytes have left. blocked means that the
// socket takes no more for now, err that it is broken.
func (c *Conn) done(w *scratch, wrote int, blocked bool, err error) {
	c.mu.Lock()
	sent, sentBytes := c.pop(w, wrote)
	c.writing, c.inflight = false, 0
	if wrote > 0 {
		c.stuck = false
	}
	push, nudge, half, free := false, false, false, false
	switch {
	case state(c.state.Load()) == stateDead:
		c.drop(0)
		free = true
	case err != nil:
		c.doomLocked(&CloseError{Code: CloseAbnormal, Reason: "the connection broke", Cause: err})
		c.blocked = true // until the owner has let it die
		nudge = true
	case blocked:
		c.blocked = true
		c.link.wait(c)
	case len(c.pending) > 0:
		push = !c.listed
		c.listed = true
	case state(c.state.Load()) == stateClosing:
		nudge, half = c.finished()
	}
	c.mu.Unlock()
	c.srv.metrics.sent(sent, sentBytes)
	switch {
	case free:
		c.link.release(c)
	case push:
		c.srv.dirty(c)
	case half:
		c.link.halfClose(c)
	case nudge:
		c.link.nudge(c)
	}
}

// pop removes what has been written from the pending list. It is called with
// mu held.
func (c *Conn) pop(w *scratch, wrote int) (sent, bytes int) {
	total, k := c.off+wrote, 0
	for k < len(w.frames) && total >= w.sizes[k] {
		total -= w.sizes[k]
		f := w.frames[k]
		if f.op == opData {
			sent++
		}
		c.bytes -= len(f.Payload)
		f.Release()
		k++
	}
	c.off = total
	n := copy(c.pending, c.pending[k:])
	clear(c.pending[n:])
	c.pending = c.pending[:n]
	c.relieve()
	return sent, wrote
}

// finished is called with mu held when the last frame of a closing connection
// has left. If both ends have said so it is over; if the other end cannot be
// understood any more it gets the end of the stream; else its answer is waited
// for.
func (c *Conn) finished() (kill, half bool) {
	if c.gotClose {
		c.kill = true
		return true, false
	}
	return false, c.end.Code == CloseProtocol || c.end.Code == CloseBadText || c.end.Code == CloseTooLarge ||
		c.end.Code == closeRefused
}

// unblock is called when the socket takes bytes again.
func (c *Conn) unblock() {
	c.mu.Lock()
	push := false
	if c.blocked && !c.kill {
		c.blocked = false
		if push = len(c.pending) > 0 && !c.listed && !c.writing; push {
			c.listed = true
		}
	}
	c.mu.Unlock()
	if push {
		c.srv.dirty(c)
	}
}

// dirty puts c, whose listed flag the caller has just set, on the dirty list.
// When nobody is handling input, who would flush it when he is done, a flusher
// is woken.
func (s *Server) dirty(c *Conn) {
	for {
		head := s.dirtyList.Load()
		c.dirtyNext = head
		if s.dirtyList.CompareAndSwap(head, c) {
			break
		}
	}
	if s.busy.Load() == 0 {
		select {
		case s.flushNow <- struct{}{}:
		default: // a flusher is on its way already
		}
	}
}

// flush writes what is pending on the connections that are dirty now. It
// reports whether there were any.
func (s *Server) flush(w *scratch) bool {
	c := s.dirtyList.Swap(nil)
	if c == nil {
		return false
	}
	for c != nil {
		next := c.dirtyNext
		c.dirtyNext = nil
		c.mu.Lock()
		c.listed = false
		c.mu.Unlock()
		c.link.flush(c, w)
		c = next
	}
	return true
}

// enter and leave enclose the handling of input: what is sent meanwhile leaves
// together, at leave.
func (s *Server) enter() { s.busy.Add(1) }

func (s *Server) leave(w *scratch) {
	s.flushPeers()
	s.flush(w)
	s.busy.Add(-1)
	s.flushPeers()
	// What was sent after the flush relied on us; it may also have been sent
	// after busy was 0, then this costs nothing.
	if s.dirtyList.Load() != nil {
		s.flush(w)
	}
}

func (s *Server) flushPeers() {
	if s.peering != nil && s.peering.Flush != nil {
		s.peering.Flush()
	}
}

// turn is enter, f, leave for those who have no scratch of their own.
func (s *Server) turn(f func()) {
	s.enter()
	defer func() {
		w, _ := scratchPool.Get().(*scratch)
		s.leave(w)
		scratchPool.Put(w)
	}()
	f()
}
