package ropewalk

import (
	"sync"

	"github.com/ropewalk/ropewalk/dialect/native"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

// link makes an exchange.Link of a connection.
type link struct {
	*edge.Conn
	dialect native.Dialect
	limit   int // of a frame, in bytes
}

// Deliver implements exchange.Link.
func (l *link) Deliver(m *message.Message) error {
	f := edge.NewFrame()
	defer f.Release()
	if err := l.encode(f, m); err != nil {
		return err
	}
	if m.Verb == message.VerbPart || m.Verb == message.VerbUpdate {
		return l.Conn.Offer(f)
	}
	return l.Conn.Send(f)
}

// encode makes f the frame of m.
func (l *link) encode(f *edge.Frame, m *message.Message) error {
	payload, err := l.dialect.Append(f.Payload, m)
	if err != nil {
		return err
	}
	f.Payload = payload
	if len(payload) > l.limit {
		return message.NewError(message.CodeTooLarge, "the message is larger than a frame may be",
			"Send it in parts, or raise limits.frame in the node's configuration.")
	}
	return nil
}

// DeliverShared implements exchange.Sharer. Links of one framing share a frame.
func (l *link) DeliverShared(m *message.Message, s *exchange.Shared) error {
	form := &s[l.Conn.Framing()]
	if form.Frame == nil {
		f := edge.NewFrame()
		form.Frame, form.Err = f, l.encode(f, m)
	}
	if form.Err != nil {
		return form.Err
	}
	f := form.Frame.(*edge.Frame) //nolint:forcetypeassert // links put nothing else
	if m.Verb == message.VerbUpdate {
		return l.Conn.Offer(f)
	}
	return l.Conn.Send(f)
}

// RefuseWhenFull implements exchange.Link.
func (l *link) RefuseWhenFull() { l.Conn.SetPolicy(edge.PolicyReject) }

// Close implements exchange.Link.
func (l *link) Close(code int, reason string) {
	l.Conn.Close(edge.CloseCode(code), reason) //nolint:gosec // close codes are small
}

// conns hands what happens on connections to the exchange. It implements
// edge.Handler.
type conns struct {
	x        *exchange.Exchange
	maxFrame int
	sessions *sessions // nil: there are none
	messages sync.Pool // of *message.Message, each used for one frame at a time
}

func newConns(x *exchange.Exchange, maxFrame int, s *sessions) *conns {
	return &conns{x: x, maxFrame: maxFrame, sessions: s, messages: sync.Pool{New: func() any { return new(message.Message) }}}
}

// peer is what a connection carries along.
type peer struct {
	*exchange.Peer
	link link
}

// Open implements edge.Handler.
func (h *conns) Open(c *edge.Conn) {
	p := &peer{link: link{
		Conn: c, dialect: native.Dialect{Split: c.Framing() == edge.FramingSplit}, limit: h.maxFrame,
	}}
	brought, known := c.Data().(credential)
	c.SetData(p)
	p.Peer = h.x.Attach(&p.link, h.maxFrame)
	if known && h.sessions != nil {
		h.sessions.arrive(p, string(brought))
	}
}

// Frame implements edge.Handler.
func (h *conns) Frame(c *edge.Conn, frame []byte) {
	p, ok := c.Data().(*peer)
	if !ok {
		return
	}
	m := h.messages.Get().(*message.Message) //nolint:forcetypeassert // nothing else is put
	if err := p.link.dialect.Decode(frame, m); err != nil {
		p.Malformed(m, err)
	} else {
		p.Receive(m)
	}
	h.messages.Put(m) // what it points to is overwritten by the next Decode
}

// Closed implements edge.Handler.
func (h *conns) Closed(c *edge.Conn, _ error) {
	if p, ok := c.Data().(*peer); ok {
		p.Gone()
		if h.sessions != nil {
			h.sessions.unwatch(p.Peer)
		}
	}
}

var (
	_ edge.Handler    = (*conns)(nil)
	_ exchange.Sharer = (*link)(nil)
)
