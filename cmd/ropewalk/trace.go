package main

import (
	"context"
	"errors"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/otlp"
)

// runningNode is a node and what has to end after it.
type runningNode struct {
	*ropewalk.Node
	stopTraces func(context.Context) error
}

// Shutdown stops the node, then sends the traces that are left.
func (n *runningNode) Shutdown(ctx context.Context) error {
	return errors.Join(n.Node.Shutdown(ctx), n.stopTraces(ctx))
}

// trace adds what the configuration says about traces.
func trace(ctx context.Context, cfg *ropewalk.Config) (stop func(context.Context) error, err error) {
	if cfg.Trace.Endpoint == "" {
		return func(context.Context) error { return nil }, nil
	}
	sample := 1.0
	if cfg.Trace.Sample != nil {
		sample = *cfg.Trace.Sample
	}
	cfg.Tracer, stop, err = otlp.New(ctx, otlp.Config{
		Endpoint: cfg.Trace.Endpoint, Sample: sample, Node: cfg.Name, Version: ropewalk.Version,
		Headers: cfg.Trace.Headers, Logger: cfg.Logger,
	})
	return stop, err
}
