package exchange

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Note is what nodes tell each other about a message besides the message.
type Note struct {
	// Server is the id of the endpoint that the sender of a call or send chose,
	// or of the client that a send is for.
	Server string
	// Granted tells that the sender's node allows the caller what it wants of
	// node:/ here.
	Granted bool
	// Returned marks a call or send that comes back, with nothing but its mid
	// and body: it was surely not handed to a server.
	Returned bool
}

// FarLink carries messages to another node, each at most once and in order,
// until it is lost.
type FarLink interface {
	// Deliver queues m. It never blocks, keeps nothing of m, and calls no
	// method of a FarNode. Its errors are those of [Link.Deliver]:
	// CodeOverloaded when the queue is full, and for parts some time before,
	// CodeTooLarge, another code when the node is lost.
	Deliver(n Note, m *message.Message) error
	// Relief is as that of a Link.
	Relief() <-chan struct{}
	// Lose ends the link, because a final answer could not be delivered. It is
	// called with locks held and must not wait for [FarNode.Gone].
	Lose(reason string)
}

// FarNode is another node of the mesh as this one sees it. Its servers are in
// the table of routes like those that are here. Receive is called by the owner
// of the link, one message at a time; Gone once, by it, at the end; all else by
// anybody.
type FarNode struct {
	x     *Exchange
	link  FarLink
	place *route.Place

	asks    desk         // the calls and sends of this node that it is answering
	passing atomic.Int32 // sends to its clients among them

	mu      sync.Mutex
	closed  bool
	servers map[string]*farServer
	asked   map[uint64]*Call        // its calls and sends that are in flight here, by mid
	waits   map[*Call]chan struct{} // those of them whose handlers wait for the caller to take parts
}

// farNodes are the other nodes of the mesh.
type farNodes struct {
	mu   sync.RWMutex
	byID map[string]*FarNode
	tags map[string]*FarNode // by the tag that the ids of their clients begin with
}

// AttachNode makes another node known. Its owner calls Gone when it is lost,
// before it attaches a node with the same id again.
func (x *Exchange) AttachNode(l FarLink, p route.Place) *FarNode {
	f := &FarNode{
		x: x, link: l, place: &p,
		servers: make(map[string]*farServer), asked: make(map[uint64]*Call),
	}
	f.asks.x, f.asks.to = x, f
	x.far.mu.Lock()
	defer x.far.mu.Unlock()
	if x.far.byID == nil {
		x.far.byID, x.far.tags = make(map[string]*FarNode), make(map[string]*FarNode)
	}
	x.far.byID[p.Node] = f
	x.far.tags[message.NodeTag(p.Node)] = f
	return f
}

func (x *Exchange) removeNode(f *FarNode) {
	x.far.mu.Lock()
	defer x.far.mu.Unlock()
	if x.far.byID[f.place.Node] == f {
		delete(x.far.byID, f.place.Node)
	}
	if tag := message.NodeTag(f.place.Node); x.far.tags[tag] == f {
		delete(x.far.tags, tag)
	}
}

// Nodes returns the other nodes of the mesh, in no order.
func (x *Exchange) Nodes() []*FarNode {
	x.far.mu.RLock()
	defer x.far.mu.RUnlock()
	return slices.Collect(maps.Values(x.far.byID))
}

// nodeOf returns the other node that a client with this id was connected to
// when it got it, or nil.
func (x *Exchange) nodeOf(client string) *FarNode {
	tag, ok := message.TagOf(client)
	if !ok {
		return nil
	}
	x.far.mu.RLock()
	defer x.far.mu.RUnlock()
	return x.far.tags[tag]
}

// Place tells which node it is. Nobody may change it.
func (f *FarNode) Place() *route.Place { return f.place }

// Calling is the number of calls and sends of this node that it has not
// finished.
func (f *FarNode) Calling() int { return f.asks.count() }

// Answering is the number of its calls and sends that this node has not
// finished.
func (f *FarNode) Answering() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// carry implements carrier.
func (f *FarNode) carry(n Note, m *message.Message) error { return f.link.Deliver(n, m) }

// Serve enters a server of the other node into the table. The error is that of
// [route.Table.Serve], or says that the node may not serve this name or is
// gone.
func (f *FarNode) Serve(server, name string, p route.Pattern, info route.Info) error {
	if server == "" || name == clientScheme || (name == nodeScheme && server != f.place.Node) {
		return message.NewError(message.CodeBadAddress, fmt.Sprintf("the node %s cannot serve %.64q", f.place.Name, name),
			"client: and node: belong to each node.")
	}
	info.Check = nil // bodies are checked where the server is
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return &message.Error{Code: message.CodeNodeLost, Message: "the node is gone"}
	}
	s := f.servers[server]
	if s == nil {
		s = &farServer{node: f, id: server}
	}
	// Under the lock, so that Gone takes back what it finds here.
	if err := f.x.table.Serve(name, p, s, info); err != nil {
		return err
	}
	f.servers[server] = s
	if info.Own {
		f.x.evict(name)
	}
	return nil
}

// Unserve takes a Serve back. Calls that the server has go on.
func (f *FarNode) Unserve(server, name string, p route.Pattern) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.servers[server]
	if s == nil {
		return
	}
	f.x.table.Unserve(name, p, s)
	if f.x.table.Count(s) == 0 {
		delete(f.servers, server)
	}
}

// Gone tells that the node is lost, and why: with CodeNodeLost or
// CodeMeshSplit, and a message for callers. Its servers leave the table, the
// calls that it was answering fail, and those that it made are canceled.
func (f *FarNode) Gone(why *message.Error) {
	f.x.removeNode(f)
	f.mu.Lock()
	f.closed = true
	servers, asked := f.servers, f.asked
	f.servers, f.asked = nil, nil
	for _, c := range asked {
		c.state.origin.deaf = true // it is not over: it would have left asked before
	}
	f.mu.Unlock()

	for _, s := range servers {
		f.x.table.UnserveAll(s)
	}
	lost := &message.Error{Code: why.Code, Message: why.Message, Hint: maybeExecuted}
	for _, res := range f.asks.close() {
		_ = res.Fail(lost)
	}
	for _, c := range asked {
		_ = c.Fail(&message.Error{Code: message.CodeCanceled, Message: "the caller's node went away"})
	}
}

// missing returns the error of a look-up that found nobody, unless a part of
// the mesh where somebody may be is out of reach.
func (x *Exchange) missing(a message.Address, err error) error {
	if x.cfg.Unreachable == nil {
		return err
	}
	code := message.CodeOf(err)
	if code != message.CodeNoService && code != message.CodeServiceDown && code != message.CodeNoClient {
		return err
	}
	if split := x.cfg.Unreachable(a); split != nil {
		return split
	}
	return err
}

// Resign has the services in this process take no more calls from other nodes,
// and tells the clients to start nothing new here; what is in flight goes on, and
// so does everything for clients that stay. They may have services, too: calls go
// to these until they serve elsewhere. Resign(false) ends it, for what is to come.
func (x *Exchange) Resign(on bool) {
	if x.resigned.Swap(on) || !on {
		return
	}
	for _, p := range x.Peers() {
		p.tellDrain()
	}
}

// Resigned tells whether the node takes no calls from other nodes.
func (x *Exchange) Resigned() bool { return x.resigned.Load() }

var _ carrier = (*FarNode)(nil)
