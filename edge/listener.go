package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/wheel"
)

// acceptPause is how long nothing is accepted when the process or the machine
// has run out of something; trying on would only burn CPU.
const acceptPause = 100 * time.Millisecond

// listener is one bound address.
type listener struct {
	srv  *Server
	cfg  *ListenerConfig
	tls  *tls.Config // nil without
	addr net.Addr

	origins atomic.Pointer[[]string]
	cert    atomic.Pointer[tls.Certificate] // if there is tls

	open  [transports]prometheus.Gauge
	opens [transports]prometheus.Counter

	resume wheel.Timer // after a pause of accepting

	mu     sync.Mutex
	ln     net.Listener // of the goroutine driver, and of the poller before it serves
	fd     int          // of the poller driver, when it serves
	poller *poller      // that accepts
	closed bool
}

func newListener(s *Server, cfg *ListenerConfig) (*listener, error) {
	l := &listener{srv: s, cfg: cfg, fd: -1}
	l.origins.Store(&cfg.Origins)
	for t := range transports {
		l.open[t] = s.metrics.open.WithLabelValues(cfg.Name, t.String())
		l.opens[t] = s.metrics.opens.WithLabelValues(cfg.Name, t.String())
	}
	if cfg.CertFile == "" {
		return l, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	l.cert.Store(&cert)
	l.tls = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.cert.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // a WebSocket begins as HTTP/1.1
	}
	return l, nil
}

func (l *listener) bind(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", l.cfg.Addr)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ln, l.addr = ln, ln.Addr()
	return nil
}

// serve starts to accept; i is the listener's number.
func (l *listener) serve(i int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if l.ln == nil {
		return errors.New("edge: Serve was called before Listen")
	}
	if l.cfg.Driver == DriverGoroutine {
		ln := l.ln
		l.srv.lane.Go("edge accept", func(context.Context) { l.acceptLoop(ln) })
		return nil
	}
	tcp, ok := l.ln.(*net.TCPListener)
	if !ok {
		return errors.New("edge: the poller driver needs TCP")
	}
	fd, err := pollerSocket(tcp)
	if err != nil {
		return err
	}
	l.ln, l.fd, l.poller = nil, fd, l.srv.pollers[i%len(l.srv.pollers)]
	return l.poller.listen(l)
}

// close stops accepting. It may be called more than once.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.srv.wheel.Stop(&l.resume)
	if l.ln != nil {
		_ = l.ln.Close()
	}
	if l.poller != nil {
		l.poller.do(func() { l.poller.unlisten(l) })
	}
}

// addrPort is the address of the other end of a connection of package net.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
