package natslog_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
	"github.com/ropewalk/ropewalk/topic/natslog"
)

// What was published is there after the only node was restarted.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := start(t, "a", natsplane.Config{Store: dir}, 0, route.History{})
	const at = "orders:/berlin"
	w := a.Watch(t.Context(), at, buffer())
	all := a.Watch(t.Context(), "orders:/**", buffer())
	ready(t, w)
	ready(t, all)
	publish(t, a, at, 1, 10)
	seen := reads(t, w, 1, 10)
	if !strings.Contains(string(seen.Publisher), `"client"`) {
		t.Errorf("published by %s", seen.Publisher)
	}
	if u := reads(t, all, 1, 10); u.Address != at || u.Epoch != seen.Epoch || u.Offset != seen.Offset {
		t.Errorf("by pattern: %+v; by address: %+v", u, seen)
	}
	publish(t, a, at, 11, 20)
	reads(t, w, 11, 20)
	a.stop(t)

	b := start(t, "b", natsplane.Config{Store: dir}, 0, route.History{})
	again := b.Watch(t.Context(), at, buffer(), call.WithRecover(call.Position{Epoch: seen.Epoch, Offset: seen.Offset}))
	reads(t, again, 11, 20)
	publish(t, b, at, 21, 25)
	last := reads(t, again, 21, 25)
	if last.Epoch != seen.Epoch || last.Offset != seen.Offset+15 {
		t.Errorf("%s %d after %s %d", last.Epoch, last.Offset, seen.Epoch, seen.Offset)
	}
	reads(t, b.Watch(t.Context(), at, buffer(), call.WithHistory(5)), 21, 25)
	reads(t, b.Watch(t.Context(), "orders:/**", buffer(), call.WithRecover(call.Position{Epoch: seen.Epoch, Offset: seen.Offset})), 11, 25)
	if u, err := b.Get(t.Context(), at); err != nil || string(u.Body) != "25" {
		t.Errorf("got %v, %v", u, err)
	}
	if _, err := b.Get(t.Context(), "orders:/nothing"); message.CodeOf(err) != message.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

// What is too old for the memory of the node is read from the stream, and what is
// too old for the stream is a gap.
func TestOlderThanMemory(t *testing.T) {
	t.Parallel()
	a := start(t, "a", natsplane.Config{Store: t.TempDir()}, 30, route.History{Count: 20})
	quiet, busy := address(1), address(2)
	keep := a.Watch(t.Context(), "orders:/none") // the log is followed all the time
	ready(t, keep)
	ctx := t.Context()
	publish(t, a, quiet, 1, 15)
	publish(t, a, busy, 1, 100)
	w := a.Watch(ctx, quiet, buffer(), call.WithHistory(15))
	u := reads(t, w, 1, 15)
	p := call.Position{Epoch: u.Epoch, Offset: u.Offset - 14}
	publish(t, a, quiet, 16, 18)
	reads(t, w, 16, 18)
	_ = w.Close()
	w = a.Watch(ctx, quiet, buffer(), call.WithRecover(p))
	reads(t, w, 2, 18)
	_ = w.Close()
	publish(t, a, quiet, 19, 40) // of which 20 are kept
	w = a.Watch(ctx, quiet, buffer(), call.WithRecover(p))
	u = next(t, w)
	if u.Gap {
		u = next(t, w)
	}
	// The node may know the newest ones a moment later, and has then told 20 others.
	first, err := strconv.Atoi(string(u.Body))
	if err != nil || first <= 2 || first > 21 {
		t.Fatalf("got %s, want what is kept, from about 21 on", u.Body)
	}
	reads(t, w, first+1, 40)
}

// Without a store there are no durable topics.
func TestNoStore(t *testing.T) {
	t.Parallel()
	_, err := ropewalk.New(ropewalk.Config{
		Logger: slog.New(slog.DiscardHandler), Topics: map[string]route.Topic{"orders:/**": {Events: true, Durable: true}},
	})
	if err == nil || !strings.Contains(err.Error(), `topics["orders:/**"].durable`) || !strings.Contains(err.Error(), "store") {
		t.Errorf("a durable topic without a store: %v", err)
	}
	state := route.Topic{Durable: true}
	if err := state.Check(); err == nil {
		t.Error("a durable state topic")
	}
}

// A store that is full says so, and the node goes on.
func TestFull(t *testing.T) {
	t.Parallel()
	s, err := natsserver.NewServer(&natsserver.Options{
		DontListen: true, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 10, JetStreamMaxMemory: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n, err := ropewalk.New(ropewalk.Config{
		Logger: slog.New(slog.DiscardHandler), Topics: map[string]route.Topic{"orders:/**": {Events: true, Durable: true, History: route.History{Bytes: 1 << 20}}},
		TopicLog: func(name string, p route.Pattern, top route.Topic) topic.Durable {
			return natslog.New(func() (jetstream.JetStream, error) { return jetstream.New(conn) },
				natslog.Config{Logger: slog.New(slog.DiscardHandler)}, name, p, top)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Shutdown(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for i := range 200 {
		_, err := n.Publish(ctx, "orders:/x", strings.Repeat("x", 1000))
		if err == nil {
			continue
		}
		if message.CodeOf(err) != message.CodeStorageFull {
			t.Errorf("after %d: %v", i, err)
		}
		return
	}
	t.Error("it is never full")
}

// Old events go by age.
func TestAge(t *testing.T) {
	t.Parallel()
	a := start(t, "a", natsplane.Config{Store: t.TempDir()}, 0, route.History{Age: ropewalk.Duration(time.Second)})
	publish(t, a, "orders:/x", 1, 3)
	eventually(t, "old events to go", func() error {
		_, err := a.Get(t.Context(), "orders:/x")
		if message.CodeOf(err) == message.CodeNotFound {
			return nil
		}
		return context.DeadlineExceeded
	})
	w := a.Watch(t.Context(), "orders:/x", buffer(), call.WithHistory(10))
	ready(t, w)
	publish(t, a, "orders:/x", 4, 4)
	reads(t, w, 4, 4)
}
