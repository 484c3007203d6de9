// Natsd is a plain NATS server as a process of its own, with listeners for TCP
// and for WebSocket without TLS. It prints "ready nats TCPADDR WSADDR", and
// behind that the address for other servers if it was told to have one.
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

	"github.com/ropewalk/ropewalk/bench/internal/nats"
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
	cluster := flag.Bool("cluster", false, "accept other servers, at any port")
	join := flag.String("join", "", "HOST:PORT of a server to make a cluster with")
	flag.Parse()
	if _, err := proc.RaiseFiles(); err != nil {
		return err
	}
	opts := &server.Options{
		Host: "127.0.0.1", Port: *tcp, NoSigs: true, NoLog: true, PingInterval: *ping,
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: *web, NoTLS: true},
	}
	if *cluster {
		nats.Cluster(opts, *join)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errSlow
	}
	line := fmt.Sprintf("ready nats %s %s", s.Addr(), strings.TrimPrefix(s.WebsocketURL(), "ws://"))
	if *cluster {
		line += " " + s.ClusterAddr().String()
	}
	fmt.Println(line)
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	<-sig
	s.Shutdown()
	return nil
}
