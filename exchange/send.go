package exchange

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// everyClient as instance of a client address means all of them.
const everyClient = "*"

func (p *Peer) receiveSend(m *message.Message) {
	hadID := len(m.Mid) > 0
	c := p.newCall(m)
	if c == nil {
		return
	}
	c.asker = sender{p: p, reportErrors: hadID}
	c.state.req.Deadline = c.received.Add(p.x.cfg.DefaultTimeout)
	p.x.metrics.sends.Inc()
	c.dispatch(p.x.inbound)
}

// sender is the asker of a send: it wants an acknowledgement or nothing.
type sender struct {
	prompt
	p            *Peer
	reportErrors bool
}

func (s sender) answer(c *Call, a answer) error {
	switch {
	case a.verb == message.VerbError && (s.reportErrors || c.state.req.Message.Ack):
		return s.p.answer(c, a)
	case a.verb == message.VerbReply && c.state.req.Message.Ack:
		a.body, a.contentType = nil, ""
		return s.p.answer(c, a)
	}
	return nil
}

func (s sender) ended(*Call) {}

// toClients delivers a send to one client, or to all for those who may.
func (x *Exchange) toClients(ctx context.Context, req *route.Request, res route.Responder) {
	if req.Message.EffectiveVerb() != message.VerbSend {
		_ = res.Fail(message.NewError(message.CodeUnknownVerb, "a client can be sent messages, but not called",
			"Use send, or have the client serve a path and call that."))
		return
	}
	id := req.Address.Instance
	switch id {
	case "":
		_ = res.Fail(&message.Error{
			Code: message.CodeBadAddress, Message: "the address names no client", Path: "to",
			Hint: "Write <client id>@client:/, or *@client:/ for all.",
		})
		return
	case everyClient:
		x.broadcast(ctx, req, res)
		return
	}
	p := x.Peer(id)
	if p == nil {
		_ = res.Fail(message.NewError(message.CodeNoClient, fmt.Sprintf("no client %.64q is connected", id),
			"The id may be of a connection that is gone; \"ropewalk clients\" lists those that are there."))
		return
	}
	x.deliverTo(ctx, p, req, res)
}

func (x *Exchange) deliverTo(ctx context.Context, p *Peer, req *route.Request, res route.Responder) {
	req.Server = p
	x.deliver.Handle(ctx, req, res)
}

// broadcast delivers a send to every client, or to those of the listener that
// the path names.
func (x *Exchange) broadcast(ctx context.Context, req *route.Request, res route.Responder) {
	if err := x.Allowed(req.Peer, message.VerbSend, req.Address); err != nil {
		_ = res.Fail(err)
		return
	}
	listener := ""
	if len(req.Address.Path) > 1 {
		listener = req.Address.Path[1:]
	}
	for _, p := range x.Peers() {
		if p == req.Peer || (listener != "" && p.Listener() != listener) {
			continue
		}
		each := *req
		x.deliverTo(ctx, p, &each, discard{})
	}
	_ = res.Reply(route.Body{})
}

// discard is the Responder of something that nobody waits for.
type discard struct{}

func (discard) Part(route.Body) error   { return nil }
func (discard) Reply(route.Body) error  { return nil }
func (discard) Fail(error) error        { return nil }
func (discard) OnFinish(route.Finisher) {}

// outbound puts an answer on its way to the one who asked.
func (x *Exchange) outbound(p *Peer, c *Call, m *message.Message) error {
	if x.outgoing.Empty() {
		return p.link.Deliver(m)
	}
	req := &route.Request{
		Message: *m, Route: c.route, Peer: p, Server: p, Received: c.received,
	}
	var out outcome
	x.outgoing.Handle(x.ctx, req, &out)
	return out.err
}

// put is the end of the outbound stage.
func put(_ context.Context, req *route.Request, res route.Responder) {
	p, ok := req.Server.(*Peer)
	if !ok {
		return
	}
	if err := p.link.Deliver(&req.Message); err != nil {
		_ = res.Fail(err)
	}
}

// outcome keeps the error of a message that passes the outbound stage.
type outcome struct {
	discard
	err error
}

// Fail implements route.Responder.
func (o *outcome) Fail(err error) error {
	o.err = err
	return nil
}
