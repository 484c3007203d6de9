package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// NodeInfo is what this node knows of one node of the mesh, for people.
type NodeInfo struct {
	Card
	// Self is true for the node that tells.
	Self bool `json:"self,omitempty"`
	// State is that of the card, or lost.
	State State `json:"state"`
	// Gone tells that the process of a lost node is not there any more; without
	// it the node may be out of reach only.
	Gone bool `json:"gone,omitempty"`
	// Since is when it joined or was lost, as this node has seen it.
	Since time.Time `json:"since"`
	// Heard is when it was heard of last.
	Heard time.Time `json:"heard,omitzero"`
	// RTT is the time to the node and back, in seconds; 0 if not yet known.
	RTT float64 `json:"rtt,omitempty"`
	// Line is how this node sends to it: "direct", or "nats", the backplane; "" if
	// it does not.
	Line string `json:"line,omitempty"`
	// Pending is how many bytes wait to be sent there or acknowledged.
	Pending int `json:"pending,omitempty"`
}

// What [NodeInfo].Line may be.
const (
	lineDirect    = "direct"
	lineBackplane = "nats"
)

// Nodes lists the nodes of the mesh, this one included: by name, lost ones
// last.
func (m *Mesh) Nodes() []NodeInfo {
	self := m.Card()
	m.mu.Lock()
	list := make([]NodeInfo, 0, 1+len(m.members))
	list = append(list, NodeInfo{Card: self, Self: true, State: self.State, Since: m.started})
	for _, mem := range m.members {
		list = append(list, mem.info())
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b NodeInfo) int {
		lost := func(i NodeInfo) int {
			if i.State == Lost {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(lost(a), lost(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for i := range list {
		list[i].Hears, list[i].LineWord, list[i].Frame, list[i].Card.State = "", "", 0, list[i].State
	}
	return list
}

func (mem *member) info() NodeInfo {
	i := NodeInfo{Card: *mem.card, State: mem.card.State, Heard: mem.heard}
	n := mem.link
	if n == nil {
		i.State, i.Since, i.Gone = Lost, mem.lostAt, mem.gone || mem.left
		return i
	}
	i.Since = n.since
	i.RTT = time.Duration(n.rtt.Load()).Seconds()
	i.Line = lineBackplane
	if n.line.Load() != nil {
		i.Line = lineDirect
	}
	n.mu.Lock()
	i.Pending = n.out.bytes
	n.mu.Unlock()
	return i
}

// Unreachable is asked about an address that nobody serves, or about a client
// that is not connected here. If a node that is out of reach may have it, the
// error says so; else it is nil: then the servers are really gone, or never
// were.
func (m *Mesh) Unreachable(a message.Address) *message.Error {
	isClient := a.Name == clientScheme
	if isClient {
		if _, ok := message.TagOf(a.Instance); !ok {
			return nil
		}
	}
	// Whoever was away himself has yet to hear who is there.
	connected := m.connected.Load() && time.Since(m.at(m.restored.Load())) > m.cfg.DeadAfter
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, mem := range m.members {
		switch {
		case mem.left, mem.gone, mem.link != nil && mem.link.told.Load():
			continue
		case mem.link == nil && mem.lostAs == lostSilent && connected && mem.card.Addr == "":
			// Without an address to try, an outside backplane is the judge of
			// who is there: as long as it is in reach, silence is death.
			continue
		}
		// An instance is the id of a node, or of one of its clients.
		if a.Instance != "" && !strings.HasPrefix(a.Instance, message.NodeTag(id.String())) {
			continue
		}
		if isClient || mem.serves(a) {
			return &message.Error{
				Code: message.CodeMeshSplit, Message: fmt.Sprintf("the node %s, which served this, is out of reach", mem.card.Name),
				Hint: "The message was not handed over; repeat it when the nodes see each other again, see \"ropewalk nodes\".", Retryable: true,
			}
		}
	}
	return nil
}

// serves tells whether a lost node served what an address stands for.
func (mem *member) serves(a message.Address) bool {
	if mem.served == nil {
		return false
	}
	a = message.Address{Name: a.Name, Path: a.Path}
	var err error
	if a.HasWildcard() {
		_, err = mem.served.Expand(a)
	} else {
		_, err = mem.served.Lookup(a)
	}
	return err == nil
}

// clientScheme is the name under which clients are addressed.
const clientScheme = "client"
