package exchange

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/schema"
)

// reserved names are the node's own; nobody else can serve them.
var reserved = map[string]bool{clientScheme: true, nodeScheme: true}

// maxServeBody bounds what the node keeps, and lists, of one route of one server.
const maxServeBody = 64 << 10

// serveBody is the body of a serve message; see docs/reference/wire.md.
type serveBody struct {
	Version     string          `json:"version"`
	Description string          `json:"description"`
	In          json.RawMessage `json:"in"`
	Out         json.RawMessage `json:"out"`
	Metadata    json.RawMessage `json:"metadata"`
	// Idempotent says that repeating a call does no harm.
	Idempotent bool `json:"idempotent"`
	// Topic says that the route can be watched.
	Topic *route.Topic `json:"topic"`
	// Validate has the node check bodies against In, for servers that do not.
	Validate bool `json:"validate"`
}

// receiveServe takes a serve or unserve and sends it through the inbound stage.
// Its answer is the acknowledgement.
func (p *Peer) receiveServe(m *message.Message) {
	c := p.newCall(m)
	if c == nil {
		return
	}
	c.asker = server{p: p}
	c.state.req.Deadline = c.received.Add(p.x.cfg.DefaultTimeout)
	c.dispatch(p.x.inbound)
}

// server is the asker of a serve or unserve.
type server struct {
	prompt
	p *Peer
}

func (s server) answer(c *Call, a answer) error { return s.p.answer(c, a) }

// changeRoutes carries out a serve or unserve that has passed the inbound stage.
func (x *Exchange) changeRoutes(req *route.Request, res route.Responder) {
	p, ok := req.Peer.(*Peer)
	if !ok {
		_ = res.Fail(message.NewError(message.CodeUnknownVerb, "only connections serve this way",
			"A service in the process is handed to Node.Serve."))
		return
	}
	if err := p.serve(&req.Message, req.Message.Verb); err != nil {
		x.metrics.refused(message.CodeOf(err))
		_ = res.Fail(err)
		return
	}
	_ = res.Reply(route.Body{})
}

func (p *Peer) serve(m *message.Message, verb message.Verb) error {
	addr, err := message.ParseStrict(string(m.To))
	if err != nil {
		return err
	}
	pattern, err := route.ParsePattern(addr.Path)
	if err != nil {
		return err
	}
	if verb == message.VerbUnserve {
		p.unserve(addr.Name, pattern)
		return nil
	}
	if reserved[addr.Name] || p.x.reserved(addr.Name) || addr.Name == "*" || addr.Instance != "" || addr.Method != "" || addr.Query != "" {
		return &message.Error{
			Code: message.CodeBadAddress, Message: fmt.Sprintf("%.128q cannot be served", m.To), Path: "to",
			Hint: "Serve name:/pattern with a name of your own; client, node and the built-in services belong to the node.",
		}
	}
	if err := p.x.Allowed(p, message.VerbServe, addr); err != nil {
		return err
	}
	if p.x.foreign(addr.Name) {
		return errForeign(addr.Name)
	}
	info, err := serveInfo(m.Body)
	if err != nil {
		return err
	}
	if err := p.addRoute(addr.Name, pattern, info); err != nil {
		return err
	}
	if err := p.x.Allowed(p, message.VerbServe, addr); err != nil { // the session may have changed meanwhile
		p.x.table.Unserve(addr.Name, pattern, p)
		return err
	}
	if p.x.foreign(addr.Name) { // it has come meanwhile
		p.x.table.UnserveService(addr.Name, p)
		return errForeign(addr.Name)
	}
	return nil
}

func errForeign(name string) *message.Error {
	return message.NewError(message.CodeBadAddress, fmt.Sprintf("%.128q is served by another node itself", name),
		"Serve a name of your own: what callers tell that service is for nobody else.")
}

func serveInfo(body []byte) (route.Info, error) {
	if len(body) > maxServeBody {
		return route.Info{}, message.NewError(message.CodeTooLarge, fmt.Sprintf("the description of the route has more than %d bytes", maxServeBody),
			"Shorten the schemas, or leave them out.")
	}
	var b serveBody
	if len(body) > 0 {
		if err := json.Unmarshal(body, &b); err != nil {
			return route.Info{}, &message.Error{
				Code: message.CodeBadMessage, Message: "the body of a serve message cannot be read: " + err.Error(), Path: "bdy",
				Hint: "It is an object with version, description, in, out, metadata and idempotent, all optional.",
			}
		}
	}
	info := route.Info{
		Version: b.Version, Description: b.Description,
		In: b.In, Out: b.Out, Metadata: b.Metadata, Since: time.Now(),
		Idempotent: b.Idempotent, Topic: b.Topic,
	}
	if b.Validate && len(b.In) > 0 {
		in, err := schema.Compile(b.In)
		if err != nil {
			return route.Info{}, err
		}
		info.Check = func(body []byte) error {
			if len(body) == 0 {
				body = []byte("null")
			}
			if e := in.Validate(body); e != nil {
				return e // not a nil *message.Error in an error
			}
			return nil
		}
	}
	return info, nil
}

