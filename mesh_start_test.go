package ropewalk_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// late is a backplane that takes its time to open.
type late struct {
	mesh.Backplane

	opening, open, closed chan struct{}
}

func (l *late) Open(ctx context.Context, node string, r mesh.Receiver) error {
	close(l.opening)
	<-l.open
	return l.Backplane.Open(ctx, node, r)
}

func (l *late) Close(ctx context.Context) error {
	defer close(l.closed)
	return l.Backplane.Close(ctx)
}

// A node that is shut down while it joins the mesh leaves it again.
func TestShutdownWhileItStarts(t *testing.T) {
	t.Parallel()
	l := &late{
		Backplane: ropewalktest.NewNetwork(1).Node(),
		opening:   make(chan struct{}), open: make(chan struct{}), closed: make(chan struct{}),
	}
	n, err := ropewalk.New(ropewalk.Config{Backplane: l, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- n.Start(t.Context()) }()
	take(t, l.opening, "the backplane to be opened")
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	close(l.open)
	if err := take(t, started, "the end of Start"); err == nil || n.Mesh() != nil {
		t.Errorf("it was started after it was shut down: %v", err)
	}
	take(t, l.closed, "the backplane to be closed")
}
