package ropewalk_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// patience is more than anything here takes on a busy machine.
const patience = 30 * time.Second

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func wantCode(t *testing.T, err error, want message.Code) *message.Error {
	t.Helper()
	if message.CodeOf(err) != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return message.AsError(err)
}

// take waits for something on a channel.
func take[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
	panic("unreachable") //nolint:forbidigo // Fatalf does not return
}

var quiet = client.WithLogger(slog.New(slog.DiscardHandler))

// town is a mesh of nodes in this process.
type town struct {
	t     *testing.T
	net   *ropewalktest.Network // nil over NATS
	join  []string              // over NATS
	nodes []*ropewalk.Node
	works []*work
	urls  []string
}

// towns are the ways in which nodes of a test meet.
var towns = map[string]func(*testing.T) *town{
	"memory": func(t *testing.T) *town {
		t.Helper()
		return &town{t: t, net: ropewalktest.NewNetwork(1)}
	},
	"nats": func(t *testing.T) *town {
		t.Helper()
		return &town{t: t}
	},
}

// everywhere runs a test in each kind of town.
func everywhere(t *testing.T, test func(t *testing.T, w *town)) {
	t.Helper()
	for name, found := range towns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, found(t))
		})
	}
}

// plane returns the backplane of one more node.
func (w *town) plane() mesh.Backplane {
	w.t.Helper()
	if w.net != nil {
		return w.net.Node()
	}
	p, err := natsplane.New(natsplane.Config{Cluster: "127.0.0.1:0", Join: w.join}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// add starts nodes with these names, each with a service "work", and waits until
// all know all.
func (w *town) add(names []string, change ...func(*ropewalk.Config)) {
	w.t.Helper()
	for _, name := range names {
		plane := w.plane()
		n, url := startNode(w.t, append([]func(*ropewalk.Config){func(c *ropewalk.Config) {
			c.Name, c.Backplane, c.Logger = name, plane, slog.New(slog.DiscardHandler)
		}}, change...)...)
		if w.net == nil && w.join == nil {
			w.join = []string{plane.Addr()}
		}
		s := newWork(name)
		if err := n.Serve(s.service("work")); err != nil {
			w.t.Fatal(err)
		}
		w.nodes, w.works, w.urls = append(w.nodes, n), append(w.works, s), append(w.urls, url)
	}
	eventually(w.t, "all nodes know all", func() bool { return w.complete(len(w.nodes)) })
}

// complete tells whether every node sees so many servers of work:.
func (w *town) complete(servers int) bool {
	return !slices.ContainsFunc(w.nodes, func(n *ropewalk.Node) bool { return serversOf(n, "work:/where") != servers })
}

// serversOf is how many servers a node sees for an address.
func serversOf(n *ropewalk.Node, address string) int {
	e, err := ropewalk.Call[nodeapi.Explanation](context.Background(), n, "node:/route/explain", nodeapi.Explain{Address: address})
	if err != nil {
		return -1
	}
	return len(e.Servers)
}

// sees tells which nodes a node sees, by name; lost ones in parentheses.
func sees(n *ropewalk.Node) string {
	var list []string
	for _, i := range n.Mesh().Nodes() {
		name := i.Name
		if i.State == mesh.Lost {
			name = "(" + name + ")"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// on is an option that names the server of a call.
func on(n *ropewalk.Node) ropewalk.CallOption {
	return call.WithStrategy(route.Selection{By: route.ByInstance, Instance: n.ID()})
}

// work is a service whose handlers do as the test says.
type work struct {
	name  string
	runs  atomic.Int64
	began chan string   // a handler of /block has begun
	ended chan error    // it has returned, and why
	gate  chan struct{} // lets those of /block go on

	mu   sync.Mutex
	seen map[string]int // executions of /once, by body
}

func newWork(name string) *work {
	return &work{
		name: name, began: make(chan string, 1000), ended: make(chan error, 1000), gate: make(chan struct{}),
		seen: make(map[string]int),
	}
}

func (w *work) service(name string) *ropewalk.Service {
	s := ropewalk.NewService(name)
	s.Handle("/where", ropewalk.Handle(func(context.Context, any) (string, error) {
		w.runs.Add(1)
		return w.name, nil
	}))
	s.Handle("/echo", ropewalk.Handle(func(_ context.Context, in string) (string, error) { return in, nil }))
	s.Handle("/block", ropewalk.Handle(func(ctx context.Context, in string) (string, error) {
		w.began <- in
		select {
		case <-w.gate:
			w.ended <- nil
			return in + " at " + w.name, nil
		case <-ctx.Done():
			w.ended <- context.Cause(ctx)
			return "", ctx.Err()
		}
	}))
	s.Handle("/once", ropewalk.Handle(func(_ context.Context, in string) (string, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[in]++
		return in, nil
	}))
	s.Handle("/safe", ropewalk.Handle(func(_ context.Context, in string) (string, error) { return in, nil }),
		service.WithIdempotent())
	s.Handle("/fail", ropewalk.Handle(func(context.Context, any) (string, error) {
		return "", &message.Error{Code: message.CodeConflict, Message: "not now", Hint: "Later.", Path: "/a", Details: []byte(`{"n":1}`)}
	}))
	s.Handle("/parts", ropewalk.HandleStream(func(ctx context.Context, n int, send func(int) error) (string, error) {
		for i := range n {
			if err := send(i); err != nil {
				w.ended <- err
				return "", err
			}
		}
		w.ended <- ctx.Err()
		return w.name, nil
	}))
	return s
}

func TestMeshCalls(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b", "c"})
		c := dial(t, w.urls[0], quiet)
		for i, n := range w.nodes {
			got, err := ropewalk.Call[string](t.Context(), c, "work:/where", nil, on(n))
			if err != nil || got != w.works[i].name {
				t.Fatalf("asked %s, got %s, %v", w.works[i].name, got, err)
			}
			if got, err := ropewalk.Call[string](t.Context(), c, n.ID()+"@work:/where", nil); err != nil || got != w.works[i].name {
				t.Fatalf("asked %s by its id, got %s, %v", w.works[i].name, got, err)
			}
		}
		_, err := ropewalk.Call[string](t.Context(), c, "work:/fail", nil, on(w.nodes[1]))
		e := wantCode(t, err, message.CodeConflict)
		if e.Hint != "Later." || e.Path != "/a" || string(e.Details) != `{"n":1}` {
			t.Errorf("of the error is left %+v", e)
		}
		long := strings.Repeat("0123456789", 300<<10) // several packets, and more than one fragment
		for _, n := range w.nodes[1:] {
			got, err := ropewalk.Call[string](t.Context(), w.nodes[0], "work:/echo", long, on(n))
			if err != nil || got != long {
				t.Fatalf("a body of %d bytes: %d bytes, %v", len(long), len(got), err)
			}
		}
		if _, err = ropewalk.Call[string](t.Context(), c, "work:/nothing", nil); message.CodeOf(err) != message.CodeNoService {
			t.Errorf("a path that nobody serves: %v", err)
		}
	})
}

func TestMeshManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b", "c"})
		const callers, calls = 16, 200
		var all sync.WaitGroup
		for i := range callers {
			c := dial(t, w.urls[i%3], quiet)
			all.Go(func() {
				for j := range calls {
					body := fmt.Sprint(i, ".", j)
					got, err := ropewalk.Call[string](t.Context(), c, "work:/echo", body, on(w.nodes[(i+j)%3]))
					if err != nil || got != body {
						t.Errorf("%s: %s, %v", body, got, err)
						return
					}
				}
			})
		}
		all.Wait()
		for _, n := range w.nodes {
			eventually(t, "nothing is in flight", func() bool { return inFlight(t, n) == 0 })
		}
	})
}

