//go:build linux

// Peer is the service process of the bench: see package echo. It prints
// "ready" when the node lets it serve.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"

	"github.com/ropewalk/ropewalk/bench/internal/echo"
)

func main() {
	addr := flag.String("addr", "", "HOST:PORT of the node, an IPv4 address")
	path := flag.String("path", "/", "path of the WebSocket handshake")
	to := flag.String("to", "bench:/echo", "address to serve")
	flag.Parse()
	node, err := netip.ParseAddrPort(*addr)
	if err == nil {
		err = echo.Serve(node, *path, *to, func() { fmt.Println("ready") })
	}
	fmt.Fprintln(os.Stderr, "peer:", err)
	os.Exit(1)
}
