package nodeapi

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/mesh"
)

// NodeStatus is one node of the mesh, in the answer of node:/nodes.
type NodeStatus struct {
	mesh.NodeInfo
	// Calling is the number of calls and sends in flight from the node that
	// tells to this one, and Answering of those from this one to it.
	Calling   int `json:"calling,omitempty"`
	Answering int `json:"answering,omitempty"`
}

// nodes lists the nodes of the mesh: by name, lost ones last. A node alone lists
// itself.
func (h *api) nodes(context.Context, none) ([]NodeStatus, error) {
	m := h.Mesh()
	if m == nil {
		return []NodeStatus{{NodeInfo: h.alone()}}, nil
	}
	list := m.Nodes()
	out := make([]NodeStatus, len(list))
	place := make(map[string]*NodeStatus, len(list))
	for i := range list {
		out[i].NodeInfo = list[i]
		place[list[i].ID] = &out[i]
	}
	for _, f := range h.Exchange.Nodes() {
		if s := place[f.Place().Node]; s != nil {
			s.Calling, s.Answering = f.Calling(), f.Answering()
		}
	}
	return out, nil
}

// alone is what a node that meets no others tells about itself.
func (h *api) alone() mesh.NodeInfo {
	state := mesh.Alive
	if h.Exchange.Resigned() {
		state = mesh.Draining
	}
	return mesh.NodeInfo{
		Card: mesh.Card{
			Protocol: mesh.Protocol, ID: h.ID, Name: h.NodeName, Version: h.Version, State: state, Started: h.Started,
			Labels: h.Labels, URLs: h.URLs(), Clients: h.Exchange.Connected(), Routes: len(h.Exchange.Table().Local()),
		},
		Self: true, State: state, Since: h.Started,
	}
}

// Drain is the input of node:/drain.
type Drain struct {
	// On says whether to drain. Without it nothing is changed.
	On *bool `json:"on,omitempty"`
}

// Drained is the answer of node:/drain.
type Drained struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Draining bool   `json:"draining"`
	// InFlight are the calls that are not finished, but for those to node:.
	InFlight int `json:"inFlight"`
	Clients  int `json:"clients"`
}

func (h *api) drain(ctx context.Context, in Drain) (Drained, error) {
	if in.On != nil {
		if err := h.allowed(ctx); err != nil {
			return Drained{}, err
		}
		h.SetDraining(*in.On)
		h.note(ctx, audit.KindNode, fmt.Sprintf("draining: %t", *in.On), nil)
	}
	x := h.Exchange
	return Drained{
		ID: h.ID, Name: h.NodeName, Draining: x.Resigned(),
		InFlight: max(0, x.InFlight()-int(h.own.Load())), Clients: x.Connected(),
	}, nil
}