// inFlight is what a node counts of calls, but for the one that asks.
func inFlight(t *testing.T, n *ropewalk.Node) int {
	t.Helper()
	d, err := ropewalk.Call[nodeapi.Drained](t.Context(), n, "node:/drain", nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.InFlight
}

func TestMeshPartsComeInOrder(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		if w.net != nil {
			w.net.Drop(0.02)
			w.net.Delay(0, 3*time.Millisecond)
		}
		c := dial(t, w.urls[0], quiet)
		const parts = 5000
		st := ropewalk.Stream[int, string](t.Context(), c, "work:/parts", parts, on(w.nodes[1]), call.WithBuffer(parts))
		next := 0
		for p, err := range st.Parts() {
			if err != nil {
				t.Fatal(err)
			}
			if p != next {
				t.Fatalf("part %d after %d", p, next-1)
			}
			next++
		}
		if got, err := st.Answer(); err != nil || got != "b" || next != parts {
			t.Fatalf("%d parts, %s, %v", next, got, err)
		}
		// Whoever goes away in the middle ends the handler on the other node.
		slow := ropewalk.Stream[int, string](t.Context(), c, "work:/parts", 10_000_000, on(w.nodes[1]), call.WithBuffer(1_000_000))
		for _, err := range slow.Parts() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		take(t, w.works[1].ended, "the end of the first stream")
		if err := slow.Close(); err != nil {
			t.Fatal(err)
		}
		if err := take(t, w.works[1].ended, "the end of the handler"); err == nil {
			t.Error("the handler was not told that nobody reads")
		}
	})
}

