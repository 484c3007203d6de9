package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// A gather that somebody does not answer in time ends with the answers of the
// others, however the time was given.
func TestGatherEndsWithWhatThereIs(t *testing.T) {
	t.Parallel()
	_, addr := startNode(t, "127.0.0.1:0")
	serve := func(h route.HandlerFunc) {
		s := service.New("ask")
		s.HandleFunc("/", h)
		if err := join(t, addr).Serve(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	serve(func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.JSON([]byte("1"))) })
	serve(func(context.Context, *route.Request, route.Responder) { <-t.Context().Done() }) // whatever the deadline
	for name, opts := range map[string][]client.Option{"websocket": nil, "poll": {client.WithTransports("poll")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := join(t, addr, opts...)
			for range 2 {
				g, err := c.Gather(t.Context(), "ask:/", nil, call.WithTimeout(1500*time.Millisecond))
				if err != nil || len(g.Answers) != 1 || len(g.Missing) != 1 {
					t.Fatalf("%+v, %v", g, err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			g, err := c.Gather(ctx, "ask:/", nil)
			if err != nil || len(g.Answers) != 1 || len(g.Missing) != 1 {
				t.Fatalf("%+v, %v", g, err)
			}
		})
	}
}
