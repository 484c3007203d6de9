package edge

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// web is the net/http server for every request that is no WebSocket handshake.
// Its connections were accepted and sniffed at by the drivers.
type web struct {
	srv    *Server
	http   *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	open   sync.WaitGroup // connections in net/http's hands, and requests of the transports

	mu      sync.Mutex
	links   map[string]*httpLink // by connection id
	stopped bool                 // nothing may be added to open
}

func newWeb(s *Server) *web {
	w := &web{srv: s, conns: make(chan net.Conn), closed: make(chan struct{}), links: make(map[string]*httpLink)}
	w.http = &http.Server{
		Handler:           w.timed(w.handler()),
		ReadHeaderTimeout: s.cfg.Limits.HandshakeTime,
		MaxHeaderBytes:    s.cfg.Limits.HandshakeBytes,
		IdleTimeout:       webIdle,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:       connContext,
	}
	return w
}

func (w *web) start() {
	w.srv.lane.Go("edge http", func(context.Context) { _ = w.http.Serve(w) })
}

// shutdown waits for requests that are being answered.
func (w *web) shutdown(ctx context.Context) error {
	return w.http.Shutdown(ctx)
}

// stop cuts everything.
func (w *web) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	_ = w.http.Close()
	_ = w.Close()
	w.open.Wait()
}

// begin has stop wait for one open.Done more. It returns false when it is too
// late for that.
func (w *web) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.open.Add(1)
	return true
}

// Accept implements net.Listener.
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (w *web) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr implements net.Listener.
func (w *web) Addr() net.Addr { return &net.TCPAddr{} }

// toHTTP gives c's socket, and what was read from it, to net/http. c is dead
// afterwards. Only the owner calls it.
func (s *Server) toHTTP(c *Conn, read []byte) {
	read = bytes.Clone(read)
	var conn net.Conn
	var err error
	c.mu.Lock()
	c.state.Store(uint32(stateDead))
	c.mu.Unlock()
	switch k := c.link.(type) {
	case *poller:
		conn, err = k.detach(c)
	case *sock:
		conn = k.conn
		_ = conn.SetDeadline(time.Time{})
	}
	s.wheel.Stop(&c.timer)
	c.in.free()
	c.in = nil
	s.connMu.Lock()
	s.unlist(c)
	s.connMu.Unlock()
	if err == nil && !s.web.begin() {
		_ = conn.Close()
		err = net.ErrClosed
	}
	if err != nil {
		s.giveBack(c.addr.Addr())
		s.log.Debug("give a connection to net/http", "err", err)
		return
	}
	wc := &webConn{Conn: conn, lis: c.lis, ip: c.addr.Addr(), rest: read}
	if !s.lane.Do(func(ctx context.Context) { s.web.hand(wc) }) {
		_ = wc.Close()
	}
}

// hand waits until net/http takes the connection, which it does at once unless
// it is being stopped.
func (w *web) hand(c *webConn) {
	select {
	case w.conns <- c:
	case <-w.closed:
		_ = c.Close()
	}
}

// webConn is a connection whose first bytes were read already.
type webConn struct {
	net.Conn
	lis  *listener
	ip   netip.Addr
	rest []byte
	once sync.Once
}

// Read gives the bytes that were read already first.
func (c *webConn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// ReadFrom keeps sendfile for files.
func (c *webConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// Close gives the slot back too.
func (c *webConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.lis.srv.giveBack(c.ip)
		c.lis.srv.web.open.Done()
	})
	return err
}

type listenerKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	if wc, ok := c.(*webConn); ok {
		return context.WithValue(ctx, listenerKey{}, wc.lis)
	}
	return ctx
}

// webIdle is how long a browser's connection is kept for its next request.
const webIdle = 2 * time.Minute
