// Natspeer is the service of the bench on a NATS server: a nats.go
// subscription over TCP that answers each request with its own body. It prints
// "ready".
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "natspeer:", err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "", "HOST:PORT of the server")
	subject := flag.String("to", "bench.echo", "subject to serve")
	flag.Parse()
	nc, err := nats.Connect("nats://" + *addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	_, err = nc.Subscribe(*subject, func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			fmt.Fprintln(os.Stderr, "natspeer: respond:", err)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Println("ready")
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	<-sig
	return nil
}
