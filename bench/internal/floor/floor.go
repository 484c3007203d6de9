//go:build linux

// Package floor is the shape of a Ropewalk node at its barest: one epoll loop,
// an envelope scan, a map from address to the connection that serves it, an own
// mid for each call, and all output written once at the end of a batch of
// events. It has no middleware, strategies, deadlines, limits, metrics or
// faults: it is what the machine leaves, so that the node can be read as a
// ratio to it.
package floor

import (
	"fmt"
	"net/netip"

	"github.com/ropewalk/ropewalk/bench/internal/sock"
	"github.com/ropewalk/ropewalk/bench/internal/ws"
	"github.com/ropewalk/ropewalk/message"
)

const (
	batch    = 512
	inSize   = 1 << 16
	protocol = "ropewalk.v1.split"
)

// conn is one connection: its state and nothing else while it is idle.
type conn struct {
	fd       int
	upgraded bool
	dirty    bool
	waits    bool   // for the kernel to take more
	id       string // the client's address
	rest     []byte // read, but not a whole frame
	out      []byte // to be written; a buffer of the pool, or nil
	topics   []*topic
}

// call is one call under way.
type call struct {
	caller *conn
	mid    []byte // the caller's
}

// Floor is the server. It belongs to the goroutine that calls Serve.
type Floor struct {
	listener int
	addr     netip.AddrPort
	poll     *sock.Poll
	byFD     []*conn
	dirty    []*conn
	pool     [][]byte
	in       []byte
	served   map[string]*conn
	topics   map[string]*topic

	calls []call
	free  []int

	msg  message.Message
	mid  []byte
	back []byte
	text []byte // the encoded message
}

// Listen opens the server at addr; port 0 takes any.
func Listen(addr netip.AddrPort) (*Floor, error) {
	fd, got, err := sock.Listen(addr)
	if err != nil {
		return nil, err
	}
	poll, err := sock.NewPoll(batch)
	if err == nil {
		err = poll.Add(fd, sock.In)
	}
	if err != nil {
		sock.Close(fd)
		return nil, err
	}
	return &Floor{
		listener: fd, addr: got, poll: poll,
		in: make([]byte, inSize), served: make(map[string]*conn), topics: make(map[string]*topic),
	}, nil
}

// Addr is where it listens.
func (s *Floor) Addr() netip.AddrPort { return s.addr }

// Serve serves until the epoll set fails or stop, which it asks after every
// batch and at least every tenth of a second, says so.
func (s *Floor) Serve(stop func() bool) error {
	defer s.close()
	for !stop() {
		events, err := s.poll.Wait(100)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.FD == s.listener {
				s.accept()
				continue
			}
			if c := s.byFD[ev.FD]; c != nil {
				s.handle(c, ev.What)
			}
		}
		s.flushAll()
	}
	return nil
}

func (s *Floor) close() {
	for _, c := range s.byFD {
		if c != nil {
			sock.Close(c.fd)
		}
	}
	sock.Close(s.listener)
	s.poll.Close()
}

func (s *Floor) accept() {
	for range batch {
		fd, err := sock.Accept(s.listener)
		if err != nil {
			return
		}
		for fd >= len(s.byFD) {
			s.byFD = append(s.byFD, nil)
		}
		if s.poll.Add(fd, sock.In) != nil {
			sock.Close(fd)
			continue
		}
		s.byFD[fd] = &conn{fd: fd}
	}
}

func (s *Floor) handle(c *conn, what uint32) {
	if what&sock.Out != 0 {
		s.mark(c)
	}
	if what&(sock.In|sock.Gone) == 0 {
		return
	}
	for len(s.in) <= len(c.rest) { // a frame that is larger than the buffer
		s.in = make([]byte, 2*len(s.in))
	}
	kept := copy(s.in, c.rest)
	n, err := sock.Read(c.fd, s.in[kept:])
	if err != nil && sock.Again(err) {
		return
	}
	if err != nil || n == 0 {
		s.drop(c)
		return
	}
	b := s.in[:kept+n]
	used, err := s.input(c, b)
	if err != nil {
		s.drop(c)
		return
	}
	if used < len(b) {
		c.rest = append(c.rest[:0], b[used:]...)
	} else {
		c.rest = nil
	}
}

// input handles what is whole of b and returns how many bytes it was.
func (s *Floor) input(c *conn, b []byte) (int, error) {
	used := 0
	if !c.upgraded {
		n, err := s.upgrade(c, b)
		if err != nil || n == 0 {
			return 0, err
		}
		used = n
	}
	for {
		f, n, err := ws.Next(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		switch f.Op {
		case ws.Text, ws.Binary:
			if err := s.message(c, f.Payload); err != nil {
				return used, err
			}
		case ws.Ping:
			s.buffer(c)
			c.out = ws.AppendFrame(c.out, ws.Pong, f.Payload)
		case ws.CloseFrame:
			return used, fmt.Errorf("closed by the client: %q", f.Payload)
		}
	}
}

func (s *Floor) upgrade(c *conn, b []byte) (int, error) {
	s.buffer(c)
	var n int
	var err error
	if c.out, n, err = ws.Upgrade(c.out, b, protocol); err != nil || n == 0 {
		return 0, err
	}
	c.upgraded, c.id = true, message.NewID()+"@client:/"
	s.text = fmt.Appendf(s.text[:0], "{\"vrb\":\"welcome\",\"to\":%q,\"frm\":\"floor@node:/\"}\n"+
		`{"id":%q,"node":{"id":"floor","name":"floor"},"limits":{"frame":%d,"calls":1024}}`,
		c.id, c.id[:len(c.id)-len("@client:/")], ws.MaxPayload)
	c.out = ws.AppendFrame(c.out, ws.Binary, s.text)
	return n, nil
}

// drop closes a connection and forgets what it served.
func (s *Floor) drop(c *conn) {
	for to, by := range s.served {
		if by == c {
			delete(s.served, to)
		}
	}
	s.unwatch(c)
	s.byFD[c.fd] = nil
	sock.Close(c.fd)
	c.fd = -1
}

// buffer gives a connection something to write into and marks it dirty.
func (s *Floor) buffer(c *conn) {
	if c.out == nil {
		if n := len(s.pool); n > 0 {
			c.out, s.pool = s.pool[n-1], s.pool[:n-1]
		} else {
			c.out = make([]byte, 0, 2048)
		}
	}
	s.mark(c)
}

func (s *Floor) mark(c *conn) {
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// flushAll writes to each dirty connection all that waits for it, at once.
func (s *Floor) flushAll() {
	for _, c := range s.dirty {
		c.dirty = false
		if c.fd >= 0 {
			s.flush(c)
		}
	}
	s.dirty = s.dirty[:0]
}

func (s *Floor) flush(c *conn) {
	n, err := sock.Write(c.fd, c.out)
	if err != nil && !sock.Again(err) {
		s.drop(c)
		return
	}
	left := copy(c.out, c.out[n:])
	c.out = c.out[:left]
	if left == 0 && c.out != nil {
		s.pool = append(s.pool, c.out)
		c.out = nil
	}
	if waits := left > 0; waits != c.waits {
		c.waits = waits
		what := uint32(sock.In)
		if waits {
			what |= sock.Out
		}
		if s.poll.Set(c.fd, what) != nil {
			s.drop(c)
		}
	}
}