func (p *Peer) addRoute(name string, pattern route.Pattern, info route.Info) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return &message.Error{Code: message.CodeCanceled, Message: "the connection is closed"}
	case p.draining:
		return message.NewError(message.CodeConflict, "this connection said that it drains", "Connect anew to serve.")
	case p.x.table.Count(p) >= p.x.cfg.MaxServes:
		return message.NewError(message.CodeTooManyRoutes, fmt.Sprintf("this connection serves %d routes already", p.x.cfg.MaxServes),
			"Use patterns with {name}, * or **, or raise the limit in the node's configuration.")
	}
	// Under the lock, so that Gone takes back what it finds here.
	if err := p.x.table.Serve(name, pattern, p, info); err != nil {
		return err
	}
	p.link.RefuseWhenFull()
	return nil
}

func (p *Peer) unserve(name string, pattern route.Pattern) {
	if pattern.String() == "/**" {
		p.x.table.UnserveService(name, p)
	} else {
		p.x.table.Unserve(name, pattern, p)
	}
}

// Reserve keeps connections from serving anything under the name of a service:
// what callers tell it is for nobody else.
func (x *Exchange) Reserve(name string) { x.own.Store(name, nil) }

func (x *Exchange) reserved(name string) bool {
	_, ok := x.own.Load(name)
	return ok
}

// foreign tells whether another node has a service of its own of that name.
func (x *Exchange) foreign(name string) (own bool) {
	if _, ever := x.foreigners.Load(name); !ever {
		return false
	}
	x.table.Under(name, func(e route.Endpoint, info *route.Info) bool {
		own = info.Own && !e.Local()
		return !own
	})
	return own
}

// evict takes from connections of this node what they serve under the name of a
// service that another node has announced as its own.
func (x *Exchange) evict(name string) {
	x.foreigners.Store(name, nil) // before the look, so that who comes now sees it
	var peers []*Peer
	x.table.Under(name, func(e route.Endpoint, _ *route.Info) bool {
		if p, here := e.(*Peer); here {
			peers = append(peers, p)
		}
		return true
	})
	for _, p := range peers {
		if x.table.UnserveService(name, p) > 0 {
			x.log.Warn("a connection serves a name no more, which is that of a service of another node itself", "service", name, "client", p.ID())
		}
	}
}

// acts are the words of rules for what is not for everybody.
var acts = map[message.Verb]string{ //nolint:gochecknoglobals // a table
	message.VerbServe: ActServe, message.VerbSend: ActBroadcast, message.VerbCall: ActAdmin,
}

// Allowed says whether a peer may do something that is not for everybody: by
// an error with a hint, or nil. It forbids when the configuration has nobody to
// ask. The process itself may do everything.
func (x *Exchange) Allowed(p route.Peer, verb message.Verb, a message.Address) error {
	if _, inside := p.(Local); inside {
		return nil
	}
	if o, ok := p.(*origin); ok {
		if o.granted {
			return nil
		}
		return message.NewError(message.CodeForbidden, "the node of the caller does not allow it to "+verb.String()+" "+shown(a.AppendTo(nil)),
			"Each node decides what its own connections may do: see \"permissions\" in the configuration of the one that the caller is connected to.")
	}
	if peer, ok := p.(*Peer); ok && x.cfg.Guard != nil {
		if err := x.cfg.Guard.Permits(peer, peer.Session(), acts[verb], a); err != nil {
			return err // not a nil *message.Error in an error
		}
		return nil
	}
	if x.cfg.Allow == nil {
		return message.NewError(message.CodeForbidden, "connections may not "+verb.String()+" "+shown(a.AppendTo(nil))+" on this node",
			"The node decides who may serve, broadcast, and change or watch the node itself: see \"permissions\" in its configuration.")
	}
	return x.cfg.Allow(p, verb, a)
}
