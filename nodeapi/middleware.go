package nodeapi

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Stages is the answer of node:/middleware and of the calls that change it.
type Stages struct {
	Stages   []route.StageInfo `json:"stages"`
	Warnings []string          `json:"warnings"`
}

func (h *api) middleware(context.Context, none) (Stages, error) { return h.stages(), nil }

func (h *api) stages() Stages {
	s := h.Exchange.Stack()
	warnings := s.Warnings()
	if warnings == nil {
		warnings = []string{}
	}
	return Stages{Stages: s.List(), Warnings: warnings}
}

// changed answers a change, and notes it.
func (h *api) changed(ctx context.Context, err error, what string, stage route.Stage, name string) (Stages, error) {
	h.note(ctx, audit.KindMiddleware, fmt.Sprintf("%s %q, stage %s", what, name, stage), err)
	if err != nil {
		return Stages{}, err
	}
	return h.stages(), nil
}

// Place says where in a stage a middleware goes: before or after another, or,
// if both are empty, at the end.
type Place struct {
	Before string `json:"before,omitempty" jsonschema:"description=name of the middleware to stand before"`
	After  string `json:"after,omitempty" jsonschema:"description=name of the middleware to stand after"`
	First  bool   `json:"first,omitempty"`
}

func (p Place) position() (route.Position, error) {
	switch {
	case p.Before != "" && p.After != "", p.First && p.Before+p.After != "":
		return route.Last(), message.NewError(message.CodeInvalidInput, "there is more than one place", "Give one of before, after and first.")
	case p.Before != "":
		return route.Before(p.Before), nil
	case p.After != "":
		return route.After(p.After), nil
	case p.First:
		return route.First(), nil
	}
	return route.Last(), nil
}

// Insert is the input of node:/middleware/insert.
type Insert struct {
	Stage    route.Stage     `json:"stage" jsonschema:"enum=inbound|call|serve|deliver|outbound"`
	Kind     string          `json:"kind"`
	Name     string          `json:"name,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
	Place
}

func (h *api) insert(ctx context.Context, in Insert) (Stages, error) {
	if err := h.allowed(ctx); err != nil {
		return Stages{}, err
	}
	pos, err := in.position()
	if err != nil {
		return Stages{}, err
	}
	entry, err := h.Middleware(in.Kind, in.Name, in.Settings)
	if err != nil {
		return Stages{}, err
	}
	return h.changed(ctx, h.Exchange.Stack().Insert(in.Stage, entry, pos), "inserted", in.Stage, entry.Name)
}

// Remove is the input of node:/middleware/remove.
type Remove struct {
	Stage route.Stage `json:"stage" jsonschema:"enum=inbound|call|serve|deliver|outbound"`
	Name  string      `json:"name"`
}

func (h *api) remove(ctx context.Context, in Remove) (Stages, error) {
	if err := h.allowed(ctx); err != nil {
		return Stages{}, err
	}
	return h.changed(ctx, h.Exchange.Stack().Remove(in.Stage, in.Name), "removed", in.Stage, in.Name)
}

// Move is the input of node:/middleware/move.
type Move struct {
	Stage route.Stage `json:"stage" jsonschema:"enum=inbound|call|serve|deliver|outbound"`
	Name  string      `json:"name"`
	Place
}

func (h *api) move(ctx context.Context, in Move) (Stages, error) {
	if err := h.allowed(ctx); err != nil {
		return Stages{}, err
	}
	pos, err := in.position()
	if err != nil {
		return Stages{}, err
	}
	return h.changed(ctx, h.Exchange.Stack().Move(in.Stage, in.Name, pos), "moved", in.Stage, in.Name)
}

// Set is the input of node:/middleware/set.
type Set struct {
	Stage route.Stage     `json:"stage" jsonschema:"enum=inbound|call|serve|deliver|outbound"`
	Name  string          `json:"name"`
	State json.RawMessage `json:"state" jsonschema:"description=what to change, as the kind says"`
}

func (h *api) set(ctx context.Context, in Set) (Stages, error) {
	if err := h.allowed(ctx); err != nil {
		return Stages{}, err
	}
	return h.changed(ctx, h.Exchange.Stack().SetState(in.Stage, in.Name, in.State), "set the state of", in.Stage, in.Name)
}
