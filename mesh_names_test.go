package ropewalk_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

func TestMeshNamesAndStatic(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	join := func(name string, names ...string) *ropewalk.Node {
		n, _ := startNode(t, func(c *ropewalk.Config) {
			c.Name, c.Backplane, c.Logger = name, net.Node(), slog.New(slog.DiscardHandler)
			c.Mesh = ropewalk.Mesh{Discovery: "static", Nodes: names, Labels: map[string]string{"zone": "z-" + name}}
		})
		return n
	}
	a, b := join("a", "a", "b"), join("b", "a", "b")
	join("stranger", "a", "b", "stranger")
	eventually(t, "both", func() bool { return sees(a) == "a b" && sees(b) == "a b" })
	for _, i := range a.Mesh().Nodes() {
		if i.Zone() != "z-"+i.Name {
			t.Errorf("%s is in %q", i.Name, i.Zone())
		}
	}
	_, err := ropewalk.New(ropewalk.Config{Mesh: ropewalk.Mesh{Cluster: "127.0.0.1:0"}})
	if err == nil || !strings.Contains(err.Error(), "Backplane") {
		t.Errorf("a mesh without a backplane: %v", err)
	}
}

// A node cannot join what cannot be opened, and ends cleanly.
func TestMeshThatCannotBeJoined(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{Backplane: broken{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

// broken is a backplane that does not open.
type broken struct{ mesh.Backplane }

func (broken) Open(context.Context, string, mesh.Receiver) error { return errBroken }
func (broken) Addr() string                                      { return "" }
func (broken) Close(context.Context) error                       { return nil }
