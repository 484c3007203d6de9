//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

func TestSum(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   []float64
		want spread
		ok   bool
	}{
		{[]float64{3, 1, 2}, spread{2, 1, 3}, true},
		{[]float64{4, 1, 2, 3}, spread{2.5, 1, 4}, true},
		{[]float64{7}, spread{7, 7, 7}, true},
		{nil, spread{}, false},
	} {
		if got, ok := sum(tc.in); got != tc.want || ok != tc.ok {
			t.Errorf("sum(%v) = %v, %v", tc.in, got, ok)
		}
	}
	if got := ratios([]float64{2, 9, 4}, []float64{1, 0, 8}); !slices.Equal(got, []float64{2, 0.5}) {
		t.Errorf("ratios = %v", got)
	}
	if got := cell([]float64{1, 2, 3}, 1) + cell([]float64{1}, 0) + cell(nil, 0); got != "2.0 [1.0–3.0]1–" {
		t.Errorf("cells = %s", got)
	}
}

func TestReadyAddr(t *testing.T) {
	t.Parallel()
	if got, err := readyAddr("ready dev http://127.0.0.1:8000"); got != "127.0.0.1:8000" || err != nil {
		t.Errorf("readyAddr = %s, %v", got, err)
	}
	const line = "ready b http://127.0.0.1:8000 cluster 127.0.0.1:9000"
	if got, err := readyAddr(line); got != "127.0.0.1:8000" || err != nil {
		t.Errorf("readyAddr = %s, %v", got, err)
	}
	if got, err := clusterAddr(line); got != "127.0.0.1:9000" || err != nil {
		t.Errorf("clusterAddr = %s, %v", got, err)
	}
	if _, err := clusterAddr("ready b http://127.0.0.1:8000"); err == nil {
		t.Error("a node without a cluster has an address for others")
	}
	if _, err := readyAddr("ready"); err == nil {
		t.Error("a line without an address was read")
	}
}

func TestPickAndPlan(t *testing.T) {
	t.Parallel()
	if got, err := pick(""); len(got) != len(names()) || err != nil {
		t.Errorf("all: %d, %v", len(got), err)
	}
	if got, err := pick("nats-ws,floor"); len(got) != 2 || got[0].name != natsWSName || err != nil {
		t.Errorf("two: %v, %v", got, err)
	}
	if _, err := pick("nats"); err == nil {
		t.Error("a name that does not exist was picked")
	}
	if got, err := plan(options{rows: "idle,call", idle: time.Second}); len(got) != 1+len(inFlights) || got[1].row != load.ModeCall || err != nil {
		t.Errorf("plan = %v, %v", got, err)
	}
	if got, err := plan(options{rows: "gather,nodes", quick: true}); len(got) != 2 || err != nil {
		t.Errorf("plan = %v, %v", got, err)
	}
	if got, err := plan(options{rows: "gather,nodes"}); len(got) != len(gatherInFlights)*len(gatherSizes)+len(meshSizes) || err != nil {
		t.Errorf("plan = %v, %v", got, err)
	}
	if _, err := plan(options{rows: "x"}); err == nil {
		t.Error("a row that does not exist was planned")
	}
}

