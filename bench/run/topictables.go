//go:build linux

package main

import (
	"bytes"
	"fmt"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// The steps that the tables and targets of topics are about.
var (
	saturated = at{mode: load.ModeFanout, inFlight: fanoutInFlight}             //nolint:gochecknoglobals // constants
	lone      = at{mode: load.ModeFanout}                                       //nolint:gochecknoglobals // constants
	stalled   = at{mode: load.ModeFanout, inFlight: fanoutInFlight, stalled: 1} //nolint:gochecknoglobals // constants
	watches   = at{mode: load.ModeWatches, size: watchesTopics}                 //nolint:gochecknoglobals // constants
	storm     = at{mode: load.ModeStorm}                                        //nolint:gochecknoglobals // constants
)

// ofTopics is the step with n topics.
func ofTopics(n int) at { return at{mode: load.ModeTopics, inFlight: topicsInFlight, size: n} }

// core is how many a second one core could do that had nothing else to do.
func core(m measure) float64    { return 1e6 / m.Server }
func seconds(m measure) float64 { return m.Seconds }
func grown(m measure) float64   { return mb(m.Rested - m.Full) }

// perTopic is the memory of a topic with its one watch, in KB.
func perTopic(m measure) float64 { return float64(m.Full-m.Base) / float64(m.Topics) / 1024 }

// perWatch is the memory of a watch that is not the first of its connection.
func perWatch(m measure) float64 { return float64(m.Rested-m.Full) / float64(m.Count) }

// topical is what a line shown while the bench runs says of topics.
func (m measure) topical() string {
	switch m.Mode {
	case load.ModeWatches:
		return fmt.Sprintf(" %d × %d: %.0f bytes a watch, server %.1f µs each; others %.2f cores", m.Conns, m.Topics, perWatch(m), m.Server, m.Others)
	case load.ModeStorm:
		return fmt.Sprintf(" %d back after %.2f s: server %.1f µs each; p50 %.0f p99 %.0f ms; others %.2f cores",
			m.Conns, m.Seconds, m.Server, p50(m), p99(m), m.Others)
	default:
		return fmt.Sprintf(" %d watch %d, %d stalled, %d under way: server %.2f µs each, load %.2f; %.0f/s; p50 %.1f p99 %.1f ms; %+.1f MB; others %.2f cores",
			m.Conns, m.Topics, m.Stalled, m.InFlight, m.Server, m.Own, m.Rate, p50(m), p99(m), grown(m), m.Others)
	}
}

func (r *report) fanoutTable(b *bytes.Buffer) {
	for _, t := range []struct {
		row, title string
		in         at
	}{
		{load.ModeFanout, fmt.Sprintf("Events of one topic to %d watchers, %d under way", fanoutConns, fanoutInFlight), saturated},
		{load.ModeFanout, fmt.Sprintf("Events of one topic to %d watchers, one each %s", fanoutConns, loneEvery), lone},
		{rowStalled, fmt.Sprintf("Events of one topic to %d watchers, %d under way, one watcher does not read", fanoutConns, fanoutInFlight), stalled},
	} {
		if len(r.series(ropewalkName, t.in, server)) == 0 {
			continue
		}
		r.heading(b, t.row, t.title, "program", "server CPU µs a delivery", "× floor", "× NATS over WebSocket", "deliveries/s",
			"on a core of its own", "p50 ms", "p99 ms", "MB more at the end")
		for _, p := range names() {
			of := func(value func(measure) float64) []float64 { return r.series(p, t.in, value) }
			cpu := of(server)
			if len(cpu) == 0 {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", p, cell(cpu, 2),
				cell(ratios(cpu, r.series(floorName, t.in, server)), 2), cell(ratios(cpu, r.series(natsWSName, t.in, server)), 2),
				cell(of(rate), 0), cell(of(core), 0), cell(of(p50), 1), cell(of(p99), 1), cell(of(grown), 1))
		}
	}
}

func (r *report) topicsTable(b *bytes.Buffer) {
	if !r.has(load.ModeTopics) {
		return
	}
	r.heading(b, load.ModeTopics, fmt.Sprintf("Events of many topics, each with one watcher, %d under way", topicsInFlight), "topics", "program",
		"server CPU µs an event", fmt.Sprintf("× %d topics", topicSizes[0]), "× NATS over WebSocket", "events/s", "p99 ms", "KB a topic and watch")
	for _, n := range topicSizes {
		in := ofTopics(n)
		for _, p := range names() {
			cpu := r.series(p, in, server)
			if len(cpu) == 0 {
				continue
			}
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s | %s |\n", n, p, cell(cpu, 1),
				cell(ratios(cpu, r.series(p, ofTopics(topicSizes[0]), server)), 2), cell(ratios(cpu, r.series(natsWSName, in, server)), 2),
				cell(r.series(p, in, rate), 0), cell(r.series(p, in, p99), 2), cell(r.series(p, in, perTopic), 2))
		}
	}
}

