package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// reloadCmd has nodes read their configuration again.
type reloadCmd struct {
	nodesTarget
}

// Help is printed below the flags.
func (*reloadCmd) Help() string {
	return `The node reads its file, and the environment and flags that it was started with, checks all of it, and then changes what
can be changed while it runs: permissions, the keys of tokens, certificates, origins, middleware, strategies, shares of
versions, the number of connections and the level of the log. What needs a restart is named. A configuration that is
wrong changes nothing. SIGHUP does the same.

Examples:

  ropewalk reload
  ropewalk reload --all`
}

// Run reloads.
func (r *reloadCmd) Run(ctx context.Context, w *world) error {
	return showAll(ctx, w, &r.nodesTarget, "/reload", nil, func(c nodeapi.Changes) error {
		return w.printf("%s\n", printable(c.String()))
	})
}

// fileEach is how often a file is looked at.
const fileEach = time.Second

// reloader has a node of this process work with what its file says now.
type reloader struct {
	read func(ctx context.Context) (standard.Config, *config.Report, error)
	file string // that is watched; "" for none
	log  *slog.Logger
	hup  chan os.Signal

	// What the node was told at its start, before it took other ports.
	name, address, cluster string
	running                *standard.Config
}

// newReloader makes cfg, which read has returned, one that can be read again.
func newReloader(w *world, cfg *standard.Config, read func(context.Context) (standard.Config, *config.Report, error)) *reloader {
	cfg.Logger = nodeLogger(w, cfg)
	r := &reloader{
		read: read, log: cfg.Logger, hup: make(chan os.Signal, 1),
		name: cfg.Name, address: cfg.Listeners[mainListener].Address, cluster: cfg.Mesh.Cluster, running: cfg,
	}
	cfg.Source = func(ctx context.Context) (ropewalk.Config, error) {
		next, _, err := r.again(ctx)
		return next.Node(), err
	}
	return r
}

// again reads the configuration. Ports that the node has taken because others
// were not free are no difference.
func (r *reloader) again(ctx context.Context) (standard.Config, *config.Report, error) {
	next, report, err := r.read(ctx)
	if err != nil {
		return next, report, err
	}
	if next.Name == r.name {
		next.Name = r.running.Name
	}
	if next.Mesh.Cluster == r.cluster {
		next.Mesh.Cluster = r.running.Mesh.Cluster
	}
	if l, ok := next.Listeners[mainListener]; ok && l.Address == r.address {
		l.Address = r.running.Listeners[mainListener].Address
		next.Listeners[mainListener] = l
	}
	return next, report, nil
}

// onHangup has SIGHUP reload, as people expect of a server; stop undoes it.
func (r *reloader) onHangup() (stop func()) {
	signal.Notify(r.hup, syscall.SIGHUP)
	return func() { signal.Stop(r.hup) }
}

// start reloads n until the returned function is called: after a SIGHUP, and when
// the file has changed.
func (r *reloader) start(ctx context.Context, n *runningNode) (stop func()) {
	l := lane.New(ctx, r.log)
	l.Go("reload", func(ctx context.Context) {
		ticker := time.NewTicker(fileEach)
		defer ticker.Stop()
		if r.file == "" {
			ticker.Stop()
		}
		last := stampOf(r.file)
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.hup:
			case <-ticker.C:
				now := stampOf(r.file)
				if now == last || now == (stamp{}) { // it is being replaced
					continue
				}
				last = now
			}
			r.reload(ctx, n)
		}
	})
	return l.Close
}

func (r *reloader) reload(ctx context.Context, n *runningNode) {
	next, report, err := r.again(ctx)
	if err != nil {
		r.log.Warn("the configuration was not changed: correct it and reload again", "err", err)
		return
	}
	if _, err := n.Reload(next.Node()); err != nil { // which has logged it
		r.log.Warn("this is where it is wrong", "err", placed(err, report))
	}
}

// stamp tells two versions of a file apart.
type stamp struct {
	size int64
	time time.Time
}

// stampOf returns the zero stamp for a file that is not there.
func stampOf(path string) stamp {
	if path == "" {
		return stamp{}
	}
	i, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{i.Size(), i.ModTime()}
}
