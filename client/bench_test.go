package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// benchPair returns two clients of a node, one of which serves.
func benchPair(b *testing.B) *client.Client {
	b.Helper()
	n, err := ropewalk.New(ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Allow:     ropewalk.AllowAll, Logger: quiet,
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	url := "ws://" + n.Addrs()["main"].String()
	var pair [2]*client.Client
	for i := range pair {
		if pair[i], err = client.Dial(b.Context(), url, client.WithLogger(quiet)); err != nil {
			b.Fatal(err)
		}
	}
	svc := service.New("bench")
	svc.HandleFunc("/", func(_ context.Context, req *route.Request, res route.Responder) {
		_ = res.Reply(route.Body{Bytes: req.Message.Body})
	})
	if err := pair[1].Serve(b.Context(), svc); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, c := range pair {
			_ = c.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = n.Shutdown(ctx)
	})
	return pair[0]
}

// BenchmarkCall is a call from one client through a node to another and back:
// four hops over the loopback, all in this process.
func BenchmarkCall(b *testing.B) {
	c := benchPair(b)
	body := map[string]int{"a": 2, "b": 5}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Call(b.Context(), "bench:/", body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Call(b.Context(), "bench:/", body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
