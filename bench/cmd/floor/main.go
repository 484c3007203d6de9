//go:build linux

// Floor is the reference of the bench: see package floor. Like the node it
// prints "ready floor http://HOST:PORT", and it ends on SIGTERM.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/ropewalk/ropewalk/bench/internal/floor"
	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT, an IPv4 address")
	flag.Parse()
	addr, err := netip.ParseAddrPort(*listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if _, err := proc.RaiseFiles(); err != nil {
		return err
	}
	s, err := floor.Listen(addr)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-sig
		stop.Store(true)
	}()
	fmt.Printf("ready floor http://%s\n", s.Addr())
	return s.Serve(stop.Load)
}
