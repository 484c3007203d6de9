package topic

import (
	"sync"
	"time"

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

// event is a content or event of a topic. It is shared and never changed.
type event struct {
	epoch       string
	offset      uint64
	to          string // its address, if a pattern is watched
	body        []byte
	contentType string
	publisher   []byte
	fault       bool
	empty       bool // see markEmpty
	at          time.Time
}

// eventOf makes an event of a part, with bytes of its own.
func eventOf(b *route.Body) *event {
	e := &event{contentType: b.ContentType, fault: b.Fault, at: time.Now()}
	if b.Bytes != nil {
		e.body = append(make([]byte, 0, len(b.Bytes)), b.Bytes...)
	}
	if s := b.Stamp; s != nil {
		e.epoch, e.offset, e.to, e.empty = s.Epoch, s.Offset, s.To, s.Topic == markEmpty
		if len(s.Publisher) > 0 {
			e.publisher = append([]byte(nil), s.Publisher...)
		}
	}
	return e
}

func (e *event) stamp() *route.Stamp {
	s := &route.Stamp{Epoch: e.epoch, Offset: e.offset, To: e.to, Publisher: e.publisher}
	if e.empty {
		s.Topic = markEmpty
	}
	return s
}

// part is the event on its way to another node.
func (e *event) part() route.Body {
	return route.Body{Bytes: e.body, ContentType: e.contentType, Fault: e.fault, Stamp: e.stamp()}
}

// same tells whether two contents are the same.
func (e *event) same(o *event) bool {
	return e.fault == o.fault && e.contentType == o.contentType && string(e.body) == string(o.body)
}

// size is what the event counts in a history, in bytes.
func (e *event) size() int { return len(e.body) + len(e.publisher) + len(e.to) + eventRoom }

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
	m.Verb, m.Topic, m.Epoch, m.Offset, m.Fault = message.VerbUpdate, f.topic, []byte(f.epoch), f.offset, f.fault
	m.Publisher, m.Body = f.publisher, f.body
	if f.to != "" {
		m.To = []byte(f.to)
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
