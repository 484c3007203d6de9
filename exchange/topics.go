package exchange

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// More of what a Guard is asked about.
const (
	// ActWatch is to see the content or events of a topic, once or for long.
	ActWatch = "watch"
	// ActPublish is to give a topic a content or event.
	ActPublish = "publish"
	// ActCode is to publish, or read the source of, what is run: scripts and queries.
	ActCode = "code"
)

// Topics keeps who watches what. Its methods must not block.
//
//	connection ──► Subscribe ──► [Exchange.Open] ──► the server's node ──► Visit ──► [Exchange.OpenAt] ──► server
type Topics interface {
	// Subscribe begins a watch for a connection, which may watch that. It ends the
	// request with the content.
	Subscribe(req *route.Request, res route.Responder)
	// Get answers a get from what is there, or reports that it cannot.
	Get(req *route.Request, res route.Responder) bool
	// Unsubscribe ends a watch, which may be none.
	Unsubscribe(p *Peer, topic []byte)
	// Visit has a node, this one or another, see what req.Server, which is here,
	// has. What comes are parts of req.
	Visit(req *route.Request, res route.Responder)
	// Gone tells that a connection is over.
	Gone(p *Peer)
	// Recheck tells that the session of a connection, or what it may do, has
	// changed.
	Recheck(p *Peer)
}

// errNoTopics is for an exchange without Topics.
var errNoTopics = message.NewError(message.CodeUnimplemented, "this node has no topics", "")

// endless tells whether a request goes on until its caller ends it.
func endless(v message.Verb) bool { return v == message.VerbSubscribe }

// requests tells whether a verb asks a server for something and gets an answer.
func requests(v message.Verb) bool {
	return v == message.VerbCall || v == message.VerbGet || v == message.VerbSubscribe || v == message.VerbPublish
}

// forever is the deadline of what has none.
const forever = 100 * 365 * 24 * time.Hour

// receiveUnsubscribe ends a watch and acknowledges that.
func (p *Peer) receiveUnsubscribe(m *message.Message) {
	if p.x.cfg.Topics == nil {
		p.refuse(m.Mid, errNoTopics)
		return
	}
	p.x.cfg.Topics.Unsubscribe(p, m.Topic)
	if len(m.Mid) == 0 {
		return
	}
	r := p.x.borrow()
	r.Verb, r.Rmid, r.From, r.Topic = message.VerbReply, m.Mid, p.x.address, m.Topic
	_ = p.link.Deliver(&r.Message)
	p.x.giveBack(r)
}

// dispatchTopic carries out a get, subscribe or publish, after the inbound stage.
func (x *Exchange) dispatchTopic(ctx context.Context, req *route.Request, res route.Responder) {
	if x.cfg.Topics == nil {
		_ = res.Fail(errNoTopics)
		return
	}
	verb := req.Message.Verb
	if err := x.permitsTopic(req); err != nil {
		_ = res.Fail(err)
		return
	}
	if verb == message.VerbSubscribe {
		x.cfg.Topics.Subscribe(req, res)
		return
	}
	if req.Address.HasWildcard() {
		_ = res.Fail(message.NewError(message.CodeBadAddress, "a "+verb.String()+" is for one topic, not for a pattern", "Only subscribe takes * and **."))
		return
	}
	match, err := x.lookupOwners(req.Address)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	info := match.Info(nil)
	if info.Topic == nil { // its handlers are for those who may call
		_ = res.Fail(message.NewError(message.CodeUnimplemented, shown(req.Message.To)+" is no topic",
			"It can be called; node:/services tells what can be watched."))
		return
	}
	if verb == message.VerbPublish && isCode(&match, req.Address.Path) {
		if err := x.permits(req, ActCode, req.Address); err != nil {
			_ = res.Fail(err)
			return
		}
	}
	if verb == message.VerbGet && x.cfg.Topics.Get(req, res) {
		return
	}
	owned(req, &match)
	x.called(ctx, req, res, match)
}

// isCode tells whether what is published at a path is run, by any of the servers
// that may be asked.
func isCode(match *route.Match, path string) bool {
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 {
		return false
	}
	end := strings.ToLower(path[dot+1:])
	return slices.ContainsFunc(match.Endpoints, func(e route.Endpoint) bool {
		t := match.Info(e).Topic
		return t != nil && slices.Contains(t.Code, end)
	})
}

