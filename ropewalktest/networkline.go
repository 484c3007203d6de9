package ropewalktest

import (
	"context"
	"errors"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
)

var (
	errNoLine = errors.New("the network makes no line there")
	errBroken = errors.New("the line is broken")
)

// breakShare is how much rarer it is that a line breaks, when messages are lost,
// than that a message is: lines do not lose single ones.
const breakShare = 10

// Lines returns what makes lines between nodes on the network; each node needs
// one of its own, beside [Network.Node]. Faults concern lines, too: what does not
// reach the other end vanishes without a word, and where messages are dropped
// lines break.
func (n *Network) Lines() mesh.Lines { return &networkLines{net: n} }

// CutLines breaks the lines between two nodes. Both notice.
func (n *Network) CutLines(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.lines {
		if l.from == a && l.to == b {
			n.breakLine(l)
		}
	}
}

// HushLines loses what the node from sends to the node to over lines, until Heal.
// The backplane is not concerned.
func (n *Network) HushLines(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hushed[[2]string{from, to}] = true
}

// ForbidLines says whether new lines can be made: yes means that none can.
func (n *Network) ForbidLines(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noLines = yes
}

// networkLines implements mesh.Lines.
type networkLines struct {
	net  *Network
	id   string
	mesh *mesh.Mesh
}

// networkLine is one end of a line: what it sends arrives at the other.
type networkLine struct {
	net      *Network
	from, to string
	other    *networkLine

	// Guarded by net.mu.
	end    *mesh.End // told of what arrives; nil until the mesh has taken the line
	closed bool
}

// Open implements mesh.Lines.
func (l *networkLines) Open(m *mesh.Mesh) {
	id := m.Card().ID
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.id, l.mesh = id, m
	l.net.makers[id] = l
}

// Addr implements mesh.Lines.
func (*networkLines) Addr() string { return "network:1" }

// Together implements mesh.Lines.
func (*networkLines) Together(f func()) { f() }

// Repeat implements mesh.Lines.
func (*networkLines) Repeat(time.Duration, func() time.Duration) <-chan struct{} { return nil }

// Busy implements mesh.Lines.
func (*networkLines) Busy() bool { return false }

// Dial implements mesh.Lines.
func (l *networkLines) Dial(ctx context.Context, c *mesh.Card) error {
	n := l.net
	n.mu.Lock()
	peer := n.makers[c.ID]
	ok := peer != nil && !n.noLines && n.nodes[c.ID] != nil && !n.paused[c.ID] && !n.paused[l.id] &&
		n.reaches(l.id, c.ID) && n.reaches(c.ID, l.id) && !n.hushed[[2]string{l.id, c.ID}] && !n.hushed[[2]string{c.ID, l.id}]
	n.mu.Unlock()
	if !ok || ctx.Err() != nil {
		return errNoLine
	}
	here := &networkLine{net: n, from: l.id, to: c.ID}
	there := &networkLine{net: n, from: c.ID, to: l.id, other: here}
	here.other = there
	if err := there.attach(peer.mesh, false); err != nil {
		return err
	}
	if err := here.attach(l.mesh, true); err != nil {
		there.Close("")
		n.mu.Lock()
		n.ended(there)
		n.mu.Unlock()
		return err
	}
	return nil
}

// attach gives one end of a line to its mesh.
func (l *networkLine) attach(m *mesh.Mesh, ours bool) error {
	end, err := m.Attach(l.to, ours, l)
	if err != nil {
		return err
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.end = end
	l.net.lines[l] = struct{}{}
	if l.closed {
		l.net.ended(l)
	}
	return nil
}

// Send implements mesh.Line.
func (l *networkLine) Send(data []byte) error {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.nodes[l.from]
	if l.closed || p == nil {
		return errBroken
	}
	x := letter{to: l.to, data: append([]byte(nil), data...), line: l}
	if n.paused[l.from] {
		p.held = append(p.held, x)
		return nil
	}
	n.carry(p, x)
	return nil
}

// carry brings what was sent over a line on its way. Called with n.mu held.
func (n *Network) carry(from *networkNode, x letter) {
	to := n.nodes[x.to]
	switch {
	case to == nil, x.line.closed, n.hushed[[2]string{from.id, x.to}]:
		n.lost++
	case n.rate > 0 && n.rand.Float64() < n.rate/breakShare:
		n.breakLine(x.line)
	default:
		n.post(from, to, x)
	}
}

// Close implements mesh.Line. The other end hears of it if it can.
func (l *networkLine) Close(string) {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l.closed = true
	delete(n.lines, l)
	if n.reaches(l.from, l.to) && !n.hushed[[2]string{l.from, l.to}] {
		n.ended(l.other)
	}
}

// breakLine ends both ends of a line. Called with n.mu held.
func (n *Network) breakLine(l *networkLine) {
	n.ended(l)
	n.ended(l.other)
}

// ended has one end told that the line is broken. Called with n.mu held.
func (n *Network) ended(l *networkLine) {
	l.closed = true
	delete(n.lines, l)
	if p := n.nodes[l.from]; p != nil && l.end != nil {
		p.ended = append(p.ended, l.end)
		p.kick()
	}
}

var (
	_ mesh.Lines = (*networkLines)(nil)
	_ mesh.Line  = (*networkLine)(nil)
)
