package exchange

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// Link is a connection as a Peer needs it: something that takes messages and
// puts them on a wire in its own dialect.
type Link interface {
	ID() string
	Listener() string
	RemoteAddr() string
	// Transport is "websocket", "stream" or "poll".
	Transport() string
	// Deliver encodes m and queues it. It never blocks and keeps nothing of m.
	// Its errors are *message.Error: CodeOverloaded or CodeSlowConsumer when
	// the queue is full, CodeTooLarge or CodeBadMessage when m cannot be
	// written in this dialect, another code when the connection is closed.
	Deliver(m *message.Message) error
	// RefuseWhenFull has the connection refuse messages when its queue is full, instead
	// of being closed: right for servers, whose callers are told at once.
	RefuseWhenFull()
	// Relief returns a channel that is closed when a part, which Deliver
	// refused with CodeOverloaded, is worth another try. Deliver refuses parts
	// before the queue is full, so that there is room for final answers.
	Relief() <-chan struct{}
	// Close ends the connection with a close code of docs/reference/wire.md.
	Close(code int, reason string)
}

// Peer is what the node knows of one connection: the calls it made, the paths
// it serves, and the calls it is answering. Its Receive method is called by
// the connection's owner, one message at a time; all else by anybody.
type Peer struct {
	x       *Exchange
	link    Link
	address []byte // "<id>@client:/"
	since   time.Time

	maxFrame int    // of what is delivered, in bytes
	ip       string // of RemoteAddr

	answering atomic.Int32 // calls it is answering: how busy it is

	gathering atomic.Int64 // servers that its gathers in flight ask

	asks desk // the calls it is answering

	session  atomic.Pointer[session.Session] // nil: anonymous
	checks   atomic.Uint32                   // how often what it has under way was to be checked again
	changing sync.Mutex                      // held while its session is changed
	held     atomic.Pointer[hold]            // nil, or what it sends is kept for later

	mu       sync.Mutex
	strikes  int // messages that could not be understood, in the minute from struck on
	struck   time.Time
	closed   bool
	draining bool
	asked    map[uint64]*Call // its calls in flight, by hash of their mid
	inFlight int              // how many these are
}

// maxStrikes is how many messages that cannot be understood a connection may
// send in a minute before it is closed: enough for a person who tries things by
// hand, little for a flood.
const maxStrikes = 100

// ID implements route.Peer and route.Endpoint.
func (p *Peer) ID() string { return p.link.ID() }

// Listener implements route.Peer.
func (p *Peer) Listener() string { return p.link.Listener() }

// RemoteAddr implements route.Peer.
func (p *Peer) RemoteAddr() string { return p.link.RemoteAddr() }

// InFlight implements route.Endpoint.
func (p *Peer) InFlight() int { return int(p.answering.Load()) }

// Local implements route.Endpoint: its connection ends at this node.
func (p *Peer) Local() bool { return true }

// IP is where the connection comes from, RemoteAddr without the port.
func (p *Peer) IP() string { return p.ip }

// Since is when the connection was made.
func (p *Peer) Since() time.Time { return p.since }

// Receive takes a message that the peer sent. m and its body are valid until
// Receive returns.
func (p *Peer) Receive(m *message.Message) {
	if p.held.Load() != nil && p.keep(m) {
		return
	}
	p.receive(m)
}

func (p *Peer) receive(m *message.Message) {
	switch verb := m.EffectiveVerb(); verb {
	case message.VerbCall, message.VerbGet, message.VerbSubscribe, message.VerbPublish:
		p.receiveCall(m)
	case message.VerbPart, message.VerbReply, message.VerbError:
		p.asks.answered(m)
	case message.VerbCancel:
		p.receiveCancel(m)
	case message.VerbSend:
		p.receiveSend(m)
	case message.VerbServe, message.VerbUnserve:
		p.receiveServe(m)
	case message.VerbUnsubscribe:
		p.receiveUnsubscribe(m)
	case message.VerbDrain:
		p.drain()
	default:
		p.Malformed(m, message.NewError(message.CodeUnknownVerb,
			"a client cannot send "+verb.String(),
			"The verbs are call, cancel, part, reply, error, send, serve, unserve, get, subscribe, unsubscribe, publish and drain."))
	}
}

