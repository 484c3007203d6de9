package mesh

import (
	"context"
	"sync"
	"time"
)

const (
	// ackAfter is how long an acknowledgement waits for a packet to go along
	// with. Until it is there the other side keeps what it sent.
	ackAfter = 40 * time.Millisecond
	// ackEach is how many packets one acknowledgement may be behind.
	ackEach = 16
)

// flusher is the list of the nodes that have something to send. One goroutine
// sends for all of them: what comes in while it works goes out in one packet.
type flusher struct {
	mu   sync.Mutex
	list []*Node
	wake chan struct{}
}

func (f *flusher) add(n *Node) {
	f.mu.Lock()
	f.list = append(f.list, n)
	first := len(f.list) == 1
	f.mu.Unlock()
	if !first {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// swap returns the list and goes on with another.
func (f *flusher) swap(empty []*Node) []*Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = empty
	return list
}

// runFlusher sends until ctx ends.
func (m *Mesh) runFlusher(ctx context.Context) {
	var (
		list  []*Node
		waits = make(map[*Node]struct{}) // for acknowledgements, or to give one
		timer = time.NewTimer(ackAfter)
		armed = true
	)
	defer timer.Stop()
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-m.flusher.wake:
		case <-timer.C:
			due, armed = true, false
		}
		list = m.flusher.swap(list[:0])
		now := time.Now()
		for _, n := range list {
			if m.tend(n, now, false) {
				waits[n] = struct{}{}
			}
		}
		clear(list)
		if due {
			for n := range waits {
				if !m.tend(n, now, true) {
					delete(waits, n)
				}
			}
		}
		if !armed && len(waits) > 0 {
			timer.Reset(ackAfter)
			armed = true
		}
	}
}

// tend is flush, and the end of a link that cannot go on.
func (m *Mesh) tend(n *Node, now time.Time, due bool) (again bool) {
	again = n.flush(now, due)
	// Afterwards: what flush has not seen puts the node on the list once more.
	if reason := n.doomed.Load(); reason != nil {
		m.lose(n, *reason, lostBroken)
	}
	return again
}

// flush sends what there is to send. due says that the time of
// acknowledgements has come. It reports whether to come back when it is due
// again; it is called by the flusher alone.
func (n *Node) flush(now time.Time, due bool) (again bool) {
	m := n.mesh
	n.mu.Lock()
	n.dirty = false
	if n.out.stuck(now) && n.doomed.Load() == nil {
		reason := "it has acknowledged nothing for " + stuckAfter.String()
		n.doomed.Store(&reason)
	}
	if n.closed || n.doomed.Load() != nil {
		n.timed = false
		n.mu.Unlock()
		return false
	}
	list := m.sending[:0]
	if m.connected.Load() {
		list = n.out.overdue(list, now, n.nakked)
		m.metrics.resent.Add(float64(len(list)))
		list = n.out.take(list, now)
	}
	h := header{epoch: n.epoch, peer: n.peer, ack: n.next - 1}
	for _, p := range list {
		h.seq = p.seq
		putHeader(p.buf, kindData, m.id, h)
	}
	ack := n.askNak || len(list) == 0 && (n.owed >= ackEach || due && n.owed > 0)
	kind := byte(kindAck)
	if n.askNak {
		kind = kindNak
	}
	if ack || len(list) > 0 {
		n.owed = 0
	}
	n.nakked, n.askNak = false, false
	n.flushing = true
	n.mu.Unlock()

	if ack {
		var b [headerLen]byte
		h.seq = 0
		putHeader(b[:], kind, m.id, h)
		m.send(n, b[:])
	}
	for _, p := range list {
		m.send(n, p.buf)
	}
	clear(list)
	m.sending = list

	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushing = false
	n.out.acknowledged(n.acked, now)
	if len(n.out.sealed) > 0 && n.out.flying < window && m.connected.Load() { // more room than it seemed
		n.schedule()
	}
	n.timed = n.owed > 0 || n.out.bytes > 0
	return n.timed
}

// send hands a packet to the backplane. What does not get through is sent again
// when no acknowledgement comes.
func (m *Mesh) send(n *Node, b []byte) {
	if err := m.plane.Send(n.text, b); err != nil {
		m.metrics.unsent.Inc()
		return
	}
	m.metrics.packetsOut.Inc()
	m.metrics.bytesOut.Add(float64(len(b)))
}
