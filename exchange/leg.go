package exchange

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// carrier takes a message to the other end of a connection or link. Its errors
// are those of [Link.Deliver].
type carrier interface {
	carry(n Note, m *message.Message) error
}

// leg is one request that was handed to the other end of a connection or link:
// what is needed to bring its answers back.
type leg struct {
	id   uint64        // the mid that the other end knows it by
	desk *desk         // where it is kept
	busy *atomic.Int32 // counts the requests that the server has
	res  route.Responder

	// Of requests that other nodes may return.
	req    *route.Request   // belongs to the call, and is valid while that is open
	server route.Endpoint   // that was chosen
	tried  []route.Endpoint // that were chosen before and returned it

	trusted bool   // with the session of the caller: it is another node
	to      []byte // the address that was asked, if it is a connection

	// Of its parts; guarded by desk.mu.
	got, credited uint64 // of their costs
	window        *legWindow
	held          int // by so many; then there are no credits
}

// Finished implements route.Finisher: the call is over. Unless the server
// itself ended it, it is told that nobody waits any more.
func (l *leg) Finished(route.Outcome) {
	d := l.desk
	if _, open := d.take(l.id); !open {
		return
	}
	m := d.x.borrow()
	m.Verb = message.VerbCancel
	m.Rmid = message.AppendMid(m.room[:0], l.id)
	_ = d.to.carry(Note{}, &m.Message) // a server that cannot take it has the deadline
	d.x.giveBack(m)
}

// desk keeps the legs of one connection or link.
type desk struct {
	x  *Exchange
	to carrier

	mu     sync.Mutex
	closed bool
	open   map[uint64]*leg
	last   uint64
}

// add enters a leg, unless the desk is closed.
func (d *desk) add(l *leg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	if d.open == nil {
		d.open = make(map[uint64]*leg)
	}
	d.last++
	l.id = d.last
	d.open[l.id] = l
	l.busy.Add(1)
	return true
}

// find returns who waits for the answers of a leg, or nil.
func (d *desk) find(id uint64) route.Responder {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.open[id]; l != nil {
		return l.res
	}
	return nil
}

// take forgets a leg and returns a copy of it: the leg itself may belong to
// another call as soon as the lock is given back.
func (d *desk) take(id uint64) (leg, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.open[id]
	if l == nil {
		return leg{}, false
	}
	delete(d.open, id)
	l.busy.Add(-1)
	return *l, true
}

// count is how many legs are open.
func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// close lets no more legs in and returns who waits for answers of those that
// were open.
func (d *desk) close() []route.Responder {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	waiting := make([]route.Responder, 0, len(d.open))
	for _, l := range d.open {
		l.busy.Add(-1)
		waiting = append(waiting, l.res)
	}
	d.open = nil
	return waiting
}

// legOf returns the leg that lies ready in a Call, or a new one when a
// middleware wrapped the Call, sends the request a second time, or sends a copy
// of it, which may outlive what lies in the Call.
func (d *desk) legOf(req *route.Request, res route.Responder, busy *atomic.Int32) *leg {
	if c, ok := res.(*Call); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l := &c.state.leg; c.over == nil && l.desk == nil && req == &c.state.req {
			l.desk, l.res, l.busy = d, res, busy
			return l
		}
	}
	return &leg{desk: d, res: res, busy: busy}
}

// ask hands a request over by a leg of its own. m, which is given back, says
// what the other end gets to see of it besides the id.
func (d *desk) ask(l *leg, n Note, m *draft, req *route.Request, res route.Responder) {
	defer d.x.giveBack(m)
	if !d.add(l) {
		_ = res.Fail(errServiceLost(req))
		return
	}
	m.Mid = message.AppendMid(m.room[:0], l.id)
	m.Timeout = timeLeft(req)
	if err := d.to.carry(n, &m.Message); err != nil {
		d.take(l.id)
		_ = res.Fail(undelivered(err, req))
		return
	}
	res.OnFinish(l)
}

