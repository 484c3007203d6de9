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
	floorName     = "floor"
	ropewalkName  = "ropewalk"
	goroutineName = "ropewalk-goroutine"
	natsWSName    = "nats-ws"
	natsTCPName   = "nats-tcp"
)

// program is one contestant.
type program struct {
	name  string
	proto string
	// server starts the server and says where it listens, for the load and for
	// the service.
	server func(b *bench) (s *child, forLoad, forPeer string, err error)
	// peer starts the service.
	peer func(b *bench, addr string) (*child, error)
	to   string
	// rows are those that it takes part in.
	rows []string
}

var allRows = []string{load.ModeCall, load.ModeConnect, load.ModeIdle}

func programs() []program {
	rope := func(name string, server func(*bench) (*child, string, string, error), rows []string) program {
		return program{name: name, proto: load.ProtoRope, server: server, peer: ropePeer, to: "bench:/echo", rows: rows}
	}
	nats := func(name, proto string, rows []string) program {
		return program{name: name, proto: proto, server: natsServer(proto), peer: natsPeer, to: "bench.echo", rows: rows}
	}
	return []program{
		rope(floorName, floorServer, allRows),
		rope(ropewalkName, ropewalkServer("poller"), allRows),
		rope(goroutineName, ropewalkServer("goroutine"), allRows),
		nats(natsWSName, load.ProtoNATSWS, allRows),
		nats(natsTCPName, load.ProtoNATSTCP, allRows),
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

var errName = errors.New("unknown name")

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
	inFlight int // calls
	conns    int // in the other rows
	warm     time.Duration
	span     time.Duration
}

// inFlights are the loads of the call rows.
var inFlights = []int{1, 64, 256}

// settle is how long a server is left alone with its connections before its
// memory is read, or until the price of their connecting is.
const settle = 2 * time.Second

func plan(o options) ([]step, error) {
	var steps []step
	for row := range strings.SplitSeq(o.rows, ",") {
		switch row {
		case load.ModeCall:
			for _, n := range inFlights {
				steps = append(steps, step{row: row, inFlight: n, warm: o.span / 4, span: o.span})
			}
		case load.ModeConnect:
			steps = append(steps, step{row: row, conns: o.conns, warm: settle / 10, span: time.Millisecond})
		case load.ModeIdle:
			steps = append(steps, step{row: row, conns: o.conns, warm: min(settle, o.idle), span: o.idle})
		default:
			return nil, fmt.Errorf("--rows: %w %q; known: %s", errName, row, strings.Join(allRows, ", "))
		}
	}
	return steps, nil
}

func floorServer(b *bench) (s *child, forLoad, forPeer string, err error) {
	s, line, err := b.start(b.o.serverCore, b.bin("floor"), "-listen", "127.0.0.1:0")
	if err != nil {
		return nil, "", "", err
	}
	addr, err := readyAddr(line)
	return s, addr, addr, err
}

// ropewalkServer starts a node with the given read driver.
func ropewalkServer(driver string) func(*bench) (*child, string, string, error) {
	return func(b *bench) (*child, string, string, error) {
		listen, err := freeAddr()
		if err != nil {
			return nil, "", "", err
		}
		config, err := b.nodeConfig(driver)
		if err != nil {
			return nil, "", "", err
		}
		s, line, err := b.start(b.o.serverCore, b.bin("ropewalk"), "serve", "--listen", listen, "--config", config)
		if err != nil {
			return nil, "", "", err
		}
		addr, err := readyAddr(line)
		return s, addr, addr, err
	}
}

func natsServer(proto string) func(*bench) (*child, string, string, error) {
	return func(b *bench) (*child, string, string, error) {
		// As often as the node does by default, so that idle is the same work.
		s, line, err := b.start(b.o.serverCore, b.bin("natsd"), "-ping", "25s")
		if err != nil {
			return nil, "", "", err
		}
		var tcp, web string
		if _, err := fmt.Sscanf(line, "ready nats %s %s", &tcp, &web); err != nil {
			return s, "", "", fmt.Errorf("read %q: %w", line, err)
		}
		if proto == load.ProtoNATSTCP {
			return s, tcp, tcp, nil
		}
		return s, web, tcp, nil
	}
}

func ropePeer(b *bench, addr string) (*child, error) {
	c, _, err := b.start(b.o.loadCore, b.bin("peer"), "-addr", addr)
	return c, err
}

func natsPeer(b *bench, addr string) (*child, error) {
	c, _, err := b.start(b.o.loadCore, b.bin("natspeer"), "-addr", addr)
	return c, err
}
