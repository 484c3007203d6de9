package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
)

// starter starts a node; if a port is taken that nobody asked for by number, on
// the next free one.
type starter struct {
	cfg    *standard.Config
	report *config.Report
	// prepare serves what the node brings along.
	prepare func(*runningNode) error
	// listen and cluster may move to other ports.
	listen, cluster bool
	// named says that the node is named after the host, and after its port if
	// that has moved: two nodes on a host need two names.
	named bool
}

// portTries is how many ports are tried after the first.
const portTries = 50

// start makes and starts the node.
func (s *starter) start(ctx context.Context, w *world) (*runningNode, error) {
	first, firstCluster := s.cfg.Listeners[mainListener].Address, s.cfg.Mesh.Cluster
	for try := 0; ; try++ {
		n, err := newNode(ctx, w, *s.cfg, s.report)
		if err != nil {
			return nil, err
		}
		if s.prepare != nil {
			err = s.prepare(n)
		}
		if err == nil {
			err = start(ctx, n, s.cfg)
		}
		if err == nil {
			n.beginSchedules()
			noteMove(w, first, s.cfg.Listeners[mainListener].Address)
			noteMove(w, firstCluster, s.cfg.Mesh.Cluster)
			return n, nil
		}
		_ = n.Shutdown(ctx)
		if !errors.Is(err, syscall.EADDRINUSE) || try == portTries || !s.move(err) {
			return nil, err
		}
	}
}

func noteMove(w *world, from, to string) {
	if from != to {
		w.warnf("%s is taken; using %s", from, to)
	}
}

// move takes the next port in place of the one that is taken.
func (s *starter) move(err error) bool {
	if meshTaken(err) {
		next, ok := moved(s.cfg.Mesh.Cluster)
		if ok && s.cluster {
			s.cfg.Mesh.Cluster = next
		}
		return ok && s.cluster
	}
	l, ok := s.cfg.Listeners[mainListener]
	next, more := moved(l.Address)
	if !ok || !more || !s.listen {
		return false
	}
	l.Address = next
	s.cfg.Listeners[mainListener] = l
	if s.named {
		s.cfg.Name = nameAtPort(next)
	}
	return true
}

// nameAtPort is the name of a node that is not the first on this host.
func nameAtPort(address string) string {
	host, err := os.Hostname()
	if err != nil || checkName(host) != nil || host == "" {
		host = "node"
	}
	_, port, _ := net.SplitHostPort(address)
	return host + "-" + port
}

// start has the node accept connections and join its mesh.
func start(ctx context.Context, n *runningNode, cfg *standard.Config) error {
	err := n.Start(ctx)
	if err == nil {
		return nil
	}
	if n.Addrs() != nil { // that it listens for clients was the first step
		return cannotJoin(cfg, err)
	}
	return cannotListen(err)
}

func cannotListen(err error) error {
	var (
		op   *net.OpError
		addr *net.AddrError
		dns  *net.DNSError
	)
	if !errors.As(err, &op) {
		return err
	}
	e := message.NewError(message.CodeConflict, "cannot listen: "+op.Err.Error(), "Choose another address with --listen.")
	if op.Addr != nil {
		e.Message = fmt.Sprintf("cannot listen on %s: %v", op.Addr, op.Err)
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Message = fmt.Sprintf("another program listens on %v already", op.Addr)
		e.Hint = "Stop it, or choose another address with --listen."
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = "Choose an address of this machine with --listen; ports below 1024 need rights."
	case errors.As(err, &addr), errors.As(err, &dns):
		e.Code = message.CodeInvalidInput
		e.Hint = "Write it like 127.0.0.1:7420, with a port of at most 65535; port 0 takes a free one."
	}
	e.Cause = err
	if e.Code == message.CodeInvalidInput {
		return fail(exitUsage, e)
	}
	return e
}

// address returns the URL of the listener that people are told: main, else the
// first by name.
func address(n *runningNode, cfg *standard.Config) string {
	addrs := n.Addrs()
	names := make([]string, 0, len(addrs))
	for name := range addrs {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	name := names[0]
	if _, ok := addrs[mainListener]; ok {
		name = mainListener
	}
	scheme := "http://"
	if cfg.Listeners[name].CertFile != "" {
		scheme = "https://"
	}
	return scheme + addrs[name].String()
}

// nodeLogger is the log of a node, as the configuration describes it; it sets
// LogLevel.
func nodeLogger(w *world, cfg *standard.Config) *slog.Logger {
	cfg.LogLevel = new(slog.LevelVar)
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.Log.Level)) == nil {
		cfg.LogLevel.Set(level)
	}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if strings.EqualFold(cfg.Log.Format, "json") {
		return slog.New(slog.NewJSONHandler(w.err, opts))
	}
	return slog.New(slog.NewTextHandler(w.err, opts))
}