// sample is a report in which the node misses one target.
func sample() *report {
	r := &report{Rounds: 2, Programs: []string{floorName, ropewalkName, meshName, natsWSName, natsMeshName}, Binary: 20 << 20}
	for round := range 2 {
		for name, cpu := range map[string]float64{floorName: 10, ropewalkName: 14, natsWSName: 20} {
			r.Measures = append(r.Measures,
				measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeCall, InFlight: 64, Server: cpu, Rate: 60_000, P99: cpu * 100}},
				measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeIdle, Conns: 1024, Base: 10 << 20, Full: 12 << 20}})
		}
		for name, cpu := range map[string]float64{meshName: 28, natsMeshName: 30} {
			r.Measures = append(r.Measures, measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeCall, InFlight: 64, Server: cpu}})
		}
		for name, cpu := range map[string]float64{ropewalkName: 40, meshName: 60} {
			r.Measures = append(r.Measures,
				measure{Round: round, Program: name, Size: 8, Result: load.Result{Mode: load.ModeGather, InFlight: 64, Server: cpu}},
				measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeSend, InFlight: 1, Server: cpu}})
		}
		r.Measures = append(r.Measures, measure{
			Round: round, Program: meshName, Size: 20, Result: load.Result{Mode: rowNodes},
			Members: &members{CPU: 2.5, Packets: 24, Bytes: 9000, RSS: 25 << 20, Known: 1, Lost: 2.75},
		})
	}
	return r
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "RESULTS.md")
	page := "before\n" + begin + "old\n" + end + "after\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sample().write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	for _, want := range []string{
		"before\n" + begin, end + "after\n",
		"| ropewalk | 14.0 [14.0–14.0] | 1.40 [1.40–1.40] | 0.70 [0.70–0.70] |",
		"| call, 64 in flight: CPU × floor | ≤ 1.3 | 1.40 [1.40–1.40] | **not met** |",
		"| call, 64 in flight: p99 × NATS over WebSocket | ≤ 1 | 0.70 [0.70–0.70] | met |",
		"| call, 64 in flight: calls/s | ≥ 50000 | 60000 [60000–60000] | met |",
		"| idle, poller: RSS KB each | ≤ 3 | 2.00 [2.00–2.00] | met |",
		"| 64 | ropewalk-mesh | 28.0 [28.0–28.0] | 2.00 [2.00–2.00] | 0.93 [0.93–0.93] |",
		"| call across two nodes, 64 in flight: CPU × call at one node | ≤ 2.2 | 2.00 [2.00–2.00] | met |",
		"| call across two nodes, 64 in flight: CPU × bare NATS | ≤ 1.3 | 0.93 [0.93–0.93] | met |",
		"| 8 | 64 | 8 nodes | 60.0 [60.0–60.0] | 7.5 [7.5–7.5] | 1.50 [1.50–1.50] |",
		"| 1 | two nodes | 60.0 [60.0–60.0] | 1.50 [1.50–1.50] |",
		"| 20 | 2.50 [2.50–2.50] | 24.0 [24.0–24.0] | 9.0 [9.0–9.0] | 25.0 [25.0–25.0] | 1.00 [1.00–1.00] | 2.75 [2.75–2.75] |",
		"| 20 nodes at rest: CPU ms a second and node | ≤ 2 | 2.50 [2.50–2.50] | **not met** |",
		"| 20 nodes: s until all know that one was killed | ≤ 3 | 2.75 [2.75–2.75] | met |",
		"| stripped binary MB | ≤ 30 | 20.0 | met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") || strings.Contains(text, "Connecting") {
		t.Errorf("what was not measured is still there:\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "results.json")); err != nil {
		t.Error(err)
	}
}

func TestWriteWantsItsPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().write(dir); err != nil {
		t.Errorf("a page that did not exist: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sample().write(dir); err == nil {
		t.Error("a page without the marks was overwritten")
	}
}

func TestLogbook(t *testing.T) {
	t.Parallel()
	var l logbook
	for _, s := range []string{
		"time=1 level=INFO msg=\"node jo", "ined\" node=a\n", "x msg=\"node joined\" node=b\nx msg=\"node lost\" node=a\n", "msg=\"node left\"",
	} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if others, lost := l.knows(); others != 1 || lost != 1 {
		t.Errorf("knows %d, lost %d", others, lost)
	}
	if !strings.HasPrefix(l.String(), "time=1 level=INFO msg=\"node joined\" node=a\nx msg=") {
		t.Errorf("text is %q", l.String())
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	var c counters
	page := "# HELP x\nropewalk_mesh_packets_received_total 12\nropewalk_mesh_bytes_received_total 1.5e+06\nropewalk_mesh_packets_sent_total 7\n"
	for range 2 {
		if err := c.read(strings.NewReader(page)); err != nil {
			t.Fatal(err)
		}
	}
	if c.packets != 24 || c.bytes != 3e6 {
		t.Errorf("counters = %+v", c)
	}
	if err := c.read(strings.NewReader("ropewalk_mesh_packets_received_total x\n")); err == nil {
		t.Error("a number that is none was read")
	}
}
