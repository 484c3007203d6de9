package nodeapi

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/topic"
)

const (
	// gatherFor is for how long joins and leaves are gathered before they are told,
	// and gatherEach how many watchers make that once more as long. Where all who
	// watch a topic look at who does, too, each change is told to all, with a list of
	// all: so the traffic grows as they do, and not with their square.
	gatherFor  = 100 * time.Millisecond
	gatherEach = 20
	// lookAgain is how often it is looked who clients are: they may log in.
	lookAgain = 5 * time.Second
)

// about is the topic of which a path of the node tells who watches it.
type about struct {
	Address string `json:"address"`
}

// ofTopic answers for paths that end in the name and path of a topic.
type ofTopic struct{ watch route.Handler }

// Handle implements route.Handler. Only a watch, and a get, are asked for the
// right to watch the topic, so nothing else is answered.
func (o ofTopic) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	v := req.Message.EffectiveVerb()
	of, ok := exchange.PresenceOf(req.Address)
	if !ok || (v != message.VerbSubscribe && v != message.VerbGet) {
		_ = res.Fail(message.NewError(message.CodeUnimplemented, "this can only be watched", "Watch it, or get it."))
		return
	}
	body, err := json.Marshal(map[string]about{"params": {of.String()}})
	if err != nil {
		_ = res.Fail(err)
		return
	}
	own := *req
	own.Message.Body, own.Message.ContentType, own.Address.Query = body, nil, ""
	o.watch.Handle(ctx, &own, res)
}

func (h *api) servePresence(s *service.Service) {
	if h.Hub == nil {
		return
	}
	desc := service.WithDescription
	s.Handle("/presence/{name}/**", ofTopic{service.Watch(h.presence)}, desc("Who watches a topic, at all nodes."), watched(), inline())
	s.Handle("/watchers/{name}/**", ofTopic{service.Watch(h.watchers)}, desc("Who watches a topic, at this node."), watched(), inline())
}

// watchers tells who watches a topic at this node.
func (h *api) watchers(ctx context.Context, in about, set func(topic.Presence) error) error {
	changed, done := h.Hub.Look(in.Address)
	defer done()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		p := h.Hub.Present(in.Address, h.ID)
		if err := set(p); err != nil {
			return err
		}
		if err := rest(ctx, gathering(&p)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		case <-changed:
		}
	}
}

// gathering is how long it is until something is told again after p: where nobody
// is listed it costs little to tell.
func gathering(p *topic.Presence) time.Duration {
	return gatherFor * time.Duration(1+len(p.Watchers)/gatherEach)
}

// rest waits until there may be something to tell again.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// keepsPresence says why it is not known who watches an address, or nil.
func (h *api) keepsPresence(address string) error {
	a, err := message.ParseStrict(address)
	if err != nil {
		return err
	}
	match, err := h.Exchange.LookupTopic(a)
	if err != nil {
		return err
	}
	if !match.Info(nil).Topic.Presence {
		return message.NewError(message.CodeNotFound, "it is not kept who watches "+address,
			`Topics of the configuration keep it with "presence": true, contents with content.presence, those of a service if it says so.`)
	}
	return nil
}

// crowd is who watches a topic, by node.
type crowd struct {
	mu      sync.Mutex
	nodes   map[*asking]topic.Presence
	changed chan struct{} // holds a token
	first   chan struct{} // closed when this node has said who watches here
	started sync.Once
}

// asking is a node that is asked.
type asking struct {
	node string
	end  context.CancelFunc
}

// put takes what a node says; nil takes the node out.
func (c *crowd) put(node *asking, p *topic.Presence) {
	c.mu.Lock()
	if p == nil {
		delete(c.nodes, node)
	} else {
		c.nodes[node] = *p
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// all is who watches at all nodes.
func (c *crowd) all() topic.Presence {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum topic.Presence
	for _, p := range c.nodes {
		sum.Add(p)
	}
	return sum
}

// presence tells who watches a topic, by watching what the nodes say of theirs.
func (h *api) presence(ctx context.Context, in about, set func(topic.Presence) error) error {
	if err := h.keepsPresence(in.Address); err != nil {
		return err
	}
	c := &crowd{nodes: make(map[*asking]topic.Presence), changed: make(chan struct{}, 1), first: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	asked := make(map[string]*asking)
	for ready := false; ; {
		ids, moved := h.present()
		for id := range ids {
			if asked[id] == nil {
				one, end := context.WithCancel(ctx)
				a := &asking{id, end}
				asked[id] = a
				all.Go(func() { h.ask(one, c, a, in.Address) })
			}
		}
		for id, a := range asked {
			if !ids[id] {
				a.end()
				delete(asked, id)
				c.put(a, nil)
			}
		}
		if !ready {
			select {
			case <-c.first:
				ready = true
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		p := c.all()
		if err := set(p); err != nil {
			return err
		}
		if err := rest(ctx, gathering(&p)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-c.changed:
		}
	}
}

// present are the ids of the nodes that are there, this one included, and a
// channel that is closed when that may be different.
func (h *api) present() (ids map[string]bool, moved <-chan struct{}) {
	ids = map[string]bool{h.ID: true}
	m := h.Mesh()
	if m == nil { // it may meet others later
		_, moved = h.Exchange.Table().Version()
		return ids, moved
	}
	_, moved = m.Changes()
	for _, n := range m.Nodes() {
		if n.State != mesh.Lost {
			ids[n.ID] = true
		}
	}
	return ids, moved
}

// ask has a node tell who watches there, until ctx ends.
func (h *api) ask(ctx context.Context, c *crowd, a *asking, address string) {
	defer c.put(a, nil)
	of, err := message.ParseStrict(address)
	if err != nil {
		return // it was one before
	}
	at := message.Address{Instance: a.node, Name: Name, Path: "/watchers/" + of.Name + of.Path}
	for ctx.Err() == nil {
		h.hear(ctx, c, a, at.String())
		_ = rest(ctx, gatherFor) // what the node serves may not be known yet
	}
}

// hear takes what a node says until the watch ends.
func (h *api) hear(ctx context.Context, c *crowd, a *asking, at string) {
	w := h.Hub.Watch(ctx, at)
	defer func() { _ = w.Close() }()
	for {
		u, err := w.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		var p topic.Presence
		if err == nil && u.Fault == nil && json.Unmarshal(u.Body, &p) == nil {
			c.put(a, &p)
		} else {
			c.put(a, nil)
		}
		if a.node == h.ID {
			c.started.Do(func() { close(c.first) })
		}
		if err != nil {
			return
		}
	}
}
