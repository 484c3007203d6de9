package client

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// readLoop takes what the node sends until the connection ends. Nothing in it
// waits for anybody: answers go to where somebody waits for them, parts into
// bounded buffers, calls to a service's runner.
func (c *Client) readLoop(cn *conn) error {
	decode := decoder(c.cfg.json)
	var m message.Message
	take := func(frame []byte) {
		m.Reset()
		if err := decode(frame, &m); err != nil {
			c.malformed(cn, &m, err)
			return
		}
		c.receive(cn, &m)
	}
	for _, frame := range cn.early {
		take(frame)
	}
	cn.early = nil
	for {
		frame, err := cn.tr.read()
		if err != nil {
			return err
		}
		take(frame)
	}
}

// receive handles one message. m is valid only until it returns.
func (c *Client) receive(cn *conn, m *message.Message) {
	switch m.EffectiveVerb() {
	case message.VerbPart:
		c.receivePart(cn, m)
	case message.VerbReply:
		c.receiveFinal(cn, m, &call.Answer{
			Body:        bytes.Clone(m.Body),
			ContentType: string(m.ContentType),
			From:        string(m.From),
		}, nil)
	case message.VerbError:
		c.receiveFinal(cn, m, nil, message.DecodeError(m.Body))
	case message.VerbCall, message.VerbGet, message.VerbSubscribe, message.VerbPublish:
		c.receiveCall(cn, m)
	case message.VerbUpdate:
		c.receiveUpdate(cn, m)
	case message.VerbGap:
		c.receiveGap(cn, m)
	case message.VerbUnsubscribe:
		c.receiveUnsubscribe(cn, m)
	case message.VerbSend:
		c.receiveSend(cn, m)
	case message.VerbCancel:
		c.receiveCancel(cn, m)
	case message.VerbDrain:
		c.receiveDrain(cn)
	case message.VerbNodes:
		c.receiveNodes(cn, m)
	case message.VerbSession:
		c.receiveSession(cn, m)
	case message.VerbUnserve:
		c.receiveUnserve(cn, m)
	case message.VerbWelcome: // a second one changes nothing
	default:
		c.malformed(cn, m, message.NewError(message.CodeUnknownVerb,
			"a node does not send "+m.EffectiveVerb().String(), ""))
	}
}

func (c *Client) receivePart(cn *conn, m *message.Message) {
	c.mu.Lock()
	f := c.session.find(cn.wire, m.Rmid)
	if f != nil {
		f.parts++
	}
	c.mu.Unlock()
	if f == nil {
		c.stats.late.Add(1)
		return
	}
	// An error means that the stream is over; whoever ended it told the node.
	_ = f.sink.part(call.Part{Body: bytes.Clone(m.Body), ContentType: string(m.ContentType), Seq: m.Seq})
}

func (c *Client) receiveFinal(cn *conn, m *message.Message, a *call.Answer, err error) {
	if message.CodeOf(err) == message.CodeShuttingDown && c.refusedByDrain(cn, m) {
		return
	}
	c.mu.Lock()
	f := c.session.final(cn.wire, m.Rmid)
	leave := c.mayLeave(cn)
	if f != nil && f.bound {
		for _, other := range *c.conns.Load() {
			c.farewell(other)
		}
	}
	c.mu.Unlock()
	leave()
	switch {
	case f != nil:
		if s, ok := f.sink.(stamped); ok && err == nil {
			s.stampedBy(m)
		}
		f.end(a, err)
	case err != nil:
		// A send that nobody waits for was refused, or the node complains of
		// a message; or the call was over before its error came.
		c.stats.refused.Add(1)
		c.log.Debug("a message was refused by the node", "msg", string(m.Rmid), "err", err)
	default:
		c.stats.late.Add(1)
	}
}

// refusedByDrain deals with a message that was under way when the node began to
// drain: it was not looked at there, so it waits for the next connection. It
// reports false for all others.
func (c *Client) refusedByDrain(cn *conn, m *message.Message) bool {
	from, err := message.ParseAddress(string(m.From))
	if err != nil || from.Name != nodeScheme || from.Instance != cn.node {
		return false
	}
	c.mu.Lock()
	again := c.session.again(cn.wire, m.Rmid)
	c.mu.Unlock()
	if again {
		c.receiveDrain(cn) // its message is right behind, if not before
		c.nudge()
	}
	return again
}

