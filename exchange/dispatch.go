package exchange

import (
	"context"
	"slices"
	"unsafe"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

const (
	// clientScheme is the name under which connections are addressed.
	clientScheme = "client"
	// nodeScheme is the name under which each node answers for itself.
	nodeScheme = "node"
)

// meant returns what an address stands for to those who are connected here:
// node: is this node, unless another is named.
func (x *Exchange) meant(a message.Address) message.Address {
	if a.Name == nodeScheme && a.Instance == "" {
		a.Instance = x.cfg.NodeID
	}
	return a
}

// dispatch is the end of the inbound stage: it reads the address and finds
// who could answer it.
func (x *Exchange) dispatch(ctx context.Context, req *route.Request, res route.Responder) {
	if x.tapped() {
		x.tapRequest(req)
	}
	if v := req.Message.Verb; v == message.VerbServe || v == message.VerbUnserve {
		x.changeRoutes(req, res)
		return
	}
	if len(req.Message.To) == 0 {
		_ = res.Fail(&message.Error{
			Code: message.CodeBadMessage, Message: "the message says to nobody where it goes", Path: "to",
			Hint: "Set \"to\" to an address such as math:/decimal/mul.",
		})
		return
	}
	addr, err := message.ParseStrict(text(req.Message.To))
	if err != nil {
		_ = res.Fail(err)
		return
	}
	req.Address = addr
	if addr.Name == clientScheme {
		x.toClients(ctx, req, res)
		return
	}
	if v := req.Message.Verb; v != message.VerbCall && requests(v) {
		x.dispatchTopic(ctx, req, res)
		return
	}
	sel, err := req.Selection()
	if err != nil {
		_ = res.Fail(err)
		return
	}
	if sel.Gathers() {
		x.gather(req, res, sel)
		return
	}
	if addr.HasWildcard() {
		x.chooseTarget(ctx, req, res, sel)
		return
	}
	if err := x.permits(req, actOf(req), addr); err != nil {
		_ = res.Fail(err)
		return
	}
	match, err := x.table.Lookup(x.meant(addr))
	if err != nil {
		_ = res.Fail(x.missing(addr, err))
		return
	}
	if reads(&match) {
		if err := x.permitsRead(req, addr); err != nil {
			_ = res.Fail(err)
			return
		}
	}
	x.called(ctx, req, res, match)
}

// called passes a request on to the stage call: its address is known, and
// permitted. From here on it is asked again whenever the caller's session changes.
func (x *Exchange) called(ctx context.Context, req *route.Request, res route.Responder, match route.Match) {
	req.Matched(match)
	if c := callOf(res); c != nil {
		if err := c.note(req, nil); err != nil {
			x.metrics.refused(err.Code)
			_ = res.Fail(err)
			return
		}
		if req.Address.Name == nodeScheme && !match.Endpoints[0].Local() {
			x.grant(req, res) // middleware may hide the call from the one who asks the other node
		}
	}
	x.calls.Handle(ctx, req, res)
}

// chooseTarget chooses one of all the servers and paths that an address with
// wildcards stands for, and goes on as if the caller had written that one.
func (x *Exchange) chooseTarget(ctx context.Context, req *route.Request, res route.Responder, sel route.Selection) {
	targets, err := x.expand(x.meant(req.Address))
	if err != nil {
		_ = res.Fail(x.missing(req.Address, err))
		return
	}
	targets, refused := x.permitted(req, targets)
	if refused != nil {
		_ = res.Fail(refused)
		return
	}
	t, err := x.strategies.ChooseTarget(sel, targets, req.Peer.ID())
	if err != nil {
		_ = res.Fail(err)
		return
	}
	readdress(req, t.Name, t.Path)
	x.called(ctx, req, res, t.Match())
}

// expand finds all targets of an address. Where the name is any service, node:
// is this node alone.
func (x *Exchange) expand(a message.Address) ([]route.Target, error) {
	targets, err := x.table.Expand(a)
	if a.Name != nodeScheme {
		targets = slices.DeleteFunc(targets, func(t route.Target) bool {
			return t.Name == nodeScheme && !t.Endpoint.Local()
		})
	}
	return targets, err
}

// readdress puts a concrete name and path in place of wildcards.
func readdress(req *route.Request, name, path string) {
	req.Address.Name, req.Address.Path = name, path
	req.Message.To = req.Address.AppendTo(nil)
}

// choose is the end of the call stage: it picks the server.
func (x *Exchange) choose(ctx context.Context, req *route.Request, res route.Responder) {
	x.give(ctx, req, res, nil)
}

// give chooses the server of a request, which others may have returned before.
func (x *Exchange) give(ctx context.Context, req *route.Request, res route.Responder, tried []route.Endpoint) {
	sel, err := req.Selection()
	if err != nil {
		_ = res.Fail(err)
		return
	}
	server, err := x.pick(sel, req, res)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	if c := callOf(res); c != nil {
		if err := c.note(req, server); err != nil {
			x.metrics.refused(err.Code)
			_ = res.Fail(err)
			return
		}
	}
	if far, ok := server.(*farServer); ok {
		far.handle(req, res, tried)
		return
	}
	if endless(req.Message.Verb) {
		x.visit(req, res)
		return
	}
	x.serve.Handle(ctx, req, res)
}

// hand is the end of the serve stage, and of the deliver stage: it gives the
// request to the one it is meant for.
func hand(ctx context.Context, req *route.Request, res route.Responder) {
	req.Server.Handle(ctx, req, res)
}

// text returns b as a string without copying. It is only for the bytes of a
// call's envelope, which are never written to again.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
