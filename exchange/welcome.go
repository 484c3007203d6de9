package exchange

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Welcome is the body of the first message on each connection.
type Welcome struct {
	ID     string        `json:"id"`
	Node   NodeRef       `json:"node"`
	Limits WelcomeLimits `json:"limits"`
	Nodes  []NodeRef     `json:"nodes,omitempty"` // see [Exchange.SetNodes]
}

// NodeRef names a node.
type NodeRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// URLs are where clients connect, best first; only in lists of nodes.
	URLs []string `json:"urls,omitempty"`
}

// WelcomeLimits tells a client what the node will refuse.
type WelcomeLimits struct {
	Frame int `json:"frame"` // bytes
	Calls int `json:"calls"` // in flight
}

// nodes is what clients are told of the nodes that they can connect to.
type nodes struct {
	mu   sync.Mutex // held while clients are told, so that nobody hears of an old list last
	list atomic.Pointer[nodeList]
}

// nodeList is one list. Nobody changes it.
type nodeList struct {
	refs []NodeRef
	body []byte // of [message.VerbNodes]
}

// SetNodes says which nodes clients can connect to, this one included. Welcomes
// tell it from now on, and clients that are connected are told at once if it is
// another list than before; whoever calls this too often has them all woken
// each time. Nil is none. It does not block, and keeps a copy of the list.
func (x *Exchange) SetNodes(list []NodeRef) {
	x.nodes.mu.Lock()
	defer x.nodes.mu.Unlock()
	var had []NodeRef
	if l := x.nodes.list.Load(); l != nil {
		had = l.refs
	}
	if slices.EqualFunc(had, list, NodeRef.equal) {
		return
	}
	refs := make([]NodeRef, len(list))
	for i, n := range list {
		refs[i] = NodeRef{ID: n.ID, Name: n.Name, URLs: slices.Clone(n.URLs)}
	}
	now := &nodeList{refs: refs, body: marshal(struct {
		Nodes []NodeRef `json:"nodes"`
	}{refs})}
	x.nodes.list.Store(now)
	one := x.sharedNodes(now)
	defer one.release()
	for _, p := range x.Peers() {
		one.deliver(p.link)
	}
}

func (n NodeRef) equal(o NodeRef) bool {
	return n.ID == o.ID && n.Name == o.Name && slices.Equal(n.URLs, o.URLs)
}

// sharedNodes makes the message that tells of a list.
func (x *Exchange) sharedNodes(l *nodeList) *sharing {
	one := &sharing{x: x, m: x.borrow()}
	one.m.Verb, one.m.From, one.m.Body = message.VerbNodes, x.address, l.body
	return one
}

// catchUp tells a new peer of a list that came between its welcome, which had
// told of another, and now, when SetNodes can see it.
func (x *Exchange) catchUp(p *Peer, told *nodeList) {
	if x.nodes.list.Load() == told {
		return
	}
	x.nodes.mu.Lock()
	defer x.nodes.mu.Unlock()
	one := x.sharedNodes(x.nodes.list.Load())
	defer one.release()
	one.deliver(p.link)
}

func (x *Exchange) welcome(p *Peer, maxFrame int, known *nodeList) []byte {
	w := Welcome{
		ID:     p.ID(),
		Node:   NodeRef{ID: x.cfg.NodeID, Name: x.cfg.NodeName},
		Limits: WelcomeLimits{Frame: maxFrame, Calls: x.cfg.MaxCalls},
	}
	if known != nil {
		w.Nodes = known.refs
	}
	return marshal(w)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) //nolint:forbidigo // strings and numbers always marshal
	}
	return b
}

// ClientInfo describes one connection, for node:/clients.
type ClientInfo struct {
	ID         string    `json:"id"`
	Listener   string    `json:"listener"`
	Transport  string    `json:"transport"`
	RemoteAddr string    `json:"remoteAddr,omitempty"` // HOST:PORT; only for those who may know it
	Since      time.Time `json:"since"`
	Calling    int       `json:"calling"`   // calls it made that are in flight
	Answering  int       `json:"answering"` // calls it is answering
	Serves     int       `json:"serves"`    // routes
	Draining   bool      `json:"draining,omitempty"`
}

// Info describes the peer, but for its RemoteAddr.
func (p *Peer) Info() ClientInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ClientInfo{
		ID: p.ID(), Listener: p.Listener(), Transport: p.link.Transport(),
		Since: p.since, Calling: p.inFlight, Answering: p.InFlight(), Serves: p.x.table.Count(p), Draining: p.draining,
	}
}
