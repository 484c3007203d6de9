package nodeapi

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Explain is the input of node:/route/explain. Strategy, Scope and Version are
// what the call would ask for.
type Explain struct {
	Address  string `json:"address" jsonschema:"minLength=1"`
	Strategy string `json:"strategy,omitempty"`
	Scope    string `json:"scope,omitempty" jsonschema:"enum=mesh|zone|node"`
	Version  string `json:"version,omitempty"`
}

// Explanation is the way that a call to an address would take.
type Explanation struct {
	Address message.Address   `json:"address"`
	Steps   []Step            `json:"steps"`
	Route   string            `json:"route,omitempty"`
	Params  map[string]string `json:"params,omitempty"`
	// Servers could answer, in order of serving since.
	Servers  []Server `json:"servers"`
	Strategy string   `json:"strategy,omitempty"`
	// Weights are the shares of calls by range of versions, if the calls of the
	// service are split.
	Weights map[string]float64 `json:"weights,omitempty"`
	// Error is what a caller would get, if nobody can answer.
	Error *ExplainedError `json:"error,omitempty"`
}

// ExplainedError is why nobody can answer.
type ExplainedError struct {
	Code    message.Code `json:"code"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`
}

// Step is one station on the way.
type Step struct {
	Stage      string   `json:"stage"`
	Middleware []string `json:"middleware"`
}

// Server is one that could answer.
type Server struct {
	ID       string `json:"id"`
	Path     string `json:"path"`
	Version  string `json:"version,omitempty"`
	InFlight int    `json:"inFlight"` // calls from this node
	Local    bool   `json:"local"`
	Node     string `json:"node"` // name of its node
	Zone     string `json:"zone,omitempty"`
}

func (h *api) explain(_ context.Context, in Explain) (Explanation, error) {
	addr, err := message.ParseStrict(in.Address)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Address: addr, Steps: h.steps(), Servers: []Server{}}
	if addr.Name == clientName {
		h.explainClient(&out)
		return out, nil
	}
	targets, err := h.targets(in, addr)
	if err != nil {
		out.fail(h.missing(addr, err))
		return out, nil
	}
	out.Route = targets[0].Route
	out.Weights = h.Strategies.Weights()[targets[0].Name]
	out.Strategy = in.Strategy
	if out.Strategy == "" {
		out.Strategy = h.Exchange.StrategyOf(out.Route)
	}
	for name, value := range targets[0].Params.All() {
		if out.Params == nil {
			out.Params = make(map[string]string)
		}
		out.Params[name] = value
	}
	for i := range targets {
		t := &targets[i]
		s := Server{
			ID: t.Endpoint.ID(), Path: t.Path, InFlight: t.Endpoint.InFlight(), Local: t.Endpoint.Local(),
			Version: t.Info().Version, Node: h.NodeName, Zone: h.Labels[zoneLabel],
		}
		if p, ok := t.Endpoint.(route.Placed); ok {
			s.Node, s.Zone = p.Place().Name, p.Place().Zone
		}
		out.Servers = append(out.Servers, s)
	}
	return out, nil
}

// targets are who comes into question for a call, as the exchange finds them.
func (h *api) targets(in Explain, addr message.Address) ([]route.Target, error) {
	gathers := route.Selection{By: in.Strategy}.Gathers()
	if addr.Name == Name && addr.Instance == "" && !gathers {
		addr.Instance = h.ID // node: is this node, unless another is named
	}
	targets, err := h.Exchange.Table().Expand(addr)
	if err != nil {
		return nil, err
	}
	if addr.Name != Name {
		targets = slices.DeleteFunc(targets, func(t route.Target) bool { return t.Name == Name && !t.Endpoint.Local() })
	}
	return h.Strategies.Within(route.Selection{Scope: in.Scope, Version: in.Version}, targets)
}

// missing is what a caller is told when nobody was found: a node that is out of
// reach may have the server.
func (h *api) missing(addr message.Address, err error) *message.Error {
	e := message.AsError(err)
	if e.Code != message.CodeNoService && e.Code != message.CodeServiceDown && e.Code != message.CodeNoClient {
		return e
	}
	if m := h.Mesh(); m != nil {
		if split := m.Unreachable(addr); split != nil {
			return split
		}
	}
	return e
}

// explainClient tells where a client is connected: a send finds it by its id.
func (h *api) explainClient(out *Explanation) {
	id := out.Address.Instance
	tag, known := message.TagOf(id)
	switch p := h.Exchange.Peer(id); {
	case id == "" || id == "*":
		out.fail(message.NewError(message.CodeBadAddress, "the address names no single client", "Write <client id>@client:/."))
		return
	case p != nil:
		out.Servers = append(out.Servers, Server{
			ID: id, Path: out.Address.Path, InFlight: p.InFlight(), Local: true, Node: h.NodeName, Zone: h.Labels[zoneLabel],
		})
		return
	case known:
		for _, f := range h.Exchange.Nodes() {
			if place := f.Place(); message.NodeTag(place.Node) == tag {
				out.Servers = append(out.Servers, Server{ID: id, Path: out.Address.Path, Node: place.Name, Zone: place.Zone})
				return
			}
		}
	}
	out.fail(h.missing(out.Address, message.NewError(message.CodeNoClient, "this client is not connected to any node that there is",
		"\"ropewalk clients --all\" lists those that are there.")))
}

func (x *Explanation) fail(e *message.Error) {
	x.Error = &ExplainedError{Code: e.Code, Message: e.Message, Hint: e.Hint}
}

// steps lists the stages in the order in which a call and its answer pass them.
func (h *api) steps() []Step {
	list := h.Exchange.Stack().List()
	out := make([]Step, 0, len(list))
	for _, s := range list {
		step := Step{Stage: string(s.Stage), Middleware: []string{}}
		for _, e := range s.Entries {
			step.Middleware = append(step.Middleware, e.Name)
		}
		out = append(out, step)
	}
	return out
}
