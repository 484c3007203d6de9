package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ackAfter is how long an acknowledgement waits for a packet to go along
	// with. Until it is there the other side keeps what it sent.
	ackAfter = 40 * time.Millisecond
	// ackEach is how many packets one acknowledgement may be behind.
	ackEach = 16
)

// flusher is the list of the nodes that have something to send, and who sends
// for all of them: what comes in while he works goes out in one packet. That is
// whoever has handled input and calls Flush, where there are lines, or else a
// goroutine.
type flusher struct {
	mu   sync.Mutex
	list []*Node
	some atomic.Bool // list is not empty
	wake chan struct{}

	work  sync.Mutex // held by who sends
	taken []*Node
	waits map[*Node]struct{} // for acknowledgements, or to give one
	timer *time.Timer        // when the time of those has come
	armed bool               // timer runs
	now   time.Time          // of the pass that runs
	due   bool
}

func newFlusher() flusher {
	t := time.NewTimer(ackAfter)
	t.Stop()
	return flusher{wake: make(chan struct{}, 1), waits: make(map[*Node]struct{}), timer: t}
}

// add puts nodes on the list and reports whether they are the first.
func (f *flusher) add(n *Node) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, n)
	f.some.Store(true)
	return len(f.list) == 1
}

func (f *flusher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// swap takes the list and goes on with another. f.work is held.
func (f *flusher) swap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list, f.taken = f.taken[:0], f.list
	f.some.Store(false)
}

// schedule puts the node on the list of the flusher. n.mu is held.
func (n *Node) schedule() {
	if n.dirty {
		return
	}
	n.dirty = true
	m := n.mesh
	if m.flusher.add(n) && (n.line.Load() == nil || !m.cfg.Lines.Busy()) {
		m.flusher.poke()
	}
}

// Flush sends what is queued for nodes to which there is a line. Whoever makes
// lines calls it when he has handled what came together, so that nobody else has
// to be woken; see [Lines.Busy]. It does not block.
func (m *Mesh) Flush() {
	f := &m.flusher
	if !f.some.Load() {
		return
	}
	if !f.work.TryLock() {
		f.poke()
		return
	}
	defer f.work.Unlock()
	f.now, f.due = time.Now(), false
	m.pass(true)
}

// runFlusher sends until ctx ends.
func (m *Mesh) runFlusher(ctx context.Context) {
	f := &m.flusher
	defer f.timer.Stop()
	all := func() { m.pass(false) }
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-f.timer.C:
			due = true
		}
		f.work.Lock()
		f.now, f.due = time.Now(), due
		f.armed = f.armed && !due
		m.together(all)
		f.work.Unlock()
	}
}

// pass sends once for each node that is on the list, or, with lined, for those of
// them that have a line. Flusher.work is held.
func (m *Mesh) pass(lined bool) {
	f := &m.flusher
	f.swap()
	for _, n := range f.taken {
		if lined && n.line.Load() == nil { // what the backplane does may take a while
			f.add(n)
			f.poke()
			continue
		}
		if m.tend(n, f.now, false) {
			f.waits[n] = struct{}{}
		}
	}
	clear(f.taken)
	if f.due {
		for n := range f.waits {
			if !m.tend(n, f.now, true) {
				delete(f.waits, n)
			}
		}
	}
	if !f.armed && len(f.waits) > 0 {
		f.timer.Reset(ackAfter)
		f.armed = true
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
// again. Flusher.work is held.
func (n *Node) flush(now time.Time, due bool) (again bool) {
	m := n.mesh
	if due {
		n.doubt(now)
	}
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
	if n.reachable() {
		list = n.out.overdue(list, now, n.nakked)
		m.metrics.resent.Add(float64(len(list)))
		list = n.out.take(list, n.room(), now)
	}
	h := header{epoch: n.epoch, peer: n.offer, ack: n.next - 1}
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
	if len(n.out.sealed) > 0 && n.out.flying < n.room() && n.reachable() { // more room than it seemed
		n.schedule()
	}
	n.timed = n.owed > 0 || n.out.bytes > 0
	return n.timed
}

// room is how many bytes may be under way: no more than one packet before the
// other side takes any. n.mu is held.
func (n *Node) room() int {
	if n.peer == 0 {
		return 1
	}
	return window
}

// doubt gives up the line to the node if nothing has come over it for an
// interval although an acknowledgement is overdue.
func (n *Node) doubt(now time.Time) {
	e := n.line.Load()
	if e == nil || e.silent(now) < n.mesh.cfg.Interval {
		return
	}
	n.mu.Lock()
	waits := len(n.out.sent) > 0 && now.Sub(n.out.moved) >= n.out.wait
	n.mu.Unlock()
	if waits {
		e.cut("what was sent over it was not acknowledged")
	}
}

// send hands a packet to the line or the backplane. What does not get through is
// sent again when no acknowledgement comes.
func (m *Mesh) send(n *Node, b []byte) {
	if err := m.tell(n, b); err != nil {
		m.metrics.unsent.Inc()
		return
	}
	m.metrics.packetsOut.Inc()
	m.metrics.bytesOut.Add(float64(len(b)))
}
