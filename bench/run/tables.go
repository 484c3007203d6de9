//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// The values of a measure that the tables show.
func server(m measure) float64  { return m.Server }
func service(m measure) float64 { return m.Peer }
func rate(m measure) float64    { return m.Rate }
func p50(m measure) float64     { return m.P50 / 1000 }
func p99(m measure) float64     { return m.P99 / 1000 }
func share(m measure) float64   { return m.ServerShare }
func base(m measure) float64    { return mb(m.Base) }
func full(m measure) float64    { return m.each(m.Full) }
func rested(m measure) float64  { return m.each(m.Rested) }

// cell shows the values with the given number of digits after the point.
func cell(values []float64, digits int) string {
	s, ok := sum(values)
	if !ok {
		return "–"
	}
	if len(values) == 1 {
		return fmt.Sprintf("%.*f", digits, s.median)
	}
	return fmt.Sprintf("%.*f [%.*f–%.*f]", digits, s.median, digits, s.low, digits, s.high)
}

func (r *report) tables(b *bytes.Buffer) {
	r.runs(b)
	for _, n := range inFlights {
		r.callTable(b, n)
	}
	r.connectTable(b)
	r.idleTable(b)
	r.farTable(b)
	r.gatherTable(b)
	r.sendTable(b)
	r.nodesTable(b)
	r.fanoutTable(b)
	r.topicsTable(b)
	r.watchesTable(b)
	r.stormTable(b)
	r.queryTable(b)
	r.contentsTable(b)
	r.targetTable(b)
	b.WriteByte('\n')
}

// has says whether anything was measured in a mode.
func (r *report) has(mode string) bool {
	for m := range r.measures() {
		if m.Mode == mode {
			return true
		}
	}
	return false
}

// runs tells when the rows were measured, and where. Rows of one run stand
// together.
func (r *report) runs(b *bytes.Buffer) {
	b.WriteString("\nThe server, or all nodes, had one core, load generator and services another. The programs took turns; cells are\n" +
		"median [lowest–highest], and ratios are taken round by round.\n")
	columns(b, "measured", "commit", "rows", "rounds", "calls", "idle", "cores that other programs used", "machine")
	from := map[origin][]row{}
	var order []origin
	for _, w := range r.Rows {
		if from[w.origin] == nil {
			order = append(order, w.origin)
		}
		from[w.origin] = append(from[w.origin], w)
	}
	for _, of := range order {
		var rows []string
		var others []float64
		for _, w := range from[of] {
			rows = append(rows, w.Name)
			others = append(others, w.others()...)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %d | %s each | %s each | %s | %s, %d cores, Linux %s, %s |\n", of.Date, of.Commit, strings.Join(rows, ", "),
			of.Rounds, of.For, of.Idle, cell(others, 2), of.CPU, of.Cores, of.Kernel, of.Go)
	}
}

// heading begins a table with when its row was measured.
func (r *report) heading(b *bytes.Buffer, name, title string, names ...string) {
	at := slices.IndexFunc(r.Rows, func(w row) bool { return w.Name == name })
	w := r.Rows[at]
	fmt.Fprintf(b, "\n### %s\n\n%s, commit %s, others %s cores\n", title, w.Date, w.Commit, cell(w.others(), 2))
	columns(b, names...)
}

func columns(b *bytes.Buffer, names ...string) {
	fmt.Fprintf(b, "\n| %s |\n|%s\n", strings.Join(names, " | "), strings.Repeat(" --- |", len(names)))
}

func (r *report) callTable(b *bytes.Buffer, n int) {
	if !r.has(load.ModeCall) {
		return
	}
	r.heading(b, load.ModeCall, fmt.Sprintf("Calls, %d in flight", n), "program", "server CPU µs a call", "× floor", "× NATS over WebSocket",
		"calls/s", "p50 ms", "p99 ms", "service CPU µs")
	in := at{mode: load.ModeCall, inFlight: n}
	for _, p := range names() {
		of := func(value func(measure) float64) []float64 { return r.series(p, in, value) }
		cpu := of(server)
		if len(cpu) == 0 || slices.Contains(meshes, p) {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", p, cell(cpu, 1),
			cell(ratios(cpu, r.series(floorName, in, server)), 2),
			cell(ratios(cpu, r.series(natsWSName, in, server)), 2),
			cell(of(rate), 0), cell(of(p50), 2), cell(of(p99), 2), cell(of(service), 1))
	}
}

func (r *report) connectTable(b *bytes.Buffer) {
	if !r.has(load.ModeConnect) {
		return
	}
	r.heading(b, load.ModeConnect, "Connecting", "program", "server CPU µs each", "× NATS over WebSocket", "connects/s", "p50 ms", "p99 ms")
	in := at{mode: load.ModeConnect}
	for _, p := range names() {
		of := func(value func(measure) float64) []float64 { return r.series(p, in, value) }
		cpu := of(server)
		if len(cpu) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", p, cell(cpu, 1),
			cell(ratios(cpu, r.series(natsWSName, in, server)), 2),
			cell(of(rate), 0), cell(of(p50), 1), cell(of(p99), 1))
	}
}

func (r *report) idleTable(b *bytes.Buffer) {
	if !r.has(load.ModeIdle) {
		return
	}
	r.heading(b, load.ModeIdle, "Idle connections", "program", "RSS KB each", "at the end", "CPU % of a core", "base RSS MB")
	in := at{mode: load.ModeIdle}
	for _, p := range names() {
		of := func(value func(measure) float64) []float64 { return r.series(p, in, value) }
		if len(of(full)) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", p, cell(of(full), 2), cell(of(rested), 2), cell(of(share), 2), cell(of(base), 1))
	}
}
