//go:build linux

// Natspair is one of two processes that do the least which two nodes on NATS
// could do: a NATS server inside each, one route between them, and requests by
// nats.go, over connections in memory, to a subscription in the other process.
//
// The one with -serve answers each request with its own body; it prints "ready
// natspair CLUSTERADDR". The other one joins it, makes requests, some under way
// at a time, and prints one JSON object like the load generator.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/ropewalk/ropewalk/bench/internal/load"
	cluster "github.com/ropewalk/ropewalk/bench/internal/nats"
)

const (
	startWait = 10 * time.Second
	subject   = "bench.echo"
)

var errSlow = errors.New("not ready in time")

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "natspair:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg load.BareConfig
	serve := flag.Bool("serve", false, "answer requests until SIGTERM")
	join := flag.String("join", "", "HOST:PORT of the process with -serve")
	flag.IntVar(&cfg.InFlight, "inflight", 64, "requests under way")
	flag.IntVar(&cfg.Payload, "payload", 128, "bytes of a request")
	flag.DurationVar(&cfg.Warm, "warm", 500*time.Millisecond, "how long before measuring")
	flag.DurationVar(&cfg.For, "for", 3*time.Second, "how long to measure")
	flag.IntVar(&cfg.PeerPID, "peer", 0, "process id of the process with -serve")
	flag.Parse()
	// A server without a port for clients does not begin with its routes.
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	cluster.Cluster(opts, *join)
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(startWait) {
		return errSlow
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	if *serve {
		return answer(nc, s.ClusterAddr().String())
	}
	ask := func(body []byte) ([]byte, error) {
		m, err := nc.Request(subject, body, startWait)
		if err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		return m.Data, nil
	}
	if err := find(ask); err != nil {
		return err
	}
	res, err := load.RunBare(cfg, ask)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// find waits until the route is there.
func find(ask func([]byte) ([]byte, error)) error {
	var err error
	for end := time.Now().Add(startWait); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if _, err = ask(nil); err == nil {
			return nil
		}
	}
	return err
}

func answer(nc *nats.Conn, addr string) error {
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			fmt.Fprintln(os.Stderr, "natspair: respond:", err)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Println("ready natspair", addr)
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	<-sig
	return nil
}
