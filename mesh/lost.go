package mesh

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// dialTime is how long a lost node may take to show that its machine is
// reachable.
const dialTime = time.Second

// lostKind is why a link was lost.
type lostKind string

// The kinds, as in the metric.
const (
	lostSilent lostKind = "silent"
	lostDeaf   lostKind = "deaf" // it does not hear this node
	lostLeft   lostKind = "left"
	lostAnew   lostKind = "anew"   // the other side has lost the link
	lostBroken lostKind = "broken" // it could not go on
	lostPaused lostKind = "paused" // this node did not run for a while
	lostStop   lostKind = "stop"   // this node stops
)

// lose ends a link: whoever waits for the node is told, and what was not sent
// goes back to where it came from.
func (m *Mesh) lose(n *Node, reason string, kind lostKind) {
	n.inMu.Lock()
	defer n.inMu.Unlock()
	if n.dead {
		return
	}
	n.dead = true
	n.mu.Lock()
	n.closed = true
	unsent := n.out.drop()
	n.mu.Unlock()
	card := n.Card()
	m.mu.Lock()
	if mem := m.members[n.id]; mem != nil && mem.link == n {
		mem.heard = mem.last() // of the link, too
		mem.link, mem.lostAt, mem.lostAs = nil, time.Now(), kind
		if n.told.Load() {
			mem.served = n.table()
		}
	}
	m.touch()
	line := n.line.Swap(nil)
	m.mu.Unlock()
	if line != nil {
		line.line.Close("the link to the node is lost")
	}
	m.metrics.lost.WithLabelValues(string(kind)).Inc()
	if kind == lostLeft || kind == lostStop {
		m.log.Info("node left", "node", card.Name, "id", n.text, "reason", reason)
	} else {
		m.log.Warn("node lost", "node", card.Name, "id", n.text, "reason", reason)
	}
	if kind == lostSilent {
		m.cardChanged() // it may hear this node, and has to know that it is not heard
	}
	if n.peer == 0 {
		return
	}
	if len(unsent) > 0 { // it must not be chosen for them again
		n.unserve()
	}
	for _, p := range unsent {
		n.giveBack(p)
	}
	m.cfg.Handler.Left(n, &message.Error{
		Code: message.CodeNodeLost, Message: "the node " + card.Name + " was lost during the call: " + reason,
		Hint: "The call may have been executed; repeat it only if that does no harm.",
	})
	if kind == lostSilent && card.Addr != "" {
		m.lane.Go("mesh.dial", func(ctx context.Context) { m.examine(ctx, n.id, card.Addr) })
	}
}

// unserve takes back what the node serves. n.inMu is held.
func (n *Node) unserve() {
	for key, p := range n.serves {
		n.mesh.cfg.Handler.Unserved(n, route.Seat{Server: key.server, Name: key.name, Pattern: p})
	}
	clear(n.serves)
}

// giveBack returns the messages of a packet that was never sent.
func (n *Node) giveBack(p *packet) {
	for b := p.buf[headerLen:]; len(b) > 0; {
		frame, rest, err := nextFrame(b)
		if err != nil || frame[0] != frameMessage {
			return
		}
		b = rest
		_, server, body, err := openNote(frame[1:])
		var m message.Message
		if err != nil || message.DecodeSplit(body, &m) != nil {
			continue
		}
		if (m.Verb == message.VerbCall || m.Verb == message.VerbSend) && len(m.Mid) > 0 {
			n.handle(Note{Server: string(server), Returned: true}, &m)
		}
	}
}

// table is what the node served, for [Mesh.Unreachable].
func (n *Node) table() *route.Table {
	t := route.NewTable()
	e := new(absent)
	for key, p := range n.serves {
		_ = t.Serve(key.name, p, e, route.Info{})
	}
	return t
}

// absent stands for all servers of a lost node.
type absent struct{ route.Endpoint }

func (*absent) ID() string { return "" }

// examine finds out whether a lost node's process is gone or only out of reach:
// a machine that refuses the connection is reachable, and nobody is there.
func (m *Mesh) examine(ctx context.Context, id nodeID, addr string) {
	d := net.Dialer{Timeout: dialTime}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if mem := m.members[id]; mem != nil && mem.link == nil {
		mem.gone = true
		m.touch()
	}
}

// leaves takes the word of a node that it stops.
func (m *Mesh) leaves(id nodeID) {
	m.mu.Lock()
	mem := m.members[id]
	var n *Node
	if mem != nil {
		mem.left, n = true, mem.link
	}
	m.mu.Unlock()
	if n != nil {
		m.lose(n, "it stopped", lostLeft)
	}
}
