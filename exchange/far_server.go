package exchange

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// maxTries is how many servers a request is handed to, if they return it.
const maxTries = 4

// farServer is a server that another node has: a service in its process, or
// one of its connections. The stages serve and deliver are on its side.
type farServer struct {
	node     *FarNode
	id       string
	inFlight atomic.Int32 // of this node's calls
}

// ID implements route.Endpoint.
func (s *farServer) ID() string { return s.id }

// InFlight implements route.Endpoint: of the calls that this node makes.
func (s *farServer) InFlight() int { return int(s.inFlight.Load()) }

// Local implements route.Endpoint.
func (s *farServer) Local() bool { return false }

// Place implements route.Placed.
func (s *farServer) Place() *route.Place { return s.node.place }

// Handle implements route.Endpoint: it sends the request to the server's node.
func (s *farServer) Handle(_ context.Context, req *route.Request, res route.Responder) {
	s.handle(req, res, nil)
}

// handle is Handle of a request that others returned before.
func (s *farServer) handle(req *route.Request, res route.Responder, tried []route.Endpoint) {
	n := Note{Server: s.id}
	if s.id == s.node.place.Node && req.Address.Name == nodeScheme {
		// Only here is it known what the caller may do.
		n.Granted = s.node.x.grant(req, res)
	}
	l := s.node.asks.legOf(req, res, &s.inFlight)
	l.req, l.server, l.tried, l.trusted = req, s, tried, true
	s.node.ask(l, n, req, res)
}

// grant tells whether the caller of a path of another node may change or watch
// that. If so it is asked again with the call.
func (x *Exchange) grant(req *route.Request, res route.Responder) bool {
	p, ok := req.Peer.(*Peer)
	if !ok || x.cfg.Guard == nil {
		return x.Allowed(req.Peer, message.VerbCall, req.Address) == nil
	}
	if !x.cfg.Guard.Might(p, p.Session(), ActAdmin, req.Address) {
		return false
	}
	if c := callOf(res); c != nil {
		c.mu.Lock()
		if c.over == nil {
			c.state.granted = true
		}
		c.mu.Unlock()
	}
	return true
}

// ask sends a call or send to the other node. Unlike a send to a connection of
// this node, one to another node is finished by what that says.
func (f *FarNode) ask(l *leg, n Note, req *route.Request, res route.Responder) {
	m := f.x.borrow()
	forward(&m.Message, req)
	m.Authorization = req.Message.Authorization // a service in the other process sees it, as here
	m.Session = req.Session().Wire(true)
	m.Verb = req.Message.EffectiveVerb()
	if m.Verb == message.VerbSend {
		m.Rmid = req.Message.Mid // the receiver is told the sender's own
		if c := callOf(res); c != nil {
			c.SetDeadline(req.Deadline) // one that answers nothing must not keep the send for ever
		}
	}
	f.x.metrics.farSent.Inc()
	f.asks.ask(l, n, m, req, res)
}

// sendTo sends a message to a client of the other node.
func (f *FarNode) sendTo(client string, req *route.Request, res route.Responder) {
	l := f.asks.legOf(req, res, &f.passing)
	f.ask(l, Note{Server: client}, req, res)
}

// broadcast sends a message that the other node delivers to its clients.
// Nothing comes back.
func (f *FarNode) broadcast(req *route.Request) {
	m := f.x.borrow()
	forward(&m.Message, req)
	m.Verb = message.VerbSend
	m.Rmid = req.Message.Mid
	if f.link.Deliver(Note{}, &m.Message) == nil {
		f.x.metrics.farSent.Inc()
	}
	f.x.giveBack(m)
}

// within reports whether the other node is in a scope.
func (x *Exchange) within(scope string, f *FarNode) bool {
	_, err := x.strategies.Within(route.Selection{Scope: scope}, []route.Target{{Endpoint: &farServer{node: f}}})
	return err == nil
}

// returned takes a call or send back that the other node did not hand to a
// server, and has another one answer it.
func (f *FarNode) returned(m *message.Message) {
	id, ok := message.ParseMid(m.Mid)
	if !ok {
		f.x.metrics.farStray.Inc()
		return
	}
	l, open := f.asks.take(id)
	if !open {
		f.x.metrics.lateAnswers.Inc()
		return
	}
	f.x.metrics.farReturned.Inc()
	c := callOf(l.res)
	if l.server == nil { // it was for a client
		_ = l.res.Fail(errShuttingDownThere)
		return
	}
	if c == nil {
		_ = l.res.Fail(errReturned(nil))
		return
	}
	if _, gathers := c.asker.(legAsker); gathers { // it is this server that was asked
		_ = l.res.Fail(errReturned(c.asked()))
		return
	}
	if req := c.again(&l, m); req != nil {
		f.x.chooseAgain(req, &l)
	}
}

var errShuttingDownThere = message.NewError(message.CodeShuttingDown, "the node of the client is stopping",
	"Send again when the client is connected elsewhere; it has another id then.")

// again returns a copy of the request of a leg, with the body that came back;
// nil if the call is over, and the request may belong to another.
func (c *Call) again(l *leg, m *message.Message) *route.Request {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return nil
	}
	req := new(route.Request)
	*req = *l.req
	c.mu.Unlock()
	if !req.Kept() {
		req.Message.Body = m.Body
		req.Keep()
	}
	return req
}

// chooseAgain chooses a server that has not returned the request yet.
func (x *Exchange) chooseAgain(req *route.Request, l *leg) {
	tried := append(slices.Clip(l.tried), l.server)
	match, err := x.table.Lookup(x.meant(req.Address))
	if err != nil {
		_ = l.res.Fail(x.missing(req.Address, err))
		return
	}
	match, ok := match.Without(tried)
	if !ok || len(tried) >= maxTries {
		_ = l.res.Fail(errReturned(req.Message.To))
		return
	}
	if rest, ok := match.Without(siblings(match, l.server)); ok {
		match = rest
	}
	req.Matched(match)
	x.give(x.ctx, req, l.res, tried)
}

// siblings are the servers of a match at the same node as one that returned a
// request. That may be stopping, and then they would return it, too.
func siblings(m route.Match, server route.Endpoint) []route.Endpoint {
	var list []route.Endpoint
	if s, ok := server.(*farServer); ok {
		for _, e := range m.Endpoints {
			if far, ok := e.(*farServer); ok && far.node == s.node {
				list = append(list, e)
			}
		}
	}
	return list
}

// errReturned is for requests that no server took. to may be nil.
func errReturned(to []byte) *message.Error {
	what := "what was called"
	if to != nil {
		what = shown(to)
	}
	return &message.Error{
		Code: message.CodeServiceDown, Message: "the servers of " + what + " take no calls any more",
		Hint: "The call was not executed and can be repeated.", Retryable: true,
	}
}

var (
	_ route.Endpoint = (*farServer)(nil)
	_ route.Placed   = (*farServer)(nil)
)
