//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// The programs that take turns.
const (
	floorName       = "floor"
	ropewalkName    = "ropewalk"
	meshName        = "ropewalk-mesh"
	sessionName     = "ropewalk-session"
	goroutineName   = "ropewalk-goroutine"
	natsWSName      = "nats-ws"
	natsTCPName     = "nats-tcp"
	natsTCPMeshName = "nats-tcp-mesh"
	natsMeshName    = "nats-mesh"
)

// rowNodes is the row of a mesh at rest, rowStalled that of a fan-out with a
// watcher that does not read; the other rows are the modes of the load generator.
const (
	rowNodes   = "nodes"
	rowStalled = "stalled"
)

// program is one contestant.
type program struct {
	name  string
	proto string
	// site starts what a step needs but the load generator. What it started it
	// returns even with an error.
	site func(b *bench, st step) (*site, error)
	to   string
	// rows are those that it takes part in.
	rows []string
}

func allRows() []string {
	return []string{load.ModeCall, load.ModeConnect, load.ModeIdle, load.ModeGather, load.ModeSend, rowNodes, load.ModeFanout, rowStalled,
		load.ModeTopics, load.ModeWatches, load.ModeStorm, load.ModeQuery, rowContents}
}

func programs() []program {
	alone := []string{load.ModeCall, load.ModeConnect, load.ModeIdle}
	many := []string{load.ModeGather, load.ModeSend}
	topics := []string{load.ModeFanout, load.ModeTopics, load.ModeWatches}
	storm := []string{load.ModeStorm}
	rope := func(name string, site func(*bench, step) (*site, error), rows []string) program {
		return program{name: name, proto: load.ProtoRope, site: site, to: "bench:/echo", rows: rows}
	}
	nats := func(name, proto string, site func(*bench, step) (*site, error), rows []string) program {
		return program{name: name, proto: proto, site: site, to: "bench.echo", rows: rows}
	}
	return []program{
		rope(floorName, floorSite, slices.Concat(alone, topics, storm)),
		rope(ropewalkName, ropewalkSite("poller"), slices.Concat(alone, many, topics, storm, []string{rowStalled, load.ModeQuery, rowContents})),
		rope(meshName, meshSite, slices.Concat([]string{load.ModeCall, rowNodes}, many, storm)),
		rope(sessionName, sessionSite, alone),
		rope(goroutineName, ropewalkSite("goroutine"), alone),
		nats(natsWSName, load.ProtoNATSWS, natsSite(load.ProtoNATSWS), slices.Concat(alone, topics)),
		nats(natsTCPName, load.ProtoNATSTCP, natsSite(load.ProtoNATSTCP), alone),
		nats(natsTCPMeshName, load.ProtoNATSTCP, natsMeshSite, []string{load.ModeCall}),
		nats(natsMeshName, load.ProtoBare, natsPairSite, []string{load.ModeCall}),
	}
}

func names() []string {
	progs := programs()
	all := make([]string, 0, len(progs))
	for _, p := range progs {
		all = append(all, p.name)
	}
	return all
}

var (
	errName = errors.New("unknown name")
	errRow  = errors.New("unknown row")
)

// pick chooses the programs named in only, all if it is empty.
func pick(only string) ([]program, error) {
	all := programs()
	if only == "" {
		return all, nil
	}
	var got []program
	for name := range strings.SplitSeq(only, ",") {
		at := slices.IndexFunc(all, func(p program) bool { return p.name == name })
		if at < 0 {
			return nil, fmt.Errorf("--only: %w %q; known: %s", errName, name, strings.Join(names(), ", "))
		}
		got = append(got, all[at])
	}
	return got, nil
}

// step is one thing to measure, by one process of each program in turn.
type step struct {
	row      string
	inFlight int // calls, gathers, sends or events
	size     int // servers of a gather, nodes of a mesh at rest, topics
	conns    int // connect, idle and topics
	warm     time.Duration
	span     time.Duration
}

var (
	inFlights       = []int{1, 64, 256}    //nolint:gochecknoglobals // the loads of calls and sends
	gatherInFlights = []int{1, 64}         //nolint:gochecknoglobals // and of gathers
	gatherSizes     = []int{2, 8}          //nolint:gochecknoglobals // servers, each on a node of its own
	meshSizes       = []int{5, 10, 20, 50} //nolint:gochecknoglobals // nodes at rest
)

// settle is how long a server is left alone with its connections before its
// memory is read, or until the price of their connecting is.
const settle = 2 * time.Second

func plan(o options) ([]step, error) {
	var steps []step
	for row := range strings.SplitSeq(o.rows, ",") {
		of := func(inFlights, sizes []int) {
			for _, size := range sizes {
				for _, n := range inFlights {
					steps = append(steps, step{row: row, inFlight: n, size: size, warm: o.span / 4, span: o.span})
				}
			}
		}
		switch row {
		case load.ModeCall, load.ModeSend:
			of(o.some(inFlights, 64), []int{0})
		case load.ModeGather:
			of(o.some(gatherInFlights, 64), o.some(gatherSizes, 2))
		case load.ModeConnect:
			steps = append(steps, step{row: row, conns: o.conns, warm: settle / 10, span: time.Millisecond})
		case load.ModeIdle:
			steps = append(steps, step{row: row, conns: o.conns, warm: min(settle, o.idle), span: o.idle})
		case load.ModeFanout, rowStalled, load.ModeTopics, load.ModeWatches, load.ModeStorm:
			steps = append(steps, topicSteps(o, row)...)
		case load.ModeQuery:
			steps = append(steps, querySteps(o)...)
		case rowContents:
			steps = append(steps, step{row: row})
		case rowNodes:
			for _, n := range o.some(meshSizes, 3) {
				steps = append(steps, step{row: row, size: n, warm: min(settle, o.rest), span: o.rest})
			}
		default:
			return nil, fmt.Errorf("--rows: %w %q; known: %s", errRow, row, strings.Join(allRows(), ", "))
		}
	}
	return steps, nil
}