func TestMeshCancelAndDeadline(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b"})
		for _, caller := range []ropewalk.Caller{w.nodes[0], dial(t, w.urls[0], quiet)} {
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan error, 1)
			go func() {
				_, err := caller.Call(ctx, "work:/block", "x", on(w.nodes[1]))
				got <- err
			}()
			take(t, w.works[1].began, "the call at b")
			cancel()
			wantCode(t, take(t, got, "the end of the call"), message.CodeCanceled)
			if err := take(t, w.works[1].ended, "the end of the handler"); err == nil {
				t.Error("the handler at b was not canceled")
			}
			_, err := caller.Call(t.Context(), "work:/block", "x", on(w.nodes[1]), call.WithTimeout(time.Second))
			wantCode(t, err, message.CodeDeadlineExceeded)
			if err := take(t, w.works[1].ended, "the end of the handler"); err == nil {
				t.Error("the handler at b does not know the deadline")
			}
			take(t, w.works[1].began, "the call at b")
		}
		eventually(t, "nothing is in flight", func() bool { return inFlight(t, w.nodes[0])+inFlight(t, w.nodes[1]) == 0 })
	})
}

func TestMeshGather(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b", "c"})
		c := dial(t, w.urls[1], quiet)
		g, err := c.Gather(t.Context(), "work:/where", nil)
		if err != nil || g.Servers != 3 || len(g.Answers) != 3 {
			t.Fatalf("%+v, %v", g, err)
		}
		var said, nodes []string
		for i := range g.Answers {
			var s string
			if err := g.Answers[i].Decode(&s); err != nil {
				t.Error(err)
			}
			said, nodes = append(said, s), append(nodes, s+" is "+g.Answers[i].Node)
		}
		slices.Sort(said)
		slices.Sort(nodes)
		if !slices.Equal(said, []string{"a", "b", "c"}) || !slices.Contains(nodes, "a is a") || !slices.Contains(nodes, "c is c") {
			t.Errorf("said %q, nodes %q", said, nodes)
		}
		m, err := c.Gather(t.Context(), "work:/echo", "same", call.WithStrategy(route.Selection{By: route.ByMajority}))
		if err != nil || len(m.Answers) < 2 {
			t.Errorf("a majority: %+v, %v", m, err)
		}
		// One node does not answer in time.
		close(w.works[0].gate)
		close(w.works[2].gate)
		g, err = c.Gather(t.Context(), "work:/block", "x", call.WithTimeout(time.Second))
		if err != nil || good(g) != 2 || g.Servers != 3 {
			t.Fatalf("%+v, %v", g, err)
		}
		_, err = c.Gather(t.Context(), "work:/block", "x", call.WithTimeout(time.Second),
			call.WithStrategy(route.Selection{By: route.ByAll, Quorum: 3}))
		wantCode(t, err, message.CodeNoQuorum)
		// All nodes, each about itself.
		g, err = c.Gather(t.Context(), "node:/info", nil)
		if err != nil || len(g.Answers) != 3 {
			t.Fatalf("%+v, %v", g, err)
		}
	})
}

// good counts the answers that are no errors: a handler that looks at its
// deadline may answer with one just in time.
func good(g *call.Gathered) (n int) {
	for i := range g.Answers {
		if g.Answers[i].Err == nil {
			n++
		}
	}
	return n
}
