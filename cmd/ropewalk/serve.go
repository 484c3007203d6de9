package main

import (
	"context"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
)

// serveCmd runs a node.
type serveCmd struct {
	nodeFlags
	configFlag
	Watch bool `help:"Read the file again whenever it changes."`
}

// Help is printed below the flags.
func (*serveCmd) Help() string {
	return `When the node accepts connections it prints one line on standard output,

  ready NAME http://HOST:PORT

and, if other nodes can join it, behind that "cluster HOST:PORT". Its log goes to standard error. SIGTERM and SIGINT stop
it: it takes nothing new, finishes what is in flight and exits with 0; a second signal ends it at once.

Many nodes are one mesh: a client of any of them reaches what is served at all of them. Beside "ropewalk dev", or another
node with --cluster 127.0.0.1:7421, on the same machine:

  ropewalk serve --join 127.0.0.1:7421

If port 7420 is taken such a node takes the next free one, and has that in its name. On several machines, each with the
same secret in ROPEWALK_MESH_SECRET (openssl rand -hex 16 makes one):

  ropewalk serve --cluster 10.0.0.5:7421
  ropewalk serve --cluster 10.0.0.6:7421 --join 10.0.0.5:7421

Clients may call what is served, watch what can be watched, and send to each other; they may publish, serve, and send to all, if a rule of the configuration
allows it, or everything is allowed, as it is by "ropewalk dev":

  ropewalk serve --preset dev

A field of the configuration is set by the file, over it by a variable such as ROPEWALK_LIMITS_FRAME, over that by a
flag. "ropewalk config doc" prints all fields. SIGHUP has the node read all of it again and change what can be changed
while it runs, as "ropewalk reload" does.`
}

// Run serves until ctx ends.
func (s *serveCmd) Run(ctx context.Context, w *world) error {
	cfg, report, err := s.read(ctx, w)
	if err != nil {
		return err
	}
	again := newReloader(w, &cfg, func(ctx context.Context) (standard.Config, *config.Report, error) { return s.read(ctx, w) })
	defer again.onHangup()()
	if s.Watch {
		again.file = s.Config
	}
	from := starter{cfg: &cfg, report: report}
	// One more node on a machine is what --join is for; without it a second
	// node is more likely a mistake.
	from.listen = len(cfg.Mesh.Join) > 0 && report.Origin("listeners.main.address") == ""
	from.named = cfg.Name == ""
	n, err := from.start(ctx, w)
	if err != nil {
		return err
	}
	line := "ready " + n.Name() + " " + address(n, &cfg)
	if at := clusterAddress(n); at != "" {
		line += " cluster " + at
	}
	if err := w.printf("%s\n", line); err != nil {
		_ = n.Shutdown(ctx)
		return unwritable(err)
	}
	defer again.start(ctx, n)()
	return untilDone(ctx, n, &cfg, w)
}

// read reads the configuration.
func (s *serveCmd) read(ctx context.Context, w *world) (standard.Config, *config.Report, error) {
	cfg, report, err := s.load(w, s.source(w))
	if err == nil {
		err = s.guard(ctx, &cfg)
	}
	return cfg, report, err
}
