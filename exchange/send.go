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
	if err := x.permits(req, ActSend, req.Address); err != nil {
		_ = res.Fail(err)
		return
	}
	if p := x.Peer(id); p != nil {
		x.deliverTo(ctx, p, req, res)
		return
	}
	if f := x.nodeOf(id); f != nil {
		f.sendTo(id, req, res)
		return
	}
	_ = res.Fail(x.missing(req.Address, errNoClient(id)))
}

func errNoClient(id string) *message.Error {
	return message.NewError(message.CodeNoClient, fmt.Sprintf("no client %.64q is connected", id),
		"The id may be of a connection that is gone; \"ropewalk clients\" lists those that are there.")
}

func (x *Exchange) deliverTo(ctx context.Context, p *Peer, req *route.Request, res route.Responder) {
	req.Server = p
	x.deliver.Handle(ctx, req, res)
}

// broadcast delivers a send to every client of the mesh, or of the scope that
// its selection names, or to those of them that came by the listener that the
// path names.
func (x *Exchange) broadcast(ctx context.Context, req *route.Request, res route.Responder) {
	if err := x.Allowed(req.Peer, message.VerbSend, req.Address); err != nil {
		_ = res.Fail(err)
		return
	}
	sel, err := req.Selection()
	if err != nil {
		_ = res.Fail(err)
		return
	}
	x.spread(ctx, req)
	for _, f := range x.Nodes() {
		if x.within(sel.Scope, f) {
			f.broadcast(req)
		}
	}
	_ = res.Reply(route.Body{})
}

// spread delivers a broadcast to the clients of this node.
func (x *Exchange) spread(ctx context.Context, req *route.Request) {
	listener := ""
	if len(req.Address.Path) > 1 {
		listener = req.Address.Path[1:]
	}
	one := sharing{x: x, m: x.borrow()}
	forwardSend(&one.m.Message, req)
	defer one.release()
	for _, p := range x.Peers() {
		if p == req.Peer || (listener != "" && p.Listener() != listener) {
			continue
		}
		if x.deliver.Empty() {
			one.deliver(p.link)
			continue
		}
		each := *req
		x.deliverTo(ctx, p, &each, &passage{x: x, req: &each})
	}
}

// outbound puts an answer on its way to the one who asked. c.mu is held.
func (x *Exchange) outbound(p *Peer, c *Call, m *message.Message) (err error) {
	if x.outgoing.Empty() {
		return p.link.Deliver(m)
	}
	// A panic must not leave c locked.
	defer func() {
		if bug := recover(); bug != nil {
			x.logPanic("outbound middleware panicked", bug)
			err = message.NewError(message.CodeInternal, "the node failed while it passed the answer on", "Its log has the details.")
		}
	}()
	req := &route.Request{Message: *m, Peer: p, Server: p, Received: c.received}
	if c.settled {
		req.Address, req.Route = c.state.address, c.route
	}
	out := passage{x: x, req: req}
	x.outgoing.Handle(x.ctx, req, &out)
	return out.failed()
}

// put is the end of the outbound stage.
func put(_ context.Context, req *route.Request, res route.Responder) {
	if err := req.Server.(*Peer).link.Deliver(&req.Message); err != nil { //nolint:forcetypeassert // outbound has set it
		_ = res.Fail(err)
		return
	}
	_ = res.Reply(route.Body{})
}
