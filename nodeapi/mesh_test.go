package nodeapi_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// settled is more than it takes until all nodes know each other and what they
// serve, or that one is lost.
const settled = 4 * time.Second

// nodes are the nodes of a test, in a network in memory.
type nodes struct {
	t   *testing.T
	net *ropewalktest.Network
	all []*ropewalk.Node
}

// inMesh runs f with nodes of these names, in a bubble with a fake clock.
func inMesh(t *testing.T, names []string, f func(t *testing.T, n *nodes)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, net: ropewalktest.NewNetwork(1)}
		defer func() {
			for _, node := range n.all {
				if err := node.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}()
		for _, name := range names {
			n.join(name)
		}
		n.settle()
		f(t, n)
	})
}

// join starts one more node; its zone is z and its name.
func (n *nodes) join(name string, services ...*ropewalk.Service) *ropewalk.Node {
	n.t.Helper()
	cfg := ropewalk.Config{Name: name, Allow: ropewalk.AllowAll, Logger: slog.New(slog.DiscardHandler)}
	cfg.Mesh.Labels = map[string]string{"zone": "z" + name}
	if n.net != nil {
		cfg.Backplane = n.net.Node()
	}
	node, err := ropewalk.New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range services {
		if err := node.Serve(s); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := node.Start(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	n.all = append(n.all, node)
	return node
}

func (*nodes) settle() {
	time.Sleep(settled)
	synctest.Wait()
}

// ask calls a path of a node's own service.
func ask[T any](t *testing.T, n *ropewalk.Node, address string, in any) T {
	t.Helper()
	v, err := ropewalk.Call[T](context.Background(), n, address, in)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return v
}

// waiting is a service whose calls end when the channel is closed.
func waiting(end chan struct{}) *ropewalk.Service {
	s := ropewalk.NewService("wait", service.WithVersion("1.2.0"))
	s.Handle("/", ropewalk.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		select {
		case <-end:
		case <-ctx.Done():
		}
		return "done", nil
	}))
	return s
}

func TestNodesOfAMesh(t *testing.T) {
	inMesh(t, []string{"a", "b"}, func(t *testing.T, n *nodes) {
		end := make(chan struct{})
		c := n.join("c", waiting(end))
		n.settle()
		a := n.all[0]
		answered := make(chan error)
		go func() {
			_, err := a.Call(context.Background(), "wait:/", struct{}{})
			answered <- err
		}()
		synctest.Wait()

		list := ask[[]nodeapi.NodeStatus](t, a, "node:/nodes", nil)
		if len(list) != 3 || !list[0].Self || list[1].Self || list[2].ID != c.ID() || list[2].Name != "c" || list[2].Zone() != "zc" {
			t.Fatalf("%+v", list)
		}
		if list[1].Calling != 0 || list[2].Calling != 1 || list[2].State != mesh.Alive {
			t.Errorf("%+v", list[1:])
		}
		list = ask[[]nodeapi.NodeStatus](t, a, c.ID()+"@node:/nodes", nil)
		if len(list) != 3 || !list[2].Self || list[0].Answering != 2 { // wait:/ and this one
			t.Errorf("%+v", list)
		}
		close(end)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		info := ask[nodeapi.Info](t, a, "node:/info", nil)
		if info.Zone != "za" || info.Draining || info.Mesh == nil || info.Mesh.Nodes != 3 || info.Mesh.Lost != 0 || info.Mesh.Discovery != "nats" {
			t.Errorf("%+v %+v", info, info.Mesh)
		}

		n.net.Disconnect(c.ID())
		n.settle()
		list = ask[[]nodeapi.NodeStatus](t, a, "node:/nodes", nil)
		if len(list) != 3 || list[2].Name != "c" || list[2].State != mesh.Lost {
			t.Errorf("%+v", list)
		}
		if info := ask[nodeapi.Info](t, a, "node:/info", nil); info.Mesh.Nodes != 2 || info.Mesh.Lost != 1 {
			t.Errorf("%+v", info.Mesh)
		}
	})
}

func TestNodeAlone(t *testing.T) {
	t.Parallel()
	n := &nodes{t: t}
	a := n.join("a")
	defer func() { _ = a.Shutdown(context.Background()) }()
	list := ask[[]nodeapi.NodeStatus](t, a, "node:/nodes", nil)
	if len(list) != 1 || !list[0].Self || list[0].ID != a.ID() || list[0].State != mesh.Alive || list[0].Routes == 0 || list[0].Zone() != "za" {
		t.Errorf("%+v", list)
	}
	if info := ask[nodeapi.Info](t, a, "node:/info", nil); info.Mesh != nil {
		t.Errorf("%+v", info.Mesh)
	}
	if got := ask[nodeapi.Drained](t, a, "node:/drain", map[string]bool{"on": true}); !got.Draining {
		t.Errorf("%+v", got)
	}
	if list := ask[[]nodeapi.NodeStatus](t, a, "node:/nodes", nil); list[0].State != mesh.Draining {
		t.Errorf("%+v", list)
	}
}

