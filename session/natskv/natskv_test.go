package natskv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/keeper/keepertest"
	"github.com/ropewalk/ropewalk/session/natskv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "not a secret at all"
	limit  = 60 * time.Second
)

// deaf is a mesh that does nothing with what it hears.
type deaf struct{}

func (deaf) Received([]byte) {}
func (deaf) Connected(bool)  {}

var serial atomic.Int64

// open starts a node that keeps something.
func open(t *testing.T, id string, cfg natsplane.Config) *natsplane.Plane {
	t.Helper()
	p, err := natsplane.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := p.Open(ctx, id, deaf{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// freePort returns an address that nobody listens on, below the ports that the
// system hands out.
func freePort(t *testing.T) string {
	t.Helper()
	for range 15000 {
		port := 5000 + (os.Getpid()*131+int(serial.Add(1)))%9000
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var lc net.ListenConfig
		if l, err := lc.Listen(t.Context(), "tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

func newStore(t *testing.T, source natskv.Source, cfg natskv.Config) *natskv.Store {
	t.Helper()
	if cfg.Bucket == "" {
		cfg.Bucket = fmt.Sprint("test_", serial.Add(1))
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 8 << 20
	}
	st, err := natskv.New(source, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return st
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

func TestNodeAlone(t *testing.T) {
	t.Parallel()
	p := open(t, "alone", natsplane.Config{Store: t.TempDir()})
	keepertest.TestStore(t, func(t *testing.T) (a, b keeper.Store) {
		cfg := natskv.Config{Bucket: fmt.Sprint("suite_", serial.Add(1))}
		return newStore(t, p.JetStream, cfg), newStore(t, p.JetStream, cfg)
	})
}

// TestSealed looks into the bucket.
func TestSealed(t *testing.T) {
	t.Parallel()
	p := open(t, "alone", natsplane.Config{Store: t.TempDir()})
	cfg := natskv.Config{Bucket: "sealed", Secret: secret}
	st := newStore(t, p.JetStream, cfg)
	k := newKeeper(t, st, nil)
	s, word, err := k.Begin(t.Context(), session.New("anna", nil, session.Claims{"pin": "planted-secret"}))
	if err != nil {
		t.Fatal(err)
	}
	js, err := p.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "sealed")
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{"planted-secret", "anna", word, strings.TrimPrefix(word, "rws_")} {
		if bytes.Contains(e.Value(), []byte(planted)) || strings.Contains(e.Key(), planted) {
			t.Errorf("the bucket tells %q", planted)
		}
	}
	for name, value := range map[string][]byte{
		"of another session": e.Value(), "changed": append(bytes.Clone(e.Value()[:len(e.Value())-1]), 'x'),
		"not sealed": []byte(`{"id":"` + s.ID + `"}`), "empty": {},
	} {
		id := s.ID
		if name == "of another session" {
			id = "another"
		}
		if _, err := kv.Put(t.Context(), id, value); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Get(t.Context(), id); !errors.Is(err, keeper.ErrNotFound) {
			t.Errorf("a value %s: %v", name, err)
		}
	}
	if _, err := kv.Put(t.Context(), s.ID, e.Value()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(t.Context(), word); err != nil {
		t.Error(err)
	}
	other := newStore(t, p.JetStream, natskv.Config{Bucket: "sealed", Secret: "another secret altogether"})
	plain := newStore(t, p.JetStream, natskv.Config{Bucket: "sealed"})
	for _, st := range []*natskv.Store{other, plain} {
		if _, err := st.Get(t.Context(), s.ID); !errors.Is(err, keeper.ErrNotFound) {
			t.Errorf("read with another secret: %v", err)
		}
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	p := open(t, "alone", natsplane.Config{Store: t.TempDir()})
	st := newStore(t, p.JetStream, natskv.Config{MaxBytes: 10_000})
	for range 100 {
		_, err := st.Create(t.Context(), keepertest.Record("anna", time.Hour))
		if errors.Is(err, keeper.ErrFull) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("it is never full")
}

func newKeeper(t *testing.T, st keeper.Store, j keeper.Journal) *keeper.Keeper {
	t.Helper()
	k, err := keeper.New(t.Context(), keeper.Config{Form: keeper.FormServer},
		keeper.Parts{Store: st, Journal: j, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestRestart stops a node alone and starts it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(id string) (*natsplane.Plane, *keeper.Keeper) {
		p := open(t, id, natsplane.Config{Store: dir})
		cfg := natskv.Config{Bucket: "restart", Secret: secret}
		j, err := natskv.NewJournal(p.JetStream, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p, newKeeper(t, newStore(t, p.JetStream, cfg), j)
	}
	p, k := run("first")
	_, word, err := k.Begin(t.Context(), session.New("anna", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Revoke(t.Context(), keeper.Revocation{Subject: "bob"}); err != nil {
		t.Fatal(err)
	}
	k.Close()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.JetStream(); err == nil {
		t.Error("a closed node gives JetStream")
	}
	_, k = run("second")
	if s, err := k.Open(t.Context(), word); err != nil || s.Subject != "anna" {
		t.Errorf("opened %v, %v", s, err)
	}
	eventually(t, "the revocation", func() error {
		if rs := k.Revocations(); len(rs) != 1 || rs[0].Subject != "bob" {
			return fmt.Errorf("%+v", rs)
		}
		return nil
	})
}

// trio starts three nodes that keep something together.
func trio(t *testing.T) (addrs, dirs []string, nodes []*natsplane.Plane) {
	t.Helper()
	for range 3 {
		addrs = append(addrs, freePort(t))
		dirs = append(dirs, t.TempDir())
	}
	for i := range 3 {
		nodes = append(nodes, open(t, fmt.Sprint("node", i), natsplane.Config{Cluster: addrs[i], Join: addrs, Store: dirs[i], Secret: secret}))
	}
	return addrs, dirs, nodes
}

// TestThreeNodes keeps a session on three nodes, kills one after the other and
// starts it again.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	addrs, dirs, nodes := trio(t)
	cfg := natskv.Config{Bucket: "trio", Secret: secret, MaxBytes: 8 << 20}
	var keepers []*keeper.Keeper
	for _, p := range nodes {
		keepers = append(keepers, newKeeper(t, newStore(t, p.JetStream, cfg), nil))
	}
	var s *session.Session
	var word string
	eventually(t, "a quorum", func() (err error) {
		s, word, err = keepers[0].Begin(t.Context(), session.New("anna", nil, nil))
		return err
	})
	eventually(t, "three copies", func() error {
		js, err := nodes[1].JetStream()
		if err != nil {
			return err
		}
		grow := cfg
		grow.Secret = ""
		if err := newStore(t, nodes[1].JetStream, grow).Ready(t.Context()); err != nil {
			return err
		}
		stream, err := js.Stream(t.Context(), "KV_trio")
		if err != nil {
			return err
		}
		if info := stream.CachedInfo(); info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 ||
			!info.Cluster.Replicas[0].Current || !info.Cluster.Replicas[1].Current {
			return fmt.Errorf("%+v", info.Cluster)
		}
		return nil
	})
	// What one node writes the others read at once, and hear of.
	heard := make(chan keeper.Event, 100)
	for i, k := range keepers {
		opened, err := k.Open(t.Context(), word)
		if err != nil || opened.Subject != "anna" {
			t.Fatalf("node %d opened %v, %v", i, opened, err)
		}
		if i == 2 {
			defer k.Track(opened, func(e keeper.Event) { heard <- e }).Stop()
		}
	}
	change := func(k *keeper.Keeper, set session.Claims) error {
		next, _, err := k.Change(t.Context(), s, session.Patch{Set: set})
		if err == nil { // else it is tried again
			s = next
		}
		return err
	}
	n := 0
	eventually(t, "the change at another node", func() error {
		n++
		if err := change(keepers[0], session.Claims{"n": float64(n)}); err != nil {
			return err
		}
		select {
		case e := <-heard:
			if e.Kind != keeper.Changed || e.Session.Public["n"] == nil {
				return fmt.Errorf("%+v", e)
			}
			return nil
		case <-time.After(100 * time.Millisecond):
			return errors.New("nothing heard")
		}
	})
	for i := range nodes {
		if err := nodes[i].Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for j := range nodes {
			if j == i {
				continue
			}
			eventually(t, fmt.Sprintf("node %d without node %d", j, i), func() error {
				got, err := keepers[j].Open(t.Context(), word)
				if err == nil && got.Subject != "anna" {
					err = fmt.Errorf("%+v", got)
				}
				return err
			})
			eventually(t, "a change without a node", func() error {
				return change(keepers[j], session.Claims{fmt.Sprint("without", i): true})
			})
		}
		keepers[i].Close()
		nodes[i] = open(t, fmt.Sprint("again", i), natsplane.Config{Cluster: addrs[i], Join: addrs, Store: dirs[i], Secret: secret})
		keepers[i] = newKeeper(t, newStore(t, nodes[i].JetStream, cfg), nil)
		eventually(t, "the node that came back", func() error {
			got, err := keepers[i].Open(t.Context(), word)
			if err == nil && got.Public[fmt.Sprint("without", i)] != true {
				err = fmt.Errorf("%+v", got)
			}
			return err
		})
	}
}

// TestNoQuorum has two of three nodes away: nothing is kept, and it says so.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	_, _, nodes := trio(t)
	k := newKeeper(t, newStore(t, nodes[0].JetStream, natskv.Config{Bucket: "lost"}), nil)
	var word string
	eventually(t, "a quorum", func() (err error) {
		_, word, err = k.Begin(t.Context(), session.New("anna", nil, nil))
		return err
	})
	_ = nodes[1].Close(context.Background())
	_ = nodes[2].Close(context.Background())
	eventually(t, "an error", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := k.Begin(ctx, session.New("bob", nil, nil))
		var e *message.Error
		if errors.As(err, &e) && e.Code == message.CodeServiceDown && e.Retryable {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	_ = word
}

// TestOutside is a NATS server that somebody else runs.
func TestOutside(t *testing.T) {
	t.Parallel()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(limit) {
		t.Fatal("the server does not start")
	}
	a := open(t, "a", natsplane.Config{NATS: []string{s.ClientURL()}})
	b := open(t, "b", natsplane.Config{NATS: []string{s.ClientURL()}})
	keepertest.TestStore(t, func(t *testing.T) (x, y keeper.Store) {
		cfg := natskv.Config{Bucket: fmt.Sprint("suite_", serial.Add(1))}
		return newStore(t, a.JetStream, cfg), newStore(t, b.JetStream, cfg)
	})
}

func TestNoJetStream(t *testing.T) {
	t.Parallel()
	p := open(t, "alone", natsplane.Config{})
	st := newStore(t, p.JetStream, natskv.Config{})
	if err := st.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "mesh.store") {
		t.Errorf("error %v, want one that says what to set", err)
	}
	j, err := natskv.NewJournal(p.JetStream, natskv.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load(t.Context()); !errors.Is(err, keeper.ErrLater) {
		t.Errorf("error %v, want ErrLater", err)
	}
	for _, cfg := range []natskv.Config{{Bucket: "a.b"}, {Replicas: 6}, {Replicas: -1}} {
		if _, err := natskv.New(p.JetStream, cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

var _ natskv.Source = func() (jetstream.JetStream, error) { return nil, nil }
