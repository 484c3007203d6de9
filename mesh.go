package ropewalk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/line"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// tellClientsAfter is the least time between two words to clients about where
// else they can connect: each goes to all of them.
const tellClientsAfter = time.Second

// handOverTime bounds how long a node that stops waits for services of
// connections to go elsewhere: a few times what it takes on a busy machine.
const handOverTime = 3 * time.Second

// neighbors hands what happens on the links to other nodes to the exchange. It
// implements mesh.Handler.
type neighbors struct{ x *exchange.Exchange }

// farLink makes an exchange.FarLink of the link to a node.
type farLink struct{ *mesh.Node }

// Deliver implements exchange.FarLink.
func (l farLink) Deliver(n exchange.Note, m *message.Message) error {
	return l.Node.Deliver(mesh.Note(n), m)
}

// Joined implements mesh.Handler.
func (h neighbors) Joined(n *mesh.Node) {
	c := n.Card()
	n.Data = h.x.AttachNode(farLink{n}, route.Place{Node: n.ID(), Name: c.Name, Zone: c.Zone()})
}

func far(n *mesh.Node) *exchange.FarNode {
	return n.Data.(*exchange.FarNode) //nolint:forcetypeassert // Joined has set it
}

// Served implements mesh.Handler.
func (h neighbors) Served(n *mesh.Node, s route.Seat) error {
	return far(n).Serve(s.Server, s.Name, s.Pattern, s.Info)
}

// Unserved implements mesh.Handler.
func (h neighbors) Unserved(n *mesh.Node, s route.Seat) { far(n).Unserve(s.Server, s.Name, s.Pattern) }

// Message implements mesh.Handler.
func (h neighbors) Message(n *mesh.Node, note mesh.Note, m *message.Message) {
	far(n).Receive(exchange.Note(note), m)
}

// Left implements mesh.Handler.
func (h neighbors) Left(n *mesh.Node, why *message.Error) { far(n).Gone(why) }

// discovery returns what the configuration names.
func (c *Config) discovery() (mesh.Discovery, error) {
	if c.Discovery != nil {
		return c.Discovery, nil
	}
	if len(c.Mesh.Nodes) > 0 && c.Mesh.Discovery != "static" {
		return nil, errors.New(`mesh.nodes: the names are for static discovery; set mesh.discovery to "static"`)
	}
	switch c.Mesh.Discovery {
	case "", "nats":
		return mesh.Broadcast(), nil
	case "none":
		return mesh.NoDiscovery(), nil
	case "static":
		if len(c.Mesh.Nodes) == 0 {
			return nil, errors.New("mesh.nodes: static discovery needs the names of the nodes")
		}
		return mesh.Static(c.Mesh.Nodes...), nil
	}
	return nil, fmt.Errorf("mesh.discovery: %q is none of nats, static, none", c.Mesh.Discovery)
}

// checkMesh tells whether the node can meet others as the configuration says.
func (c *Config) checkMesh() error {
	if !c.Mesh.Alone() && c.Backplane == nil {
		return errors.New("mesh is set, but there is no Config.Backplane to meet other nodes; package mesh/natsplane makes one")
	}
	if l := c.Mesh.Lines; l != "" && l != linesAuto && l != linesNone {
		return fmt.Errorf("mesh.lines: %q is neither auto nor none", l)
	}
	_, err := c.discovery()
	return err
}

// join has the node meet others.
func (n *Node) join(ctx context.Context) error {
	if n.cfg.Backplane == nil {
		return nil
	}
	discovery, err := n.cfg.discovery()
	if err != nil {
		return err
	}
	frame := 0
	if n.cfg.Limits.Frame > mesh.DefaultMaxFrame {
		frame = n.cfg.Limits.Frame
	}
	var lines mesh.Lines // not an interface of a nil pointer
	if n.lines != nil {
		lines = n.lines
	}
	m, err := mesh.Start(ctx, mesh.Config{
		ID: n.id, Backplane: n.cfg.Backplane, Table: n.x.Table(), Handler: neighbors{n.x},
		Name: n.cfg.Name, Version: Version, Labels: n.cfg.Mesh.Labels, URLs: n.urls, Clients: n.x.Connected,
		Discovery: discovery, Lines: lines, DeadAfter: time.Duration(n.cfg.Mesh.DeadAfter), MaxFrame: frame,
		Logger: n.log, Registry: n.registry,
	})
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	if !n.keep(m) {
		return errors.Join(errShutDown, m.Close(ctx))
	}
	return nil
}

