package mesh

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Lines makes lines: direct connections between two nodes, beside the backplane.
// What goes over a line does not need the backplane, and costs less. Links do
// not depend on lines: while there is none, or when one breaks, everything goes
// over the backplane.
//
// Open is called once, before all others; the methods may be called from any
// goroutine.
type Lines interface {
	// Open tells for which mesh lines are made. [Mesh.Attach] gets each of them,
	// also those that other nodes make to this one.
	Open(m *Mesh)
	// Addr is where other nodes can make lines to this one, as HOST:PORT; "" if
	// they cannot.
	Addr() string
	// Dial makes a line to the node of a card, whose LineAddr is not empty. It
	// blocks until Mesh.Attach has taken the line, or ctx has ended.
	Dial(ctx context.Context, c *Card) error
	// Together runs f. What f sends over lines leaves when it returns at the
	// latest, and what goes over one line in as few writes as possible.
	Together(f func())
	// Repeat calls f after a time, and then each time after as long as f has
	// returned, until that is 0, or it cannot go on; then the channel is closed. It
	// is nil if there is no cheaper way for that than a timer.
	Repeat(wait time.Duration, f func() time.Duration) <-chan struct{}
	// Busy tells that somebody will soon call [Mesh.Flush], which sees what was
	// queued before Busy was asked.
	Busy() bool
}

// Line is a direct connection to another node. Both nodes have proved to each
// other who they are. It keeps the order of what is sent and may lose the end of
// it, when it breaks; until that is noticed it may also lose everything.
type Line interface {
	// Send queues data and returns; it keeps nothing of data, and never blocks.
	// It fails with [ErrLineFull] when too much is queued, or with another error
	// when the line is broken.
	Send(data []byte) error
	// Close ends the line, without waiting for that.
	Close(reason string)
}

// ErrLineFull is returned by [Line.Send] when too much is queued already.
var ErrLineFull = errors.New("too much waits to be sent on a line")

var (
	errStranger = errors.New("this node does not know that node yet")
	errHasLine  = errors.New("there is a line to that node already")
)

// End is this node's end of a line. Who makes lines tells it what happens there.
type End struct {
	mesh  *Mesh
	node  *Node
	line  Line
	ours  bool // this node has dialed
	since time.Time
	heard atomic.Int64 // see Mesh.since
}

// LineWord is that of this node's card.
func (m *Mesh) LineWord() string { return m.lineWord }

// Wants tells whether Attach would take a line to a node now: the error is what
// Attach would return.
func (m *Mesh) Wants(node string, ours bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.wants(node, ours)
	return err
}

// wants returns the link for a line. m.mu is held.
func (m *Mesh) wants(node string, ours bool) (*Node, error) {
	id, err := parseID(node)
	if err != nil {
		return nil, err
	}
	mem := m.members[id]
	if m.closed || mem == nil || mem.link == nil {
		return nil, errStranger
	}
	// Both may have dialed at the same time: the line of the smaller id stays, on
	// both sides. Else the newer one: who dials has none, or none any more.
	if old := mem.link.line.Load(); old != nil && old.ours != ours && old.ours == lessID(m.id, id) {
		return nil, errHasLine
	}
	return mem.link, nil
}

// Attach takes a line to a node; ours says that this node has dialed it. From now
// on the mesh sends over it, and it has to be told of what comes and of the end.
// An error means that the line is not wanted, and may be closed: the node is not
// known here yet, or there is a line to it already.
func (m *Mesh) Attach(node string, ours bool, line Line) (*End, error) {
	now := time.Now()
	m.mu.Lock()
	n, err := m.wants(node, ours)
	if err != nil {
		m.mu.Unlock()
		return nil, err
	}
	e := &End{mesh: m, node: n, line: line, ours: ours, since: now}
	e.heard.Store(m.since(now))
	old := n.line.Swap(e)
	m.mu.Unlock()
	if old != nil {
		old.line.Close("another line took its place")
	}
	m.log.Debug("line to a node", "node", n.Card().Name, "id", n.text, "dialed", ours)
	return e, nil
}

// LineRefused counts a connection for a line whose other end was refused.
func (m *Mesh) LineRefused() { m.metrics.linesRefuse.Inc() }

// Received is given what came over the line: one message at a time, valid until
// it returns. It does not block.
func (e *End) Received(data []byte) {
	_, from, _, err := openPacket(data)
	if err != nil || from != e.node.id {
		e.mesh.metrics.malformed.Inc()
		return
	}
	e.heard.Store(e.mesh.since(time.Now()))
	e.mesh.received(data, e)
}

// Closed is told that the line is broken, or closed by the other side.
func (e *End) Closed(reason string) {
	if e.node.line.CompareAndSwap(e, nil) {
		e.fell(reason)
	}
}

// cut gives the line up, and has the other side do so too.
func (e *End) cut(reason string) {
	if !e.node.line.CompareAndSwap(e, nil) {
		return
	}
	_ = e.mesh.plane.Send(e.node.text, short(kindCut, e.mesh.id, nil))
	e.line.Close(reason)
	e.fell(reason)
}

// cutOff is told that the other side has given up its line.
func (n *Node) cutOff() {
	if e := n.line.Load(); e != nil && n.line.CompareAndSwap(e, nil) {
		e.line.Close("the other side has given it up")
		e.fell("the other side has given it up")
	}
}

// fell is the end of a line whose link goes on: what was on it is probably
// lost, and the other node has to hear of this one in another way, soon.
func (e *End) fell(reason string) {
	m, n := e.mesh, e.node
	now := time.Now()
	if n.Card().State == Alive && !m.draining.Load() { // else one of them stops
		m.metrics.linesLost.Inc()
		m.log.Info("a direct line to a node is lost; the backplane takes over", "node", n.Card().Name, "id", n.text, "reason", reason)
	}
	m.mu.Lock()
	if now.Sub(e.since) > 4*n.redial { // it was worth having
		n.redial = 0
	}
	n.postpone(now)
	m.hurry()
	m.mu.Unlock()
	n.mu.Lock()
	n.nakked = true
	n.schedule()
	n.mu.Unlock()
}

// silent tells for how long nothing has come over the line.
func (e *End) silent(now time.Time) time.Duration { return now.Sub(e.mesh.at(e.heard.Load())) }

// tell hands something to the node that may be lost: by line or backplane.
func (m *Mesh) tell(n *Node, b []byte) error {
	if e := n.line.Load(); e != nil {
		err := e.line.Send(b)
		if err == nil {
			m.metrics.packetsLine.Inc()
			return nil
		}
		if errors.Is(err, ErrLineFull) {
			return err // the other way it would only overtake what waits
		}
	}
	return m.plane.Send(n.text, b)
}

// reachable tells whether anything can be sent to the node now.
func (n *Node) reachable() bool { return n.mesh.connected.Load() || n.line.Load() != nil }

// together runs f, and has what f sends over lines leave afterwards.
func (m *Mesh) together(f func()) {
	if m.cfg.Lines == nil {
		f()
		return
	}
	m.cfg.Lines.Together(f)
}