// malformed counts a message that cannot be understood. If it can still be
// seen whose answer it was, that one ends; a caller is told. A verb that we do
// not know is of a later version, and no fault.
func (c *Client) malformed(cn *conn, m *message.Message, err error) {
	if message.CodeOf(err) == message.CodeUnknownVerb && len(m.Rmid) == 0 && len(m.Mid) == 0 {
		return
	}
	if c.stats.malformed.Add(1) == 1 {
		c.log.Warn("the node sent something that is not a message of ropewalk.v1; check what is at this address",
			"url", shown(cn.place.url), "err", err)
	}
	if len(m.Rmid) > 0 {
		e := message.NewError(message.CodeBadMessage, "the answer cannot be understood: "+err.Error(), "")
		c.mu.Lock()
		f := c.session.final(cn.wire, m.Rmid)
		c.mu.Unlock()
		if f != nil {
			f.end(nil, e)
		}
		return
	}
	if len(m.Mid) > 0 && asks(m.EffectiveVerb()) {
		c.refuse(cn, m, err)
	}
}

// asks reports whether a message of this verb is answered by a service.
func asks(v message.Verb) bool {
	return v == message.VerbCall || v == message.VerbGet || v == message.VerbSubscribe || v == message.VerbPublish
}

// receiveDrain stops what is new on this connection. If another node is known
// new messages go there as soon as there is a connection, and this one is left
// when the last answer is in; if not, it is left first. The node closes it
// sooner or later anyway.
func (c *Client) receiveDrain(cn *conn) {
	elsewhere := c.roster.others(cn.place)
	c.mu.Lock()
	cn.wire.draining = true
	if c.conn == cn && c.state == Online {
		c.setState(Draining)
	}
	if elsewhere && !cn.moving {
		cn.moving = true
		close(cn.moved)
	}
	c.farewell(cn)
	leave := c.mayLeave(cn)
	c.mu.Unlock()
	leave()
}

