package mesh

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

const (
	// watchMost and watchLeast bound the time until a node looks again who is
	// silent; within them it looks when somebody has been so for too long.
	watchMost  = time.Second
	watchLeast = 50 * time.Millisecond
	// pingEach is how often a node measures the way to one of the others.
	pingEach = 5 * time.Second
	pingLen  = 8
	// dialTime is how long a lost node may take to show that its machine is
	// reachable.
	dialTime = time.Second
)

// member is a node that this one has heard of. Guarded by Mesh.mu.
type member struct {
	id     nodeID
	card   *Card
	heard  time.Time // last card
	link   *Node     // nil while it is lost
	lostAt time.Time // zero while it is not
	lostAs lostKind
	left   bool // it said so: what it served is down
	gone   bool // its process is not there any more
	served *route.Table
}

// last is when the node was heard of last: by a card or by a packet. Mesh.mu is
// held.
func (mem *member) last() time.Time {
	if mem.link != nil {
		if t := mem.link.mesh.at(mem.link.heard.Load()); t.After(mem.heard) {
			return t
		}
	}
	return mem.heard
}

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

// directory implements Directory.
type directory struct{ m *Mesh }

func (d directory) Interval() time.Duration { return d.m.cfg.Interval }

func (d directory) Card() Card { return d.m.Card() }

func (d directory) Changed() <-chan struct{} {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	return d.m.renewed
}

func (d directory) Publish() { _ = d.m.plane.Publish(d.m.cardPacket()) }

func (d directory) Seen(c Card) error {
	id, err := parseID(c.ID)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if id != d.m.id {
		d.m.seen(id, &c, time.Now())
	}
	return nil
}

func (m *Mesh) cardPacket() []byte {
	card := m.Card()
	b, err := json.Marshal(&card)
	if err != nil {
		m.log.Error("cannot write the card of this node", "err", err)
		return nil
	}
	return short(kindCard, m.id, b)
}

// hears lists the tags of the nodes that were heard lately. It has nothing to do
// with links: one side may have lost its own because the other was deaf.
func (m *Mesh) hears() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	now := time.Now()
	for id, mem := range m.members {
		if now.Sub(mem.last()) < m.cfg.DeadAfter {
			b.WriteString(message.NodeTag(id.String()))
		}
	}
	return b.String()
}

// seen takes the card of another node.
func (m *Mesh) seen(id nodeID, c *Card, now time.Time) {
	if c.Protocol != Protocol {
		m.refuse(id, c)
		return
	}
	m.mu.Lock()
	mem, known := m.members[id]
	if m.closed || !known && len(m.members) >= maxMembers {
		m.mu.Unlock()
		return
	}
	if !known {
		mem = &member{id: id}
		m.members[id] = mem
		m.replaces(c)
	}
	if mem.left { // a card that was still on its way
		m.mu.Unlock()
		return
	}
	hears := c.hears(message.NodeTag(m.cfg.ID))
	if !known || differ(mem.card, c) {
		m.touch()
	}
	mem.card, mem.heard = c, now
	var n *Node
	switch {
	case mem.link != nil:
		mem.link.card.Store(c)
		mem.link.deaf = cmp.Or(mem.link.deaf, now)
		if hears {
			mem.link.deaf = time.Time{}
		}
	case hears || mem.lostAs != lostDeaf:
		n = m.link(mem, now)
	}
	m.mu.Unlock()
	if n != nil {
		m.welcome(n)
	}
}

// refuse logs, once, that a node cannot be talked to.
func (m *Mesh) refuse(id nodeID, c *Card) {
	m.mu.Lock()
	_, told := m.refused[id]
	if len(m.refused) < maxMembers {
		m.refused[id] = struct{}{}
	}
	m.mu.Unlock()
	if !told {
		m.log.Warn("a node speaks another version of the protocol and is not taken into the mesh; run the same version of the program everywhere",
			"node", c.Name, "version", c.Version, "protocol", c.Protocol, "ours", Protocol)
	}
}

