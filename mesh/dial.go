package mesh

import (
	"bytes"
	"context"
	"time"
)

const (
	// lineTime is how long it may take to make a line.
	lineTime = 3 * time.Second
	// redialFirst and redialMost bound the time until a node that could not make
	// a line, or has lost it, tries again. It doubles with each failure.
	redialFirst = time.Second
	redialMost  = time.Minute
	// yieldFor is by how much the node with the larger id is later: usually the
	// other one has made the line by then.
	yieldFor = 5 * time.Second
	// publishEach is in how many intervals a node speaks to all on the backplane
	// when it has lines to all nodes that it knows: there may be one that neither
	// side knows, because each was away when the other one came.
	publishEach = 5
	// publishFirst is for how many intervals after its start a node speaks to all
	// each time: others may come up at the same moment.
	publishFirst = 3
)

// lineSilence is after how much silence a line is given up, and lineDoubt after
// how much it is looked for the end of that in good time: each interval a card
// comes over it. Then the backplane has the time until Config.DeadAfter to show
// that the node is there.
func (m *Mesh) lineSilence() time.Duration { return m.cfg.Interval * 8 / 5 }
func (m *Mesh) lineDoubt() time.Duration   { return m.cfg.Interval * 11 / 10 }

// tendLines gives up lines that are silent, and makes those that are missing. It
// returns when to look again.
func (m *Mesh) tendLines(now time.Time) (next time.Duration) {
	next = watchMost
	if m.cfg.Lines == nil {
		return next
	}
	var silent []*End
	var missing []*Node
	grace := m.stalled.Load() // what has come meanwhile may not have been read yet
	if grace > 0 {
		grace += int64(m.cfg.Interval / 2)
	}
	m.mu.Lock()
	for _, mem := range m.members {
		n := mem.link
		if n == nil {
			continue
		}
		e := n.line.Load()
		if e == nil {
			if m.mayDial(n, now) {
				missing = append(missing, n)
			}
			continue
		}
		switch left := e.patience(now, grace); {
		case left <= 0:
			silent = append(silent, e)
		case left < m.lineSilence()-m.lineDoubt():
			next = min(next, left)
		}
	}
	m.mu.Unlock()
	for _, e := range silent {
		e.cut("nothing came over it for a while")
	}
	for _, n := range missing {
		m.lane.Go("mesh.line", func(ctx context.Context) { m.dial(ctx, n) })
	}
	return next
}

// patience is how long the line may go on to be silent.
func (e *End) patience(now time.Time, grace int64) time.Duration {
	m := e.mesh
	return max(m.lineSilence()-e.silent(now), m.at(grace).Sub(now))
}

// mayDial tells whether it is this node's turn to make a line to n, and takes
// the turn. m.mu is held.
func (m *Mesh) mayDial(n *Node, now time.Time) bool {
	if n.dialing || m.closed || !n.met || n.Card().LineAddr == "" || now.Before(n.redialAt) {
		return false
	}
	n.dialing = true
	return true
}

// meets is called when the other side of a link is known to have one, too: now a
// line can be made.
func (m *Mesh) meets(n *Node) {
	if m.cfg.Lines == nil {
		return
	}
	m.mu.Lock()
	n.met = true
	now := time.Now()
	if !lessID(m.id, n.id) && m.lineAddr != "" {
		n.redialAt = now.Add(yieldFor)
	}
	yes := n.line.Load() == nil && m.mayDial(n, now)
	m.mu.Unlock()
	if yes {
		m.lane.Go("mesh.line", func(ctx context.Context) { m.dial(ctx, n) })
	}
}

// dial makes a line to a node.
func (m *Mesh) dial(ctx context.Context, n *Node) {
	ctx, cancel := context.WithTimeout(ctx, lineTime)
	defer cancel()
	err := m.cfg.Lines.Dial(ctx, n.Card())
	m.mu.Lock()
	n.dialing = false
	if err != nil {
		n.postpone(time.Now())
	}
	m.mu.Unlock()
	if err != nil && n.line.Load() == nil {
		m.metrics.linesFailed.Inc()
		m.log.Debug("cannot make a direct line to a node; it is tried again", "node", n.Card().Name, "addr", n.Card().LineAddr, "err", err)
	}
}

// postpone puts off the next try to make a line. Mesh.mu is held.
func (n *Node) postpone(now time.Time) {
	n.redial = min(max(2*n.redial, redialFirst), redialMost)
	wait := n.redial
	if !lessID(n.mesh.id, n.id) && n.mesh.lineAddr != "" {
		wait += yieldFor
	}
	n.redialAt = now.Add(wait)
}

// hurry has discovery spread the card at once. m.mu is held.
func (m *Mesh) hurry() {
	close(m.renewed)
	m.renewed = make(chan struct{})
}

// spread tells every node that this one is there: over the line to it, and over
// the backplane when somebody may be there who has none, when there is something
// new to say, and now and then: then publish is called.
func (m *Mesh) spread(now time.Time, publish func(card []byte)) {
	b := m.cardPacket()
	ends, all := m.audience(b, now)
	m.overLines(b, ends, now)
	if all {
		publish(b)
	}
}

// keepLines sends the card over all lines if nothing else does so each interval:
// a [Discovery] may spread it in another way than by Publish, and lines over
// which none comes are given up.
func (m *Mesh) keepLines(now time.Time) {
	if m.cfg.Lines == nil || now.Sub(m.at(m.spreadAt.Load())) < m.cfg.Interval {
		return
	}
	var ends []*End
	for _, n := range m.links(false) {
		if e := n.line.Load(); e != nil {
			ends = append(ends, e)
		}
	}
	m.overLines(m.cardPacket(), ends, now)
}

func (m *Mesh) overLines(card []byte, ends []*End, now time.Time) {
	m.spreadAt.Store(m.since(now))
	if len(ends) == 0 {
		return
	}
	m.together(func() {
		for _, e := range ends {
			if e.line.Send(card) == nil {
				m.metrics.packetsLine.Inc()
			}
		}
	})
}

// audience returns the lines that a card goes over, and whether it goes over the
// backplane, too.
func (m *Mesh) audience(card []byte, now time.Time) (ends []*End, publish bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// When the backplane is to show that a node is there whose line is silent, it
	// needs time for that. And a node that has come just now may not be connected.
	publish = m.cfg.Lines == nil || m.cfg.DeadAfter < m.cfg.Interval*5/2 ||
		len(m.members) == 0 || now.Sub(m.started) < publishFirst*m.cfg.Interval
	for _, mem := range m.members {
		var e *End
		if mem.link != nil {
			e = mem.link.line.Load()
		}
		switch {
		case e != nil:
			ends = append(ends, e)
		case mem.link != nil || !mem.left && !mem.gone:
			publish = true
		}
	}
	m.quiet++
	if publish || m.quiet >= publishEach || !bytes.Equal(card, m.spoken) {
		m.quiet, m.spoken = 0, card
		return ends, true
	}
	return ends, false
}
