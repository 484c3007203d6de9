package exchange

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Handle sends a request to the server at the other end of this connection.
// Peer implements route.Endpoint.
func (p *Peer) Handle(_ context.Context, req *route.Request, res route.Responder) {
	if err := p.check(req); err != nil {
		_ = res.Fail(err)
		return
	}
	if req.Message.EffectiveVerb() == message.VerbSend {
		p.handSend(req, res)
		return
	}
	m := p.x.borrow()
	forward(&m.Message, req)
	m.Verb = req.Message.EffectiveVerb()
	l := p.asks.legOf(req, res, &p.answering)
	l.to = req.Message.To
	m.Session = p.sessionFor(req)
	p.asks.ask(l, Note{}, m, req, res)
}

// sessionFor is what this server gets to see of the session of who asks.
func (p *Peer) sessionFor(req *route.Request) []byte {
	s := req.Session()
	return s.Wire(len(s.Secret) > 0 && p.x.trusts(p, req.Address))
}

// carry implements carrier.
func (p *Peer) carry(_ Note, m *message.Message) error { return p.link.Deliver(m) }

// check validates the body of a request for servers that asked for that. A
// content type is no way round it: who has a schema wants JSON.
func (p *Peer) check(req *route.Request) error {
	check := req.Match().Check(p)
	if check == nil {
		return nil
	}
	if req.Message.ContentType != nil {
		return message.NewError(message.CodeInvalidInput, fmt.Sprintf("%s takes JSON, not %.64q", req.Route, req.Message.ContentType),
			"Leave the content type out.")
	}
	return check(req.Message.Body)
}

// handSend hands a message to which no answer is expected to the connection.
func (p *Peer) handSend(req *route.Request, res route.Responder) {
	m := p.x.borrow()
	forwardSend(&m.Message, req)
	if req.Address.Name != clientScheme {
		m.Session = p.sessionFor(req)
	}
	err := p.link.Deliver(&m.Message)
	p.x.giveBack(m)
	if err != nil {
		_ = res.Fail(undelivered(err, req))
		return
	}
	_ = res.Reply(route.Body{})
}

var (
	_ route.Endpoint = (*Peer)(nil)
	_ carrier        = (*Peer)(nil)
)