// Malformed answers bytes that could not be decoded, or a message that makes
// no sense. m holds what could be read of it. It is called as Receive is.
func (p *Peer) Malformed(m *message.Message, err error) {
	p.x.metrics.refused(message.CodeOf(err))
	p.mu.Lock()
	if now := time.Now(); now.Sub(p.struck) > time.Minute {
		p.strikes, p.struck = 0, now
	}
	p.strikes++
	tooMany := p.strikes > maxStrikes
	p.mu.Unlock()
	if tooMany {
		p.link.Close(CloseProtocol, "too many messages that cannot be understood")
		return
	}
	p.refuse(m.Mid, err)
}

// refuse tells the peer that its message mid was not accepted.
func (p *Peer) refuse(mid []byte, err error) {
	m := p.x.borrow()
	m.Verb = message.VerbError
	m.Rmid, m.From = mid, p.x.address
	m.Body = message.AppendError(m.room[:0], message.AsError(err))
	_ = p.link.Deliver(&m.Message)
	p.x.giveBack(m)
}

func (p *Peer) receiveCall(m *message.Message) {
	c := p.newCall(m)
	if c == nil {
		return
	}
	c.hash = maphash.Bytes(p.x.seed, c.state.req.Message.Mid)
	if err := p.addAsked(c); err != nil {
		p.x.metrics.refused(err.Code)
		p.refuse(c.state.req.Message.Mid, err)
		c.x.oneDone()
		return
	}
	c.start(c.x.inbound)
}

var errShuttingDown = message.NewError(message.CodeShuttingDown, "the node is stopping and takes no new work",
	"Connect again; another node or the restarted one will take it.")

// newCall makes a call of a message from this peer and writes into it what the
// node answers for: who sent it, and an id and a time if it has none. It
// refuses and returns nil when the node takes no new work.
func (p *Peer) newCall(m *message.Message) *Call {
	if !p.x.oneMore() {
		p.refuse(m.Mid, errShuttingDown)
		return nil
	}
	now := time.Now()
	m.From, m.Session = nil, nil
	c := p.x.receivedCall(m, p, p, now)
	c.state.checked = p.checks.Load()
	s := p.Session()
	if s.Idle > 0 && p.x.cfg.Sessions != nil {
		p.x.cfg.Sessions.Used(p, s, now)
	}
	c.state.req.SetSession(s)
	in := &c.state.req.Message
	in.From = p.address
	if len(in.Mid) == 0 {
		in.Mid = []byte(message.NewMid())
	}
	if len(in.Timestamp) == 0 {
		in.Timestamp = p.x.stamp(now)
	}
	return c
}

func (p *Peer) receiveCancel(m *message.Message) {
	c := p.findAsked(m.Rmid)
	if c == nil {
		return // it is over: its final answer is on its way
	}
	_ = c.Fail(&message.Error{Code: message.CodeCanceled, Message: "canceled by the caller"})
}

// answer implements asker.
func (p *Peer) answer(c *Call, a answer) error {
	if a.verb != message.VerbPart {
		p.removeAsked(c) // before the peer can know and use the id again
	}
	m := p.x.borrow()
	m.take(a)
	m.Rmid, m.From = c.state.req.Message.Mid, c.address()
	if a.stamp != nil {
		m.To = nil
	}
	err := p.x.outbound(p, c, &m.Message)
	if err != nil && a.verb == message.VerbError {
		// Perhaps it is too large, or a middleware does not let it pass.
		m.Body = message.AppendError(m.room[:0], shortened(a.err))
		if err = p.link.Deliver(&m.Message); err != nil {
			// Nothing is left to tell this caller that its call is over, but
			// that the connection is.
			p.link.Close(CloseSlowConsumer, "a final answer could not be delivered")
		}
	}
	p.x.giveBack(m)
	return err
}

