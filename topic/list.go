package topic

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Kinds of [Info].
const (
	KindState  = "state"
	KindEvents = "events"
)

// Info is a topic as node:/topics lists it.
type Info struct {
	Address string          `json:"address"`
	Params  json.RawMessage `json:"params,omitempty"`
	// Kind is "state" or "events".
	Kind string `json:"kind"`
	// Watchers are the connections of this node that watch it, and watches from
	// inside its process.
	Watchers int `json:"watchers"`
	// Nodes are those, this one included, that watch it at a server of this node.
	Nodes int `json:"nodes,omitempty"`
	// Owner is the node of the server that has it, by id, and OwnerName by name;
	// both are empty while it has none.
	Owner     string `json:"owner,omitempty"`
	OwnerName string `json:"ownerName,omitempty"`
	// Epoch and Offset are of what came last, and Updates counts what came since
	// somebody here watches it.
	Epoch   string `json:"epoch,omitempty"`
	Offset  uint64 `json:"offset,omitempty"`
	Updates uint64 `json:"updates,omitempty"`
	// Personal tells that others see something else there; there may be several
	// of an address.
	Personal bool `json:"personal,omitempty"`
	// Lost tells that its owner is gone, and no other was found yet.
	Lost bool `json:"lost,omitempty"`
}

// Topics lists what is watched at this node, or at servers of it by other nodes:
// in order of addresses and parameters. id and name are those of the node.
func (h *Hub) Topics(id, name string) []Info {
	h.mu.Lock()
	topics := make([]*topic, 0, len(h.topics))
	for _, t := range h.topics {
		topics = append(topics, t)
	}
	sources := make([]*source, 0, len(h.sources))
	for _, s := range h.sources {
		sources = append(sources, s)
	}
	h.mu.Unlock()
	list := make([]Info, 0, len(topics)+len(sources))
	place := make(map[string]int, len(topics))
	for _, t := range topics {
		if i, ok := t.about(id, name); ok {
			place[t.key] = len(list)
			list = append(list, i)
		}
	}
	served := func(key string, i Info) {
		if at, ok := place[key]; ok {
			list[at].Nodes += i.Nodes
			return
		}
		i.Owner, i.OwnerName = id, name
		list = append(list, i)
	}
	for _, s := range sources {
		served(s.key.what, s.about())
	}
	for _, l := range h.metrics.memory.all() {
		l.about(served)
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(string(a.Params), string(b.Params)), cmp.Compare(a.Epoch, b.Epoch))
	})
	return list
}

func kindOf(events bool) string {
	if events {
		return KindEvents
	}
	return KindState
}

// about tells of a topic, unless it is over.
func (t *topic) about(id, name string) (Info, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := Info{
		Address: t.to, Params: t.params, Kind: kindOf(t.events), Watchers: len(t.watchers),
		Epoch: t.epoch, Offset: t.past.told, Updates: t.updates, Personal: t.who != nil, Lost: t.state == broken,
	}
	if !t.events && t.newest != nil {
		i.Offset = t.newest.offset
	}
	if v, here := t.up.(*visitor); t.open && here && v.feed != nil {
		i.Nodes = 1
	}
	if t.open && t.owner != nil {
		i.Owner, i.OwnerName = id, name
		if p, far := t.owner.(route.Placed); far && !t.owner.Local() {
			i.Owner, i.OwnerName = p.Place().Node, p.Place().Name
		}
	}
	return i, t.state != over
}

// about tells of a source.
func (s *source) about() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := Info{
		Address: s.to, Params: s.params, Kind: kindOf(s.events), Nodes: len(s.visitors),
		Epoch: s.epoch, Offset: s.offset, Personal: s.who,
	}
	if s.events {
		i.Offset = s.past.last
	}
	return i
}

// ownTopics is the path of the list of topics, which changes with each look.
const ownTopics = "/topics"

// Changed tells whether a list of topics is worth to be told after another one:
// that the list itself was told is not.
func Changed(old, list []Info) bool {
	return !slices.EqualFunc(old, list, func(a, b Info) bool {
		if at, err := message.ParseStrict(a.Address); err == nil && at.Name == "node" && at.Path == ownTopics {
			a.Offset, a.Updates = b.Offset, b.Updates
		}
		p, q := a.Params, b.Params
		a.Params, b.Params = nil, nil
		return slices.Equal(p, q) && same(&a, &b)
	})
}

// same compares what has no parameters.
func same(a, b *Info) bool {
	return a.Address == b.Address && a.Kind == b.Kind && a.Watchers == b.Watchers && a.Nodes == b.Nodes && a.Owner == b.Owner &&
		a.OwnerName == b.OwnerName && a.Epoch == b.Epoch && a.Offset == b.Offset && a.Updates == b.Updates &&
		a.Personal == b.Personal && a.Lost == b.Lost
}
