// Command hello serves the services math, text and report over a connection to
// a node. Start it beside "ropewalk dev", as often as you like: the node shares
// the calls among all that serve a path, and a gather asks each of them.
//
//	go run ./examples/hello --url ws://127.0.0.1:7420
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

func main() {
	url := flag.String("url", "ws://127.0.0.1:7420", "the node to serve on")
	pace := flag.Duration("pace", hello.Pace, "the time that each step of report:/long takes")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *url, hello.WithPace(*pace)...); err != nil {
		e := message.AsError(err)
		fmt.Fprintf(os.Stderr, "hello: %s\n  %s\n", e.Message, e.Hint)
		os.Exit(1) //nolint:gocritic // stop only gives the signals back
	}
}

// serve announces the services on the node at url and answers calls until ctx
// ends. When the connection is lost the client makes another and announces
// them again.
func serve(ctx context.Context, url string, services ...*service.Service) error {
	c, err := client.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, s := range services {
		if err := c.Serve(ctx, s); err != nil {
			return err
		}
		for _, r := range s.Routes() {
			fmt.Printf("serving %s:%s\n", s.Name(), r.Pattern)
		}
	}
	<-ctx.Done()
	return nil // Close drains: calls that are being answered are finished
}