func (r *report) watchesTable(b *bytes.Buffer) {
	if !r.has(load.ModeWatches) {
		return
	}
	r.heading(b, load.ModeWatches, fmt.Sprintf("%d connections watch the same %d topics", watchesConns, watchesTopics), "program",
		"bytes a watch beyond the first", "server CPU µs to begin one")
	for _, p := range names() {
		if cpu := r.series(p, watches, server); len(cpu) > 0 {
			fmt.Fprintf(b, "| %s | %s | %s |\n", p, cell(r.series(p, watches, perWatch), 0), cell(cpu, 1))
		}
	}
}

func (r *report) stormTable(b *bytes.Buffer) {
	if !r.has(load.ModeStorm) {
		return
	}
	r.heading(b, load.ModeStorm, fmt.Sprintf("%d connections come back at once, and get %d events that they have missed", stormConns, stormMissed),
		"program", "s until all have all", "server CPU µs each", "× floor", "p50 ms", "p99 ms")
	for _, p := range names() {
		cpu := r.series(p, storm, server)
		if len(cpu) == 0 {
			continue
		}
		name := p
		if p == meshName {
			name += ", to another node, after theirs was killed"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, cell(r.series(p, storm, seconds), 2), cell(cpu, 1),
			cell(ratios(cpu, r.series(floorName, storm, server)), 2), cell(r.series(p, storm, p50), 0), cell(r.series(p, storm, p99), 0))
	}
}

// topicTargets are those of topics.
func (r *report) topicTargets() []target {
	var all []target
	most := func(what string, bound float64, digits int, values []float64) {
		all = append(all, target{what, values, digits, bound, true})
	}
	of := func(in at, value func(measure) float64) []float64 { return r.series(ropewalkName, in, value) }
	cpu := of(saturated, server)
	most("fan-out, saturated: CPU µs a delivery", 2.4, 2, cpu)
	most("fan-out, saturated: CPU × NATS over WebSocket", 0.6, 2, ratios(cpu, r.series(natsWSName, saturated, server)))
	all = append(all, target{"fan-out, saturated: deliveries/s", of(saturated, rate), 0, 400_000, false})
	most("fan-out, lone: CPU × NATS over WebSocket", 0.65, 2, ratios(of(lone, server), r.series(natsWSName, lone, server)))
	most("fan-out, lone: p99 ms", 15, 1, of(lone, p99))
	if r.of(rowStalled) == r.of(load.ModeFanout) { // else they did not take turns
		most("fan-out, one watcher stalled: p99 × none stalled", 1.1, 2, ratios(of(stalled, p99), of(saturated, p99)))
		most("fan-out, one watcher stalled: MB more than without", 1, 2, differences(of(stalled, grown), of(saturated, grown)))
	}
	for _, n := range topicSizes[1:] {
		most(fmt.Sprintf("%d topics: CPU × %d topics", n, topicSizes[0]), 1.3, 2, ratios(of(ofTopics(n), server), of(ofTopics(topicSizes[0]), server)))
	}
	most("watch beyond the first: bytes", 200, 0, of(watches, perWatch))
	for _, p := range []struct{ name, what string }{{ropewalkName, "storm"}, {meshName, "storm after a node was killed"}} {
		most(p.what+": s until all have all", 1, 2, r.series(p.name, storm, seconds))
		most(p.what+": CPU µs each", 110, 1, r.series(p.name, storm, server))
	}
	return all
}
