package natsplane_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// TestMain checks that no test leaves a goroutine, and no NATS server: that is
// built once, for the tests that need one.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "natsplane")
	if err != nil {
		panic(err)
	}
	binDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

const (
	secret  = "not a secret at all"
	limit   = 30 * time.Second
	looking = 20 * time.Millisecond
)

// logs keeps what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// node is an open Plane.
type node struct {
	*natsplane.Plane

	t    *testing.T
	id   string
	logs *logs

	mu     sync.Mutex
	got    map[string]int
	states []bool
}

func (n *node) Received(data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[string(data)]++
}

func (n *node) Connected(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.states = append(n.states, yes)
}

func (n *node) has(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got[text]
}

// prepare returns a Plane that is not open yet.
func prepare(t *testing.T, cfg natsplane.Config) *node {
	t.Helper()
	n := &node{t: t, id: fmt.Sprintf("%x", t.Name()+strconv.Itoa(serial())), logs: &logs{}, got: map[string]int{}}
	if len(n.id) > 100 {
		n.id = n.id[len(n.id)-100:]
	}
	p, err := natsplane.New(cfg, slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	n.Plane = p
	return n
}

var (
	serialMu sync.Mutex
	serialN  int
)

func serial() int {
	serialMu.Lock()
	defer serialMu.Unlock()
	serialN++
	return serialN
}

func start(t *testing.T, cfg natsplane.Config) *node {
	t.Helper()
	n := prepare(t, cfg)
	n.open()
	return n
}

func (n *node) open() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), limit)
	defer cancel()
	if err := n.Open(ctx, n.id, n); err != nil {
		n.t.Fatalf("open: %v\n%s", err, n.logs)
	}
	n.t.Cleanup(n.shut)
}

func (n *node) shut() {
	if err := n.Close(context.Background()); err != nil {
		n.t.Error(err)
	}
}

// eventually waits until ok is true; between two looks it calls again.
func eventually(t *testing.T, what string, ok func() bool, again func()) {
	t.Helper()
	tick := time.NewTicker(looking)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for !ok() {
		if again != nil {
			again()
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// reaches waits until what a sends arrives at b.
func reaches(t *testing.T, a, b *node) {
	t.Helper()
	text := "reaches " + strconv.Itoa(serial())
	defer func() {
		if t.Failed() {
			t.Logf("%s\n%s", a.logs, b.logs)
		}
	}()
	eventually(t, "a message of "+a.id+" to "+b.id, func() bool { return b.has(text) > 0 },
		func() { _ = a.Send(b.id, []byte(text)) })
}

func meet(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			reaches(t, a, b)
		}
	}
}

// freePort returns an address that nobody listens on. It is below the ports that
// the system hands out, so that nobody gets it by chance before it is used.
func freePort(t *testing.T) string {
	t.Helper()
	const first, n = 15000, 15000
	base := os.Getpid() * 97
	for range n {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+(base+serial())%n))
		var lc net.ListenConfig
		if l, err := lc.Listen(t.Context(), "tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

func TestEmbeddedIsABackplane(t *testing.T) {
	t.Parallel()
	ropewalktest.TestBackplane(t, func(t *testing.T) []mesh.Backplane {
		seed := freePort(t)
		out := make([]mesh.Backplane, 4)
		for i := range out {
			cfg := natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{seed}}
			if i == 0 {
				cfg = natsplane.Config{Cluster: seed}
			}
			out[i] = prepare(t, cfg).Plane
		}
		return out
	})
}

var _ mesh.Receiver = (*node)(nil)