// answered takes a part, reply or error that the other end gives as a server.
func (d *desk) answered(m *message.Message) {
	verb := m.EffectiveVerb()
	var (
		res   route.Responder
		patch *session.Patch
	)
	if id, ok := message.ParseMid(m.Rmid); ok && verb == message.VerbPart {
		res = d.find(id)
	} else if ok {
		l, _ := d.take(id)
		res, patch = l.res, d.patchOf(&l, m)
	}
	if res == nil {
		// Late: the call was canceled or timed out while the answer was on its
		// way. Or made up; then it does no harm either.
		d.x.metrics.lateAnswers.Inc()
		return
	}
	switch verb {
	case message.VerbPart:
		b := route.Body{Bytes: m.Body, ContentType: string(m.ContentType), Stamp: d.stampOf(m), Fault: m.Fault}
		if c := callOf(res); b.Stamp == nil && len(m.To) > 0 && c != nil && c.lasts { // an event of one address of a pattern
			b.Stamp = &route.Stamp{To: string(m.To)}
		}
		_ = res.Part(b)
	case message.VerbError:
		_ = res.Fail(message.DecodeError(m.Body))
	default:
		_ = res.Reply(route.Body{
			Bytes: m.Body, ContentType: string(m.ContentType), Session: patch, Stamp: d.stampOf(m), Fault: m.Fault,
		})
	}
}

// timeLeft returns how long the caller of a request still waits.
func timeLeft(req *route.Request) time.Duration {
	if endless(req.Message.Verb) {
		return 0
	}
	left := req.Deadline.Sub(req.Received)
	if req.Kept() { // it has waited somewhere; otherwise it was read just now
		left = time.Until(req.Deadline)
	}
	return max(left, time.Millisecond)
}

// forward fills m with what a server or client gets to see of a request. The
// token of the sender is not among it.
func forward(m *message.Message, req *route.Request) {
	in := &req.Message
	m.To, m.From = in.To, in.From
	m.Headers, m.Type, m.UMFVersion, m.Timestamp = in.Headers, in.Type, in.UMFVersion, in.Timestamp
	m.Via, m.Forward, m.Signature = in.Via, in.Forward, in.Signature
	m.ContentType, m.Body = in.ContentType, in.Body
	if in.Verb == message.VerbPublish {
		m.Epoch = in.Epoch
	}
}

// forwardSend is forward for a send, which keeps its id.
func forwardSend(m *message.Message, req *route.Request) {
	forward(m, req)
	m.Verb = message.VerbSend
	m.Mid = req.Message.Mid
}

// shown is an address as errors have it, which get into logs and traces: without
// what is behind its question mark, where people put tokens.
func shown(to []byte) string {
	before, _, _ := bytes.Cut(to, []byte("?"))
	return string(before)
}

// maybeExecuted is the hint of calls whose server was lost after it got them.
const maybeExecuted = "The call may have been executed; repeat it only if that does no harm."

// errServiceLost is for requests that were not handed over.
func errServiceLost(req *route.Request) *message.Error {
	return &message.Error{
		Code:      message.CodeServiceLost,
		Message:   "the server of " + shown(req.Message.To) + " went away",
		Hint:      "The call was not executed and can be repeated.",
		Retryable: true,
	}
}

// undelivered says why a request did not reach its server or client. It was
// surely not executed.
func undelivered(err error, req *route.Request) *message.Error {
	e := message.AsError(err)
	toClient := req.Address.Name == clientScheme
	switch e.Code {
	case message.CodeOverloaded, message.CodeSlowConsumer:
		full := &message.Error{
			Code:      message.CodeOverloaded,
			Message:   "the connection to the receiver of " + shown(req.Message.To) + " is full",
			Hint:      "Try again later, or start another server for this path.",
			Retryable: true, RetryAfter: time.Second,
		}
		if toClient {
			full.Hint = "The client does not take its messages; send it less."
		}
		return full
	case message.CodeBadMessage, message.CodeTooLarge, message.CodeInvalidInput:
		return e
	default:
		if toClient {
			return errNoClient(req.Address.Instance)
		}
		return errServiceLost(req)
	}
}

var _ route.Finisher = (*leg)(nil)
