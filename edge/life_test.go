package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/edge"
)

func TestCloseByTheNode(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.dial(t, nil)
		conn := n.rec.waitOpen(t)
		for i := range 100 {
			if err := send(conn, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close(edge.CloseReplaced, strings.Repeat("ä", 100))
		conn.Close(edge.CloseNormal, "too late")
		if ce := n.rec.waitClosed(t, edge.CloseReplaced); ce.Remote || !ce.Code.ComeBack() {
			t.Errorf("closed with %+v", ce)
		}
		if err := send(conn, nil); !errors.Is(err, edge.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		for i := range 100 { // what was sent before still comes
			if _, got := read(t, c); string(got) != fmt.Sprint(i) {
				t.Fatalf("frame %d is %q", i, got)
			}
		}
		_, _, err := c.Read(t.Context())
		var ce websocket.CloseError
		if !errors.As(err, &ce) || ce.Code != 4004 || ce.Reason != strings.Repeat("ä", 61) {
			t.Errorf("the client got %v", err)
		}
		eventually(t, "the connection to be forgotten", func() bool { return n.Count() == 0 })
	})
}

func TestCloseInsideOfTheHandler(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.mute = true
			rec.onFrame = func(c *edge.Conn, frame []byte) {
				if string(frame) == "close" {
					c.Close(edge.CloseBadMessages, "enough")
				}
			}
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			c := n.ws(t)
			c.write(t, append(mask(fin|bin, []byte("close")), mask(fin|bin, []byte("late"))...))
			c.expectClose(t, edge.CloseBadMessages)
			if ce := rec.waitClosed(t, edge.CloseBadMessages); ce.Code.ComeBack() {
				t.Error("it may come back")
			}
			c.write(t, mask(fin|closed, []byte{0x10, 0x04}))
			c.expectEnd(t)
		})
	}
}

func TestCloseInsideOfOpen(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.onOpen = func(c *edge.Conn) {
				_ = send(c, []byte("go away"))
				c.Close(edge.CloseForbidden, "forbidden")
			}
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			c := n.tcp(t)
			c.write(t, append([]byte(hello()), mask(fin|bin, []byte("early"))...))
			c.upgraded(t)
			c.expect(t, fin|bin, "go away")
			c.expectClose(t, edge.CloseForbidden)
			rec.waitClosed(t, edge.CloseForbidden)
		})
	}
}

func TestPanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.onFrame = func(_ *edge.Conn, frame []byte) {
				if string(frame) == "boom" {
					panic("boom")
				}
			}
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			good, bad := n.ws(t), n.ws(t)
			bad.write(t, mask(fin|bin, []byte("boom")))
			bad.expectClose(t, edge.CloseInternal)
			rec.waitClosed(t, edge.CloseInternal)
			good.write(t, mask(fin|bin, []byte("fine")))
			good.expect(t, fin|bin, "fine")
		})
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, newRecorder())
			c := n.dial(t, nil)
			conn := n.rec.waitOpen(t)
			token := n.open(t, "json")
			n.rec.waitOpen(t)
			stream := n.request(t, "GET", "/ropewalk/v1/stream", "", "Ropewalk-Connection", token)
			if err := send(conn, []byte("last words")); err != nil {
				t.Fatal(err)
			}
			down := make(chan error, 1)
			go func() { down <- n.Shutdown(context.Background()) }()
			if _, got := read(t, c); string(got) != "last words" {
				t.Fatalf("got %q", got)
			}
			_, _, err := c.Read(t.Context())
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("the client got %v", err)
			}
			if got := expect(t, stream, http.StatusOK); got != "" {
				t.Errorf("the stream got %q", got)
			}
			n.http.CloseIdleConnections()
			if err := receive(t, down, "Shutdown"); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			n.rec.waitClosed(t, edge.CloseGoingAway)
			n.rec.waitClosed(t, edge.CloseGoingAway)
			if err := n.Shutdown(context.Background()); err != nil {
				t.Errorf("second Shutdown: %v", err)
			}
		})
	}
}

