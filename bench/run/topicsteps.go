//go:build linux

package main

import (
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

const (
	// topicsAt is the address of the topics of a node, topicsOn their subject.
	topicsAt = "bench:/topic"
	topicsOn = "bench.topic"
	// fanoutConns watch one topic, stormConns come back at once.
	fanoutConns, stormConns = 1000, 5000
	// fanoutInFlight is how many events are under way at saturation.
	fanoutInFlight = 4
	// loneEvery is the time between two lone events.
	loneEvery = 50 * time.Millisecond
	// stalledBytes and stalledFrames may wait for one that does not read.
	stalledBytes, stalledFrames = 128 << 10, 256
	// topicsConns watch all topics of row topics together.
	topicsConns, topicsInFlight = 10, 64
	// watchesConns watch as many topics each in row watches.
	watchesConns, watchesTopics = 1000, 100
	// stormMissed is what each has missed.
	stormMissed = 20
)

// topicSizes are how many topics there are in row topics.
var topicSizes = []int{10, 1000, 100_000} //nolint:gochecknoglobals // the loads of topics

// topicSteps are the steps of the rows with topics.
func topicSteps(o options, row string) []step {
	st := step{row: row, warm: o.span / 4, span: o.span, inFlight: fanoutInFlight, conns: fanoutConns}
	switch row {
	case load.ModeFanout:
		lone := st
		lone.inFlight = 0
		return []step{st, lone}
	case load.ModeTopics:
		var steps []step
		for _, n := range o.some(topicSizes, 1000) {
			steps = append(steps, step{row: row, warm: st.warm, span: st.span, inFlight: topicsInFlight, size: n, conns: topicsConns})
		}
		return steps
	case load.ModeWatches:
		st.conns, st.size, st.warm, st.span = watchesConns, watchesTopics, settle, settle
	case load.ModeStorm:
		st.conns, st.warm = stormConns, settle/2
		if o.quick {
			st.conns = o.conns
		}
	}
	return []step{st}
}

// topical tells whether a step is about topics.
func (st step) topical() bool {
	switch st.row {
	case load.ModeFanout, rowStalled, load.ModeTopics, load.ModeWatches, load.ModeStorm, load.ModeQuery:
		return true
	default:
		return false
	}
}

// mode is that of the load generator.
func (st step) mode() string {
	if st.row == rowStalled {
		return load.ModeFanout
	}
	return st.row
}

// to is the address or subject of what is asked.
func (st step) to(p program) string {
	switch {
	case !st.topical():
		return p.to
	case st.row == load.ModeQuery:
		return queryAt
	case p.proto == load.ProtoRope:
		return topicsAt
	default:
		return topicsOn
	}
}

// topicArgs are arguments of the load generator.
func (st step) topicArgs(s *site) []string {
	args := []string{"-conns", strconv.Itoa(st.conns), "-inflight", strconv.Itoa(st.inFlight)}
	switch st.row {
	case load.ModeFanout:
		if st.inFlight == 0 {
			args = append(args, "-every", loneEvery.String())
		}
	case rowStalled:
		args = append(args, "-stalled", "1")
	case load.ModeTopics, load.ModeWatches:
		args = append(args, "-topics", strconv.Itoa(st.size))
	case load.ModeQuery:
		args = append(args, "-topics", strconv.Itoa(st.size), "-burst", strconv.Itoa(queryBurst))
		if st.inFlight == 0 {
			args = append(args, "-every", queryEvery.String())
		}
	case load.ModeStorm:
		args = append(args, "-far", s.far, "-missed", strconv.Itoa(stormMissed))
		if len(s.servers) > 1 {
			args = append(args, "-kill", s.servers[0].pid())
		}
	}
	return args
}

// measured are the servers whose CPU and memory a step is about: not one that is
// killed.
func (st step) measured(s *site) []*child {
	if st.row == load.ModeStorm {
		return s.servers[len(s.servers)-1:]
	}
	return s.servers
}

// env is what the programs of a step are told by the environment. Where a few
// bytes of many are weighed, they are to hold little that the collector could
// take away: else its pace is weighed.
func (st step) env() []string {
	if st.row == load.ModeWatches {
		return []string{"GOGC=10"}
	}
	return nil
}