// owned has a topic's one server asked: the same from all nodes. What begins with
// the same segment has one owner under all names: a query, and the statement that
// changes its table, belong together. Event topics of a route have one for all, so
// that whoever watches many sees them in order.
func owned(req *route.Request, match *route.Match) {
	if len(req.Message.Strategy) > 0 || len(match.Endpoints) == 1 {
		return
	}
	key, _, _ := strings.Cut(strings.TrimPrefix(req.Address.Path, "/"), "/")
	if t := match.Info(nil).Topic; t != nil && t.Events {
		if t.Durable && req.Message.Verb == message.VerbPublish {
			req.Message.Strategy = append(req.Message.Strategy, `{"by":"prefer-local"}`...) // all write to one log
			return
		}
		key = match.Route
	}
	req.Message.Strategy = strconv.AppendQuote([]byte(`{"by":"sticky","key":`), key)
	req.Message.Strategy = append(req.Message.Strategy, '}')
}

// sinkAsker is the asker of a request with a route.Sink.
type sinkAsker struct {
	prompt
	sink route.Sink
}

func (s sinkAsker) answer(_ *Call, a answer) error {
	switch a.verb {
	case message.VerbPart:
		s.sink.Part(route.Body{Bytes: a.body, ContentType: a.contentType, Stamp: a.stamp, Fault: a.fault, Stable: a.stable})
	case message.VerbError:
		s.sink.Done(a.err)
	default:
		s.sink.Done(nil)
	}
	return nil
}

// Opening is a subscribe that the node itself has made.
type Opening struct{ c *Call }

// Close ends it. What it has open is told why. It must not be called by the Sink.
func (o Opening) Close(why *message.Error) { _ = o.c.Fail(why) }

// Open has the node that owns a topic see to it: one server is chosen, the same
// from all nodes, and its node visited. body is that of a subscribe; s is who
// wants it if that matters, else nil. What comes may come before Open returns.
func (x *Exchange) Open(to string, body []byte, s *session.Session, sink route.Sink) Opening {
	return x.open(to, body, s, sink, route.HandlerFunc(x.chooseOwner))
}

// OpenAt is Open of a server that is known, and here.
func (x *Exchange) OpenAt(server route.Endpoint, to string, body []byte, s *session.Session, sink route.Sink) Opening {
	return x.open(to, body, s, sink, route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		addr, match, err := x.findTopic(req)
		if err != nil {
			_ = res.Fail(err)
			return
		}
		req.Address = addr
		req.Matched(match)
		req.Chosen(server)
		if c := callOf(res); c != nil {
			_ = c.note(req, server)
		}
		x.serve.Handle(ctx, req, res)
	}))
}

func (x *Exchange) open(to string, body []byte, s *session.Session, sink route.Sink, h route.Handler) Opening {
	m := &message.Message{
		Verb: message.VerbSubscribe, To: []byte(to), From: x.address, Mid: []byte(message.NewMid()), Body: body,
	}
	c := x.newCall(m, sinkAsker{sink: sink}, x.Local(), time.Now())
	c.lasts = true
	c.state.req.Message.Timestamp = x.stamp(c.received)
	if s != nil {
		c.state.req.SetSession(s)
	}
	c.start(h)
	return Opening{c}
}

func (x *Exchange) findTopic(req *route.Request) (message.Address, route.Match, error) {
	addr, err := message.ParseStrict(text(req.Message.To))
	if err != nil {
		return addr, route.Match{}, err
	}
	match, err := x.LookupTopic(addr)
	return addr, match, err
}

// LookupTopic finds who serves what can be watched at an address, which may be a
// pattern if it is one of event topics.
func (x *Exchange) LookupTopic(addr message.Address) (route.Match, error) {
	match, err := x.lookupOwners(addr)
	if err != nil {
		return match, err
	}
	t := match.Info(nil).Topic
	switch {
	case t == nil:
		return match, message.NewError(message.CodeUnimplemented, shown(addr.AppendTo(nil))+" cannot be watched",
			"It can be called; node:/services tells what can be watched.")
	case addr.HasWildcard() && !t.Events:
		return match, message.NewError(message.CodeBadAddress, "only event topics can be watched by a pattern",
			"Watch one address, or a listing that ends in a slash.")
	}
	return match, nil
}

// lookupOwners finds who may own a topic. A node that has resigned is no owner as
// long as there are others, since those do not count it any more.
func (x *Exchange) lookupOwners(addr message.Address) (route.Match, error) {
	match, err := x.table.Lookup(x.meant(addr))
	if err != nil {
		return match, x.missing(addr, declareHint(err))
	}
	match = withTopic(match)
	if !x.resigned.Load() || addr.Name == nodeScheme {
		return match, nil
	}
	var own []route.Endpoint
	for _, e := range match.Endpoints {
		if e.Local() && e.ID() == x.cfg.NodeID {
			own = append(own, e)
		}
	}
	if rest, ok := match.Without(own); ok {
		return rest, nil
	}
	return match, nil
}

