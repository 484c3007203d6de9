package ropewalk_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// noticed is how soon a lost node has to be known everywhere.
const noticed = 3 * time.Second

// bubble runs a test of faults with a clock of its own: so it takes no time, and
// times are exact. The nodes in it listen nowhere.
func bubble(t *testing.T, test func(t *testing.T, w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, net: ropewalktest.NewNetwork(1)}
		defer w.close()
		test(t, w)
	})
}

// close ends all faults, so that the nodes can say goodbye, and then them.
func (w *town) close() {
	w.t.Helper()
	w.net.Heal()
	w.net.Drop(0)
	for _, n := range w.nodes {
		w.net.Reconnect(n.ID())
		w.net.Resume(n.ID())
	}
	for _, n := range w.nodes {
		if err := n.Shutdown(context.Background()); err != nil {
			w.t.Errorf("shut down %s: %v", n.Name(), err)
		}
	}
}

// found starts nodes without listeners and waits until all know all.
func (w *town) found(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.one(name)
	}
	eventually(w.t, "all nodes know all", func() bool { return w.complete(len(w.nodes)) })
}

// one starts one node without listeners.
func (w *town) one(name string) *ropewalk.Node {
	w.t.Helper()
	n, err := ropewalk.New(ropewalk.Config{Name: name, Backplane: w.net.Node(), Logger: slog.New(slog.DiscardHandler), Allow: ropewalk.AllowAll, Topics: topics})
	if err != nil {
		w.t.Fatal(err)
	}
	s := newWork(name)
	if err := n.Serve(s.service("work")); err != nil {
		w.t.Fatal(err)
	}
	if err := n.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.nodes, w.works = append(w.nodes, n), append(w.works, s)
	return n
}

// block begins a call on one node that lasts until the test says so.
func block(t *testing.T, from ropewalk.Caller, to *ropewalk.Node, at *work, body string) <-chan error {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		_, err := from.Call(t.Context(), "work:/block", body, on(to), call.WithTimeout(time.Hour))
		got <- err
	}()
	take(t, at.began, "the call on its way")
	return got
}

// runs is how often each body was executed at /once, over all nodes.
func (w *town) runs() map[string]int {
	sum := make(map[string]int)
	for _, s := range w.works {
		s.mu.Lock()
		for body, n := range s.seen {
			sum[body] += n
		}
		s.mu.Unlock()
	}
	return sum
}

// load is many callers that call without a pause.
type load struct {
	wg     sync.WaitGroup
	stop   chan struct{}
	calls  atomic.Int64
	mu     sync.Mutex
	failed map[string]error // by body
}

func newLoad() *load { return &load{stop: make(chan struct{}), failed: make(map[string]error)} }

// begin calls an address from each node, with so many callers each, until end.
func (w *town) begin(address string, callers int, opts ...call.Option) *load {
	l := newLoad()
	for i, n := range w.nodes {
		for j := range callers {
			l.wg.Go(func() { l.run(w.t.Context(), n, address, fmt.Sprint(i, ".", j, "."), opts) })
		}
	}
	return l
}

// pause between two calls: in a bubble time would stand still without it.
const pause = 6 * time.Millisecond

func (l *load) run(ctx context.Context, from ropewalk.Caller, address, prefix string, opts []call.Option) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		body := prefix + fmt.Sprint(i)
		got, err := ropewalk.Call[string](ctx, from, address, body, opts...)
		if err == nil && got != body {
			err = fmt.Errorf("the answer is %q", got)
		}
		if err != nil {
			l.mu.Lock()
			l.failed[body] = err
			l.mu.Unlock()
		}
		l.calls.Add(1)
	}
}

// more waits for so many more calls to end.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	had := l.calls.Load()
	eventually(t, "more calls", func() bool { return l.calls.Load() >= had+n })
}

// end ends the load and returns what failed.
func (l *load) end() map[string]error {
	close(l.stop)
	l.wg.Wait()
	return l.failed
}

// none has no call fail, and each executed once.
func none(t *testing.T, w *town, l *load) {
	t.Helper()
	for body, err := range l.end() {
		t.Errorf("%s: %v", body, err)
	}
	for body, n := range w.runs() {
		if n != 1 {
			t.Errorf("%s was executed %d times", body, n)
		}
	}
	if got := int64(len(w.runs())); got != l.calls.Load() {
		t.Errorf("%d calls, and %d executed", l.calls.Load(), got)
	}
}

