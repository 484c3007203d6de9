package ropewalk_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type pair struct {
	A, B float64
}

func mathService() *ropewalk.Service {
	s := ropewalk.NewService("math")
	s.Handle("/decimal/mul", ropewalk.Handle(func(_ context.Context, in pair) (float64, error) { return in.A * in.B, nil }))
	return s
}

// startNode runs a node on a free port and returns it with its URL.
func startNode(t *testing.T, change ...func(*ropewalk.Config)) (*ropewalk.Node, string) {
	t.Helper()
	cfg := ropewalk.Config{
		Name:      "test",
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Allow:     ropewalk.AllowAll,
	}
	for _, f := range change {
		f(&cfg)
	}
	n, err := ropewalk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
	return n, "ws://" + n.Addrs()["main"].String()
}

func dial(t *testing.T, url string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCallOverTheWire(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"poller", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			n, url := startNode(t, func(c *ropewalk.Config) {
				c.Listeners["main"] = ropewalk.Listener{Address: "127.0.0.1:0", Driver: driver}
			})
			if err := n.Serve(mathService()); err != nil {
				t.Fatal(err)
			}
			for _, caller := range []ropewalk.Caller{n, dial(t, url)} {
				got, err := ropewalk.Call[float64](t.Context(), caller, "math:/decimal/mul", pair{2, 5})
				if err != nil || got != 10 {
					t.Errorf("%T: %v, %v", caller, got, err)
				}
			}
		})
	}
}
