package line_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/mesh/line"
)

// proxy is the network between two nodes.
type proxy struct {
	ln     net.Listener
	to     string
	frozen atomic.Bool // it swallows what comes
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	tap   func(fromDialer bool, b []byte)
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: to, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.run)
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) run() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[d] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(c, d, true) })
		p.wg.Go(func() { p.pump(d, c, false) })
	}
}

func (p *proxy) pump(from, to net.Conn, fromDialer bool) {
	defer to.Close()   //nolint:errcheck // it is over
	defer from.Close() //nolint:errcheck // it is over
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if p.frozen.Load() {
			continue
		}
		p.mu.Lock()
		tap := p.tap
		p.mu.Unlock()
		if tap != nil {
			tap(fromDialer, b[:n])
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// mute does not answer.
type mute struct{}

func (mute) Open(*edge.Conn)          {}
func (mute) Frame(*edge.Conn, []byte) {}
func (mute) Closed(*edge.Conn, error) {}

// silent returns the address of a server that takes the sub-protocol, and says
// nothing.
func silent(t *testing.T) string {
	t.Helper()
	s, err := edge.New(edge.Config{
		Listeners: []edge.ListenerConfig{{Addr: "127.0.0.1:0"}},
		Peering:   &edge.Peering{Protocol: line.Protocol, Name: "mesh", Handler: mute{}, Frame: 1 << 10, PendingFrames: 10, PendingBytes: 1 << 10},
	}, mute{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	return s.Addrs()[0].String()
}

// inject sends something to both ends of each connection.
func (p *proxy) inject(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_, _ = c.Write(b)
	}
}