func TestFaultNodeLost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		got := block(t, a, b, w.works[1], "x")
		back := block(t, b, a, w.works[0], "y")
		gather := make(chan *call.Gathered, 1)
		go func() {
			g, err := a.Gather(t.Context(), "work:/block", "z", call.WithTimeout(time.Hour))
			if err != nil {
				t.Error(err)
			}
			gather <- g
		}()
		for _, s := range w.works {
			take(t, s.began, "the gather")
		}
		at := time.Now()
		w.net.Disconnect(b.ID())
		e := wantCode(t, take(t, got, "the end of the call"), message.CodeNodeLost)
		if took := time.Since(at); took > noticed {
			t.Errorf("it took %v", took)
		}
		if e.Retryable || e.Hint == "" {
			t.Errorf("it may have been executed: %+v", e)
		}
		if err := take(t, w.works[1].ended, "the end of the handler"); err == nil {
			t.Error("the handler was not canceled")
		}
		wantCode(t, take(t, back, "the end of the call of b"), message.CodeNodeLost)
		close(w.works[0].gate)
		close(w.works[2].gate)
		g := take(t, gather, "the gather")
		if good(g) != 2 || len(g.Answers) != 3 {
			t.Fatalf("%+v", g)
		}
		for i := range g.Answers {
			if err := g.Answers[i].Err; err != nil && err.Code != message.CodeNodeLost {
				t.Error(err)
			}
		}
		eventually(t, "b is lost at all", func() bool { return sees(a) == "a c (b)" && sees(w.nodes[2]) == "a c (b)" })
		if took := time.Since(at); took > noticed {
			t.Errorf("it took %v until all knew", took)
		}
		if n := serversOf(a, "work:/where"); n != 2 {
			t.Errorf("%d servers are left", n)
		}
		for range 20 {
			if got, err := ropewalk.Call[string](t.Context(), a, "work:/where", nil); err != nil || got == "b" {
				t.Fatal(got, err)
			}
		}
		w.net.Reconnect(b.ID())
		eventually(t, "b is back", func() bool { return w.complete(3) })
	})
}

// Whoever gets no answer can tell why.
func TestFaultCodes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		a, b := w.nodes[0], w.nodes[1]
		if err := b.Serve(newWork("b").service("shop")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the shop", func() bool { return serversOf(a, "shop:/where") == 1 })
		ask := func(address string) *message.Error {
			if _, err := a.Call(t.Context(), address, nil); err != nil {
				return message.AsError(err)
			}
			return nil
		}
		if e := ask("none:/where"); e.Code != message.CodeNoService || e.Retryable {
			t.Errorf("nobody ever: %+v", e)
		}
		// The node's own way to the others is cut: where b is is not known.
		w.net.Disconnect(a.ID())
		eventually(t, "b is lost", func() bool { return sees(a) == "a (b)" })
		eventually(t, "the split", func() bool { // what was under way may have lost its server just now
			e := ask("shop:/where")
			if e == nil || !e.Retryable || e.Hint == "" {
				t.Fatalf("split: %+v", e)
			}
			return e.Code == message.CodeMeshSplit
		})
		if e := ask("none:/where"); e.Code != message.CodeNoService {
			t.Errorf("nobody ever, split: %+v", e)
		}
		if e := ask(b.ID() + "@node:/info"); e.Code != message.CodeMeshSplit {
			t.Errorf("the node itself: %+v", e)
		}
		w.net.Reconnect(a.ID())
		others := 0 // the routes may come between two looks, at them and at the nodes
		eventually(t, "b is back", func() bool {
			e := ask("shop:/where")
			if e != nil && e.Code != message.CodeMeshSplit {
				others++
			}
			return e == nil
		})
		if others > 1 {
			t.Errorf("%d times it was said that b is not just away", others)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "b has left", func() bool {
			e := ask("shop:/where")
			return e != nil && e.Code == message.CodeServiceDown
		})
		if e := ask("shop:/where"); !e.Retryable {
			t.Errorf("down: %+v", e)
		}
		if e := ask("none:/where"); e.Code != message.CodeNoService {
			t.Errorf("nobody ever, down: %+v", e)
		}
	})
}

// A node that takes no calls any more gives those back that were on their way,
// and another one executes them, once.
func TestFaultDrainLosesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		w.net.Delay(time.Millisecond, 30*time.Millisecond)
		l := w.begin("work:/once", 20)
		for i := range 12 {
			n := w.nodes[i%3]
			n.SetDraining(true)
			l.more(t, 100)
			n.SetDraining(false)
			l.more(t, 100)
		}
		none(t, w, l)
	})
}

// Services come and go while their routes are still known elsewhere.
func TestFaultStaleRoutes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		w.net.Delay(10*time.Millisecond, 40*time.Millisecond)
		l := w.begin("work:/once", 10)
		for i := range 8 {
			n := w.one(fmt.Sprint("n", i))
			eventually(t, "its routes", func() bool { return w.complete(len(w.nodes)) })
			l.more(t, 50)
			if err := n.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			w.nodes = w.nodes[:2]
			l.more(t, 50)
			eventually(t, "its routes are gone", func() bool { return w.complete(2) })
		}
		none(t, w, l)
	})
}

