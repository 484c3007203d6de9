package client

import (
	"cmp"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// session is what a client knows of its messages: those that wait to be
// written and those that wait for an answer. It does no I/O, starts no
// goroutine and reads no clock; all of it is guarded by Client.mu.
//
//	            admit               take                 final
//	(new) ────────────► waiting ───────────► sent ────────────────► over
//	                      │ ▲                 │ │                    ▲
//	                      │ └── putBack ──────┘ │                    │
//	                      │ └── drop, if idempotent; refused by drain│
//	                      └── cancel, shut ─────┴─ cancel, drop, shut┘
//
// A message that was taken may have reached the node; one that waits surely
// has not, or was refused there before anything was done. That is the whole
// difference between what may be sent (again) after a connection was lost and
// what may not.
type session struct {
	limits limits

	main  *wire          // what new messages go out by; nil while there is none
	wires []*wire        // those that have not ended: main, and what drains
	shut  *message.Error // why nothing is taken any more; nil while open

	flights map[string]*flight // by mid: what waits for an answer
	queue   line               // calls and sends, which outlive a connection
	order   uint64             // number of the last admitted message

	room chan struct{} // closed and replaced when a line got shorter; nil if nobody waits
}

// wire is what a session knows of one connection.
type wire struct {
	urgent   line // what belongs to the connection: answers, cancels, serves
	taken    int  // how many messages are being written
	draining bool // the node starts nothing new on it
	gone     bool // it has ended
}

// limits bounds a session's lines.
type limits struct {
	messages int
	bytes    int
	frame    int // the node's, for one frame
}

// line is messages in order, with what they weigh.
type line struct {
	list  []*outgoing
	bytes int
}

func (l *line) push(o *outgoing) {
	l.list = append(l.list, o)
	l.bytes += o.cost
}

// pop removes messages from the front until they weigh limit; at least one.
func (l *line) pop(batch []*outgoing, limit int) []*outgoing {
	n, weight := 0, 0
	for n < len(l.list) && (n == 0 || weight+l.list[n].cost <= limit) {
		weight += l.list[n].cost
		n++
	}
	batch = append(batch, l.list[:n]...)
	rest := copy(l.list, l.list[n:])
	clear(l.list[rest:])
	l.list = l.list[:rest]
	l.bytes -= weight
	return batch
}

func (l *line) remove(o *outgoing) {
	if i := slices.Index(l.list, o); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
		l.bytes -= o.cost
	}
}

func (l *line) full(lim limits, cost int) bool {
	return len(l.list) >= lim.messages || len(l.list) > 0 && l.bytes+cost > lim.bytes
}

// outgoing is one message on its way out. It owns the bytes of its message.
type outgoing struct {
	msg      message.Message
	cost     int       // about how many bytes it has on the wire
	deadline time.Time // zero: none
	flight   *flight   // what waits for its answer; nil if nothing does
	noWait   bool      // refuse it rather than have it wait for a connection
	order    uint64    // 0 for messages that belong to the connection
}

// sink takes what comes of a flight. Its methods are called without any lock
// and must not block; finish is called exactly once, and last.
type sink interface {
	part(p call.Part) error
	finish(a *call.Answer, err error)
}

type phase uint8

const (
	fresh phase = iota
	waiting
	sent
	over
)

// flight is a message that gets an answer.
type flight struct {
	out        *outgoing
	mid        string
	sink       sink
	phase      phase
	wire       *wire // by which it was sent, or, if it is bound, will be
	idempotent bool
	bound      bool // to the connection: lost with it, whatever else
	parts      uint64
	grace      time.Duration // between the deadline and the end of the timer
	timer      *time.Timer   // fires at the deadline; nil if there is none
}

// ending is a flight and the error it ends with; the session gives these out
// to be finished when the lock is released.
type ending struct {
	flight *flight
	err    *message.Error
}

func newSession(lim limits) session {
	return session{limits: lim, flights: make(map[string]*flight)}
}

// errFull says that a message has to wait for room.
var errFull = message.NewError(message.CodeOverloaded, "too many messages wait to be sent",
	"Send slower, or give the client a longer queue with WithQueue.")

