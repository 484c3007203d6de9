package main

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServe has a gather ask the services in the node and those of this
// program.
func TestServe(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Allow:     ropewalk.AllowAll,
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(hello.Math()); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, "ws://"+n.Addrs()["main"].String(), hello.Math(), hello.Text()) }()
	for { // until both answer
		g, err := n.Gather(ctx, "math:/decimal/*", hello.Pair{A: 8, B: 2})
		if err != nil {
			t.Fatal(err)
		}
		up, err := ropewalk.Call[string](ctx, n, "text:/up", "straße")
		if len(g.Answers) == 8 && err == nil {
			if up != "STRASSE" && up != "STRAßE" {
				t.Errorf("text:/up says %q", up)
			}
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := serve(t.Context(), "ws://127.0.0.1:1"); err == nil {
		t.Error("nobody is there, and that is no error")
	}
}
