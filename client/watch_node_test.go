package client_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func TestWatchNode(t *testing.T) {
	t.Parallel()
	_, addr := startNode(t, "127.0.0.1:0")
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := join(t, addr, opts...)
			state, log := "state:/"+t.Name(), "log:/"+t.Name()
			w := call.WatchOf[int](t.Context(), c, state)
			u, err := w.Next(t.Context())
			if err != nil || u.Fault == nil || u.Fault.Code != message.CodeNotFound {
				t.Fatal(u, err)
			}
			for i := range 3 {
				if _, err := c.Publish(t.Context(), state, i); err != nil {
					t.Fatal(err)
				}
				if u, err := w.Next(t.Context()); err != nil || u.Value != i {
					t.Fatal(u, err)
				}
			}
			if n, err := call.GetOf[int](t.Context(), c, state); n != 2 || err != nil {
				t.Fatal(n, err)
			}
			if _, err := c.Publish(t.Context(), state, nil); err != nil {
				t.Fatal(err)
			}
			if u, err := w.Next(t.Context()); err != nil || u.Fault == nil {
				t.Fatal(u, err)
			}
			_, err = c.Get(t.Context(), state)
			wantCode(t, err, message.CodeNotFound)

			for i := 1; i <= 4; i++ {
				if _, err := c.Publish(t.Context(), log, []byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
			}
			past := c.Watch(t.Context(), log, call.WithHistory(2))
			all := c.Watch(t.Context(), log, call.WithHistory(10))
			var got []byte
			for _, e := range []struct {
				w *call.Watch
				n int
			}{{past, 2}, {all, 4}} {
				for range e.n {
					u, err := e.w.Next(t.Context())
					if err != nil || u.ContentType != call.Octets || len(u.Publisher) == 0 {
						t.Fatalf("%+v, %v", u, err)
					}
					got = append(got, u.Body...)
				}
			}
			if !slices.Equal(got, []byte{3, 4, 1, 2, 3, 4}) {
				t.Fatal(got)
			}
			wantNext(t, c.Watch(t.Context(), "nobody:/x"), "no_service")
			_, err = c.Publish(t.Context(), "nobody:/x", 1)
			wantCode(t, err, message.CodeNoService)
		})
	}
}

// TestWatchServedByAClient watches what another connection serves, at several
// nodes.
func TestWatchServedByAClient(t *testing.T) {
	t.Parallel()
	_, addrs := mesh(t, "a", "b")
	s, news, left := ticker()
	if err := join(t, addrs[0]).Serve(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	one, other := join(t, addrs[0]), join(t, addrs[1])
	w1 := call.WatchOf[string](t.Context(), one, "ticker:/A")
	news <- 1
	var w2 *call.TypedWatch[string]
	eventually(t, "a watch at the other node", func() bool {
		w2 = call.WatchOf[string](t.Context(), other, "ticker:/A")
		return w2.Ready(t.Context()) == nil
	})
	news <- 2
	for _, w := range []*call.TypedWatch[string]{w1, w2} {
		for u, err := range w.Updates() {
			if err != nil {
				t.Fatal(err)
			}
			if u.Value == "A2" {
				break
			}
		}
		_ = w.Close()
	}
	recv(t, left, "the end of the run: nobody watches any more")
}

// TestWatchWhileConnectionsBreak publishes while the lines of those who watch are
// cut again and again: each event comes once and in order, of the content only
// newer ones, and the last.
func TestWatchWhileConnectionsBreak(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"websocket": nil, "stream": {client.WithTransports("stream")}, "poll": {client.WithTransports("poll")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watchWhileBroken(t, name != "poll", opts)
		})
	}
}

// watchWhileBroken does it by one transport; noticed says whether a line that is
// cut ends the connection, which one by polls survives.
func watchWhileBroken(t *testing.T, noticed bool, opts []client.Option) {
	t.Helper()
	_, addr := startNode(t, "127.0.0.1:0")
	line := newRelay(t, addr)
	c, publisher := join(t, line.addr(), opts...), join(t, addr)
	const last = -1
	var wg sync.WaitGroup
	defer wg.Wait()
	check := func(w *call.TypedWatch[int], each bool) {
		if err := w.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			seen := 0
			for u, err := range w.Updates() {
				switch {
				case err != nil:
					t.Error(err)
					return
				case u.Fault != nil && seen == 0: // nothing was published yet
				case u.Fault != nil || u.Gap:
					t.Errorf("after %d: %+v", seen, u)
				case u.Value == last:
					return
				case each && u.Value != seen+1 || u.Value < seen:
					t.Errorf("%d after %d", u.Value, seen)
				}
				seen = u.Value
			}
		})
	}
	buffer := call.WithBuffer(100_000)
	check(call.WatchOf[int](t.Context(), c, "log:/a", buffer), true)
	check(call.WatchOf[int](t.Context(), c, "log:/**", buffer), true)
	check(call.WatchOf[int](t.Context(), c, "state:/a", buffer), false)
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				i = last
			case <-time.After(200 * time.Microsecond):
			}
			for _, to := range []string{"log:/a", "state:/a"} {
				if _, err := publisher.Publish(t.Context(), to, i); err != nil {
					t.Error(err)
				}
			}
			if i == last {
				return
			}
		}
	})
	for i := range uint64(10) {
		eventually(t, "online", func() bool { return c.State() == client.Online })
		<-time.After(20 * time.Millisecond) // some events
		line.cut()
		eventually(t, "the cut to be felt", func() bool { return !noticed || c.Stats().Connects > i+1 })
		if i%3 == 0 { // one that comes later, and begins with all that there was
			check(call.WatchOf[int](t.Context(), c, "log:/a", buffer, call.WithHistory(100_000)), true)
		}
	}
	close(stop)
}