// A line that loses, delays and is slow is a slow line, not a loss of calls.
func TestFaultLossyLine(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		w.net.Drop(0.05) // at 15 percent all cards of 2.6 s are lost now and then
		w.net.Delay(0, 20*time.Millisecond)
		l := w.begin("work:/once", 10)
		l.more(t, 3000)
		none(t, w, l)
	})
}

// A node that stands still for a moment was never lost.
func TestFaultShortPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		l := w.begin("work:/once", 10)
		for range 5 {
			w.net.Pause(w.nodes[1].ID())
			<-time.After(mesh.DefaultDeadAfter - mesh.DefaultInterval - 200*time.Millisecond)
			w.net.Resume(w.nodes[1].ID())
			l.more(t, 200)
		}
		none(t, w, l)
		if sees(w.nodes[0]) != "a b" {
			t.Error(sees(w.nodes[0]))
		}
	})
}

// A node that stands still for long is lost, and does no harm when it goes on:
// each call has had its one answer, and no other one comes.
func TestFaultLongPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		l := w.begin("work:/once", 10)
		l.more(t, 200)
		for range 3 {
			id := w.nodes[1].ID()
			w.net.Pause(id)
			eventually(t, "b is lost", func() bool { return sees(w.nodes[0]) == "a c (b)" && sees(w.nodes[2]) == "a c (b)" })
			if n := serversOf(w.nodes[0], "work:/once"); n != 2 {
				t.Errorf("%d servers while b stands still", n)
			}
			w.net.Resume(id)
			eventually(t, "b is back", func() bool { return w.complete(3) })
			l.more(t, 200)
		}
		failed := l.end()
		w.account(t, l, failed)
		for _, n := range w.nodes {
			eventually(t, "nothing is in flight", func() bool { return inFlight(t, n) == 0 })
		}
	})
}

// Calls that may be repeated see nothing of the loss of a node.
func TestFaultRetryHidesALoss(t *testing.T) {
	t.Parallel()
	for address, opts := range map[string][]call.Option{"work:/safe": nil, "work:/once": {call.WithIdempotent()}} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *town) {
				w.found("a", "b", "c")
				all := w.nodes
				w.nodes = []*ropewalk.Node{all[0], all[2]} // those of the lost one are lost with it
				l := w.begin(address, 10, opts...)
				w.nodes = all
				for range 3 {
					l.more(t, 200)
					w.net.Disconnect(all[1].ID())
					eventually(t, "b is lost", func() bool { return sees(all[0]) == "a c (b)" && sees(all[2]) == "a c (b)" })
					l.more(t, 200)
					w.net.Reconnect(all[1].ID())
					eventually(t, "b is back", func() bool { return w.complete(3) })
				}
				for body, err := range l.end() {
					t.Errorf("%s: %v", body, err)
				}
			})
		})
	}
}

// Both halves go on, and know all that happened when they see each other again.
func TestFaultPartition(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c", "d")
		id := func(i int) string { return w.nodes[i].ID() }
		w.net.Partition([]string{id(0), id(1)}, []string{id(2), id(3)})
		eventually(t, "two halves", func() bool {
			return sees(w.nodes[0]) == "a b (c) (d)" && sees(w.nodes[1]) == "a b (c) (d)" &&
				sees(w.nodes[2]) == "c d (a) (b)" && sees(w.nodes[3]) == "c d (a) (b)"
		})
		if !w.complete(2) {
			t.Error("a half does not see its two servers")
		}
		l := w.begin("work:/once", 5)
		if err := w.nodes[3].Serve(newWork("d").service("new")); err != nil {
			t.Fatal(err)
		}
		l.more(t, 200)
		w.net.Heal()
		eventually(t, "one mesh", func() bool { return w.complete(4) && serversOf(w.nodes[0], "new:/where") == 1 })
		none(t, w, l)
	})
}

// Only one direction works: that is as good as none, and heals as well.
func TestFaultOneWay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b", "c")
		got := block(t, w.nodes[0], w.nodes[1], w.works[1], "x")
		w.net.Block(w.nodes[1].ID(), w.nodes[0].ID())
		wantCode(t, take(t, got, "the end of the call"), message.CodeNodeLost)
		eventually(t, "a and b have lost each other, and c nobody", func() bool {
			return sees(w.nodes[0]) == "a c (b)" && sees(w.nodes[1]) == "b c (a)" && sees(w.nodes[2]) == "a b c"
		})
		w.net.Heal()
		eventually(t, "all see all", func() bool { return w.complete(3) })
	})
}