// admit puts a message into its line. It returns errFull if there is no room.
func (s *session) admit(o *outgoing) *message.Error {
	f := o.flight
	switch {
	case s.shut != nil:
		return s.shut
	case f != nil && f.phase != fresh:
		return errAbandoned
	case o.noWait && (s.main == nil || s.main.draining):
		return errNotReady
	case s.queue.full(s.limits, o.cost):
		return errFull
	}
	s.order++
	o.order = s.order
	if f != nil {
		f.phase = waiting
		s.flights[f.mid] = f
	}
	s.queue.push(o)
	return nil
}

var errNotReady = message.NewError(message.CodeNotReady, "the client is not connected",
	"Try again later, or leave WithNoWait out to have the message wait.")

// errAbandoned is never seen: whoever abandoned the flight has finished it.
var errAbandoned = message.NewError(message.CodeCanceled, "the call ended before it was sent", "")

// hurry puts a message that belongs to a connection into its urgent line; nil is
// the connection that is gone. A message that may be refused, as parts may, is
// when the line is full.
func (s *session) hurry(w *wire, o *outgoing, mayRefuse bool) *message.Error {
	switch {
	case s.shut != nil:
		return s.shut
	case w == nil || w.gone:
		return errOffline
	case mayRefuse && w.urgent.full(s.limits, o.cost):
		return message.NewError(message.CodeSlowConsumer, "the node does not take messages as fast as they are sent",
			"Send fewer or smaller parts.")
	}
	if f := o.flight; f != nil {
		f.phase, f.wire = waiting, w
		s.flights[f.mid] = f
	}
	w.urgent.push(o)
	return nil
}

var errOffline = message.NewError(message.CodeConnectionLost, "the connection to the node is gone",
	"The client reconnects by itself; what belonged to the old connection is over.")

// flushed reports whether everything that can be written has been.
func (s *session) flushed() bool {
	if s.shut != nil {
		return true
	}
	for _, w := range s.wires {
		if w.taken > 0 || len(w.urgent.list) > 0 {
			return false
		}
	}
	return s.main == nil || s.main.draining || len(s.queue.list) == 0
}

// take moves messages from the lines to the writer of a connection, about limit
// bytes of each.
func (s *session) take(w *wire, batch []*outgoing, limit int) []*outgoing {
	if w.gone || s.shut != nil {
		return batch
	}
	if len(w.urgent.list) > 0 {
		batch = w.urgent.pop(batch, limit)
	}
	if w == s.main && !w.draining && len(s.queue.list) > 0 && !s.elsewhere(w) {
		batch = s.queue.pop(batch, limit)
	}
	for _, o := range batch {
		if f := o.flight; f != nil && f.phase == waiting {
			f.phase, f.wire = sent, w
		}
	}
	w.taken = len(batch)
	return batch
}

// elsewhere reports whether messages are still being written to another
// connection than w: they may come back, and go before those that wait.
func (s *session) elsewhere(w *wire) bool {
	return slices.ContainsFunc(s.wires, func(o *wire) bool { return o != w && o.taken > 0 })
}

// written says that a connection's batch is out, but for rest, of which surely
// not one byte is.
func (s *session) written(w *wire, rest []*outgoing) {
	w.taken = 0
	back := rest[:0:0]
	for _, o := range rest {
		f := o.flight
		switch {
		case o.order == 0 || f != nil && f.phase == over: // of the connection, or nobody waits
		default:
			if f != nil {
				f.phase = waiting
			}
			back = append(back, o)
		}
	}
	s.putBack(back)
	s.signal()
}

// putBack has messages wait again, each in its place.
func (s *session) putBack(back []*outgoing) {
	if len(back) == 0 {
		return
	}
	for _, o := range back {
		s.queue.bytes += o.cost
	}
	s.queue.list = append(back, s.queue.list...)
	slices.SortFunc(s.queue.list, func(a, b *outgoing) int { return cmp.Compare(a.order, b.order) })
}

// again has a message wait again that the node refused because it drains, which
// it does before anything is done with it. It reports false for one that is to
// end with the refusal.
func (s *session) again(w *wire, mid []byte) bool {
	f := s.find(w, mid)
	if f == nil || f.bound || f.parts > 0 || f.out.noWait {
		return false
	}
	f.phase = waiting
	s.putBack([]*outgoing{f.out})
	return true
}