// declareHint adds by what a node comes to topics.
func declareHint(err error) error {
	if message.CodeOf(err) != message.CodeNoService {
		return err
	}
	e := *message.AsError(err)
	e.Hint += " In the configuration \"content\" serves files, queries, scripts and the web, and \"topics\" declares topics with nothing behind them."
	return &e
}

// Owner is the server that [Exchange.Open] would choose now, and how its route can
// be watched.
func (x *Exchange) Owner(to string) (route.Endpoint, *route.Topic, error) {
	req := &route.Request{Message: message.Message{Verb: message.VerbSubscribe, To: []byte(to)}, Peer: x.Local()}
	addr, match, err := x.findTopic(req)
	if err != nil {
		return nil, nil, err
	}
	info := match.Info(nil).Topic
	if len(match.Endpoints) == 1 {
		return match.Endpoints[0], info, nil
	}
	req.Address = addr
	owned(req, &match)
	req.Matched(match)
	sel, err := req.Selection()
	if err != nil {
		return nil, info, err
	}
	owner, err := x.strategies.Choose(sel, match, req.Peer.ID())
	return owner, info, err
}

// withTopic leaves out the servers for which an address is no topic: their
// handlers are for those who may call. If it is none for all, they all stay.
func withTopic(match route.Match) route.Match {
	var others []route.Endpoint
	for _, e := range match.Endpoints {
		if match.Info(e).Topic == nil {
			others = append(others, e)
		}
	}
	if len(others) > 0 {
		if rest, ok := match.Without(others); ok {
			return rest
		}
	}
	return match
}

// chooseOwner picks the server of a topic, and has its node visited.
func (x *Exchange) chooseOwner(ctx context.Context, req *route.Request, res route.Responder) {
	addr, match, err := x.findTopic(req)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	req.Address = addr
	owned(req, &match)
	req.Matched(match)
	x.give(ctx, req, res, nil)
}

// Update brings the peer an update, a gap or the end of a watch. It is encoded
// once for all who get the same. Its errors are those of [Link.Deliver]:
// CodeOverloaded when the peer has enough waiting; see [Peer.Relief].
func (p *Peer) Update(m *message.Message, s *Shared) error {
	if !p.x.outgoing.Empty() {
		return p.updateThrough(m)
	}
	if sharer, ok := p.link.(Sharer); ok {
		return sharer.DeliverShared(m, s)
	}
	return p.link.Deliver(m)
}

// updateThrough is Update through the outbound stage.
func (p *Peer) updateThrough(m *message.Message) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			p.x.logPanic("outbound middleware panicked", bug)
			err = message.NewError(message.CodeInternal, "the node failed while it passed an update on", "Its log has the details.")
		}
	}()
	req := &route.Request{Message: *m, Peer: p, Server: p, Received: time.Now()}
	out := passage{x: p.x, req: req}
	p.x.outgoing.Handle(p.x.ctx, req, &out)
	return out.failed()
}

// Relief returns a channel that is closed when an update that was refused with
// CodeOverloaded is worth another try.
func (p *Peer) Relief() <-chan struct{} { return p.link.Relief() }

// Disconnect closes the connection of a peer that is too slow.
func (p *Peer) Disconnect(reason string) { p.link.Close(CloseSlowConsumer, reason) }

// MayWatch asks again whether the peer may watch an address.
func (p *Peer) MayWatch(a message.Address) *message.Error {
	return p.x.mayWatch(p, p.Session(), a)
}

// Frame is the largest message that the peer takes, in bytes.
func (p *Peer) Frame() int { return p.maxFrame }

// visit has a node see what a server of this one has.
func (x *Exchange) visit(req *route.Request, res route.Responder) {
	if x.cfg.Topics == nil {
		_ = res.Fail(errNoTopics)
		return
	}
	x.cfg.Topics.Visit(req, res)
}

// stampOf is where what another node sends stands in its topic; only nodes count.
func (d *desk) stampOf(m *message.Message) *route.Stamp {
	if _, far := d.to.(*FarNode); !far || m.Epoch == nil {
		return nil
	}
	return &route.Stamp{
		Epoch: string(m.Epoch), Offset: m.Offset, Topic: string(m.Topic), To: string(m.To), Publisher: m.Publisher,
	}
}