// receiveNodes takes the list of nodes that are there now.
func (c *Client) receiveNodes(cn *conn, m *message.Message) {
	var body struct {
		Nodes []nodeRef `json:"nodes"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		c.malformed(cn, m, message.NewError(message.CodeBadMessage, "the list of nodes cannot be read: "+err.Error(), ""))
		return
	}
	c.roster.learn(cn.place, body.Nodes)
}

// linger is how long a connection is kept after the node has taken note that
// nothing is served there any more: calls that it had just chosen this client
// for may come a moment after that.
const linger = 250 * time.Millisecond

// farewell takes back, on a connection that drains, what the client serves, so
// that nothing is under way to it when it leaves. If there is another node to go
// to it waits until all is announced there. c.mu is held.
func (c *Client) farewell(cn *conn) {
	w := cn.wire
	if cn.taking || !w.draining || w.gone || cn.moving && (c.conn == nil || c.conn == cn || c.session.serving(c.conn.wire)) {
		return
	}
	cn.taking = true
	for _, r := range c.serving.regs {
		if len(r.routes) == 0 {
			continue
		}
		_ = c.session.hurry(w, &outgoing{cost: envelopeCost, msg: message.Message{Verb: message.VerbDrain}}, false)
		// The answer to this, which also a node that refuses it gives, comes
		// after the node has taken note of that.
		c.control(w, message.VerbUnserve, r.service.Name(), r.routes[0], parting{c, cn})
		c.nudge()
		return
	}
	cn.parted = true
}

// parting is the sink of the message that takes back what is served on a
// connection that is to be left.
type parting struct {
	c  *Client
	cn *conn
}

func (p parting) part(call.Part) error { return nil }

func (p parting) finish(*call.Answer, error) {
	p.cn.lane.Go("client.linger", func(ctx context.Context) {
		if !pause(ctx, linger) {
			return
		}
		p.c.mu.Lock()
		p.cn.parted = true
		leave := p.c.mayLeave(p.cn)
		p.c.mu.Unlock()
		leave()
	})
}

// mayLeave returns what leaves a draining connection that has nothing in
// flight any more, and is not needed until there is another, else nothing to
// do. c.mu is held.
func (c *Client) mayLeave(cn *conn) func() {
	if !cn.parted || cn.wire.gone || len(cn.calls) > cn.lasting || c.session.unanswered(cn.wire) {
		return func() {}
	}
	return func() { cn.leave() }
}

// leave closes a connection on which nothing is going on, to make another.
func (cn *conn) leave() {
	cn.mu.Lock()
	first := cn.why == nil
	if first {
		cn.why = &dropped{code: closeGoing, reason: "the node drains"}
	}
	cn.mu.Unlock()
	if first {
		cn.lane.Go("client.leave", func(context.Context) { cn.tr.close(closeGoing, "drained") })
	}
}

// maxInbox is how many messages of others wait for OnSend: a burst. A reader
// that waited instead would hold up the answers behind it.
const maxInbox = 1024

// inbox is messages from others on their way to the function of OnSend, one at
// a time, in order. Guarded by Client.mu.
type inbox struct {
	handle  func(context.Context, *route.Request)
	list    []*route.Request
	running bool
}

// OnSend has f called with every message that others send to this client, one
// at a time, in the order in which they came; also with those that came before
// (up to 1,024 wait; the rest is dropped and counted in [Stats]). f replaces
// the function before. Its context ends when the client is closed. The request
// is f's to keep. Message.From is the sender's address: send there to answer.
func (c *Client) OnSend(f func(ctx context.Context, req *route.Request)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox.handle = f
	c.runInbox()
}

// runInbox starts the delivery if there is something to deliver; c.mu is held.
func (c *Client) runInbox() {
	if b := &c.inbox; !b.running && b.handle != nil && len(b.list) > 0 {
		b.running = c.lane.Do(c.deliver)
	}
}

func (c *Client) deliver(ctx context.Context) {
	again := true
	defer func() { // also after a panic of the function, which the lane logs
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inbox.running = false
		if again {
			c.runInbox()
		}
	}()
	for {
		c.mu.Lock()
		if len(c.inbox.list) == 0 || c.inbox.handle == nil || ctx.Err() != nil {
			again = ctx.Err() == nil
			c.mu.Unlock()
			return
		}
		req := c.inbox.list[0]
		c.inbox.list[0] = nil
		c.inbox.list = c.inbox.list[1:]
		handle := c.inbox.handle
		c.mu.Unlock()
		handle(extractTrace(ctx, &req.Message), req)
	}
}

// receiveSend takes a message from another client or service: for OnSend, or
// for a service that this client serves.
func (c *Client) receiveSend(cn *conn, m *message.Message) {
	req, err := request(m)
	if err != nil {
		c.malformed(cn, m, err)
		return
	}
	if req.Address.Name != clientScheme && c.serveSend(req) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inbox.list) >= maxInbox {
		c.stats.dropped.Add(1)
		return
	}
	c.inbox.list = append(c.inbox.list, req)
	c.runInbox()
}

// The names in addresses of clients and nodes.
const (
	clientScheme = "client"
	nodeScheme   = "node"
)

// defaultDeadline is for calls that come without a time-out; a node sends none.
const defaultDeadline = call.DefaultTimeout

// request makes a request of a message, which it copies.
func request(m *message.Message) (*route.Request, error) {
	req := &route.Request{Message: m.Clone(), Received: time.Now()}
	addr, err := message.ParseAddress(string(req.Message.To))
	if err != nil {
		return nil, err
	}
	req.Address = addr
	from, err := message.ParseAddress(string(req.Message.From))
	if err == nil {
		req.Peer = peer{id: from.Instance}
	} else {
		req.Peer = peer{}
	}
	left := req.Message.Timeout
	if m.Verb == message.VerbSubscribe { // it lasts until it is canceled
		return req, nil
	}
	if left <= 0 {
		left = defaultDeadline
	}
	req.Deadline = req.Received.Add(left)
	return req, nil
}

// peer is who asks, as far as it can be seen through the node.
type peer struct{ id string }

func (p peer) ID() string         { return p.id }
func (p peer) Listener() string   { return "" }
func (p peer) RemoteAddr() string { return "" }
