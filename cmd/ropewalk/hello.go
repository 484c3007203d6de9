package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
	"github.com/ropewalk/ropewalk/message"
)

// helloCmd serves the example services over a connection.
type helloCmd struct {
	link
	Pace time.Duration `default:"150ms" placeholder:"TIME" help:"How long each step of report:/long takes. Default: ${default}."`
}

// Help is printed below the flags.
func (*helloCmd) Help() string {
	return `Start it beside "ropewalk dev", as often as you like: the node shares the calls among all that serve a path, and
"ropewalk gather 'math:/decimal/*'" asks each of them. When its node is lost it goes on at another one of the mesh. The source is examples/hello.`
}

// Run serves until ctx ends.
func (h *helloCmd) Run(ctx context.Context, w *world) error {
	log := slog.New(slog.NewTextHandler(w.err, nil))
	c, err := h.follow(ctx, client.WithLogger(log))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, s := range hello.WithPace(h.Pace) {
		if err := c.Serve(ctx, s); err != nil {
			return err
		}
		for _, r := range s.Routes() {
			if err := w.printf("serving %s:%s\n", s.Name(), r.Pattern); err != nil {
				return unwritable(err)
			}
		}
	}
	fmt.Fprintf(w.err, "connected to %s as %s; stop with Ctrl-C\n", h.place(), c.ID())
	<-ctx.Done()
	if err := c.Close(); err != nil {
		return message.AsError(err)
	}
	return nil
}
