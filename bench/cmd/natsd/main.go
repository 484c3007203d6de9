// Natsd is a plain NATS server as a process of its own, with listeners for TCP
// and for WebSocket without TLS. It prints "ready nats TCPADDR WSADDR".
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

var errSlow = errors.New("not ready in time")

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}

func run() error {
	tcp := flag.Int("tcp", -1, "port for TCP (-1: any)")
	web := flag.Int("ws", -1, "port for WebSocket (-1: any)")
	ping := flag.Duration("ping", server.DEFAULT_PING_INTERVAL, "between two pings of a client")
	flag.Parse()
	if _, err := proc.RaiseFiles(); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: *tcp, NoSigs: true, NoLog: true, PingInterval: *ping,
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: *web, NoTLS: true},
	})
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errSlow
	}
	fmt.Printf("ready nats %s %s\n", s.Addr(), strings.TrimPrefix(s.WebsocketURL(), "ws://"))
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	<-sig
	s.Shutdown()
	return nil
}
