package exchange

import (
	"context"
	"unsafe"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// clientScheme is the name under which connections are addressed.
const clientScheme = "client"

// dispatch is the end of the inbound stage: it reads the address and finds
// who could answer it.
func (x *Exchange) dispatch(ctx context.Context, req *route.Request, res route.Responder) {
	if x.tapped() {
		x.tapRequest(req)
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
	sel, err := route.ParseSelection(req.Message.Strategy)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	if sel.Gathers() {
		x.gather(ctx, req, res, sel)
		return
	}
	if addr.HasWildcard() {
		// Targets come in order of name and path; the first path is a choice
		// that callers can foresee.
		targets, err := x.table.Expand(addr)
		if err != nil {
			_ = res.Fail(err)
			return
		}
		readdress(req, targets[0].Name, targets[0].Path)
	}
	match, err := x.table.Lookup(req.Address)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	req.Matched(match)
	x.calls.Handle(ctx, req, res)
}

// readdress puts a concrete name and path in place of wildcards.
func readdress(req *route.Request, name, path string) {
	req.Address.Name, req.Address.Path = name, path
	req.Message.To = req.Address.AppendTo(nil)
}

// choose is the end of the call stage: it picks the server.
func (x *Exchange) choose(ctx context.Context, req *route.Request, res route.Responder) {
	sel, err := route.ParseSelection(req.Message.Strategy)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	server, err := x.strategies.Choose(sel, req.Match(), req.Peer.ID())
	if err != nil {
		_ = res.Fail(err)
		return
	}
	req.Chosen(server)
	if c := callOf(res); c != nil {
		c.note(req.Route, server)
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
