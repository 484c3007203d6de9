package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// exampleNode starts a node for the examples and returns its URL.
func exampleNode() (url string, stop func()) {
	n, err := ropewalk.New(ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Allow:     ropewalk.AllowAll,
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err) //nolint:forbidigo // an example
	}
	return "ws://" + n.Addrs()["main"].String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = n.Shutdown(ctx)
	}
}

// One client serves, another one calls.
func Example() {
	url, stop := exampleNode() // ws://localhost:7420 elsewhere
	defer stop()
	ctx := context.Background()

	server, err := client.Dial(ctx, url, client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	math := service.New("math")
	math.Handle("/mul", service.Handle(func(_ context.Context, in []float64) (float64, error) {
		product := 1.0
		for _, x := range in {
			product *= x
		}
		return product, nil
	}))
	if err := server.Serve(ctx, math); err != nil {
		fmt.Println(err)
		return
	}

	caller, err := client.Dial(ctx, url, client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer caller.Close()
	product, err := call.Do[float64](ctx, caller, "math:/mul", []float64{2, 5})
	fmt.Println(product, err)
	// Output: 10 <nil>
}

// Two clients send each other messages.
func ExampleClient_Send() {
	url, stop := exampleNode()
	defer stop()
	ctx := context.Background()
	quiet := client.WithLogger(slog.New(slog.DiscardHandler))

	heard := make(chan string)
	bob, err := client.Dial(ctx, url, quiet, client.WithOnSend(func(_ context.Context, req *route.Request) {
		var text string
		_ = call.Decode(req.Message.Body, string(req.Message.ContentType), &text)
		heard <- text
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bob.Close()
	alice, err := client.Dial(ctx, url, quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer alice.Close()

	// WithAck: the error says so if bob is not there.
	go func() { _ = alice.Send(ctx, bob.ID()+"@client:/", "hello", call.WithAck()) }()
	fmt.Println(<-heard)
	// Output: hello
}

// A service offers a content that changes, and takes what is published; a client
// watches it.
func ExampleClient_Watch() {
	url, stop := exampleNode()
	defer stop()
	ctx := context.Background()
	quiet := client.WithLogger(slog.New(slog.DiscardHandler))
	dial := func() *client.Client {
		c, err := client.Dial(ctx, url, quiet)
		if err != nil {
			log.Fatal(err) //nolint:forbidigo // an example
		}
		return c
	}

	type score struct{ Home, Away int }
	news := make(chan score)
	board := service.New("board")
	board.Handle("/{game}", service.Watch(func(ctx context.Context, _ struct{}, set func(score) error) error {
		for s := (score{}); ; {
			if err := set(s); err != nil {
				return err
			}
			select {
			case s = <-news:
			case <-ctx.Done(): // nobody watches any more
				return ctx.Err()
			}
		}
	}), service.OnPublish(service.Handle(func(_ context.Context, s score) (string, error) {
		news <- s
		return "thanks", nil
	})))
	server := dial()
	defer server.Close()
	if err := server.Serve(ctx, board); err != nil {
		fmt.Println(err)
		return
	}

	viewer := dial()
	defer viewer.Close()
	w := call.WatchOf[score](ctx, viewer, "board:/final")
	defer w.Close()
	for u, err := range w.Updates() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(u.Value.Home, ":", u.Value.Away)
		if u.Value.Home == 1 {
			return
		}
		if _, err := viewer.Publish(ctx, "board:/final", score{Home: 1}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 0 : 0
	// 1 : 0
}
