package edge_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
)

// fill sends to c until it refuses, and returns how many frames it took and the
// error.
func fill(t *testing.T, c *edge.Conn, payload []byte, most int) (taken int, err error) {
	t.Helper()
	for range most {
		if err := send(c, payload); err != nil {
			return taken, err
		}
		taken++
	}
	t.Fatalf("%d frames were taken for somebody who reads nothing", most)
	return 0, nil
}

func TestSlowReaderIsClosedAndOthersAreNot(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 100, PendingBytes: 1 << 20}, func(t *testing.T, n *node) {
		t.Helper()
		slow := n.ws(t)
		conn := n.rec.waitOpen(t)
		good := n.ws(t)
		n.rec.waitOpen(t)
		payload := bytes.Repeat([]byte("x"), 100_000)
		stop := make(chan struct{})
		go func() { // the other one goes on all the time
			defer close(stop)
			for i := range 200 {
				good.write(t, mask(fin|bin, fmt.Append(nil, i)))
				good.expect(t, fin|bin, fmt.Sprint(i))
			}
		}()
		_, err := fill(t, conn, payload, 10_000)
		if message.CodeOf(err) != message.CodeSlowConsumer {
			t.Fatalf("Send: %v", err)
		}
		if err := send(conn, payload); !errors.Is(err, edge.ErrClosed) {
			t.Fatalf("Send after that: %v", err)
		}
		n.rec.waitClosed(t, edge.CloseSlowConsumer)
		if _, waiting := conn.Pending(); waiting > 1<<20 {
			t.Errorf("%d bytes are pending", waiting)
		}
		receive(t, stop, "the good client")
		slow.expectClose(t, edge.CloseSlowConsumer) // when it reads again it learns why
		slow.write(t, mask(fin|closed, []byte{0x0f, 0xa1}))
		slow.expectEnd(t)
	})
}

func TestSlowReaderWhoNeverReadsIsCut(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 50, Close: 20 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		n.ws(t)
		conn := n.rec.waitOpen(t)
		if _, err := fill(t, conn, bytes.Repeat([]byte("x"), 100_000), 10_000); message.CodeOf(err) != message.CodeSlowConsumer {
			t.Fatalf("Send: %v", err)
		}
		n.rec.waitClosed(t, edge.CloseSlowConsumer)
		eventually(t, "everything pending to be released", func() bool {
			frames, waiting := conn.Pending()
			return frames == 0 && waiting == 0
		})
	})
}

func TestRejectKeepsTheConnection(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 50}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		conn := n.rec.waitOpen(t)
		conn.SetPolicy(edge.PolicyReject)
		payload := bytes.Repeat([]byte("x"), 100_000)
		taken, err := fill(t, conn, payload, 10_000)
		if message.CodeOf(err) != message.CodeOverloaded || !message.CodeOf(err).Retryable() {
			t.Fatalf("Send: %v", err)
		}
		for range taken {
			c.expect(t, fin|bin, string(payload))
		}
		if err := send(conn, []byte("again")); err != nil {
			t.Fatalf("Send after it has read: %v", err)
		}
		c.expect(t, fin|bin, "again")
	})
}

// Whoever sends and never reads is closed too, although it is alive.
func TestSenderWhoNeverReads(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 50, Ping: 200 * time.Millisecond, Close: 20 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		conn := n.rec.waitOpen(t)
		conn.SetPolicy(edge.PolicyReject)
		if _, err := fill(t, conn, bytes.Repeat([]byte("x"), 100_000), 10_000); message.CodeOf(err) != message.CodeOverloaded {
			t.Fatalf("Send: %v", err)
		}
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					_, _ = c.Write(mask(fin|pong, nil))
				}
			}
		}()
		n.rec.waitClosed(t, edge.CloseSlowConsumer)
	})
}

