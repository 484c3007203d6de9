package nodeapi

import (
	"context"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/message"
)

// Versions is the answer of node:/versions: the shares of the calls of a
// service, by range of its versions. Services that are not in it are not split.
// Each node splits the calls of those who are connected to it.
type Versions map[string]map[string]float64

func (h *api) versions(context.Context, none) (Versions, error) { return h.Strategies.Weights(), nil }

// SetVersions is the input of node:/versions/set.
type SetVersions struct {
	Service string `json:"service" jsonschema:"minLength=1"`
	// Weights are the shares, such as {"^1": 95, "^2.0.0-0": 5}; none at all
	// end the split.
	Weights map[string]float64 `json:"weights,omitempty"`
}

func (h *api) setVersions(ctx context.Context, in SetVersions) (Versions, error) {
	if err := h.allowed(ctx); err != nil {
		return nil, err
	}
	if in.Service == Name || in.Service == clientName {
		return nil, message.NewError(message.CodeInvalidInput, in.Service+": is not split by versions", "Name a service that has versions.")
	}
	err := h.Strategies.SetWeights(in.Service, in.Weights)
	h.note(ctx, audit.KindNode, "shares of the versions of "+in.Service, err)
	if err != nil {
		return nil, err
	}
	return h.Strategies.Weights(), nil
}
