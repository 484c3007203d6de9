package main

import (
	"context"
	"errors"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/otlp"
)

// runningNode is a node and what has to end after it.
type runningNode struct {
	*ropewalk.Node
	stopTraces func(context.Context) error
	closers    []func() error     // of what services of the program need
	contents   *standard.Contents // nil: none
}

// Shutdown stops the node, then sends the traces that are left.
func (n *runningNode) Shutdown(ctx context.Context) error {
	err := n.Node.Shutdown(ctx)
	for _, f := range n.closers {
		err = errors.Join(err, f())
	}
	return errors.Join(err, n.stopTraces(ctx))
}

// trace adds what the configuration says about traces.
func trace(ctx context.Context, cfg *standard.Config) (stop func(context.Context) error, err error) {
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