// shortened returns e without what makes it long.
func shortened(e *message.Error) *message.Error {
	const most = 100
	return &message.Error{
		Code: e.Code, Message: fmt.Sprintf("%.*s", most, e.Message), Hint: fmt.Sprintf("%.*s", most, e.Hint),
		Retryable: e.Retryable, RetryAfter: e.RetryAfter,
	}
}

// tellDrain tells the peer to start nothing new here.
func (p *Peer) tellDrain() {
	m := p.x.borrow()
	m.Verb = message.VerbDrain
	m.From = p.x.address
	_ = p.link.Deliver(&m.Message)
	p.x.giveBack(m)
}

// relief implements asker.
func (p *Peer) relief(*Call) <-chan struct{} { return p.link.Relief() }

// ended implements asker.
func (p *Peer) ended(*Call) {}

func (p *Peer) removeAsked(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, prev := p.asked[c.hash], (*Call)(nil); at != nil; prev, at = at, at.nextAsked {
		if at != c {
			continue
		}
		switch {
		case prev != nil:
			prev.nextAsked = c.nextAsked
		case c.nextAsked != nil:
			p.asked[c.hash] = c.nextAsked
		default:
			delete(p.asked, c.hash)
		}
		c.nextAsked = nil
		p.inFlight--
		return
	}
}

func (p *Peer) addAsked(c *Call) *message.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return &message.Error{Code: message.CodeCanceled, Message: "the connection is closed"}
	}
	if p.inFlight >= p.x.cfg.MaxCalls {
		return message.NewError(message.CodeTooManyCalls, "this connection has too many calls in flight",
			"Wait for answers before you call again; the limit is in the welcome message as limits.calls.")
	}
	if p.asked == nil {
		p.asked = make(map[uint64]*Call)
	}
	first := p.asked[c.hash]
	for at := first; at != nil; at = at.nextAsked {
		if string(at.state.req.Message.Mid) == string(c.state.req.Message.Mid) {
			return message.NewError(message.CodeDuplicateID, "a call with this mid is still in flight on this connection",
				"Give each message an id of its own.")
		}
	}
	c.nextAsked = first
	p.asked[c.hash] = c
	p.inFlight++
	return nil
}

func (p *Peer) findAsked(mid []byte) *Call {
	hash := maphash.Bytes(p.x.seed, mid)
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := p.asked[hash]; at != nil; at = at.nextAsked {
		if string(at.state.req.Message.Mid) == string(mid) {
			return at
		}
	}
	return nil
}

// drain takes the peer's routes back: it wants no new calls, but still answers
// those it has.
func (p *Peer) drain() {
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()
	p.x.table.UnserveAll(p)
}

// Gone is called once by the connection's owner after the connection has
// ended. Calls that the peer made are canceled; calls that it was answering
// fail at once.
func (p *Peer) Gone() {
	p.x.remove(p)
	p.mu.Lock()
	p.closed = true
	asked := make([]*Call, 0, p.inFlight)
	for _, c := range p.asked {
		for ; c != nil; c = c.nextAsked {
			asked = append(asked, c)
		}
	}
	p.mu.Unlock()

	p.x.table.UnserveAll(p)
	if t := p.x.cfg.Topics; t != nil {
		t.Gone(p)
	}
	for _, res := range p.asks.close() {
		_ = res.Fail(&message.Error{
			Code: message.CodeServiceLost, Message: "the server went away during the call", Hint: maybeExecuted,
		})
	}
	for _, c := range asked {
		_ = c.Fail(&message.Error{Code: message.CodeCanceled, Message: "the caller went away"})
	}
}

var _ route.Peer = (*Peer)(nil)
