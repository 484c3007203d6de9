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
	if got, err := freeAddr(); !strings.HasPrefix(got, "127.0.0.1:") || err != nil {
		t.Errorf("freeAddr = %s, %v", got, err)
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
	if _, err := plan(options{rows: "x"}); err == nil {
		t.Error("a row that does not exist was planned")
	}
}

// sample is a report in which the node misses one target.
func sample() *report {
	r := &report{Rounds: 2, Programs: []string{floorName, ropewalkName, natsWSName}, Binary: 20 << 20}
	for round := range 2 {
		for name, cpu := range map[string]float64{floorName: 10, ropewalkName: 14, natsWSName: 20} {
			r.Measures = append(r.Measures,
				measure{round, name, load.Result{Mode: load.ModeCall, InFlight: 64, Server: cpu, Rate: 60_000, P99: cpu * 100}},
				measure{round, name, load.Result{Mode: load.ModeIdle, Conns: 1024, Base: 10 << 20, Full: 12 << 20}})
		}
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