// signal wakes those who wait for room.
func (s *session) signal() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// waitRoom returns a channel that is closed when it is worth to look again.
func (s *session) waitRoom() <-chan struct{} {
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// connect starts a new connection: what waits may be taken for it from now on,
// and for none before it.
func (s *session) connect(frame int) *wire {
	w := new(wire)
	s.main = w
	s.wires = append(s.wires, w)
	if frame > 0 {
		s.limits.frame = frame
	}
	s.signal()
	return w
}

// drop ends a connection. Its writer must have returned its batch. It returns
// the flights that are lost; the others wait again, in their order.
func (s *session) drop(w *wire, err *message.Error) []ending {
	w.gone = true
	w.urgent = line{}
	s.wires = slices.DeleteFunc(s.wires, func(o *wire) bool { return o == w })
	if s.main == w {
		s.main = nil
	}
	var lost []ending
	var again []*outgoing
	for mid, f := range s.flights {
		switch {
		case f.wire != w || f.phase != sent && !f.bound:
		case f.phase == sent && f.idempotent && f.parts == 0:
			f.phase = waiting
			again = append(again, f.out)
		default:
			f.phase = over
			delete(s.flights, mid)
			lost = append(lost, ending{f, err})
		}
	}
	s.putBack(again)
	s.signal()
	return lost
}

// find returns the flight that a part is for that came by a connection, or nil.
func (s *session) find(w *wire, mid []byte) *flight {
	f := s.flights[string(mid)]
	if f == nil || f.phase != sent || f.wire != w {
		return nil
	}
	return f
}

// final ends the flight that an answer is for and returns it, or nil.
func (s *session) final(w *wire, mid []byte) *flight {
	f := s.find(w, mid)
	if f == nil {
		return nil
	}
	s.remove(f)
	return f
}

func (s *session) remove(f *flight) {
	f.phase = over
	delete(s.flights, f.mid)
}

// cancel ends a flight from our side and reports whether it was still on; the
// caller then finishes it. A node that may know of it is told.
func (s *session) cancel(f *flight) bool {
	switch f.phase {
	case over:
		return false
	case waiting:
		s.queue.remove(f.out)
		if f.bound {
			f.wire.urgent.remove(f.out)
		}
		s.signal()
	case sent:
		if asks(f.out.msg.Verb) {
			f.wire.urgent.push(cancelOf(f)) // a flight is not sent any more when its wire is gone
		}
	case fresh:
	}
	if f.phase == fresh {
		f.phase = over
		return true
	}
	s.remove(f)
	return true
}

func cancelOf(f *flight) *outgoing {
	return &outgoing{msg: message.Message{Verb: message.VerbCancel, Rmid: f.out.msg.Mid}, cost: envelopeCost}
}

// end refuses everything from now on and returns what waited for an answer.
func (s *session) end(err *message.Error) []ending {
	if s.shut != nil {
		return nil
	}
	s.shut = err
	s.main = nil
	lost := make([]ending, 0, len(s.flights))
	for _, f := range s.flights {
		f.phase = over
		lost = append(lost, ending{f, err})
	}
	clear(s.flights)
	s.queue = line{}
	for _, w := range s.wires {
		w.urgent = line{}
	}
	s.signal()
	return lost
}

// unanswered reports whether the node owes an answer on a connection, or is
// owed a message.
func (s *session) unanswered(w *wire) bool {
	if w.taken > 0 || len(w.urgent.list) > 0 {
		return true
	}
	for _, f := range s.flights {
		if f.phase == sent && f.wire == w {
			return true
		}
	}
	return false
}

// serving reports whether the node has not answered yet what is announced on a
// connection.
func (s *session) serving(w *wire) bool {
	for _, f := range s.flights {
		if f.bound && f.wire == w && f.out.msg.Verb == message.VerbServe {
			return true
		}
	}
	return false
}

// queued is how many messages wait to be written.
func (s *session) queued() int {
	n := len(s.queue.list)
	for _, w := range s.wires {
		n += len(w.urgent.list)
	}
	return n
}