// replaces looks whether the node of a new card runs in the place of a lost one,
// which is then gone for good, and whether its name is taken. m.mu is held.
func (m *Mesh) replaces(c *Card) {
	for _, mem := range m.members {
		if mem.card == nil || mem.card.Name != c.Name {
			continue
		}
		switch {
		case mem.link == nil && mem.card.Addr == c.Addr && mem.card.Started.Before(c.Started):
			mem.gone = true
		case mem.link != nil:
			m.log.Warn("two nodes have the same name; give each a name of its own with --name", "node", c.Name, "id", c.ID, "other", mem.card.ID)
		}
	}
}

// differ tells whether people would see a difference between two cards.
func differ(a, b *Card) bool {
	return a.State != b.State || a.Name != b.Name || a.Version != b.Version || !slices.Equal(a.URLs, b.URLs) || !maps.Equal(a.Labels, b.Labels)
}

// link begins a link to a member. m.mu is held.
func (m *Mesh) link(mem *member, now time.Time) *Node {
	m.lastEpoch = max(m.lastEpoch+1, uint64(now.UnixNano())) //nolint:gosec // the time is not negative
	text := mem.id.String()
	n := &Node{
		mesh: m, id: mem.id, text: text, tag: message.NodeTag(text), since: now, epoch: m.lastEpoch, next: 1,
		serves: make(map[seatKey]struct{}),
		out:    outbox{limit: m.cfg.MaxPending, wait: resendAfter},
	}
	n.card.Store(mem.card)
	n.heard.Store(m.since(now))
	mem.link, mem.lostAt, mem.gone, mem.served = n, time.Time{}, false, nil
	m.touch()
	m.log.Info("node joined", "node", mem.card.Name, "id", text, "zone", mem.card.Zone())
	return n
}

// welcome sends a node what a link begins with: first who this is, because
// packets of nodes that are not known are ignored.
func (m *Mesh) welcome(n *Node) {
	_ = m.plane.Send(n.text, m.cardPacket())
	m.introduce(n)
	m.measure(n, time.Now())
}

// reopen begins a new link to a node whose side has done so.
func (m *Mesh) reopen(id nodeID) *Node {
	m.mu.Lock()
	mem := m.members[id]
	if m.closed || mem == nil || mem.link != nil || mem.left {
		m.mu.Unlock()
		return nil
	}
	n := m.link(mem, time.Now())
	m.mu.Unlock()
	m.welcome(n)
	return n
}

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
		mem.served = n.table()
	}
	m.touch()
	m.mu.Unlock()
	m.metrics.lost.WithLabelValues(string(kind)).Inc()
	if kind == lostLeft || kind == lostStop {
		m.log.Info("node left", "node", card.Name, "id", n.text, "reason", reason)
	} else {
		m.log.Warn("node lost", "node", card.Name, "id", n.text, "reason", reason)
	}
	if !n.joined {
		return
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
	for key := range n.serves {
		if p, err := route.ParsePattern(key.pattern); err == nil {
			_ = t.Serve(key.name, p, e, route.Info{})
		}
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

// runWatch looks who is silent.
func (m *Mesh) runWatch(ctx context.Context) {
	timer := time.NewTimer(watchLeast)
	defer timer.Stop()
	var lastPing time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		m.awake(now)
		timer.Reset(min(max(m.watch(now), watchLeast), watchMost))
		if now.Sub(lastPing) >= pingEach {
			lastPing = now
			m.ping(now)
		}
	}
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
// given it up: then what they sent since, or before, must not be acted on.
func (m *Mesh) awake(now time.Time) {
	ran := m.since(now)
	if last := m.ran.Swap(ran); time.Duration(ran-last) < m.cfg.DeadAfter {
		return
	}
	m.restored.Store(ran)
	for _, n := range m.links(false) {
		m.lose(n, "this node did not run for a while", lostPaused)
	}
}

// ping measures the way to one node, another each time.
func (m *Mesh) ping(now time.Time) {
	m.mu.Lock()
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
	_ = m.plane.Send(n.text, short(kindPing, m.id, stamp))
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