// keep makes a mesh that was joined the node's own, unless Shutdown was quicker.
func (n *Node) keep(m *mesh.Mesh) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return false
	}
	n.mesh.Store(m)
	n.lane = lane.New(context.Background(), n.log)
	n.lane.Go("node.neighbors", n.tellClients)
	if n.sessions != nil {
		n.lane.Go("node.sessions", func(ctx context.Context) { n.sessions.follow(ctx, m) })
	}
	return true
}

// otherNodes are the ids of the nodes that this one can talk to.
func (n *Node) otherNodes() []string {
	m := n.mesh.Load()
	if m == nil {
		return nil
	}
	var ids []string
	for _, o := range m.Nodes() {
		if !o.Self && o.State != mesh.Lost {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// Mesh is the node's view of the other nodes; nil while it is alone.
func (n *Node) Mesh() *mesh.Mesh { return n.mesh.Load() }

// unreachable tells whether a node that is out of reach may serve an address.
func (n *Node) unreachable(a message.Address) *message.Error {
	if m := n.mesh.Load(); m != nil {
		return m.Unreachable(a)
	}
	return nil
}

// SetDraining has the node take no new calls from other nodes, and ask its
// clients to go elsewhere; it goes on with what is in flight, and for clients
// that stay. false takes that back.
func (n *Node) SetDraining(on bool) {
	if m := n.mesh.Load(); m != nil {
		m.Drain(on)
	}
	n.x.Resign(on)
}

// handOver waits until the clients that serve something have gone to other
// nodes: until then this one has calls for them. Those that stay, or that have
// nowhere to go, hold it up for a while at most.
func (n *Node) handOver(ctx context.Context) {
	if !slices.ContainsFunc(n.Mesh().Nodes(), func(i mesh.NodeInfo) bool {
		return !i.Self && i.State == mesh.Alive && len(i.URLs) > 0
	}) {
		return
	}
	most := time.NewTimer(handOverTime)
	defer most.Stop()
	for {
		_, changed := n.x.Table().Version()
		if !slices.ContainsFunc(n.x.Table().Local(), func(s route.Seat) bool { return s.Server != n.id }) {
			return
		}
		select {
		case <-changed:
		case <-most.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// leave takes the node out of the mesh.
func (n *Node) leave(ctx context.Context) error {
	m := n.mesh.Load()
	if m == nil {
		return nil
	}
	n.lane.Close()
	if err := m.Close(ctx); err != nil {
		return fmt.Errorf("leave the mesh: %w", err)
	}
	return nil
}

// tellClients tells clients, and the check of origins, of the nodes that there
// are, until ctx ends.
func (n *Node) tellClients(ctx context.Context) {
	m := n.mesh.Load()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		_, changed := m.Changes()
		n.tellNodes(m.Nodes())
		told := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		timer.Reset(tellClientsAfter - time.Since(told))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (n *Node) tellNodes(nodes []mesh.NodeInfo) {
	var refs []exchange.NodeRef
	origins := make(map[string]struct{})
	for i := range nodes {
		c := &nodes[i]
		for _, u := range c.URLs {
			if o := originOf(u); o != "" {
				origins[o] = struct{}{}
			}
		}
		if c.State == mesh.Alive && len(c.URLs) > 0 {
			refs = append(refs, exchange.NodeRef{ID: c.ID, Name: c.Name, URLs: slices.Clone(c.URLs)})
		}
	}
	n.origins.Store(&origins)
	n.x.SetNodes(refs)
}

// originOf returns the web origin of the pages that a listener serves.
func originOf(listener string) string {
	u, err := url.Parse(listener)
	if err != nil || u.Host == "" {
		return ""
	}
	switch u.Scheme {
	case "ws", "http":
		return "http://" + u.Host
	case "wss", "https":
		return "https://" + u.Host
	}
	return ""
}

// originAllowed lets the pages of other nodes connect, which come here when
// their own node is lost.
func (n *Node) originAllowed(origin string) bool {
	known := n.origins.Load()
	if known == nil {
		return false
	}
	_, ok := (*known)[origin]
	return ok
}

// meshState is what a Node has of the mesh.
type meshState struct {
	mesh    atomic.Pointer[mesh.Mesh]
	origins atomic.Pointer[map[string]struct{}]
	lines   *line.Lines // nil if this node has none
	lane    *lane.Lane  // of what tells clients about other nodes
}
