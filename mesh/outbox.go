package mesh

import (
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// DefaultMaxPending bounds what waits for one node, in bytes: what a slow
	// line takes in a few seconds.
	DefaultMaxPending = 16 << 20
	// window is how many bytes may be under way to a node and not yet
	// acknowledged: more than is ever in flight on a good line, and far less
	// than what a backplane holds for a slow receiver.
	window = 4 << 20
	// packetSize is when a packet is full. Larger ones save nothing.
	packetSize = 64 << 10
	// fragmentSize is what one packet carries of a frame that is larger.
	fragmentSize = 256 << 10
	// resendAfter is how long nothing may be acknowledged at first: longer than
	// acks are held back, with room for a busy machine.
	resendAfter = 300 * time.Millisecond
	// maxResendAfter is where it ends to grow.
	maxResendAfter = 1200 * time.Millisecond
	// stuckAfter is how long a node may be heard and acknowledge nothing of what
	// is sent to it, again and again, before the link is given up.
	stuckAfter = 10 * time.Second
)

// packet is what one Send of the backplane carries. It is kept until the other
// side has acknowledged it.
type packet struct {
	buf   []byte // headerLen bytes for the header, then frames
	seq   uint64
	sent  time.Time // first time
	again bool      // it was sent more than once
}

var packets = sync.Pool{New: func() any { return &packet{buf: make([]byte, headerLen, 2048)} }}

func newPacket() *packet { return packets.Get().(*packet) } //nolint:forcetypeassert // nothing else is put

func (p *packet) free() {
	const largest = 128 << 10 // the rare large ones are better collected
	if cap(p.buf) > largest {
		return
	}
	*p = packet{buf: p.buf[:headerLen]}
	packets.Put(p)
}

// outbox is what waits for one node, and what it has not acknowledged yet:
//
//	open ──► sealed ──► sent ──► acknowledged
//	 append     take      ack
//
// It is guarded by Node.mu.
type outbox struct {
	limit  int // bytes
	open   *packet
	sealed []*packet
	sent   []*packet
	bytes  int // in all of these
	flying int // in sent
	seq    uint64
	relief chan struct{} // closed when there is room for parts again; nil if nobody waits
	wait   time.Duration // until what is not acknowledged is sent again
	moved  time.Time     // when something was acknowledged last, or sent was empty
	tried  time.Time     // when something was sent again last
	trip   time.Duration // how long an acknowledgement took last; 0 if it is not known yet
}

// room is how much may wait before a message is refused. Who sends parts can
// wait, and leaves room for those who cannot. Errors and cancels are short, and
// say that something is over: where they are refused the link cannot go on.
func (o *outbox) room(v message.Verb) int {
	switch v { //nolint:exhaustive // for all others
	case message.VerbPart:
		return o.limit / 4
	case message.VerbError, message.VerbCancel:
		return 2 * o.limit
	default:
		return o.limit
	}
}

// frame appends one frame, whose bytes put appends, unless room bytes wait
// already.
func (o *outbox) frame(room int, put func(dst []byte) ([]byte, error)) error {
	if o.bytes >= room {
		return errFull
	}
	if o.open == nil {
		o.open = newPacket()
	}
	p, before := o.open, len(o.open.buf)
	buf, err := put(append(p.buf, 0, 0, 0, 0))
	size := len(buf) - before - lengthLen
	if err != nil {
		p.buf = buf[:before]
		return err
	}
	if size > fragmentSize {
		p.buf = buf[:before]
		o.fragments(buf[before+lengthLen:])
		return nil
	}
	putLength(buf[before:], size)
	p.buf = buf
	o.bytes += lengthLen + size
	if len(p.buf) >= packetSize {
		o.seal()
	}
	return nil
}

func putLength(b []byte, n int) {
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n) //nolint:gosec // frames are smaller than that
}