// A Shutdown lets clients go by themselves, and hears what they say meanwhile.
func TestShutdownLetsClientsLeave(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			limits := edge.Limits{Leave: time.Hour}
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}, Limits: limits}, newRecorder())
			c := n.dial(t, nil)
			conn := n.rec.waitOpen(t)
			down := make(chan error, 1)
			go func() { down <- n.Shutdown(context.Background()) }()
			for { // until it does not accept any more
				probe, err := net.Dial("tcp", n.addr)
				if err != nil {
					break
				}
				_ = probe.Close()
			}
			if err := send(conn, []byte("go")); err != nil {
				t.Fatal(err)
			}
			if _, got := read(t, c); string(got) != "go" {
				t.Fatalf("got %q", got)
			}
			_ = c.Close(websocket.StatusGoingAway, "")
			if err := receive(t, down, "Shutdown"); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			n.rec.waitClosed(t, edge.CloseGoingAway)
		})
	}
	t.Run("impatient", func(t *testing.T) {
		t.Parallel()
		n := start(t, edge.Config{Listeners: []edge.ListenerConfig{{}}, Limits: edge.Limits{Leave: time.Millisecond}}, newRecorder())
		c := n.dial(t, nil)
		down := make(chan error, 1)
		go func() { down <- n.Shutdown(context.Background()) }()
		_, _, err := c.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("the client got %v", err)
		}
		if err := receive(t, down, "Shutdown"); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, edge.Config{
				Listeners: []edge.ListenerConfig{v.listener},
				Limits:    edge.Limits{Close: time.Hour},
			}, newRecorder())
			n.ws(t) // does not answer the close
			n.tcp(t)
			n.rec.waitOpen(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := n.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			n.rec.waitClosed(t, edge.CloseGoingAway)
		})
	}
}

func TestWrongOrderOfLife(t *testing.T) {
	t.Parallel()
	s, err := edge.New(edge.Config{Listeners: []edge.ListenerConfig{{Addr: "127.0.0.1:0"}}, Logger: quiet()}, newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil {
		t.Error("Serve before Listen works")
	}
	s, err = edge.New(edge.Config{Listeners: []edge.ListenerConfig{{Addr: "127.0.0.1:0"}}, Logger: quiet()}, newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown before Serve: %v", err)
	}
	if err := s.Serve(t.Context()); err != nil {
		t.Errorf("Serve after Shutdown, which has nothing to do: %v", err)
	}
	n := start(t, edge.Config{}, newRecorder())
	n.ws(t)
	if err := n.Serve(t.Context()); err == nil {
		t.Error("two Serves work")
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	for _, test := range []struct {
		name      string
		listeners []edge.ListenerConfig
		want      string
	}{
		{"none", nil, "no listeners"},
		{"same name", []edge.ListenerConfig{{}, {Name: "main"}}, "two listeners"},
		{"certificate without key", []edge.ListenerConfig{{CertFile: cert}}, "both"},
		{"no such file", []edge.ListenerConfig{{CertFile: cert, KeyFile: key + "x"}}, "no such file"},
		{"poller with TLS", []edge.ListenerConfig{{CertFile: cert, KeyFile: key, Driver: edge.DriverPoller}}, "no TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := edge.New(edge.Config{Listeners: test.listeners}, newRecorder())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestConns(t *testing.T) {
	t.Parallel()
	n := start(t, edge.Config{Listeners: []edge.ListenerConfig{
		{Name: "a", Driver: edge.DriverGoroutine}, {Name: "b"},
	}}, newRecorder())
	n.ws(t)
	n.addr = n.Addrs()[1].String()
	n.ws(t)
	n.ws(t)
	n.tcp(t) // no handshake: not open
	for range 3 {
		n.rec.waitOpen(t)
	}
	got := map[string]int{}
	for c := range n.Conns() {
		got[c.Listener()]++
	}
	if n.Count() != 3 || got["a"] != 1 || got["b"] != 2 {
		t.Errorf("Count %d, connections %v", n.Count(), got)
	}
	for range n.Conns() {
		break
	}
}

// One frame for many, some of whom go away meanwhile: nobody may get bytes of
// another frame, and each sender's frames stay in order.
func TestBroadcast(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 1 << 16, PendingBytes: 1 << 30}, func(t *testing.T, n *node) {
		t.Helper()
		const clients, senders, frames = 20, 4, 200
		conns := make([]*raw, clients)
		for i := range conns {
			conns[i] = n.ws(t)
		}
		var wg sync.WaitGroup
		for i, c := range conns {
			if i%5 == 4 {
				wg.Go(func() { _ = c.Close() })
				continue
			}
			wg.Go(func() { checkBroadcast(t, c, senders, frames) })
		}
		for s := range senders {
			wg.Go(func() {
				for i := range frames {
					f := edge.NewFrame()
					f.Payload = fmt.Appendf(f.Payload, "%d %d %s", s, i, strings.Repeat("b", i*s))
					for c := range n.Conns() {
						_ = c.Send(f)
					}
					f.Release()
				}
			})
		}
		wg.Wait()
	})
}

func checkBroadcast(t *testing.T, c *raw, senders, frames int) {
	t.Helper()
	next := make([]int, senders)
	for range senders * frames {
		_, payload, err := c.tryFrame()
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		var s, i int
		var fill string
		_, _ = fmt.Sscan(string(payload), &s, &i, &fill)
		if i != next[s] || fill != strings.Repeat("b", i*s) {
			t.Errorf("sender %d: frame %d with %d bytes, want %d", s, i, len(fill), next[s])
			return
		}
		next[s]++
	}
}

// Connections come and go in all ways while others send to all of them and the
// node closes some: the Handler is told of each exactly once, in order.
func TestChurn(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 64, Close: 50 * time.Millisecond}, func(t *testing.T, n *node) {
		t.Helper()
		var clients, senders sync.WaitGroup
		for g := range 6 {
			clients.Go(func() {
				for i := range 24 {
					churn(n, g+i)
				}
			})
		}
		stop := make(chan struct{})
		for range 2 {
			senders.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					for c := range n.Conns() {
						_ = send(c, []byte(strings.Repeat("c", 5000)))
						if i%20 == 19 {
							c.Close(edge.CloseReplaced, "")
						}
					}
				}
			})
		}
		clients.Wait()
		close(stop)
		senders.Wait()
		eventually(t, "all connections to end", func() bool { return n.Count() == 0 })
	})
}

