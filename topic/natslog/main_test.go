package natslog_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
	"github.com/ropewalk/ropewalk/topic/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "not a secret at all"
	limit  = 90 * time.Second
)

var serial atomic.Int64 //nolint:gochecknoglobals // a count

// freePort returns an address that nobody listens on, below the ports that the
// system hands out.
func freePort(t *testing.T) string {
	t.Helper()
	for range 9000 {
		port := 14000 + (os.Getpid()*131+int(serial.Add(1)))%9000
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var lc net.ListenConfig
		if l, err := lc.Listen(t.Context(), "tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// node is one with a store.
type node struct {
	*ropewalk.Node

	plane *natsplane.Plane
}

// start starts a node whose orders:/** are durable.
func start(t *testing.T, name string, plane natsplane.Config, memory int, h route.History) *node {
	t.Helper()
	n := &node{}
	var err error
	if n.plane, err = natsplane.New(plane, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	n.Node, err = ropewalk.New(ropewalk.Config{
		Name: name, Backplane: n.plane, Logger: slog.New(slog.DiscardHandler),
		Topics: map[string]route.Topic{"orders:/**": {Events: true, Durable: true, Publisher: true, History: h}},
		TopicLog: func(name string, p route.Pattern, top route.Topic) topic.Durable {
			return natslog.New(n.plane.JetStream, natslog.Config{Memory: memory, Logger: slog.New(slog.DiscardHandler)}, name, p, top)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("shut down %s: %v", n.Name(), err)
	}
}

// eventually waits until f returns no error.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	var err error
	for {
		if err = f(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
	}
}

func next(t *testing.T, w *call.Watch) call.Update {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	u, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("%s: %v", w.Address(), err)
	}
	return u
}

// reads checks that a watch gets these events, and returns the last.
func reads(t *testing.T, w *call.Watch, from, to int) (u call.Update) {
	t.Helper()
	for i := from; i <= to; i++ {
		u = next(t, w)
		if u.Gap || string(u.Body) != strconv.Itoa(i) {
			t.Fatalf("%s: got %s at %s %d, gap %v; want %d", w.Address(), u.Body, u.Epoch, u.Offset, u.Gap, i)
		}
	}
	return u
}

func publish(t *testing.T, n *node, address string, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if _, err := n.Publish(ctx, address, i); err != nil {
			t.Fatalf("publish %d to %s: %v", i, address, err)
		}
		cancel()
	}
}

func ready(t *testing.T, w *call.Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func buffer() call.WatchOption { return call.WithBuffer(100_000) }

func address(i int) string { return fmt.Sprintf("orders:/shop %d/è", i) }
