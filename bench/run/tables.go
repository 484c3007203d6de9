//go:build linux

package main

import (
	"bytes"
	"fmt"
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
	others := make([]float64, 0, len(r.Measures))
	for _, m := range r.Measures {
		others = append(others, m.Others)
	}
	fmt.Fprintf(b, "\n%s, %s, %d cores (server on one, load generator and service on another), Linux %s, %s.\n",
		r.Date, r.CPU, r.Cores, r.Kernel, r.Go)
	fmt.Fprintf(b, "%d rounds, the programs in turn; calls %s each, idle %s each; median [lowest–highest]; ratios are taken round by\nround. "+
		"Other programs of the machine used %s cores meanwhile.\n", r.Rounds, r.For, r.Idle, cell(others, 2))
	for _, n := range inFlights {
		r.callTable(b, n)
	}
	r.connectTable(b)
	r.idleTable(b)
	r.targetTable(b)
	b.WriteByte('\n')
}

// has says whether anything was measured in a mode.
func (r *report) has(mode string) bool {
	for _, m := range r.Measures {
		if m.Mode == mode {
			return true
		}
	}
	return false
}

func heading(b *bytes.Buffer, title string, columns ...string) {
	fmt.Fprintf(b, "\n### %s\n\n| %s |\n|%s\n", title, strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}

func (r *report) callTable(b *bytes.Buffer, n int) {
	if !r.has(load.ModeCall) {
		return
	}
	heading(b, fmt.Sprintf("Calls, %d in flight", n), "program", "server CPU µs a call", "× floor", "× NATS over WebSocket",
		"calls/s", "p50 ms", "p99 ms", "service CPU µs")
	for _, p := range r.Programs {
		of := func(value func(measure) float64) []float64 { return r.series(p, load.ModeCall, n, value) }
		cpu := of(server)
		if len(cpu) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", p, cell(cpu, 1),
			cell(ratios(cpu, r.series(floorName, load.ModeCall, n, server)), 2),
			cell(ratios(cpu, r.series(natsWSName, load.ModeCall, n, server)), 2),
			cell(of(rate), 0), cell(of(p50), 2), cell(of(p99), 2), cell(of(service), 1))
	}
}

func (r *report) connectTable(b *bytes.Buffer) {
	if !r.has(load.ModeConnect) {
		return
	}
	heading(b, "Connecting", "program", "server CPU µs each", "× NATS over WebSocket", "connects/s", "p50 ms", "p99 ms")
	for _, p := range r.Programs {
		of := func(value func(measure) float64) []float64 { return r.series(p, load.ModeConnect, 0, value) }
		cpu := of(server)
		if len(cpu) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", p, cell(cpu, 1),
			cell(ratios(cpu, r.series(natsWSName, load.ModeConnect, 0, server)), 2),
			cell(of(rate), 0), cell(of(p50), 1), cell(of(p99), 1))
	}
}

func (r *report) idleTable(b *bytes.Buffer) {
	if !r.has(load.ModeIdle) {
		return
	}
	heading(b, "Idle connections", "program", "RSS KB each", "at the end", "CPU % of a core", "base RSS MB")
	for _, p := range r.Programs {
		of := func(value func(measure) float64) []float64 { return r.series(p, load.ModeIdle, 0, value) }
		if len(of(full)) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", p, cell(of(full), 2), cell(of(rested), 2), cell(of(share), 2), cell(of(base), 1))
	}
}

// target is one thing that the node has to reach.
type target struct {
	what   string
	values []float64
	digits int
	bound  float64
	atMost bool
}

func (r *report) targets() []target {
	var all []target
	most := func(what string, bound float64, digits int, values []float64) {
		all = append(all, target{what, values, digits, bound, true})
	}
	for _, n := range inFlights {
		of := func(program string, value func(measure) float64) []float64 {
			return r.series(program, load.ModeCall, n, value)
		}
		cpu := of(ropewalkName, server)
		most(fmt.Sprintf("call, %d in flight: CPU × floor", n), 1.3, 2, ratios(cpu, of(floorName, server)))
		most(fmt.Sprintf("call, %d in flight: CPU × NATS over WebSocket", n), 0.95, 2, ratios(cpu, of(natsWSName, server)))
		most(fmt.Sprintf("call, %d in flight: p99 × NATS over WebSocket", n), 1, 2,
			ratios(of(ropewalkName, p99), of(natsWSName, p99)))
	}
	all = append(all, target{"call, 64 in flight: calls/s", r.series(ropewalkName, load.ModeCall, 64, rate), 0, 50_000, false})
	most("connect: CPU µs each", 60, 1, r.series(ropewalkName, load.ModeConnect, 0, server))
	most("idle, poller: RSS KB each", 3, 2, r.series(ropewalkName, load.ModeIdle, 0, full))
	most("idle, goroutines: RSS KB each", 9, 2, r.series(goroutineName, load.ModeIdle, 0, full))
	most("idle, poller: CPU % of a core", 1.5, 2, r.series(ropewalkName, load.ModeIdle, 0, share))
	most("base RSS MB", 40, 1, r.series(ropewalkName, load.ModeIdle, 0, base))
	if r.Binary > 0 {
		most("stripped binary MB", 30, 1, []float64{mb(r.Binary)})
	}
	return all
}

func (r *report) targetTable(b *bytes.Buffer) {
	heading(b, "Targets", "target", "wanted", "found", "")
	for _, t := range r.targets() {
		s, ok := sum(t.values)
		if !ok {
			continue
		}
		sign, met := "≤", s.median <= t.bound
		if !t.atMost {
			sign, met = "≥", s.median >= t.bound
		}
		verdict := "**not met**"
		if met {
			verdict = "met"
		}
		fmt.Fprintf(b, "| %s | %s %g | %s | %s |\n", t.what, sign, t.bound, cell(t.values, t.digits), verdict)
	}
}
