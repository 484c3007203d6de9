package standard_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
)

func TestMain(m *testing.M) {
	script.WorkerMain()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what has to come, on a slow machine.
const patience = 30 * time.Second

// write makes a file below dir.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a node that serves the contents that settings name.
func start(t *testing.T, s standard.Settings) *ropewalk.Node {
	t.Helper()
	return startWith(t, s, standard.Env{})
}

// startWith is start with more of what the contents need to know.
func startWith(t *testing.T, s standard.Settings, env standard.Env) *ropewalk.Node {
	t.Helper()
	return startNode(t, ropewalk.Config{}, s, env)
}

// startNode is startWith of a node with settings of its own, which has other
// services before scripts run.
func startNode(t *testing.T, cfg ropewalk.Config, s standard.Settings, env standard.Env, others ...*ropewalk.Service) *ropewalk.Node {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Name, cfg.Logger = "test", log
	n, err := ropewalk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	env.Logger, env.Registry, env.Node = log, n.Registry(), n
	c, err := standard.New(s, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, svc := range c.Services() {
		if err := n.ServeOwn(svc); err != nil {
			t.Fatal(err)
		}
	}
	for _, svc := range others {
		if err := n.Serve(svc); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Start()
	return n
}

// seen is a watch that a test reads.
type seen struct {
	t    *testing.T
	w    *call.Watch
	last string
}

func watch(t *testing.T, n *ropewalk.Node, address string, opts ...call.WatchOption) *seen {
	t.Helper()
	w := n.Watch(t.Context(), address, opts...)
	t.Cleanup(func() { _ = w.Close() })
	return &seen{t: t, w: w}
}

// until waits for a content; a fault is its code.
func (s *seen) until(want string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for s.last != want {
		u, err := s.w.Next(ctx)
		if err != nil {
			s.t.Fatalf("%s: %v; the last was %s, not %s", s.w.Address(), err, s.last, want)
		}
		if s.last = string(u.Body); u.Fault != nil {
			s.last = string(u.Fault.Code)
		}
	}
}
