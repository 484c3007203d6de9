package nodeapi

import (
	"context"

	"github.com/ropewalk/ropewalk/message"
)

// Explain is the input of node:/route/explain.
type Explain struct {
	Address  string `json:"address" jsonschema:"minLength=1"`
	Strategy string `json:"strategy,omitempty"`
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
	InFlight int    `json:"inFlight"`
	Local    bool   `json:"local"`
}

func (h Host) explain(_ context.Context, in Explain) (Explanation, error) {
	addr, err := message.ParseStrict(in.Address)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Address: addr, Steps: h.steps(), Servers: []Server{}}
	targets, err := h.Exchange.Table().Expand(addr)
	if err != nil {
		e := message.AsError(err)
		out.Error = &ExplainedError{Code: e.Code, Message: e.Message, Hint: e.Hint}
		return out, nil
	}
	out.Route = targets[0].Route
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
		out.Servers = append(out.Servers, Server{
			ID: t.Endpoint.ID(), Path: t.Path, InFlight: t.Endpoint.InFlight(), Local: t.Endpoint.Local(),
			Version: t.Info().Version,
		})
	}
	return out, nil
}

// steps lists the stages in the order in which a call and its answer pass them.
func (h Host) steps() []Step {
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
