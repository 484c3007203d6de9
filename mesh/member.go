package mesh

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// member is a node that this one has heard of. Guarded by Mesh.mu.
type member struct {
	id     nodeID
	card   *Card
	heard  time.Time // last card
	link   *Node     // nil while it is lost
	lostAt time.Time // zero while it is not
	lostAs lostKind
	left   bool         // it said so: what it served is down
	gone   bool         // its process is not there any more
	served *route.Table // when its last link was lost; nil if there was none
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

// directory implements Directory.
type directory struct{ m *Mesh }

func (d directory) Interval() time.Duration { return d.m.cfg.Interval }

func (d directory) Card() Card { return d.m.Card() }

func (d directory) Changed() <-chan struct{} {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	return d.m.renewed
}

func (d directory) Publish() {
	now := time.Now()
	d.m.look(now, true)
	d.m.spread(now, func(card []byte) { _ = d.m.plane.Publish(card) })
}

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
	now := time.Now()
	m.mu.Lock()
	tags := make([]string, 0, len(m.members))
	for id, mem := range m.members {
		if now.Sub(mem.last()) < m.cfg.DeadAfter {
			tags = append(tags, message.NodeTag(id.String()))
		}
	}
	m.mu.Unlock()
	slices.Sort(tags) // so that cards that say the same are the same
	return strings.Join(tags, "")
}

// seen takes the card of another node.
func (m *Mesh) seen(id nodeID, c *Card, now time.Time) {
	if c.Protocol != Protocol {
		m.refuse(id, c)
		return
	}
	m.mu.Lock()
	mem, known := m.members[id]
	if m.closed || !known && len(m.members) >= maxMembers && !m.forgetOne() {
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
	var begun, ended *Node
	switch n := mem.link; {
	case n != nil:
		n.card.Store(c)
		if !n.hearing(hears, now) {
			ended = n
		}
	case hears || mem.lostAs != lostDeaf:
		begun = m.link(mem, now)
	}
	m.mu.Unlock()
	if begun != nil {
		m.welcome(begun)
	}
	if ended != nil {
		m.lose(ended, "it does not hear this node any more", lostDeaf)
	}
}

// hearing takes what the last card of a node says of whether it hears this one,
// and reports whether the link may go on: a node that has heard this one and does
// so no more has lost the link; one that is new may need a moment. Mesh.mu is
// held.
func (n *Node) hearing(yes bool, now time.Time) bool {
	switch {
	case yes:
		n.heardUs, n.deaf = true, time.Time{}
	case n.heardUs:
		return false
	default:
		n.deaf = cmp.Or(n.deaf, now)
	}
	return true
}

// forgetOne makes room for another node: it forgets the one that was lost first,
// if there is one. m.mu is held.
func (m *Mesh) forgetOne() bool {
	var first *member
	for _, mem := range m.members {
		if mem.link == nil && (first == nil || mem.lostAt.Before(first.lostAt)) {
			first = mem
		}
	}
	if first != nil {
		delete(m.members, first.id)
	}
	return first != nil
}

// refuse logs, once, that a node cannot be talked to.
func (m *Mesh) refuse(id nodeID, c *Card) {
	m.mu.Lock()
	_, told := m.refused[id]
	if len(m.refused) >= maxMembers {
		clear(m.refused)
	}
	m.refused[id] = struct{}{}
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
		mesh: m, id: mem.id, text: text, since: now, epoch: m.lastEpoch, next: 1,
		serves: make(map[seatKey]route.Pattern),
		out:    outbox{limit: m.cfg.MaxPending, wait: resendAfter},
	}
	n.card.Store(mem.card)
	n.heard.Store(m.since(now))
	mem.link, mem.lostAt, mem.gone = n, time.Time{}, false
	m.touch()
	m.log.Info("node joined", "node", mem.card.Name, "id", text, "zone", mem.card.Zone())
	return n
}

// welcome sends a node what a link begins with: first who this is, because
// packets of nodes that are not known are ignored.
func (m *Mesh) welcome(n *Node) {
	_ = m.plane.Send(n.text, m.cardPacket()) // there is no line yet
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
