package ropewalk

import (
	"encoding/json"
	"fmt"

	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// middlewareKit makes the middleware of a node.
type middlewareKit struct{ env middleware.Env }

// entry makes one middleware from its settings in JSON.
func (k middlewareKit) entry(kind, name string, settings json.RawMessage) (route.Entry, error) {
	return middleware.New(kind, name, settings, k.env)
}

// standard is the middleware of a node whose configuration names none.
func (k middlewareKit) standard() []Middleware {
	list := []Middleware{
		{Stage: string(route.StageInbound), Kind: route.KindRecover},
		{Stage: string(route.StageCall), Kind: route.KindMetrics},
	}
	if k.env.Tracer != nil {
		list = append(list, Middleware{Stage: string(route.StageCall), Kind: route.KindTrace})
	}
	// A tap lasts as long as somebody looks.
	return append(list, Middleware{
		Stage: string(route.StageCall), Kind: route.KindLog, Settings: map[string]any{"except": []string{"node:/tap"}},
	}, Middleware{Stage: string(route.StageCall), Kind: route.KindRetry})
}

// fill puts the configured middleware into the stack.
func (k middlewareKit) fill(stack *route.Stack, list []Middleware) error {
	if list == nil {
		list = k.standard()
	}
	for i, m := range list {
		raw, err := json.Marshal(m.Settings)
		if err != nil {
			return fmt.Errorf("middleware[%d].settings: %w", i, err)
		}
		e, err := k.entry(m.Kind, m.Name, raw)
		if err != nil {
			return fmt.Errorf("middleware[%d]: %w", i, err)
		}
		if err := stack.Insert(route.Stage(m.Stage), e, route.Last()); err != nil {
			return fmt.Errorf("middleware[%d]: %w", i, err)
		}
	}
	return nil
}