// TestWatchFollowsTheMesh stops the node of a watcher: it goes on at another,
// without a hole, since the server's node keeps the events.
func TestWatchFollowsTheMesh(t *testing.T) {
	t.Parallel()
	nodes, addrs := mesh(t, "a", "b", "c")
	s := service.New("count")
	s.Handle("/", service.Events(func(ctx context.Context, _ struct{}, emit func(int) error) error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 1; ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := emit(i); err != nil {
				return err
			}
		}
	}), service.WithTopic(route.Topic{History: route.History{Count: 100_000, Bytes: 64 << 20}}))
	server := join(t, addrs[2])
	if err := server.Serve(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	c := join(t, addrs[0])
	var w *call.TypedWatch[int]
	eventually(t, "a watch at the other node", func() bool {
		w = call.WatchOf[int](t.Context(), c, "count:/", call.WithBuffer(100_000))
		return w.Ready(t.Context()) == nil
	})
	keeper := server.Watch(t.Context(), "count:/") // or there is nobody for a moment, and the count begins anew
	if err := keeper.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, more, first := 0, 300, c.Node().ID
	for u, err := range w.Updates() {
		switch {
		case err != nil || u.Fault != nil || u.Gap:
			t.Fatalf("after %d: %+v, %v", last, u, err)
		case last > 0 && u.Value != last+1:
			t.Fatalf("%d after %d", u.Value, last)
		case last == 0:
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = nodes[0].Shutdown(ctx) // once more at the end
			}()
		case c.Node().ID != first:
			more--
		}
		if last = u.Value; more == 0 {
			break
		}
	}
}

// TestWatchersComeAndGo has many watch few topics for a short time, from now on,
// from before, or from where they stopped, while events come and the line is cut.
// None sees an event twice or misses one.
func TestWatchersComeAndGo(t *testing.T) {
	t.Parallel()
	_, addr := startNode(t, "127.0.0.1:0")
	line := newRelay(t, addr)
	c, publisher := join(t, line.addr()), join(t, addr)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	topics := []string{"log:/a", "log:/b"}
	wg.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			for _, to := range topics {
				if _, err := publisher.Publish(ctx, to, i); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}
	})
	var rounds atomic.Int64
	for g := range 6 {
		wg.Go(func() {
			var at call.Position // of what was seen last
			seen := 0
			for i := 0; ctx.Err() == nil; i++ {
				opts := []call.WatchOption{call.WithBuffer(100_000)}
				switch {
				case i%3 == 1 && seen > 0:
					opts = append(opts, call.WithRecover(at))
				case i%3 == 2:
					opts = append(opts, call.WithHistory(5))
					seen = 0
				default:
					seen = 0
				}
				at, seen = someEvents(ctx, t, c, topics[g%2], at, seen, 1+(i*7+g)%20, opts)
				rounds.Add(1)
			}
		})
	}
	for range 8 {
		before := rounds.Load()
		eventually(t, "some to come and go", func() bool { return rounds.Load() > before+20 })
		line.cut()
	}
}

// someEvents watches n events that follow one that was seen, if one was.
func someEvents(ctx context.Context, t *testing.T, c *client.Client, to string, at call.Position, seen, n int, opts []call.WatchOption) (call.Position, int) {
	w := call.WatchOf[int](ctx, c, to, opts...)
	defer w.Close()
	for u, err := range w.Updates() {
		switch {
		case ctx.Err() != nil:
			return at, seen
		case err != nil || u.Gap || u.Fault != nil:
			t.Errorf("after %d (%v): %+v, %v", seen, at, u, err)
			return at, 0
		case seen > 0 && u.Value != seen+1:
			t.Errorf("%d after %d", u.Value, seen)
		}
		at, seen = u.Position(), u.Value
		if n--; n == 0 {
			break
		}
	}
	return at, seen
}