func TestServersHaveNodes(t *testing.T) {
	inMesh(t, []string{"a"}, func(t *testing.T, n *nodes) {
		end := make(chan struct{})
		close(end)
		n.join("b", waiting(end))
		n.settle()
		a := n.all[0]
		services := ask[[]route.ServiceInfo](t, a, "node:/services", nil)
		i := slices.IndexFunc(services, func(s route.ServiceInfo) bool { return s.Name == "wait" })
		if i < 0 || services[i].Servers[0].Node != "b" || services[i].Servers[0].Zone != "zb" || services[i].Servers[0].Local {
			t.Fatalf("%+v", services)
		}
		if s := services[0].Servers; len(s) != 2 || s[0].Node != "a" || s[0].Zone != "za" {
			t.Errorf("%+v", s)
		}
	})
}

func TestExplainInAMesh(t *testing.T) {
	inMesh(t, []string{"a"}, func(t *testing.T, n *nodes) {
		end := make(chan struct{})
		close(end)
		b := n.join("b", waiting(end))
		n.settle()
		a := n.all[0]
		explain := func(in nodeapi.Explain) nodeapi.Explanation {
			t.Helper()
			return ask[nodeapi.Explanation](t, a, "node:/route/explain", in)
		}
		x := explain(nodeapi.Explain{Address: "wait:/", Version: "^1"})
		if len(x.Servers) != 1 || x.Servers[0].Node != "b" || x.Servers[0].Zone != "zb" || x.Servers[0].Local || x.Servers[0].Version != "1.2.0" {
			t.Errorf("%+v", x)
		}
		for in, want := range map[nodeapi.Explain]message.Code{
			{Address: "wait:/", Scope: "node"}:                 message.CodeServiceDown,
			{Address: "wait:/", Version: "^2"}:                 message.CodeServiceDown,
			{Address: "wait:/", Version: "?"}:                  message.CodeBadMessage,
			{Address: "nothing:/"}:                             message.CodeNoService,
			{Address: "*@client:/"}:                            message.CodeBadAddress,
			{Address: message.NewClientID("00") + "@client:/"}: message.CodeNoClient,
		} {
			if x := explain(in); x.Error == nil || x.Error.Code != want || len(x.Servers) > 0 {
				t.Errorf("%+v: %+v", in, x)
			}
		}
		if x := explain(nodeapi.Explain{Address: "node:/info"}); len(x.Servers) != 1 || !x.Servers[0].Local || x.Servers[0].Node != "a" {
			t.Errorf("node: %+v", x)
		}
		if x := explain(nodeapi.Explain{Address: "node:/info", Strategy: "all"}); len(x.Servers) != 2 {
			t.Errorf("node: of a gather: %+v", x)
		}
		if x := explain(nodeapi.Explain{Address: "*:/info"}); len(x.Servers) != 1 || !x.Servers[0].Local {
			t.Errorf("any service: %+v", x)
		}
		client := message.NewClientID(b.ID()) + "@client:/"
		if x := explain(nodeapi.Explain{Address: client}); len(x.Servers) != 1 || x.Servers[0].Node != "b" {
			t.Errorf("a client of b: %+v", x)
		}

		n.net.Disconnect(a.ID())
		n.settle()
		for _, address := range []string{"wait:/", client} {
			if x := explain(nodeapi.Explain{Address: address}); x.Error == nil || x.Error.Code != message.CodeMeshSplit {
				t.Errorf("%s after a was cut off: %+v", address, x)
			}
		}
	})
}

