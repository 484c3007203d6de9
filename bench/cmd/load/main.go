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
	var addr string
	flag.StringVar(&cfg.Mode, "mode", load.ModeCall, "call, connect or idle")
	flag.StringVar(&cfg.Proto, "proto", load.ProtoRope, "ropewalk, nats-ws or nats-tcp")
	flag.StringVar(&addr, "addr", "", "HOST:PORT of the server, an IPv4 address")
	flag.StringVar(&cfg.Path, "path", "/", "path of the WebSocket handshake")
	flag.IntVar(&cfg.Conns, "conns", 0, "connections (0: one for each call under way)")
	flag.IntVar(&cfg.InFlight, "inflight", 64, "calls under way, a multiple of -conns")
	flag.IntVar(&cfg.AtOnce, "atonce", 200, "connections being opened at a time")
	flag.StringVar(&cfg.To, "to", "bench:/echo", "address or subject of the service")
	flag.IntVar(&cfg.Payload, "payload", 128, "bytes of a call's body")
	flag.DurationVar(&cfg.Warm, "warm", 500*time.Millisecond, "how long before measuring")
	flag.DurationVar(&cfg.For, "for", 3*time.Second, "how long to measure")
	flag.IntVar(&cfg.ServerPID, "server", 0, "process id of the server")
	flag.IntVar(&cfg.PeerPID, "peer", 0, "process id of the process that serves the calls")
	flag.Parse()
	if cfg.Conns == 0 {
		cfg.Conns = cfg.InFlight
	}
	var err error
	if cfg.Addr, err = netip.ParseAddrPort(addr); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	files, err := proc.RaiseFiles()
	if err != nil {
		return err
	}
	if need := uint64(cfg.Conns) + 64; files < need {
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
