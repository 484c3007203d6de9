package natsplane_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
)

// cable is a way to a node that can be cut: what is sent over it then stays
// where it is, and neither side is told.
type cable struct {
	t      *testing.T
	to     string
	listen net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	whole chan struct{} // closed while it is whole
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, to: to, listen: l, whole: make(chan struct{})}
	close(c.whole)
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		c.repair()
		l.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cable) addr() string { return c.listen.Addr().String() }

func (c *cable) accept() {
	for {
		in, err := c.listen.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		out, err := d.DialContext(c.t.Context(), "tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, in, out)
		c.mu.Unlock()
		c.wg.Go(func() { c.carry(in, out) })
		c.wg.Go(func() { c.carry(out, in) })
	}
}

func (c *cable) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		whole := c.whole
		c.mu.Unlock()
		<-whole
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = make(chan struct{})
}

func (c *cable) repair() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.whole:
	default:
		close(c.whole)
	}
}

// TestCutRouteComesBack cuts the way between two nodes for longer than a route
// lives without an answer. When the way is whole again a new route has to be
// there soon, whatever TCP thinks of the old one.
func TestCutRouteComesBack(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	way := newCable(t, a.Addr())
	b := start(t, natsplane.Config{Join: []string{way.addr()}})
	meet(t, a, b)
	way.cut()
	held := time.NewTimer(8 * time.Second)
	defer held.Stop()
	tick := time.NewTicker(looking)
	defer tick.Stop()
	for cut := true; cut; {
		select {
		case <-held.C:
			cut = false
		case <-tick.C: // what is sent meanwhile may be lost, but is no error
			if err := a.Send(b.id, []byte("into the void")); err != nil {
				t.Fatal(err)
			}
		}
	}
	way.repair()
	since := time.Now()
	meet(t, a, b)
	if took := time.Since(since); took > 5*time.Second {
		t.Errorf("the route was back after %v", took)
	}
}

// TestNodeThatDoesNotReadHoldsUpNobody sends more to a node than can wait for
// it: what is too much is lost, and others get theirs.
func TestNodeThatDoesNotReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	way := newCable(t, a.Addr())
	b := start(t, natsplane.Config{Join: []string{way.addr()}})
	c := start(t, natsplane.Config{Join: []string{a.Addr()}})
	reaches(t, a, b)
	reaches(t, a, c)
	way.cut()
	data := make([]byte, mesh.MaxMessage)
	begun := time.Now()
	for range 300 { // 150 MiB, of which 48 can wait
		if err := a.Send(b.id, data); err != nil {
			t.Fatal(err)
		}
	}
	reaches(t, a, c)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	way.repair()
	meet(t, a, b, c)
}
