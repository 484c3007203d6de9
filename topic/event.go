package topic

import (
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
// get it in one form.
type frame struct {
	*event

	m      message.Message
	shared exchange.Shared
}

func newFrame(e *event, topic []byte) *frame {
	f := &frame{event: e}
	f.m = message.Message{
		Verb: message.VerbUpdate, Topic: topic, Epoch: []byte(e.epoch), Offset: e.offset, Fault: e.fault,
		Publisher: e.publisher, Body: e.body,
	}
	if e.to != "" {
		f.m.To = []byte(e.to)
	}
	if e.contentType != "" {
		f.m.ContentType = []byte(e.contentType)
	}
	return f
}

// release gives the encoded forms back. Nobody delivers the frame any more.
func (f *frame) release() {
	for i := range f.shared {
		if enc := &f.shared[i]; enc.Frame != nil {
			enc.Frame.Release()
			*enc = exchange.Encoded{}
		}
	}
}
