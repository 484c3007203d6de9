package natslog

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

const (
	// DefaultMemory is how many events of all addresses are in memory, so that the
	// stream is rarely read for those who come.
	DefaultMemory = 8192
	// ringBytes bounds them.
	ringBytes = 16 << 20
	// eventRoom is what an event takes besides its bytes.
	eventRoom = 160
)

// event is one of the stream. It is shared and never changed.
type event struct {
	seq         uint64
	path        string
	body        []byte
	contentType string
	publisher   []byte
	at          time.Time
}

// event makes one of what the stream has.
func (l *Log) event(subject string, seq uint64, h nats.Header, data []byte, at time.Time) *event {
	e := &event{seq: seq, path: l.pathOf(subject), body: data, contentType: h.Get(headType), at: at}
	if e.body == nil {
		e.body = []byte{}
	}
	if p := h.Get(headPublisher); p != "" {
		e.publisher = []byte(p)
	}
	return e
}

// part is the event on its way to a reader; to is its address if many are read.
func (e *event) part(epoch, to string) route.Body {
	return route.Body{
		Bytes: e.body, ContentType: e.contentType,
		Stamp: &route.Stamp{Epoch: epoch, Offset: e.seq, To: to, Publisher: e.publisher},
	}
}

// address is where the event was published.
func (l *Log) address(e *event) string {
	a := message.Address{Name: l.name, Path: e.path}
	return a.String()
}

func (e *event) size() int {
	return len(e.body) + len(e.contentType) + len(e.publisher) + len(e.path) + eventRoom
}

// ring has the newest events of all addresses, oldest first.
type ring struct {
	most  int
	list  []*event
	head  int
	bytes int
	floor uint64 // all events after this sequence are there
	last  uint64 // sequence of the newest that was seen
}

// begin forgets everything: the events after a sequence follow.
func (r *ring) begin(floor uint64) {
	r.list, r.head, r.bytes, r.floor, r.last = nil, 0, 0, floor, floor
}

func (r *ring) all() []*event { return r.list[r.head:] }

func (r *ring) push(e *event) {
	if r.head > 0 && len(r.list) == cap(r.list) {
		n := copy(r.list, r.list[r.head:])
		clear(r.list[n:])
		r.list, r.head = r.list[:n], 0
	}
	r.list = append(r.list, e)
	r.bytes += e.size()
	r.last = e.seq
	for n := len(r.all()); n > 1 && (n > r.most || r.bytes > ringBytes); n-- {
		old := r.list[r.head]
		r.list[r.head] = nil
		r.head++
		r.bytes -= old.size()
		r.floor = old.seq
	}
}
