package ropewalk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk"
)

// direct is to how many nodes a node has lines.
func direct(n *ropewalk.Node) int {
	count := 0
	for _, i := range n.Mesh().Nodes() {
		if i.Line == "direct" {
			count++
		}
	}
	return count
}

// metric is the value of a metric without labels.
func metric(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

func TestMeshCallsGoOverLines(t *testing.T) {
	t.Parallel()
	w := towns["nats"](t)
	reg := prometheus.NewRegistry()
	w.add([]string{"a"}, func(c *ropewalk.Config) { c.Registry = reg })
	w.add([]string{"b", "c"})
	eventually(t, "lines between all", func() bool { return direct(w.nodes[0])+direct(w.nodes[1])+direct(w.nodes[2]) == 6 })
	before, all := metric(t, reg, "ropewalk_mesh_packets_line_total"), metric(t, reg, "ropewalk_mesh_packets_sent_total")
	for i := range 200 {
		body := fmt.Sprint(i)
		if got, err := ropewalk.Call[string](t.Context(), w.nodes[0], "work:/once", body, on(w.nodes[1])); err != nil || got != body {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	line, sent := metric(t, reg, "ropewalk_mesh_packets_line_total")-before, metric(t, reg, "ropewalk_mesh_packets_sent_total")-all
	if line < 200 || sent > line {
		t.Errorf("%v of %v packets went over lines", line, sent)
	}
	if clients := w.nodes[1].Mesh().Nodes()[0].Clients; clients != 0 {
		t.Errorf("%d clients, and all there are are lines", clients)
	}
}

func TestMeshLinesCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	w := towns["nats"](t)
	w.add([]string{"a"}, func(c *ropewalk.Config) { c.Mesh.Lines = "none" })
	w.add([]string{"b"})
	for i := range 10 {
		if _, err := ropewalk.Call[string](t.Context(), w.nodes[i%2], "work:/once", fmt.Sprint(i), on(w.nodes[1-i%2])); err != nil {
			t.Fatal(err)
		}
	}
	if direct(w.nodes[0])+direct(w.nodes[1]) > 0 {
		t.Error("there is a line to a node without lines")
	}
	_, err := ropewalk.New(ropewalk.Config{Mesh: ropewalk.Mesh{Lines: "some"}})
	if err == nil || !strings.Contains(err.Error(), "mesh.lines") {
		t.Errorf("took mesh.lines: %v", err)
	}
}
