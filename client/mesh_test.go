package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// mesh starts nodes that know of each other, and returns them when all have
// told so, with their addresses.
func mesh(t *testing.T, names ...string) (nodes []*ropewalk.Node, addrs []string) {
	t.Helper()
	net := ropewalktest.NewNetwork(1)
	for _, name := range names {
		n, err := ropewalk.New(ropewalk.Config{
			Name: name, Backplane: net.Node(), Allow: ropewalk.AllowAll, Logger: quiet,
			Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
			Services:  map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopNode(t, n) })
		nodes, addrs = append(nodes, n), append(addrs, n.Addrs()["main"].String())
	}
	for _, addr := range addrs {
		eventually(t, "a node that tells of all", func() bool { return strings.Count(welcomeOf(t, addr), "ws://") == len(addrs) })
	}
	return nodes, addrs
}

// welcomeOf returns what a node says first.
func welcomeOf(t *testing.T, addr string) string {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+addr, &websocket.DialOptions{Subprotocols: []string{"ropewalk.v1.json"}})
	if err != nil {
		t.Fatal(err)
	}
	_, frame, err := ws.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	return string(frame)
}

// TestMeshClientsFollow stops nodes of a mesh under load. The clients were told
// one URL only: caller and service move to the nodes that are left, and no call
// fails.
func TestMeshClientsFollow(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, addrs := mesh(t, "a", "b", "c")
			asker, server := join(t, addrs[0], opts...), join(t, addrs[0], opts...)
			for _, c := range []*client.Client{asker, server} {
				if tag, ok := message.TagOf(c.ID()); !ok || tag != message.NodeTag(nodes[0].ID()) {
					t.Fatalf("%s is no id of a client of %s", c.ID(), nodes[0].ID())
				}
			}
			svc := service.New("here")
			svc.HandleFunc("/", func(_ context.Context, req *route.Request, res route.Responder) {
				_ = res.Reply(route.Body{Bytes: req.Message.Body})
			})
			for _, c := range []*client.Client{server, join(t, addrs[2], opts...)} { // the only server would be missed while it moves
				if err := c.Serve(t.Context(), svc); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range nodes {
				eventually(t, "a node that knows both servers", func() bool {
					list, err := call.Do[[]route.ServiceInfo](t.Context(), n, "node:/services", struct{}{})
					return err == nil && slices.ContainsFunc(list, func(s route.ServiceInfo) bool { return s.Name == "here" && len(s.Servers) == 2 })
				})
			}
			k := caller{address: "here:/"}
			k.start(t, asker)
			for _, n := range nodes[:2] {
				k.more(t)
				stopNode(t, n)
				k.more(t)
			}
			k.end()
			if last := nodes[2].ID(); asker.Node().ID != last || server.Node().ID != last {
				t.Errorf("the caller is at %v, the service at %v", asker.Node(), server.Node())
			}
		})
	}
}

// A node that only asks its clients to go elsewhere loses those that can.
func TestMeshDrainedNode(t *testing.T) {
	t.Parallel()
	nodes, addrs := mesh(t, "a", "b")
	c := join(t, addrs[0])
	alone := join(t, addrs[0], client.WithoutFollow())
	eventually(t, "a client that knows both", func() bool {
		nodes[0].SetDraining(true)
		defer nodes[0].SetDraining(false)
		return c.Node().ID == nodes[1].ID()
	})
	for _, c := range []*client.Client{c, alone} {
		if got, err := call.Do[int](t.Context(), c, "echo:/", 7); err != nil || got != 7 {
			t.Fatal(got, err)
		}
	}
}