// One connection that sends all it can does not keep others from their turn.
func TestFloodDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.mute = true
			rec.onFrame = func(c *edge.Conn, frame []byte) {
				if string(frame) == "good" {
					_ = send(c, frame)
				}
			}
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			flood, good := n.ws(t), n.ws(t)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				block := bytes.Repeat(mask(fin|bin, []byte("flood")), 10_000)
				for {
					if _, err := flood.Write(block); err != nil {
						return
					}
				}
			}()
			for range 200 {
				good.write(t, mask(fin|bin, []byte("good")))
				good.expect(t, fin|bin, "good")
			}
			_ = flood.Close()
			receive(t, ended, "the flood to end")
		})
	}
}

// One frame always fits, and it may be larger than anything else here.
func TestLargeFrames(t *testing.T) {
	forEach(t, edge.Limits{PendingBytes: 1000}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		conn := n.rec.waitOpen(t)
		payload := make([]byte, 5<<20)
		for i := range payload {
			payload[i] = byte(i * 7 / 3)
		}
		if err := send(conn, payload); err != nil {
			t.Fatal(err)
		}
		c.expect(t, fin|bin, string(payload))
	})
}

func TestSlowHandshakeIsCut(t *testing.T) {
	forEach(t, edge.Limits{HandshakeTime: 50 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.tcp(t)
		go func() {
			for _, b := range []byte(hello()) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				<-time.After(5 * time.Millisecond)
			}
		}()
		c.expectEnd(t)
		if len(n.rec.opened) != 0 {
			t.Error("it was opened")
		}
	})
}

func TestPings(t *testing.T) {
	forEach(t, edge.Limits{Ping: 300 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		answering, silent := n.ws(t), n.ws(t)
		for range 4 {
			answering.expect(t, fin|ping, "")
			answering.write(t, mask(fin|pong, nil))
		}
		silent.expectClose(t, edge.ClosePing)
		n.rec.waitClosed(t, edge.ClosePing)
		answering.write(t, mask(fin|bin, []byte("alive")))
		for {
			first, payload := answering.frame(t)
			if first == fin|bin && string(payload) == "alive" {
				break
			}
		}
	})
}

func TestIdle(t *testing.T) {
	forEach(t, edge.Limits{Ping: 250 * time.Millisecond, Idle: 600 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		for {
			first, payload := c.frame(t)
			if first == fin|ping { // pongs are no messages
				c.write(t, mask(fin|pong, nil))
				continue
			}
			if first != fin|closed || payload[0] != 0x0f || payload[1] != 0xa2 {
				t.Fatalf("got %#x %q, want a close with 4002", first, payload)
			}
			break
		}
		n.rec.waitClosed(t, edge.CloseIdle)
	})
}

func TestRateLimit(t *testing.T) {
	for name, limits := range map[string]edge.Limits{
		"frames": {FramesPerSecond: 50},
		"bytes":  {BytesPerSecond: 500},
	} {
		t.Run(name, func(t *testing.T) {
			forEach(t, limits, func(t *testing.T, n *node) {
				t.Helper()
				c := n.ws(t)
				frame := mask(fin|bin, []byte("0123456789"))
				c.write(t, bytes.Repeat(frame, 500))
				c.expectClose(t, edge.CloseRateLimited)
				n.rec.waitClosed(t, edge.CloseRateLimited)
			})
		})
	}
}

func TestNumberOfConnections(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits edge.Limits
		status int
	}{
		{"in all", edge.Limits{Connections: 3}, http.StatusServiceUnavailable},
		{"from one address", edge.Limits{PerIP: 3}, http.StatusTooManyRequests},
	} {
		t.Run(test.name, func(t *testing.T) {
			forEach(t, test.limits, func(t *testing.T, n *node) {
				t.Helper()
				var open []*raw
				for range 3 {
					open = append(open, n.ws(t))
				}
				if !strings.HasPrefix(n.url, "wss") { // under TLS there is only the end
					c := n.tcp(t)
					res, err := http.ReadResponse(c.in, nil)
					if err != nil {
						t.Fatal(err)
					}
					expect(t, res, test.status)
				}
				_ = open[0].Close()
				n.rec.waitClosed(t, edge.CloseAbnormal)
				eventually(t, "a place to be free", func() bool {
					c := n.tcp(t)
					_, err := c.Write([]byte(hello()))
					if err != nil {
						return false
					}
					res, err := http.ReadResponse(c.in, nil)
					return err == nil && res.StatusCode == http.StatusSwitchingProtocols
				})
			})
		})
	}
}

