package topic

import (
	"bytes"
	"encoding/binary"

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

// record is a content or event without what all of a topic share.
type record struct {
	body   []byte
	offset uint64
	more   *more // nil: nothing
	stable bool  // what it points to never changes; else it is valid for the moment
}

// more is what few records have. It is not changed.
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

// owned is the body, as it stays.
func (r *record) owned() []byte {
	if r.stable {
		return r.body
	}
	return bytes.Clone(r.body)
}

// stay has it valid for ever.
func (r *record) stay() {
	if r.stable {
		return
	}
	r.body, r.stable = bytes.Clone(r.body), true
	if r.more != nil {
		m := *r.more
		m.publisher = bytes.Clone(m.publisher)
		r.more = &m
	}
}

// size is what the record counts in a history, in bytes.
func (r *record) size() int { return sizeOf(len(r.body), r.more.size()) }

func sizeOf(body, tail int) int { return body + tail + entryBytes }

// size is how many bytes appendTo writes.
func (m *more) size() int {
	if m == nil {
		return 0
	}
	return 1 + textSize(len(m.contentType)) + textSize(len(m.to)) + len(m.publisher)
}

func textSize(n int) int {
	size := 1 + n
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// appendTo writes it, and nothing if it is nil.
func (m *more) appendTo(b []byte) {
	if m == nil {
		return
	}
	fault := byte(0)
	if m.fault {
		fault = 1
	}
	b = append(b, fault)
	b = append(binary.AppendUvarint(b, uint64(len(m.contentType))), m.contentType...)
	b = append(binary.AppendUvarint(b, uint64(len(m.to))), m.to...)
	_ = append(b, m.publisher...)
}

// parseMore reads what appendTo has written. It keeps nothing of that.
func parseMore(b []byte) *more {
	if len(b) == 0 {
		return nil
	}
	text := func() (s string) {
		n, k := binary.Uvarint(b)
		s, b = string(b[k:][:n]), b[k:][n:]
		return s
	}
	m := &more{fault: b[0] == 1}
	b = b[1:]
	m.contentType, m.to = text(), text()
	if len(b) > 0 {
		m.publisher = bytes.Clone(b)
	}
	return m
}

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

// eventOf makes an event of a part. It is as stable as that.
func eventOf(b *route.Body) event {
	var s route.Stamp
	if b.Stamp != nil {
		s = *b.Stamp
	}
	m := moreOf(more{contentType: b.ContentType, to: s.To, publisher: s.Publisher, fault: b.Fault})
	return event{record{b.Bytes, s.Offset, m, b.Stable}, s.Epoch, s.Topic}
}

// part is the event as those get it who want it.
func (e *event) part() route.Body {
	m := e.rest()
	return route.Body{
		Bytes: e.body, ContentType: m.contentType, Fault: m.fault, Stable: e.stable,
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
