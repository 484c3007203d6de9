package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// sockRead is how much a goroutine reads at once.
const sockRead = 16 << 10

// sock is the socket of a connection of the goroutine driver. The goroutine
// that reads it is the connection's owner. Another one writes, as long as there
// is something to write: a write may block, and then only that one waits.
type sock struct {
	conn net.Conn
	c    *Conn
	raw  syscall.RawConn // nil if bytes may wait inside conn, as with TLS

	// Of the goroutine that reads.
	into  *buffer
	n     int
	err   error
	ready func(fd uintptr) bool
}

// past is a deadline that is over: it wakes whoever waits.
//
//nolint:gochecknoglobals // a constant in all but name
var past = time.Unix(1, 0)

// acceptLoop is the goroutine of a listener.
func (l *listener) acceptLoop(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err == nil {
			l.take(conn)
			continue
		}
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return
		}
		l.srv.metrics.hit(limitAccept)
		l.srv.log.Warn("accept: paused; raise the limit of open files or lower limits.connections",
			"listener", l.cfg.Name, "err", err)
		select {
		case <-l.srv.lane.Context().Done():
			return
		case <-time.After(acceptPause):
		}
	}
}

// take makes a connection of an accepted socket.
func (l *listener) take(conn net.Conn) {
	c := l.srv.newConn(l, addrPort(conn.RemoteAddr()))
	if status, refusal := l.srv.admit(c); refusal != nil {
		if l.tls == nil {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(appendRefusal(nil, status, refusal, "")) // fits into an empty socket buffer
		}
		_ = conn.Close()
		return
	}
	raw := true
	if l.tls != nil {
		conn, raw = tls.Server(conn, l.tls), false
	}
	k := l.srv.newSock(c, conn, raw)
	l.srv.register(c)
	if !l.srv.lane.Do(func(context.Context) { k.open(c) }) {
		c.lost(nil)
	}
}

// newSock makes a link of a socket; raw says that no bytes may wait inside it.
func (s *Server) newSock(c *Conn, conn net.Conn, raw bool) *sock {
	k := &sock{conn: conn, c: c}
	if sc, ok := conn.(syscall.Conn); ok && raw && rawReads {
		k.raw, _ = sc.SyscallConn()
		k.ready = k.readReady
	}
	c.link = k
	return k
}

// open reads until the connection is open, and then goes on in another
// goroutine, whose stack has not grown with the handshake.
func (k *sock) open(c *Conn) {
	defer k.caught(c)
	for state(c.state.Load()) == stateHandshake {
		k.step(c)
	}
	if state(c.state.Load()) != stateDead && !c.srv.lane.Do(func(context.Context) { k.run(c) }) {
		c.lost(nil)
	}
}

func (k *sock) run(c *Conn) {
	defer k.caught(c)
	for state(c.state.Load()) != stateDead {
		k.step(c)
	}
}

// caught is for bugs that one connection's input brings to light: without its
// reader the connection cannot go on.
func (k *sock) caught(c *Conn) {
	if p := recover(); p != nil {
		c.srv.logPanic(c, p)
		c.die(&CloseError{Code: CloseInternal, Reason: "a bug on the node"})
	}
}

// step waits for input and handles it.
func (k *sock) step(c *Conn) {
	if k.raw != nil {
		if err := k.raw.Read(k.ready); k.err == nil {
			k.err = err
		}
	} else {
		k.into = getBuffer(sockRead)
		k.n, k.err = k.conn.Read(c.begin(k.into.b[:cap(k.into.b)]))
	}
	if k.n > 0 {
		c.srv.turn(func() { c.input(k.into.b[:cap(k.into.b)], k.n) })
	}
	k.into.free()
	err := k.err
	k.into, k.n, k.err = nil, 0, nil
	switch {
	case err == nil || state(c.state.Load()) == stateDead:
	case errors.Is(err, os.ErrDeadlineExceeded):
		// Clear the deadline first: a nudge that comes after settle sets it again.
		_ = k.conn.SetReadDeadline(time.Time{})
		c.settle()
	default:
		c.lost(err)
	}
}

// flush implements [link].
func (k *sock) flush(c *Conn, _ *scratch) {
	c.srv.lane.Do(func(context.Context) { k.write(c) })
}

func (k *sock) write(c *Conn) {
	w, _ := scratchPool.Get().(*scratch)
	defer scratchPool.Put(w)
	if !c.take(w) {
		return
	}
	w.encode(c)
	wrote := 0
	var err error
	head, tail := w.rest(c.off)
	for _, b := range [][]byte{head, tail} {
		if len(b) == 0 || err != nil {
			continue
		}
		var n int
		n, err = k.conn.Write(b)
		wrote += n
	}
	c.done(w, wrote, false, err)
}

// wait implements [link]; writes block here, so nothing is ever left to wait for.
func (k *sock) wait(*Conn) {}

// nudge implements [link].
func (k *sock) nudge(c *Conn) {
	c.mu.Lock()
	kill := c.kill
	c.mu.Unlock()
	if kill {
		_ = k.conn.SetDeadline(past)
		return
	}
	_ = k.conn.SetReadDeadline(past)
}

// halfClose implements [link].
func (k *sock) halfClose(*Conn) {
	if half, ok := k.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// leave implements [link]. It wakes a write that is blocked.
func (k *sock) leave(*Conn) { _ = k.conn.SetDeadline(past) }

// release implements [link].
func (k *sock) release(*Conn) { _ = k.conn.Close() }

var _ link = (*sock)(nil)