// eventually waits for a condition that nobody can signal.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	rec := newRecorder()
	n := start(t, edge.Config{Metrics: edge.NewMetrics(reg), Limits: edge.Limits{Frame: 100}}, rec)
	c := n.ws(t)
	c.write(t, mask(fin|bin, []byte("hello")))
	c.expect(t, fin|bin, "hello")
	bad := n.ws(t)
	bad.write(t, mask(fin|bin, make([]byte, 101)))
	bad.expectClose(t, edge.CloseTooLarge)
	rec.waitClosed(t, edge.CloseTooLarge)
	refused := n.tcp(t)
	refused.write(t, []byte(strings.Replace(hello(), "split", "x", 1)))
	if _, err := http.ReadResponse(refused.in, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"ropewalk_edge_connections{listener=main,transport=websocket}":              1,
		"ropewalk_edge_connections_opened_total{listener=main,transport=websocket}": 2,
		"ropewalk_edge_connections_closed_total{code=1009}":                         1,
		"ropewalk_edge_handshakes_refused_total{listener=main,status=400}":          1,
		"ropewalk_edge_frames_received_total{}":                                     1,
		"ropewalk_edge_received_bytes_total{}":                                      11,
		"ropewalk_edge_limit_hits_total{limit=frame}":                               1,
		"ropewalk_edge_limit_hits_total{limit=ping}":                                0,
	}
	got := gather(t, reg)
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	if got["ropewalk_edge_frames_sent_total{}"] != 1 || got["ropewalk_edge_sent_bytes_total{}"] < 7 {
		t.Errorf("sent: %v", got)
	}
}

// gather reads all metrics by name and labels.
func gather(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

// What can wait is refused while half of the list is taken, final answers are
// not, and those who wait learn when there is room again or nothing to wait for.
func TestOfferWaitsForRelief(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 1000, PendingBytes: 4 << 20}, func(t *testing.T, n *node) {
		t.Helper()
		offer := func(c *edge.Conn, payload []byte) error {
			f := edge.NewFrame()
			defer f.Release()
			f.Payload = append(f.Payload, payload...)
			return c.Offer(f)
		}
		slow := n.ws(t)
		conn := n.rec.waitOpen(t)
		receive(t, conn.Relief(), "nothing to wait for")
		payload, taken := bytes.Repeat([]byte("x"), 60_000), 0
		var err error
		for err == nil && taken < 10_000 {
			if err = offer(conn, payload); err == nil {
				taken++
			}
		}
		if message.CodeOf(err) != message.CodeOverloaded {
			t.Fatalf("Offer to a full list: %v", err)
		}
		if _, waiting := conn.Pending(); waiting > 2<<20+len(payload) {
			t.Errorf("%d bytes are pending, more than half of the limit", waiting)
		}
		relief := conn.Relief()
		select {
		case <-relief:
			t.Fatal("relief while nothing was read")
		default:
		}
		if err := send(conn, []byte("final")); err != nil {
			t.Fatalf("Send of a final answer: %v", err)
		}
		for range taken {
			slow.expect(t, fin|bin, string(payload))
		}
		slow.expect(t, fin|bin, "final")
		receive(t, relief, "relief after everything was read")

		for offer(conn, payload) == nil {
		}
		relief = conn.Relief()
		conn.Close(edge.CloseGoingAway, "bye")
		receive(t, relief, "relief at the end of the connection")
	})
}
