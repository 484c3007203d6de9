package exchange

import (
	"context"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// origin is who made a call or send that came from another node: a client of
// that, or somebody in its process. It belongs to the state of the call.
type origin struct {
	node    *FarNode // nil for the calls of this node
	id      string
	mid     []byte // of the request on the link
	key     uint64 // the same as a number
	server  string // that was chosen; valid until the request has arrived
	granted bool
	sent    uint64 // of the costs of its parts; guarded by Call.mu

	// Guarded by FarNode.mu.
	credited uint64 // of what was sent
	deaf     bool   // its node wants no answer any more
}

// ID implements route.Peer.
func (o *origin) ID() string { return o.id }

// Listener implements route.Peer.
func (o *origin) Listener() string { return "" }

// RemoteAddr implements route.Peer.
func (o *origin) RemoteAddr() string { return "" }

// Receive takes a message from the other node. n and m are valid until it
// returns.
func (f *FarNode) Receive(n Note, m *message.Message) {
	switch m.Verb {
	case message.VerbCall, message.VerbSend, message.VerbGet, message.VerbSubscribe, message.VerbPublish:
		if n.Returned {
			f.returned(m)
			return
		}
		f.x.metrics.farReceived.Inc()
		f.receiveRequest(n, m)
	case message.VerbPart:
		f.receivePart(m)
	case message.VerbReply, message.VerbError:
		if len(m.Rmid) == 0 && m.Seq > 0 {
			f.receiveCredit(m)
			return
		}
		f.asks.answered(m)
	case message.VerbCancel:
		f.receiveCancel(m)
	default:
		f.x.metrics.farStray.Inc()
	}
}

// receiveRequest takes a call or send. The stages of its caller are behind it.
func (f *FarNode) receiveRequest(n Note, m *message.Message) {
	x := f.x
	switch {
	case len(m.Mid) == 0 && m.Verb == message.VerbSend: // nobody waits for an answer
		x.active.Add(1)
		c := f.newCall(m, nobody{})
		c.state.origin.server = n.Server
		c.state.req.Deadline = c.received.Add(x.cfg.DefaultTimeout)
		c.dispatch(x.arrivals)
		return
	case endless(m.Verb):
		if x.draining.Load() {
			f.bounce(m.Mid, m)
			return
		}
	case !x.oneMore():
		f.bounce(m.Mid, m)
		return
	}
	c := f.newCall(m, f)
	c.lasts = endless(m.Verb)
	o := &c.state.origin
	o.server, o.granted = n.Server, n.Granted
	var ok bool
	if o.key, ok = message.ParseMid(o.mid); !ok || !f.add(c) {
		x.metrics.farStray.Inc()
		if !c.lasts {
			x.oneDone()
		}
		return
	}
	c.start(x.arrivals)
}

// nobody is the asker of what is not answered.
type nobody struct{ prompt }

func (nobody) answer(*Call, answer) error { return nil }

// newCall makes a call of a message from the other node.
func (f *FarNode) newCall(m *message.Message, from asker) *Call {
	c := f.x.receivedCall(m, from, nil, time.Now())
	c.visiting = true
	s := c.state
	in := &s.req.Message
	s.origin.node, s.origin.mid = f, in.Mid
	s.origin.id, _, _ = strings.Cut(text(in.From), "@")
	s.req.Peer = &s.origin
	if in.Verb == message.VerbSend {
		in.Mid, in.Rmid = in.Rmid, nil
	}
	return c
}

// arrive brings a call or send from another node to the server that was chosen
// there.
func (x *Exchange) arrive(ctx context.Context, req *route.Request, res route.Responder) {
	o := req.Peer.(*origin) //nolint:forcetypeassert // newCall has set it
	server := o.server
	o.server = "" // it is not ours
	addr, err := message.ParseStrict(text(req.Message.To))
	if err != nil {
		_ = res.Fail(err)
		return
	}
	req.Address = addr
	if addr.Name == clientScheme {
		x.arriveAtClients(ctx, req, res)
		return
	}
	if x.resigned.Load() && server == x.cfg.NodeID && addr.Name != nodeScheme {
		_ = res.Fail(errNotHere)
		return
	}
	addr.Instance = server
	match, err := x.table.Lookup(addr)
	if err != nil || server == "" || !match.Endpoints[0].Local() {
		_ = res.Fail(errNotHere)
		return
	}
	req.Matched(match)
	req.Chosen(match.Endpoints[0])
	if c := callOf(res); c != nil {
		_ = c.note(req, req.Server) // its caller's node checks it
	}
	if endless(req.Message.Verb) {
		x.visit(req, res)
		return
	}
	x.serve.Handle(ctx, req, res)
}

func (x *Exchange) arriveAtClients(ctx context.Context, req *route.Request, res route.Responder) {
	id := req.Address.Instance
	switch p := x.Peer(id); {
	case req.Message.Verb != message.VerbSend:
		_ = res.Fail(errNotHere)
	case id == everyClient:
		x.spread(ctx, req)
		_ = res.Reply(route.Body{})
	case p == nil:
		_ = res.Fail(errNoClient(id))
	default:
		x.deliverTo(ctx, p, req, res)
	}
}

// errNotHere ends a call that goes back to the node it came from. It is told
// apart by its identity.
var errNotHere = message.NewError(message.CodeServiceDown, "the server is not here", "")

// errWindow refuses a part for which the caller's node has no room now.
var errWindow = message.NewError(message.CodeOverloaded, "the caller's node has enough parts waiting", "")

// answer implements asker.
func (f *FarNode) answer(c *Call, a answer) error {
	o := &c.state.origin
	switch {
	case a.verb != message.VerbPart:
		if f.forget(c) {
			return nil
		}
	case a.patient && !f.mayPart(c):
		return errWindow
	}
	if a.err == errNotHere { //nolint:errorlint // see there
		f.bounce(o.mid, &c.state.req.Message)
		return nil
	}
	m := f.x.borrow()
	m.take(a)
	m.Rmid = o.mid
	err := f.link.Deliver(Note{}, &m.Message)
	if err == nil && a.verb == message.VerbPart {
		o.sent += uint64(a.cost()) //nolint:gosec // not negative
	}
	if err != nil && a.verb == message.VerbError {
		m.Body = message.AppendError(m.room[:0], shortened(a.err))
		if err = f.link.Deliver(Note{}, &m.Message); err != nil {
			f.link.Lose("a final answer could not be delivered")
		}
	}
	f.x.giveBack(m)
	return err
}

// bounce gives a call or send back, for another server to answer it.
func (f *FarNode) bounce(mid []byte, in *message.Message) {
	x := f.x
	x.metrics.farBounced.Inc()
	m := x.borrow()
	m.Verb, m.Mid, m.Body = in.Verb, mid, in.Body
	if err := f.link.Deliver(Note{Returned: true}, &m.Message); err != nil {
		m.Verb, m.Mid, m.Rmid = message.VerbError, nil, mid
		m.Body = message.AppendError(m.room[:0], errReturned(in.To))
		if err := f.link.Deliver(Note{}, &m.Message); err != nil {
			f.link.Lose("a call could not be given back")
		}
	}
	x.giveBack(m)
}

// ended implements asker.
func (f *FarNode) ended(*Call) {}

// add keeps a call of the other node, unless that is gone or has one with this
// mid already.
func (f *FarNode) add(c *Call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := c.state.origin.key
	if f.closed || f.asked[key] != nil {
		return false
	}
	f.asked[key] = c
	return true
}

// forget is told of the end of a call and reports whether the other node does
// not want to know of it.
func (f *FarNode) forget(c *Call) (deaf bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &c.state.origin
	if f.asked[o.key] == c {
		delete(f.asked, o.key)
	}
	f.wake(c)
	return o.deaf
}

func (f *FarNode) receiveCancel(m *message.Message) {
	key, ok := message.ParseMid(m.Rmid)
	if !ok {
		f.x.metrics.farStray.Inc()
		return
	}
	f.mu.Lock()
	c := f.asked[key]
	if c != nil { // so it is not over, and its state is its own
		c.state.origin.deaf = true
		delete(f.asked, key)
	}
	f.mu.Unlock()
	if c != nil {
		_ = c.Fail(&message.Error{Code: message.CodeCanceled, Message: "canceled by the caller"})
	}
}

var (
	_ asker      = (*FarNode)(nil)
	_ route.Peer = (*origin)(nil)
)
