package edge_test

import (
	"bytes"
	"testing"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/edge"
)

// variant is a way in which WebSockets are served; the suite runs for each.
type variant struct {
	name     string
	listener edge.ListenerConfig
}

func variants(*testing.T) []variant {
	return []variant{
		{"poller", edge.ListenerConfig{Driver: edge.DriverPoller}},
		{"goroutine", edge.ListenerConfig{Driver: edge.DriverGoroutine}},
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.welcome = "welcome"
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			c := n.dial(t, nil)
			if _, got := read(t, c); string(got) != "welcome" {
				t.Fatalf("first frame is %q", got)
			}
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, 100_000, 1 << 20} {
				want := bytes.Repeat([]byte("x"), size)
				write(t, c, websocket.MessageText, want)
				kind, got := read(t, c)
				if kind != websocket.MessageBinary || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes came back as %v of %d bytes", size, kind, len(got))
				}
			}
			if n.Count() != 1 {
				t.Errorf("Count is %d", n.Count())
			}
			if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Errorf("close: %v", err)
			}
			if ce := rec.waitClosed(t, edge.CloseNormal); !ce.Remote || ce.Reason != "bye" {
				t.Errorf("closed with %+v", ce)
			}
		})
	}
}
