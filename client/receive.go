package client

import (
	"bytes"
	"context"
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
	for {
		frame, err := cn.tr.read()
		if err != nil {
			return err
		}
		m.Reset()
		if err := decode(frame, &m); err != nil {
			c.malformed(&m, err)
			continue
		}
		c.receive(&m)
	}
}

// receive handles one message. m is valid only until it returns.
func (c *Client) receive(m *message.Message) {
	switch m.EffectiveVerb() {
	case message.VerbPart:
		c.receivePart(m)
	case message.VerbReply:
		c.receiveFinal(m, &call.Answer{
			Body:        bytes.Clone(m.Body),
			ContentType: string(m.ContentType),
			From:        string(m.From),
		}, nil)
	case message.VerbError:
		c.receiveFinal(m, nil, message.DecodeError(m.Body))
	case message.VerbCall:
		c.receiveCall(m)
	case message.VerbSend:
		c.receiveSend(m)
	case message.VerbCancel:
		c.receiveCancel(m)
	case message.VerbDrain:
		c.receiveDrain()
	case message.VerbWelcome: // a second one changes nothing
	default:
		c.malformed(m, message.NewError(message.CodeUnknownVerb,
			"a node does not send "+m.EffectiveVerb().String(), ""))
	}
}

func (c *Client) receivePart(m *message.Message) {
	c.mu.Lock()
	f := c.session.find(m.Rmid)
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

func (c *Client) receiveFinal(m *message.Message, a *call.Answer, err error) {
	c.mu.Lock()
	f := c.session.final(m.Rmid)
	leave := c.mayLeave()
	c.mu.Unlock()
	leave()
	switch {
	case f != nil:
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

// malformed counts a message that cannot be understood. If it can still be
// seen whose answer it was, that one ends; a caller is told.
func (c *Client) malformed(m *message.Message, err error) {
	if c.stats.malformed.Add(1) == 1 {
		c.log.Warn("the node sent something that is not a message of ropewalk.v1; check what is at this address",
			"url", shown(c.url), "err", err)
	}
	if len(m.Rmid) > 0 {
		e := message.NewError(message.CodeBadMessage, "the answer cannot be understood: "+err.Error(), "")
		c.mu.Lock()
		f := c.session.final(m.Rmid)
		c.mu.Unlock()
		if f != nil {
			f.end(nil, e)
		}
		return
	}
	if len(m.Mid) > 0 && m.EffectiveVerb() == message.VerbCall {
		c.refuse(m, err)
	}
}

// receiveDrain stops what is new on this connection, and leaves it when the
// last answer is in. The node closes it sooner or later anyway.
func (c *Client) receiveDrain() {
	c.mu.Lock()
	c.session.draining = true
	if c.state == Online {
		c.setState(Draining)
	}
	leave := c.mayLeave()
	c.mu.Unlock()
	leave()
}

// mayLeave returns what leaves a draining connection that has nothing in
// flight any more, else nothing to do. c.mu is held.
func (c *Client) mayLeave() func() {
	cn := c.conn
	if !c.session.draining || cn == nil || len(c.serving.calls) > 0 || c.session.unanswered() {
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
func (c *Client) receiveSend(m *message.Message) {
	req, err := request(m)
	if err != nil {
		c.malformed(m, err)
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

// clientScheme is the name in addresses of clients.
const clientScheme = "client"

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
