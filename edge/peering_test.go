package edge_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/edge"
)

const peerProtocol = "peers.v1"

// peers makes a configuration with peers.
func peers(r *recorder, driver edge.Driver, limits edge.Limits) edge.Config {
	return edge.Config{
		Listeners: []edge.ListenerConfig{{Driver: driver}}, Limits: limits,
		Peering: &edge.Peering{
			Protocol: peerProtocol, Name: "peers", Handler: r, Frame: 4 << 20, PendingFrames: 100, PendingBytes: 16 << 20,
		},
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	for _, driver := range []edge.Driver{edge.DriverAuto, edge.DriverGoroutine} {
		t.Run(driver.String(), func(t *testing.T) {
			t.Parallel()
			from, to, clients := newRecorder(), newRecorder(), newRecorder()
			from.mute = true
			got := make(chan []byte, 1)
			from.onFrame = func(_ *edge.Conn, b []byte) { got <- bytes.Clone(b) }
			limits := edge.Limits{Frame: 1000, PerIP: 1, Leave: time.Hour, FramesPerSecond: 1, PendingFrames: 1}
			a, b := start(t, peers(from, driver, limits), clients), start(t, peers(to, driver, limits), clients)
			data := new(int)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for a.Dial(t.Context(), b.Addrs()[0].String(), data) != nil { // until it serves
				<-tick.C
			}
			c, accepted := from.waitOpen(t), to.waitOpen(t)
			if c.Data() != data || accepted.Data() != nil || c.Listener() != "peers" || accepted.Listener() != "peers" {
				t.Errorf("opened with %v, %v at %s, %s", c.Data(), accepted.Data(), c.Listener(), accepted.Listener())
			}
			accepted.Unmeter()
			accepted.Unmeter()
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20} {
				want := bytes.Repeat([]byte("x"), size)
				if err := send(c, want); err != nil {
					t.Fatal(err)
				}
				if back := receive(t, got, "an echo"); !bytes.Equal(back, want) {
					t.Fatalf("%d bytes came back as %d", size, len(back))
				}
			}
			if a.Count()+b.Count() != 0 {
				t.Errorf("%d and %d clients", a.Count(), b.Count())
			}
			for range b.Conns() {
				t.Error("a peer is among the clients")
			}
			b.dial(t, &websocket.DialOptions{}) // the only client that may come from here
			clients.waitOpen(t)
			if err := a.Shutdown(t.Context()); err != nil { // it does not wait for peers to leave
				t.Error(err)
			}
			from.waitClosed(t, edge.CloseGoingAway)
			receive(t, to.closed, "the other end")
			if err := a.Dial(t.Context(), b.Addrs()[0].String(), nil); err == nil {
				t.Error("a server that was shut down makes connections")
			}
			from.check(t)
			to.check(t)
		})
	}
}