func TestDrainAnotherNode(t *testing.T) {
	inMesh(t, []string{"a"}, func(t *testing.T, n *nodes) {
		end := make(chan struct{})
		b := n.join("b", waiting(end))
		n.settle()
		a := n.all[0]
		answered := make(chan error)
		go func() {
			_, err := a.Call(context.Background(), "wait:/", struct{}{})
			answered <- err
		}()
		synctest.Wait()
		drain := b.ID() + "@node:/drain"
		if got := ask[nodeapi.Drained](t, a, drain, nil); got.Draining || got.InFlight != 1 || got.ID != b.ID() || got.Name != "b" {
			t.Errorf("before: %+v", got)
		}
		if got := ask[nodeapi.Drained](t, a, drain, map[string]bool{"on": true}); !got.Draining || got.InFlight != 1 {
			t.Errorf("while it drains: %+v", got)
		}
		n.settle()
		if list := ask[[]nodeapi.NodeStatus](t, a, "node:/nodes", nil); list[1].State != mesh.Draining {
			t.Errorf("%+v", list)
		}
		if _, err := a.Call(context.Background(), "wait:/", struct{}{}); message.CodeOf(err) != message.CodeServiceDown {
			t.Errorf("a new call: %v", err)
		}
		close(end)
		if err := <-answered; err != nil {
			t.Errorf("the call in flight: %v", err)
		}
		if got := ask[nodeapi.Drained](t, a, drain, nil); !got.Draining || got.InFlight != 0 {
			t.Errorf("after: %+v", got)
		}
		ask[nodeapi.Drained](t, a, drain, map[string]bool{"on": false})
		n.settle()
		if got := ask[string](t, a, "wait:/", struct{}{}); got != "done" {
			t.Errorf("after the end of it: %s", got)
		}
	})
}

func TestVersions(t *testing.T) {
	inMesh(t, []string{"a", "b"}, func(t *testing.T, n *nodes) {
		a, b := n.all[0], n.all[1]
		in := nodeapi.SetVersions{Service: "math", Weights: map[string]float64{"^1": 95, "^2": 5}}
		g, err := a.Gather(context.Background(), "node:/versions/set", in)
		if err != nil || len(g.Answers) != 2 {
			t.Fatal(g, err)
		}
		for _, node := range n.all {
			if v := ask[nodeapi.Versions](t, node, "node:/versions", nil); v["math"]["^2"] != 5 {
				t.Errorf("%v", v)
			}
		}
		ask[nodeapi.Versions](t, a, b.ID()+"@node:/versions/set", nodeapi.SetVersions{Service: "math"})
		if v := ask[nodeapi.Versions](t, b, "node:/versions", nil); len(v) != 0 {
			t.Errorf("%v", v)
		}
		for _, bad := range []nodeapi.SetVersions{
			{Service: "node", Weights: map[string]float64{"^1": 1}},
			{Service: "math", Weights: map[string]float64{"x y": 1}},
		} {
			if _, err := a.Call(context.Background(), "node:/versions/set", bad); message.CodeOf(err) != message.CodeInvalidInput {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// TestTapOfAllNodes watches one node, and sees what passes at others, also at
// one that comes later and at one that comes back.
func TestTapOfAllNodes(t *testing.T) {
	inMesh(t, []string{"a", "b"}, func(t *testing.T, n *nodes) {
		a, b := n.all[0], n.all[1]
		all := newWatcher(a, nodeapi.Tap{Pattern: "nothing:/**"})
		defer all.close()
		one := newWatcher(a, nodeapi.Tap{Pattern: "nothing:/**", Nodes: "this"})
		defer one.close()
		c := n.join("c")
		n.settle()
		for _, node := range n.all {
			_, _ = node.Call(context.Background(), "nothing:/"+node.Name(), nil)
		}
		synctest.Wait()
		want := []string{"a call nothing:/a", "a error", "b call nothing:/b", "b error", "c call nothing:/c", "c error"}
		if got := all.seen(); !slices.Equal(got, want) {
			t.Errorf("all: %q", got)
		}
		if got := one.seen(); !slices.Equal(got, want[:2]) {
			t.Errorf("one: %q", got)
		}
		n.net.Disconnect(b.ID())
		n.settle()
		n.net.Reconnect(b.ID())
		n.settle()
		_, _ = b.Call(context.Background(), "nothing:/b", nil)
		if err := c.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := all.seen(); !slices.Equal(got, want[2:4]) {
			t.Errorf("b after it came back: %q", got)
		}
		if got := ask[nodeapi.Drained](t, a, "node:/drain", nil); got.InFlight != 0 {
			t.Errorf("taps count as calls in flight: %+v", got)
		}
	})
}

// watcher is a tap.
type watcher struct {
	got   chan string
	close func()
}

func newWatcher(n *ropewalk.Node, in nodeapi.Tap) *watcher {
	w := &watcher{got: make(chan string, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	s := ropewalk.Stream[nodeapi.Tapped, nodeapi.TapEnd](ctx, n, "node:/tap", in, call.WithTimeout(time.Hour))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for m, err := range s.Parts() {
			if err != nil {
				return
			}
			text := m.Node + " " + m.Verb
			if m.Verb == "call" {
				text += " " + m.To
			}
			w.got <- text
		}
	}()
	w.close = func() {
		cancel()
		<-ended
	}
	return w
}

// seen returns what was shown, in order of nodes.
func (w *watcher) seen() []string {
	var list []string
	for len(w.got) > 0 {
		list = append(list, <-w.got)
	}
	slices.Sort(list)
	return list
}