// fragments appends a frame that is too large for a packet in several.
func (o *outbox) fragments(frame []byte) {
	o.seal()
	for len(frame) > 0 {
		n := min(len(frame), fragmentSize)
		kind := byte(frameFragment)
		if n == len(frame) {
			kind = frameLast
		}
		p := &packet{buf: make([]byte, headerLen, headerLen+lengthLen+1+n)}
		p.buf = append(p.buf, 0, 0, 0, 0, kind)
		putLength(p.buf[headerLen:], 1+n)
		p.buf = append(p.buf, frame[:n]...)
		frame = frame[n:]
		o.bytes += len(p.buf) - headerLen
		o.open = p
		o.seal()
	}
}

// seal gives the open packet its number.
func (o *outbox) seal() {
	if o.open == nil || len(o.open.buf) == headerLen {
		return
	}
	o.seq++
	o.open.seq = o.seq
	o.sealed = append(o.sealed, o.open)
	o.open = nil
}

// take moves what may be sent now to what is sent, until more than room bytes are
// under way, and appends it to list.
func (o *outbox) take(list []*packet, room int, now time.Time) []*packet {
	o.seal()
	n := 0
	for n < len(o.sealed) && (o.flying < room || len(o.sent) == 0) {
		p := o.sealed[n]
		if len(o.sent) == 0 {
			o.moved = now
		}
		p.sent = now
		o.flying += len(p.buf) - headerLen
		o.sent = append(o.sent, p)
		list = append(list, p)
		n++
	}
	o.sealed = cut(o.sealed, n)
	return list
}

// cut takes the first n off a queue and keeps its array.
func cut(q []*packet, n int) []*packet {
	m := copy(q, q[n:])
	clear(q[m:])
	return q[:m]
}

// overdue appends to list what has to be sent again: the first packets, because
// nothing was acknowledged for too long, or all, because the other side has
// noticed that something is missing. As long as anything is acknowledged the rest
// is on its way: to send it again would make a slow line slower.
func (o *outbox) overdue(list []*packet, now time.Time, all bool) []*packet {
	if len(o.sent) == 0 || !all && (now.Sub(o.moved) < o.wait || now.Sub(o.tried) < o.wait) {
		return list
	}
	most := o.flying
	if !all {
		o.wait = min(2*o.wait, maxResendAfter)
		most = packetSize // if more was lost, what comes next shows that
	}
	o.tried = now
	for size, n := 0, 0; n < len(o.sent) && size < most; n++ {
		p := o.sent[n]
		p.again = true
		size += len(p.buf) - headerLen
		list = append(list, p)
	}
	return list
}

// stuck tells whether the other side takes nothing any more.
func (o *outbox) stuck(now time.Time) bool {
	return len(o.sent) > 0 && now.Sub(o.moved) > stuckAfter
}

// acknowledged forgets what the other side has, up to seq.
func (o *outbox) acknowledged(seq uint64, now time.Time) {
	n := 0
	for n < len(o.sent) && o.sent[n].seq <= seq {
		p := o.sent[n]
		if !p.again { // else nobody knows which time was acknowledged
			o.trip = now.Sub(p.sent)
		}
		o.bytes -= len(p.buf) - headerLen
		o.flying -= len(p.buf) - headerLen
		p.free()
		n++
	}
	if n == 0 {
		return
	}
	o.sent = cut(o.sent, n)
	o.moved = now
	o.wait = min(max(resendAfter, 2*o.trip), maxResendAfter)
	if o.relief != nil && o.bytes < o.limit/8 {
		close(o.relief)
		o.relief = nil
	}
}

// drop empties the outbox and returns what was never sent.
func (o *outbox) drop() []*packet {
	o.seal()
	unsent := o.sealed
	o.sealed, o.sent, o.bytes, o.flying = nil, nil, 0, 0
	if o.relief != nil {
		close(o.relief)
		o.relief = nil
	}
	return unsent
}

var errFull = message.NewError(message.CodeOverloaded, "too much waits to be sent to the other node",
	"Try again later; the line between the nodes is slower than what is to go over it.")