// churn makes a connection that sends something and ends in the i-th way; it
// may be closed at any time.
func churn(n *node, i int) {
	c, err := net.DialTimeout("tcp", n.addr, patience)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if strings.HasPrefix(n.url, "wss") {
		c = tls.Client(c, clientTLS())
	}
	if i%5 == 0 {
		_, _ = io.WriteString(c, hello()[:i%100])
		return
	}
	_, _ = io.WriteString(c, hello()+string(mask(fin|text, []byte("hello"))))
	_, _ = io.CopyN(io.Discard, c, int64(i%7)*1000)
	switch i % 4 {
	case 0:
		_, _ = c.Write(mask(fin|closed, []byte{3, 0xe8}))
		_, _ = io.Copy(io.Discard, c)
	case 1:
		_, _ = c.Write(mask(fin|text, []byte("\xff")))
	case 2:
		_, _ = c.Write(mask(fin|text, make([]byte, 1000))[:500])
	}
}

// Connections of all kinds come and go; no descriptor stays.
func TestNoDescriptorIsLeft(t *testing.T) { //nolint:paralleltest // it counts the descriptors of the process
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("there is no /proc here")
	}
	before := descriptors(t)
	t.Run("use", func(t *testing.T) {
		for _, v := range variants(t) {
			t.Run(v.name, func(t *testing.T) {
				n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, newRecorder())
				for i := range 60 {
					come(t, n, i)
				}
			})
		}
	})
	eventually(t, "all descriptors to be closed", func() bool { return descriptors(t) <= before })
}

// come makes a connection that ends in the i-th way.
func come(t *testing.T, n *node, i int) {
	t.Helper()
	switch i % 6 {
	case 0:
		_ = n.tcp(t).Close()
	case 1:
		c := n.ws(t)
		c.write(t, mask(fin|closed, nil))
		c.expectClose1005(t)
	case 2:
		_ = n.ws(t).Close()
	case 3:
		n.tcp(t).write(t, []byte("nonsense\r\n\r\n"))
	case 4:
		_ = n.request(t, "GET", "/", "").Body.Close()
	case 5:
		n.ws(t).write(t, []byte("nonsense"))
	}
}

func (c *raw) expectClose1005(t *testing.T) {
	t.Helper()
	c.expect(t, fin|closed, "")
	c.expectEnd(t)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
