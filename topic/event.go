package topic

import (
	"bytes"
	"sync"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
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

// event is a content or event of a topic. It is shared, by all who have it on this
// node, and never changed.
type event struct {
	body        []byte
	contentType string
	fault       bool
	stamp       *route.Stamp
}

// newEvent makes an event with a stamp of its own, which may be written to until
// somebody else gets the event.
func newEvent(body []byte, contentType string, s route.Stamp) *event {
	both := &struct {
		event
		route.Stamp
	}{event{body: body, contentType: contentType}, s}
	both.stamp = &both.Stamp
	return &both.event
}

// eventOf makes an event of a part, with bytes of its own unless those of the part
// stay as they are.
func eventOf(b *route.Body) *event {
	if b.Stable && b.Stamp != nil {
		return &event{body: b.Bytes, contentType: b.ContentType, fault: b.Fault, stamp: b.Stamp}
	}
	var s route.Stamp
	if b.Stamp != nil {
		s = *b.Stamp
		s.Publisher = bytes.Clone(s.Publisher)
	}
	body := b.Bytes
	if !b.Stable {
		body = bytes.Clone(body)
	}
	e := newEvent(body, b.ContentType, s)
	e.fault = b.Fault
	return e
}

// part is the event as those get it who want it.
func (e *event) part() route.Body {
	return route.Body{Bytes: e.body, ContentType: e.contentType, Fault: e.fault, Stamp: e.stamp, Stable: true}
}

// atAddress is the event for those who watch many addresses.
func (e *event) atAddress(to string) *event {
	s := *e.stamp
	s.To = to
	o := newEvent(e.body, e.contentType, s)
	o.fault = e.fault
	return o
}

// empty is about markEmpty.
func (e *event) empty() bool { return e.stamp.Topic == markEmpty }

// same tells whether two contents are the same.
func (e *event) same(o *event) bool {
	return e.fault == o.fault && e.contentType == o.contentType && string(e.body) == string(o.body)
}

// size is what the event counts in a history, in bytes.
func (e *event) size() int { return len(e.body) + len(e.stamp.Publisher) + len(e.stamp.To) + eventRoom }

// eventRoom is what an event takes besides its bytes.
const eventRoom = 160

// frame is an event as the watchers of a topic get it, encoded once for all who
// get it in one form. A history keeps many.
type frame struct {
	*event

	topic  []byte           // what connections call it
	m      *message.Message // while it is delivered
	shared exchange.Shared
}

func newFrame(e *event, topic []byte) *frame { return &frame{event: e, topic: topic} }

//nolint:gochecknoglobals // a pool is only useful when it is shared
var messages = sync.Pool{New: func() any { return new(message.Message) }}

// message is what is delivered. It is kept until rest.
func (f *frame) message() *message.Message {
	if f.m != nil {
		return f.m
	}
	m := messages.Get().(*message.Message) //nolint:forcetypeassert // nothing else is put
	s := f.stamp
	m.Verb, m.Topic, m.Epoch, m.Offset, m.Fault = message.VerbUpdate, f.topic, []byte(s.Epoch), s.Offset, f.fault
	m.Publisher, m.Body = s.Publisher, f.body
	if s.To != "" {
		m.To = []byte(s.To)
	}
	if f.contentType != "" {
		m.ContentType = []byte(f.contentType)
	}
	f.m = m
	return m
}

// rest lets go of what is only needed while the frame is delivered.
func (f *frame) rest() {
	if f.m != nil {
		*f.m = message.Message{}
		messages.Put(f.m)
		f.m = nil
	}
}

// release gives the encoded forms back. Nobody delivers the frame any more.
func (f *frame) release() {
	f.rest()
	for i := range f.shared {
		if enc := &f.shared[i]; enc.Frame != nil {
			enc.Frame.Release()
			*enc = exchange.Encoded{}
		}
	}
}
