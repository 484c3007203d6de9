//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

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
			return r.series(program, at{mode: load.ModeCall, inFlight: n}, value)
		}
		cpu := of(ropewalkName, server)
		most(fmt.Sprintf("call, %d in flight: CPU × floor", n), 1.3, 2, ratios(cpu, of(floorName, server)))
		most(fmt.Sprintf("call, %d in flight: CPU × NATS over WebSocket", n), 0.95, 2, ratios(cpu, of(natsWSName, server)))
		most(fmt.Sprintf("call, %d in flight: p99 × NATS over WebSocket", n), 1, 2,
			ratios(of(ropewalkName, p99), of(natsWSName, p99)))
	}
	for _, n := range inFlights[1:] { // at one in flight, waking up hides it
		in := at{mode: load.ModeCall, inFlight: n}
		most(fmt.Sprintf("call, %d in flight: session and rules, µs more", n), 1, 2,
			differences(r.series(sessionName, in, server), r.series(ropewalkName, in, server)))
	}
	all = append(all, target{"call, 64 in flight: calls/s", r.series(ropewalkName, at{mode: load.ModeCall, inFlight: 64}, rate), 0, 50_000, false})
	connect, idle := at{mode: load.ModeConnect}, at{mode: load.ModeIdle}
	most("connect: CPU µs each", 60, 1, r.series(ropewalkName, connect, server))
	most("idle, poller: RSS KB each", 3, 2, r.series(ropewalkName, idle, full))
	most("idle, goroutines: RSS KB each", 9, 2, r.series(goroutineName, idle, full))
	most("idle, poller: CPU % of a core", 1.5, 2, r.series(ropewalkName, idle, share))
	most("base RSS MB", 40, 1, r.series(ropewalkName, idle, base))
	if last := r.newest(); last.Binary > 0 {
		most("stripped binary MB", 30, 1, []float64{mb(last.Binary)})
	}
	return slices.Concat(all, r.meshTargets(), r.topicTargets())
}

// meshTargets are those of many nodes.
func (r *report) meshTargets() []target {
	var all []target
	most := func(what string, bound float64, values []float64) {
		all = append(all, target{what, values, 2, bound, true})
	}
	for _, n := range inFlights {
		in := at{mode: load.ModeCall, inFlight: n}
		most(fmt.Sprintf("call across two nodes, %d in flight: CPU × call at one node", n), 2.2,
			ratios(r.series(meshName, in, server), r.series(ropewalkName, in, server)))
	}
	in := at{mode: load.ModeCall, inFlight: 64}
	most("call across two nodes, 64 in flight: CPU × bare NATS", 1.3,
		ratios(r.series(meshName, in, server), r.series(natsMeshName, in, server)))
	most("20 nodes at rest: CPU ms a second and node", 2, r.series(meshName, at{mode: rowNodes, size: 20}, restCPU))
	for _, n := range meshSizes {
		most(fmt.Sprintf("%d nodes: s until all know that one was killed", n), 3, r.series(meshName, at{mode: rowNodes, size: n}, lostAfter))
	}
	return all
}

func (r *report) targetTable(b *bytes.Buffer) {
	b.WriteString("\n### Targets\n")
	columns(b, "target", "wanted", "found", "")
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
