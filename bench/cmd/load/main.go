//go:build linux

// Load measures one server: see package load. It prints one JSON object.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg load.Config
	var addr, far string
	flag.StringVar(&cfg.Mode, "mode", load.ModeCall, "call, gather, send, connect, idle, fanout, topics, watches, storm or query")
	flag.StringVar(&cfg.Proto, "proto", load.ProtoRope, "ropewalk, nats-ws or nats-tcp")
	flag.StringVar(&addr, "addr", "", "HOST:PORT of the server, an IPv4 address")
	flag.StringVar(&far, "far", "", "send: HOST:PORT where the receivers connect; storm: where all come back (default: -addr)")
	flag.IntVar(&cfg.Servers, "servers", 1, "gather: how many servers answer")
	flag.IntVar(&cfg.Topics, "topics", 1, "topics, watches, query: how many there are")
	flag.DurationVar(&cfg.Every, "every", 0, "fanout, query: time between two events or writes (0: -inflight of them under way)")
	flag.IntVar(&cfg.Stalled, "stalled", 0, "fanout: how many of -conns do not read")
	flag.IntVar(&cfg.Burst, "burst", 10_000, "query: writes without -every")
	flag.IntVar(&cfg.Missed, "missed", 20, "storm: events that each has missed")
	flag.IntVar(&cfg.Kill, "kill", 0, "storm: process that is killed first")
	flag.StringVar(&cfg.Path, "path", "/", "path of the WebSocket handshake")
	flag.StringVar(&cfg.Token, "token", "", "ropewalk: opens a session for each connection")
	flag.IntVar(&cfg.Conns, "conns", 0, "connections (0: one for each call under way)")
	flag.IntVar(&cfg.InFlight, "inflight", 64, "calls under way, a multiple of -conns")
	flag.IntVar(&cfg.AtOnce, "atonce", 200, "connections being opened at a time")
	flag.StringVar(&cfg.To, "to", "bench:/echo", "address or subject of the service")
	flag.IntVar(&cfg.Payload, "payload", 128, "bytes of a call's body")
	flag.DurationVar(&cfg.Warm, "warm", 500*time.Millisecond, "how long before measuring")
	flag.DurationVar(&cfg.For, "for", 3*time.Second, "how long to measure")
	flag.Func("server", "process ids of the servers, separated by commas", pids(&cfg.ServerPIDs))
	flag.Func("peer", "process ids of the processes that serve the calls", pids(&cfg.PeerPIDs))
	flag.Parse()
	if cfg.Conns == 0 {
		cfg.Conns = cfg.InFlight
	}
	var err error
	if cfg.Addr, err = netip.ParseAddrPort(addr); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	cfg.Far = cfg.Addr
	if far != "" {
		if cfg.Far, err = netip.ParseAddrPort(far); err != nil {
			return fmt.Errorf("-far: %w", err)
		}
	}
	files, err := proc.RaiseFiles()
	if err != nil {
		return err
	}
	need := uint64(cfg.Conns) + 64
	if cfg.Mode == load.ModeSend {
		need += uint64(cfg.Conns)
	}
	if files < need {
		return fmt.Errorf("%d connections need ulimit -n %d, it is %d", cfg.Conns, need, files)
	}
	// Nothing is allocated while it measures: no collector, no noise by it.
	debug.SetGCPercent(-1)
	res, err := load.Run(cfg)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// pids reads a list of process ids.
func pids(to *[]int) func(string) error {
	return func(list string) error {
		for text := range strings.SplitSeq(list, ",") {
			pid, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			*to = append(*to, pid)
		}
		return nil
	}
}
