package mesh

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	// watchMost and watchLeast bound the time until a node looks again who is
	// silent; within them it looks when somebody has been so for too long. The
	// first is longer than the usual interval, with which it looks too.
	watchMost  = 1250 * time.Millisecond
	watchLeast = 50 * time.Millisecond
	// watchLast is the same while the node looks each interval by itself. A
	// timer that is put off again and again still wakes the process at the time
	// that it had first.
	watchLast = 10 * time.Second
	// pingEach is how often a node measures the way to one of the others.
	pingEach = 5 * time.Second
	pingLen  = 8
)

// runWatch looks who is silent when nothing else has done so for a while.
func (m *Mesh) runWatch(ctx context.Context) {
	defer m.lookAgain.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.lookAgain.C:
			now := time.Now()
			m.look(now, false)
			m.keepLines(now)
		}
	}
}

// look looks who is silent, and puts off the next look. Whoever wakes this
// process anyway does it too: at rest a node costs what its wake-ups cost. again
// says that he does so each interval.
func (m *Mesh) look(now time.Time, again bool) {
	m.awake(now)
	wait := min(m.tendLines(now), m.watch(now))
	if again && wait > m.cfg.Interval*9/8 {
		wait = watchLast
	}
	if !again && m.cfg.Lines != nil {
		wait = min(wait, m.cfg.Interval)
	}
	m.lookAgain.Reset(max(wait, watchLeast))
	m.ping(now)
}

// watch loses the links of nodes that are silent, and forgets those that have
// been lost for long. It returns when the next node will have been silent for
// too long.
func (m *Mesh) watch(now time.Time) (next time.Duration) {
	type verdict struct {
		n      *Node
		reason string
		kind   lostKind
	}
	var silent []verdict
	next = watchMost
	m.mu.Lock()
	for id, mem := range m.members {
		n := mem.link
		if n != nil {
			next = min(next, m.cfg.DeadAfter-now.Sub(mem.last()))
		}
		switch {
		case n == nil && (mem.left || now.Sub(mem.lostAt) > m.cfg.Forget):
			if mem.left && now.Sub(mem.lostAt) < m.cfg.DeadAfter {
				break // cards may still be on their way
			}
			delete(m.members, id)
			m.touch()
		case n == nil:
		case now.Sub(mem.last()) >= m.cfg.DeadAfter:
			silent = append(silent, verdict{n, fmt.Sprintf("nothing was heard of it for %s", m.cfg.DeadAfter), lostSilent})
		case !n.deaf.IsZero() && now.Sub(n.deaf) > m.cfg.DeadAfter:
			silent = append(silent, verdict{n, "it does not hear this node", lostDeaf})
		}
	}
	m.mu.Unlock()
	for _, v := range silent {
		m.lose(v.n, v.reason, v.kind)
	}
	return next
}

// since is a time in nanoseconds after the start of this mesh, and at the time
// that since was made of. They do not jump when somebody sets the clock.
func (m *Mesh) since(t time.Time) int64 { return int64(t.Sub(m.started)) }

func (m *Mesh) at(since int64) time.Time { return m.started.Add(time.Duration(since)) }

// awake notices that this process did not run for so long that the others have
// given it up: then what they sent since, or before, must not be acted on. Who
// comes while another goroutine sees to that waits.
func (m *Mesh) awake(now time.Time) {
	m.ranMu.Lock()
	defer m.ranMu.Unlock()
	last := m.ran
	m.ran = now
	if now.Sub(last) > m.lineSilence()-m.cfg.Interval/4 {
		m.stalled.Store(m.since(now))
	}
	if now.Sub(last) < m.cfg.DeadAfter {
		return
	}
	m.restored.Store(m.since(now))
	for _, n := range m.links(false) {
		m.lose(n, "this node did not run for a while", lostPaused)
	}
}

// ping measures now and then the way to one node, another each time.
func (m *Mesh) ping(now time.Time) {
	m.mu.Lock()
	if now.Sub(m.pinged) < pingEach {
		m.mu.Unlock()
		return
	}
	m.pinged = now
	var next, first *Node
	for id, mem := range m.members {
		if mem.link == nil {
			continue
		}
		if first == nil || lessID(id, first.id) {
			first = mem.link
		}
		if lessID(m.pingNext, id) && (next == nil || lessID(id, next.id)) {
			next = mem.link
		}
	}
	next = cmp.Or(next, first)
	if next != nil {
		m.pingNext = next.id
	}
	m.mu.Unlock()
	if next != nil {
		m.measure(next, now)
	}
}

// measure sends a ping, whose answer tells how far away a node is.
func (m *Mesh) measure(n *Node, now time.Time) {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(m.since(now))) //nolint:gosec // not negative
	_ = m.tell(n, short(kindPing, m.id, stamp))
}

func lessID(a, b nodeID) bool { return string(a[:]) < string(b[:]) }

// pong takes the answer to a ping.
func (m *Mesh) pong(id nodeID, stamp []byte) {
	n := m.node(id)
	if n == nil || len(stamp) != pingLen {
		return
	}
	sent := int64(binary.BigEndian.Uint64(stamp)) //nolint:gosec // checked next
	took := m.since(time.Now()) - sent
	if took < 0 || sent < m.since(n.since) { // of an earlier link: it was held up by what ended that
		return
	}
	if old := n.rtt.Load(); old > 0 {
		took = old + (took-old)/4
	}
	n.rtt.Store(took)
}
