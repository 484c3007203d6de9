package mesh

import (
	"time"
	"unsafe"

	"github.com/ropewalk/ropewalk/message"
)

// Received implements Receiver.
func (m *Mesh) Received(data []byte) { m.received(data, nil) }

// received takes a packet that came over a line, or over the backplane if line is
// nil.
func (m *Mesh) received(data []byte, line *End) {
	kind, from, rest, err := openPacket(data)
	if err != nil {
		m.metrics.malformed.Inc()
		return
	}
	if from == m.id {
		return
	}
	now := time.Now()
	m.awake(now)
	m.metrics.packetsIn.Inc()
	m.metrics.bytesIn.Add(float64(len(data)))
	switch kind {
	case kindCard:
		c, err := m.cards.decode(from, rest)
		if err != nil {
			m.metrics.malformed.Inc()
			return
		}
		if m.discovery.Trusts(c) {
			m.seen(from, c, now)
		}
	case kindData, kindAck, kindNak:
		h, frames, err := openHeader(rest)
		if err != nil {
			m.metrics.malformed.Inc()
			return
		}
		n := m.node(from)
		if line != nil {
			n = line.node // if that has ended, this is of an earlier life
		}
		m.receive(n, kind, h, frames, now)
	case kindLeave:
		m.leaves(from)
	case kindPing:
		if n := m.node(from); n != nil && len(rest) == pingLen {
			_ = m.tell(n, short(kindPong, m.id, rest))
		}
	case kindPong:
		m.pong(from, rest)
	case kindCut:
		if n := m.node(from); n != nil && line == nil {
			n.cutOff()
		}
	default:
		m.metrics.malformed.Inc()
	}
}

// receive takes a packet of a link. Those of nodes that are not known yet are
// sent again by then.
func (m *Mesh) receive(n *Node, kind byte, h header, frames []byte, now time.Time) {
	if n == nil {
		return
	}
	if !n.receive(kind, h, frames, now) {
		return
	}
	// The other side has lost this link and begun another.
	m.lose(n, "the other side began anew", lostAnew)
	if n = m.reopen(n.id); n != nil {
		n.receive(kind, h, frames, now)
	}
}

// receive takes one packet. It reports whether the packet belongs to a new link
// of the other side.
func (n *Node) receive(kind byte, h header, frames []byte, now time.Time) (anew bool) {
	n.inMu.Lock()
	defer n.inMu.Unlock()
	switch {
	case n.dead || h.epoch < n.offer:
		return false // of an earlier life
	case n.peer != 0 && h.epoch > n.peer:
		return true
	case h.peer != n.epoch: // meant for an earlier life, or for whichever there is
		if n.peer == 0 {
			n.ask(h.epoch)
		}
		return false
	case n.peer == 0:
		n.begin(h.epoch)
	}
	n.heard.Store(n.mesh.since(now))
	if !n.note(kind, h, now) {
		return false
	}
	for len(frames) > 0 {
		frame, rest, err := nextFrame(frames)
		if err != nil {
			n.mesh.metrics.malformed.Inc()
			return false
		}
		n.take(frame)
		frames = rest
	}
	return false
}

// ask asks the other side whether this is its link of now, in which case it sends
// again what comes first. n.inMu is held.
func (n *Node) ask(epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.offer, n.askNak = epoch, true
	n.schedule()
}

// begin is the moment from which the other side is known. What it was sent before
// it did not take. n.inMu is held.
func (n *Node) begin(epoch uint64) {
	n.mu.Lock()
	n.offer, n.peer = epoch, epoch
	n.nakked = true
	n.schedule()
	n.mu.Unlock()
	n.mesh.cfg.Handler.Joined(n)
	n.mesh.meets(n)
}

// note takes what the header says and reports whether the frames come next.
func (n *Node) note(kind byte, h header, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.peer == n.epoch && h.ack > n.acked && h.ack <= n.out.seq {
		n.acked = h.ack
		if !n.flushing {
			n.out.acknowledged(n.acked, now)
			if len(n.out.sealed) > 0 {
				n.schedule()
			}
		}
	}
	if kind == kindNak {
		n.nakked = true
		n.schedule()
	}
	if kind != kindData {
		return false
	}
	switch {
	case h.seq == n.next:
		n.next++
		n.owed++
		if n.owed >= ackEach || !n.timed {
			n.schedule()
		}
		return true
	case h.seq > n.next: // something is missing; one word about it at a time
		if n.missed != n.next {
			n.missed, n.askNak = n.next, true
			n.schedule()
		}
	default: // the acknowledgement was lost
		n.owed++
		if !n.timed {
			n.schedule()
		}
	}
	return false
}

// take handles one frame. n.inMu is held.
func (n *Node) take(frame []byte) {
	switch kind := frame[0]; kind {
	case frameMessage:
		n.message(frame[1:])
	case frameRoutes:
		n.routes(frame[1:])
	case frameFragment, frameLast:
		if len(n.partial)+len(frame) > n.mesh.cfg.MaxFrame+maxAnnouncement {
			n.mesh.metrics.malformed.Inc()
			n.partial = nil
			n.Lose("it sent a frame without end")
			return
		}
		n.partial = append(n.partial, frame[1:]...)
		if kind == frameLast {
			whole := n.partial
			n.partial = nil
			if len(whole) > 0 && whole[0] != frameFragment && whole[0] != frameLast {
				n.take(whole)
			}
		}
	default:
		n.mesh.metrics.malformed.Inc()
	}
}

// message handles the frame of a message.
func (n *Node) message(frame []byte) {
	m := n.mesh
	flags, server, rest, err := openNote(frame)
	if err != nil {
		m.metrics.malformed.Inc()
		return
	}
	in := &n.in // one packet at a time
	if err := message.DecodeSplit(rest, in); err != nil {
		m.metrics.malformed.Inc()
		return
	}
	m.metrics.messagesIn.Inc()
	n.handle(Note{
		Server: unsafe.String(unsafe.SliceData(server), len(server)), Granted: flags&flagGranted != 0, Returned: flags&flagReturned != 0,
	}, in)
}

// handle contains panics of the Handler: the goroutine belongs to the backplane.
func (n *Node) handle(note Note, in *message.Message) {
	defer func() {
		if p := recover(); p != nil {
			n.mesh.logPanic(p)
			n.Lose("this node failed to handle a message")
		}
	}()
	n.mesh.cfg.Handler.Message(n, note, in)
}