func TestDialIsRefused(t *testing.T) {
	t.Parallel()
	a := start(t, peers(newRecorder(), edge.DriverAuto, edge.Limits{}), newRecorder())
	a.dial(t, &websocket.DialOptions{}) // so that it serves
	alone := start(t, edge.Config{Listeners: []edge.ListenerConfig{{}}}, newRecorder())
	if err := a.Dial(t.Context(), alone.Addrs()[0].String(), nil); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("dialed a server without peers: %v", err)
	}
	if err := alone.Dial(t.Context(), a.Addrs()[0].String(), nil); err == nil {
		t.Error("a server without peers has dialed")
	}
	const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for name, answer := range map[string]string{
		"nothing": "", "no HTTP": "\x00\x01\x02\r\n\r\n", "much": "HTTP/1.1 101 x\r\nA: " + strings.Repeat("x", 1<<20),
		"no key": upgraded + "Sec-WebSocket-Protocol: " + peerProtocol + "\r\n\r\n", "another status": "HTTP/1.1 200 OK\r\n\r\n",
	} {
		if err := a.Dial(t.Context(), answering(t, answer), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := a.Dial(ctx, answering(t, "wait"), nil); err == nil {
		t.Error("no error from who does not answer")
	}
}

// answering returns the address of somebody who answers one connection.
func answering(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // it is over
		if answer == "wait" {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, answer)
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func TestPeersFramesAreNotMasked(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	n := start(t, peers(r, edge.DriverAuto, edge.Limits{}), newRecorder())
	c := n.dial(t, &websocket.DialOptions{Subprotocols: []string{peerProtocol}}) // which masks
	r.waitOpen(t)
	write(t, c, websocket.MessageBinary, []byte("x"))
	r.waitClosed(t, edge.CloseProtocol)
	if _, _, err := websocket.Dial(t.Context(), "ws://"+n.Addrs()[0].String(), &websocket.DialOptions{
		Subprotocols: []string{peerProtocol}, HTTPHeader: map[string][]string{"Origin": {"http://" + n.Addrs()[0].String()}},
	}); err == nil { //nolint:bodyclose // there is none
		t.Error("a page became a peer")
	}
}

// TestPingsOfStrangers has somebody who is a peer, and has yet to show which, send
// many pings and read nothing: each would make a frame that waits.
func TestPingsOfStrangers(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.mute = true
	waiting := make(chan int, 1)
	r.onFrame = func(c *edge.Conn, _ []byte) { frames, _ := c.Pending(); waiting <- frames }
	cfg := peers(r, edge.DriverAuto, edge.Limits{})
	cfg.Peering.PendingFrames = 1 << 20
	n := start(t, cfg, newRecorder())
	c, err := net.Dial("tcp", n.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "+peerProtocol+"\r\n\r\n"+
		strings.Repeat("\x89\x00", 10_000)+"\x82\x01x")
	if got := <-waiting; got > 2 {
		t.Errorf("%d frames wait", got)
	}
}

// TestFlushComesBeforeWriting wants Peering.Flush to be called in time for what
// it sends to leave together with the rest.
func TestFlushComesBeforeWriting(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.mute = true
	cfg := peers(newRecorder(), edge.DriverAuto, edge.Limits{})
	asked := make(chan *edge.Conn, 1)
	r.onFrame = func(c *edge.Conn, _ []byte) { asked <- c }
	cfg.Peering.Flush = func() {
		select {
		case c := <-asked:
			_ = send(c, []byte("flushed"))
		default:
		}
	}
	n := start(t, cfg, r)
	c := n.dial(t, &websocket.DialOptions{})
	write(t, c, websocket.MessageBinary, []byte("x"))
	if _, got := read(t, c); string(got) != "flushed" {
		t.Errorf("got %q", got)
	}
	ran := false
	if n.Together(func() { ran = n.Busy() }); !ran || n.Busy() {
		t.Errorf("busy: %v, and %v afterwards", ran, n.Busy())
	}
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	n := start(t, edge.Config{Listeners: []edge.ListenerConfig{{Driver: edge.DriverGoroutine}}}, newRecorder())
	if over := n.Repeat(time.Millisecond, func() time.Duration { return 0 }); over != nil { // before it serves it does not know yet
		receive(t, over, "a server without a poller")
	}
	if _, err := edge.New(edge.Config{Listeners: []edge.ListenerConfig{{Driver: edge.DriverPoller}}}, newRecorder()); err != nil {
		t.Skip("there is no poller here")
	}
	n = start(t, edge.Config{Listeners: []edge.ListenerConfig{{Driver: edge.DriverPoller}}}, newRecorder())
	begun, times := time.Now(), 0
	over := n.Repeat(5*time.Millisecond, func() time.Duration {
		if times++; times == 5 {
			return 0
		}
		return 5 * time.Millisecond
	})
	receive(t, over, "the end")
	if took := time.Since(begun); times != 5 || took < 25*time.Millisecond {
		t.Errorf("%d times in %v", times, took)
	}
	over = n.Repeat(time.Hour, func() time.Duration { return 0 }) // there is room for it again
	if second := n.Repeat(time.Hour, func() time.Duration { return 0 }); second != nil {
		receive(t, second, "a second one, which is refused")
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	receive(t, over, "the end of the server")
	if n.Repeat(time.Millisecond, func() time.Duration { return 0 }) != nil {
		t.Error("repeats after the end")
	}
}
