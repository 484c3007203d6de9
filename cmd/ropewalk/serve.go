package main

import (
	"context"
)

// serveCmd runs a node.
type serveCmd struct {
	nodeFlags
	Config string `placeholder:"FILE" help:"Read the configuration from this file."`
}

// Help is printed below the flags.
func (*serveCmd) Help() string {
	return `When the node accepts connections it prints one line on standard output,

  ready NAME http://HOST:PORT

and its log goes to standard error. SIGTERM and SIGINT stop it: it takes nothing new, finishes what is in flight and
exits with 0; a second signal ends it at once.

A field of the configuration is set by the file, over it by a variable such as ROPEWALK_LIMITS_FRAME, over that by a
flag. "ropewalk config doc" prints all fields.`
}

// Run serves until ctx ends.
func (s *serveCmd) Run(ctx context.Context, w *world) error {
	cfg, report, err := s.load(w, s.Config)
	if err != nil {
		return err
	}
	if err := s.guard(ctx, &cfg); err != nil {
		return err
	}
	n, err := newNode(ctx, cfg, report)
	if err != nil {
		return err
	}
	if err := start(ctx, n); err != nil {
		_ = n.Shutdown(ctx)
		return err
	}
	if err := w.printf("ready %s %s\n", n.Name(), address(n, &cfg)); err != nil {
		_ = n.Shutdown(ctx)
		return unwritable(err)
	}
	return untilDone(ctx, n, &cfg, w)
}
