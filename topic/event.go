package topic

import (
	"bytes"

	"github.com/ropewalk/ropewalk/route"
)

// Marks in the stamp of a part between a source and a topic. Before the first
// the source has nothing to say of an event topic; from the second on a topic has
// everything.
const (
	markFrom  = "from"  // the history that follows is complete from after this offset
	markArmed = "armed" // this is the newest offset, and every event after it will come
	// markEmpty comes with the fault of a Log to which nothing was published.
	markEmpty = "empty"
)

// record is what is kept of a content or event. Its bytes are shared by all who
// have it on this node, and never changed. There are many: it is small, and points
// to as little as possible, since the collector looks at all of it.
type record struct {
	body   []byte
	offset uint64
	more   *more // nil: nothing
}

// more is what few records have.
type more struct {
	contentType string
	to          string // the address, for who watches many
	publisher   []byte
	fault       bool
}

var none more //nolint:gochecknoglobals // never written to

// rest is what else there is to know of it. It must not be changed.
func (r *record) rest() *more {
	if r.more == nil {
		return &none
	}
	return r.more
}

// size is what the record counts in a history, in bytes.
func (r *record) size() int {
	n := len(r.body) + recordRoom
	if m := r.more; m != nil {
		n += len(m.publisher) + len(m.to) + len(m.contentType) + moreRoom
	}
	return n
}

// What a record, and more of it, takes besides its bytes.
const (
	recordRoom = 64
	moreRoom   = 80
)

// event is a record on its way.
type event struct {
	record

	epoch string // of offset
	mark  string
}

// moreOf is nil for most.
func moreOf(m more) *more {
	if m.contentType == "" && m.to == "" && m.publisher == nil && !m.fault {
		return nil
	}
	n := m // and not m itself, for which there would always have to be memory
	return &n
}

// eventOf makes an event of a part, with bytes of its own unless those of the part
// stay as they are.
func eventOf(b *route.Body) event {
	var s route.Stamp
	if b.Stamp != nil {
		s = *b.Stamp
	}
	body := b.Bytes
	if !b.Stable {
		body, s.Publisher = bytes.Clone(body), bytes.Clone(s.Publisher)
	}
	m := moreOf(more{contentType: b.ContentType, to: s.To, publisher: s.Publisher, fault: b.Fault})
	return event{record{body, s.Offset, m}, s.Epoch, s.Topic}
}

// part is the event as those get it who want it.
func (e *event) part() route.Body {
	m := e.rest()
	return route.Body{
		Bytes: e.body, ContentType: m.contentType, Fault: m.fault, Stable: true,
		Stamp: &route.Stamp{Epoch: e.epoch, Offset: e.offset, Topic: e.mark, To: m.to, Publisher: m.publisher},
	}
}

// atAddress is the event for those who watch many addresses.
func (e *event) atAddress(to string) event {
	m := *e.rest()
	m.to = to
	o := *e
	o.more = &m
	return o
}

// empty is about markEmpty.
func (e *event) empty() bool { return e.mark == markEmpty }

// same tells whether two contents are the same.
func (e *event) same(o *event) bool {
	m, n := e.rest(), o.rest()
	return m.fault == n.fault && m.contentType == n.contentType && string(e.body) == string(o.body)
}
