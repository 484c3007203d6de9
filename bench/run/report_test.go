//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
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

var sampleOrigin = origin{Date: "2026-01-02 15:04 UTC", Commit: "abc", Rounds: 2, For: "3s", Idle: "1m0s", Binary: 20 << 20}

// rowOf is the row that a measure is of.
func rowOf(m measure) string {
	if m.Stalled > 0 {
		return rowStalled
	}
	return m.Mode
}

// sample is a report in which the node misses one target.
func sample() *report {
	r := new(report)
	add := func(m measure) { r.add(rowOf(m), sampleOrigin, m) }
	for round := range 2 {
		for name, cpu := range map[string]float64{floorName: 10, ropewalkName: 14, natsWSName: 20} {
			add(measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeCall, InFlight: 64, Server: cpu, Rate: 60_000, P99: cpu * 100}})
			add(measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeIdle, Conns: 1024, Base: 10 << 20, Full: 12 << 20}})
		}
		for name, cpu := range map[string]float64{meshName: 28, natsMeshName: 30} {
			add(measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeCall, InFlight: 64, Server: cpu}})
		}
		for name, cpu := range map[string]float64{ropewalkName: 40, meshName: 60} {
			add(measure{Round: round, Program: name, Size: 8, Result: load.Result{Mode: load.ModeGather, InFlight: 64, Server: cpu}})
			add(measure{Round: round, Program: name, Result: load.Result{Mode: load.ModeSend, InFlight: 1, Server: cpu}})
		}
		add(measure{
			Round: round, Program: meshName, Size: 20, Result: load.Result{Mode: rowNodes},
			Members: &members{CPU: 2.5, Packets: 24, Bytes: 9000, RSS: 25 << 20, Known: 1, Lost: 2.75},
		})
	}
	topics(r)
	return r
}

// topics adds measures of topics to a report.
func topics(r *report) {
	add := func(program string, size int, res load.Result) {
		m := measure{Program: program, Size: size, Result: res}
		r.add(rowOf(m), sampleOrigin, m)
	}
	for name, cpu := range map[string]float64{floorName: 1, ropewalkName: 2, natsWSName: 4} {
		add(name, 0, load.Result{Mode: load.ModeFanout, InFlight: fanoutInFlight, Server: cpu, P99: 10_000, Rate: 450_000})
		add(name, 0, load.Result{Mode: load.ModeFanout, Server: 3 * cpu, P99: 9000})
		for i, n := range topicSizes {
			add(name, n, load.Result{Mode: load.ModeTopics, InFlight: topicsInFlight, Topics: n, Server: cpu * float64(1+i)})
		}
		add(name, watchesTopics, load.Result{Mode: load.ModeWatches, Full: 1000, Rested: 1000 + 99_000*150, Count: 99_000, Server: cpu})
		add(name, 0, load.Result{Mode: load.ModeStorm, Server: 40 * cpu, Seconds: 0.5})
	}
	add(ropewalkName, 0, load.Result{Mode: load.ModeFanout, InFlight: fanoutInFlight, Stalled: 1, Server: 2, P99: 12_000})
	add(meshName, 0, load.Result{Mode: load.ModeStorm, Server: 120, Seconds: 0.5})
	add(ropewalkName, queryGroups, load.Result{Mode: load.ModeQuery, Count: 10, Runs: 1000, Seconds: 1, Server: 10_000, P50: 12_000, P99: 15_000, Rate: 10})
	r.add(rowContents, sampleOrigin, measure{
		Program: ropewalkName, Result: load.Result{Mode: rowContents}, Contents: map[string]float64{"file Get": 4.25},
	})
}

func TestReadBench(t *testing.T) {
	t.Parallel()
	got := map[string]float64{}
	readBench("goos: linux\nBenchmarkGet-2  \t 100\t 1500 ns/op\t 3 B/op\nBenchmarkFail\nBenchmarkPoolHostCall \t 1\t 2e3 ns/op\nok\n", "file", got)
	if len(got) != 2 || got["file Get"] != 1.5 || got["file PoolHostCall"] != 2 {
		t.Errorf("read %v", got)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "RESULTS.md")
	page := "before\n" + begin + "of the last run\n" + end + "after\n"
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
		"| ropewalk | 2.00 | 2.00 | 0.50 | 450000 | 500000 |",
		"| fan-out, saturated: CPU × NATS over WebSocket | ≤ 0.6 | 0.50 | met |",
		"| fan-out, saturated: deliveries/s | ≥ 400000 | 450000 | met |",
		"| fan-out, lone: p99 ms | ≤ 15 | 9.0 | met |",
		"| fan-out, one watcher stalled: p99 × none stalled | ≤ 1.1 | 1.20 | **not met** |",
		"| 1000 topics: CPU × 10 topics | ≤ 1.3 | 2.00 | **not met** |",
		"| watch beyond the first: bytes | ≤ 200 | 150 | met |",
		"| storm after a node was killed: CPU µs each | ≤ 110 | 120.0 | **not met** |",
		"| one each 100ms | 12.0 | 15.0 | 10.00 | 100.0 | 1000 | 100.0 | 10 |",
		"| file: get | 4.2 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "of the last run") || strings.Contains(text, "Connecting") {
		t.Errorf("what was not measured is still there:\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "results.json")); err != nil {
		t.Error(err)
	}
}

// A run that measures one row leaves the others as they were, with their dates.
func TestRowsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().write(dir); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	later := sampleOrigin
	later.Date, later.Commit, later.Binary = "2026-01-03 15:04 UTC", "def", 10<<20
	found := new(report)
	for _, name := range []string{load.ModeFanout, load.ModeConnect} {
		found.add(name, later, measure{Program: ropewalkName, Result: load.Result{
			Mode: name, Conns: 1000, InFlight: fanoutInFlight, Server: 7, P99: 5000, Others: 0.25,
		}})
	}
	r.replace(found)
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"| 2026-01-02 15:04 UTC | abc | call, idle, gather, send, nodes, stalled, topics, watches, storm, query, contents | 2 |",
		"| 2026-01-03 15:04 UTC | def | connect, fanout | 2 | 3s each | 1m0s each | 0.25 [0.25–0.25] |",
		"### Calls, 64 in flight\n\n2026-01-02 15:04 UTC, commit abc, others 0.00 [0.00–0.00] cores\n\n| program |",
		"| call, 64 in flight: calls/s | ≥ 50000 | 60000 [60000–60000] | met |",
		"one watcher does not read\n\n2026-01-02",
		"### Events of one topic to 1000 watchers, 4 under way\n\n2026-01-03 15:04 UTC, commit def, others 0.25 cores\n",
		"| ropewalk | 7.00 | – | – |",
		"| stripped binary MB | ≤ 30 | 10.0 | met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "p99 × none stalled") || strings.Contains(text, "one each 50ms") {
		t.Errorf("of two runs, or of a step that was not measured again:\n%s", text)
	}
	if again, err := readReport(dir); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("read %+v, %v; want %+v", again, err, r)
	}
}

func TestOldResults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if r, err := readReport(dir); err != nil || len(r.Rows) != 0 {
		t.Errorf("no results: %v, %v", r, err)
	}
	if err := os.WriteFile(filepath.Join(dir, resultsName), []byte(`{"date":"x","measures":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(dir); !errors.Is(err, errOldResults) {
		t.Errorf("an older file: %v; it would be overwritten", err)
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
