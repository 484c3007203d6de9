//go:build linux

package main

import (
	"bytes"
	"fmt"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// meshes are the programs that are several processes.
var meshes = []string{meshName, natsTCPMeshName, natsMeshName} //nolint:gochecknoglobals // a list of constants

// The values of a mesh at rest.
func restCPU(m measure) float64    { return m.Members.CPU }
func packets(m measure) float64    { return m.Members.Packets }
func bytesEach(m measure) float64  { return m.Members.Bytes / 1000 }
func rssEach(m measure) float64    { return mb(m.Members.RSS) }
func knownAfter(m measure) float64 { return m.Members.Known }
func lostAfter(m measure) float64  { return m.Members.Lost }

func (r *report) farTable(b *bytes.Buffer) {
	if !r.measured(load.ModeCall, meshes...) {
		return
	}
	r.heading(b, load.ModeCall, "Calls across two nodes",
		"in flight", "program", "CPU µs a call, both", "× one node", "× bare NATS", "calls/s", "p50 ms", "p99 ms")
	for _, n := range inFlights {
		in := at{mode: load.ModeCall, inFlight: n}
		for _, p := range meshes {
			cpu := r.series(p, in, server)
			if len(cpu) == 0 {
				continue
			}
			one := ""
			switch p {
			case meshName:
				one = cell(ratios(cpu, r.series(ropewalkName, in, server)), 2)
			case natsTCPMeshName:
				one = cell(ratios(cpu, r.series(natsTCPName, in, server)), 2)
			}
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s | %s |\n", n, p, cell(cpu, 1), one,
				cell(ratios(cpu, r.series(natsMeshName, in, server)), 2),
				cell(r.series(p, in, rate), 0), cell(r.series(p, in, p50), 2), cell(r.series(p, in, p99), 2))
		}
	}
}

func (r *report) gatherTable(b *bytes.Buffer) {
	if !r.has(load.ModeGather) {
		return
	}
	r.heading(b, load.ModeGather, "Gathers",
		"servers", "in flight", "where they are", "CPU µs a gather, all nodes", "an answer", "× one node", "gathers/s", "p50 ms", "p99 ms")
	for _, size := range gatherSizes {
		for _, n := range gatherInFlights {
			in := at{mode: load.ModeGather, inFlight: n, size: size}
			for _, p := range []string{ropewalkName, meshName} {
				cpu := r.series(p, in, server)
				if len(cpu) == 0 {
					continue
				}
				each := r.series(p, in, func(m measure) float64 { return m.Server / float64(size) })
				fmt.Fprintf(b, "| %d | %d | %s | %s | %s | %s | %s | %s | %s |\n", size, n,
					where(p, fmt.Sprintf("%d nodes", size)), cell(cpu, 1), cell(each, 1),
					cell(ratios(cpu, r.series(ropewalkName, in, server)), 2),
					cell(r.series(p, in, rate), 0), cell(r.series(p, in, p50), 2), cell(r.series(p, in, p99), 2))
			}
		}
	}
}

// where names the nodes of a program.
func where(program, many string) string {
	if program == meshName {
		return many
	}
	return "one node"
}

func (r *report) sendTable(b *bytes.Buffer) {
	if !r.has(load.ModeSend) {
		return
	}
	r.heading(b, load.ModeSend, "Sends to a client",
		"in flight", "sender and receiver", "CPU µs a send, all nodes", "× one node", "sends/s", "p50 ms", "p99 ms")
	for _, n := range inFlights {
		in := at{mode: load.ModeSend, inFlight: n}
		for _, p := range []string{ropewalkName, meshName} {
			cpu := r.series(p, in, server)
			if len(cpu) == 0 {
				continue
			}
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s |\n", n, where(p, "two nodes"), cell(cpu, 1),
				cell(ratios(cpu, r.series(ropewalkName, in, server)), 2),
				cell(r.series(p, in, rate), 0), cell(r.series(p, in, p50), 2), cell(r.series(p, in, p99), 2))
		}
	}
}

func (r *report) nodesTable(b *bytes.Buffer) {
	if !r.has(rowNodes) {
		return
	}
	r.heading(b, rowNodes, "A mesh at rest", "nodes", "CPU ms a second and node", "packets/s and node", "kB/s and node", "RSS MB a node",
		"s until all know all", "s until all know that one was killed")
	for _, n := range meshSizes {
		of := func(value func(measure) float64) []float64 {
			return r.series(meshName, at{mode: rowNodes, size: n}, value)
		}
		if len(of(restCPU)) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s |\n", n, cell(of(restCPU), 2), cell(of(packets), 1), cell(of(bytesEach), 1),
			cell(of(rssEach), 1), cell(of(knownAfter), 2), cell(of(lostAfter), 2))
	}
}

// measured says whether any of these programs was measured in a mode.
func (r *report) measured(mode string, programs ...string) bool {
	for m := range r.measures() {
		for _, p := range programs {
			if m.Mode == mode && m.Program == p {
				return true
			}
		}
	}
	return false
}
