package ropewalk

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// middlewareKit makes the middleware of a node from configuration.
type middlewareKit struct {
	log *slog.Logger
	reg prometheus.Registerer
}

func newMiddlewareKit(_ *Config, log *slog.Logger, reg prometheus.Registerer) (*middlewareKit, error) {
	return &middlewareKit{log: log, reg: reg}, nil
}

func (k *middlewareKit) close(context.Context) error { return nil }

// fill puts the configured middleware into the stack.
func (k *middlewareKit) fill(stack *route.Stack, list []Middleware) error {
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

// entry makes one middleware.
func (k *middlewareKit) entry(kind, _ string, _ json.RawMessage) (route.Entry, error) {
	return route.Entry{}, message.NewError(message.CodeInvalidInput, fmt.Sprintf("there is no middleware of the kind %q", kind), "")
}
