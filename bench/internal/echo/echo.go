//go:build linux

// Package echo is the service of the bench: it serves one address of a
// Ropewalk node, over a connection like anybody's, and answers each call with
// its own body. It costs little more than its system calls: one read, and one
// write for all the answers.
package echo

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ropewalk/ropewalk/bench/internal/load"
	"github.com/ropewalk/ropewalk/bench/internal/sock"
	"github.com/ropewalk/ropewalk/bench/internal/ws"
	"github.com/ropewalk/ropewalk/message"
)

// maskKey is as good as any other; see package load.
const maskKey = 0x3d21fa37

// serveMid is the mid of the serve.
const serveMid = "serve"

// connectWait is how long the server may take to accept.
const connectWait = 5 * time.Second

// Errors of a service.
var (
	ErrEnded   = errors.New("server closed the connection")
	ErrRefused = errors.New("server refused to let us serve")
	errConnect = errors.New("connect took too long")
)

// service is one connection that serves.
type service struct {
	fd    int
	in    []byte
	out   []byte
	reply []byte
	msg   message.Message
	ready func()
}

// Serve connects to the node at addr, serves the address to, calls ready when
// the node has agreed, and then answers until the node closes the connection,
// which is [ErrEnded].
func Serve(addr netip.AddrPort, path, to string, ready func()) error {
	fd, err := dial(addr)
	if err != nil {
		return err
	}
	defer sock.Close(fd)
	s := &service{fd: fd, in: make([]byte, ws.MaxPayload+64), ready: ready}
	if err := s.write(ws.Request(addr.String(), path, load.SplitProtocol)); err != nil {
		return err
	}
	kept, upgraded := 0, false
	for {
		runtime.Gosched() // before blocking: see sock.Poll.Wait
		n, err := unix.Read(fd, s.in[kept:])
		if err != nil && !sock.Again(err) {
			return broken("read", err)
		}
		if n == 0 && err == nil {
			return ErrEnded
		}
		got, used := s.in[:kept+max(n, 0)], 0
		if !upgraded {
			if used, err = ws.Response(got); err != nil {
				return err
			}
			if upgraded = used > 0; upgraded {
				s.send(&message.Message{Verb: message.VerbServe, To: []byte(to), Mid: []byte(serveMid)})
			}
		}
		if upgraded {
			more, err := s.frames(got[used:])
			if err != nil {
				return err
			}
			used += more
		}
		kept = copy(s.in, got[used:])
		if err := s.write(s.out); err != nil {
			return err
		}
		s.out = s.out[:0]
	}
}

// dial connects and makes the socket blocking: there is only this one.
func dial(addr netip.AddrPort) (int, error) {
	fd, err := sock.Dial(addr)
	if err != nil {
		return -1, err
	}
	pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(pfd, int(connectWait/time.Millisecond))
	if err == nil && n == 0 {
		err = errConnect
	}
	if err == nil {
		err = sock.Connected(fd)
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		sock.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return fd, nil
}

// broken is the error of a connection that the server reset.
func broken(what string, err error) error {
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return ErrEnded
	}
	return fmt.Errorf("%s: %w", what, err)
}

// write writes all of b, and waits for the kernel to take it.
func (s *service) write(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(s.fd, b)
		if err != nil && !sock.Again(err) {
			return broken("write", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}

// frames handles all whole frames of b and returns how many bytes they were.
func (s *service) frames(b []byte) (int, error) {
	used := 0
	for {
		f, n, err := ws.Next(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		switch f.Op {
		case ws.Text, ws.Binary:
			if err := s.message(f.Payload); err != nil {
				return used, err
			}
		case ws.Ping:
			s.out = ws.AppendMasked(s.out, ws.Pong, maskKey, f.Payload)
		case ws.CloseFrame:
			return used, ErrEnded
		}
	}
}

func (s *service) message(frame []byte) error {
	m := &s.msg
	m.Reset()
	if err := message.DecodeSplit(frame, m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	switch {
	case m.Verb == message.VerbCall:
		s.send(&message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: m.Body})
	case m.Verb == message.VerbReply && string(m.Rmid) == serveMid:
		s.ready()
	case m.Verb == message.VerbError:
		return fmt.Errorf("%w: %s", ErrRefused, m.Body)
	}
	return nil
}

// send puts a message behind those that wait to be written.
func (s *service) send(m *message.Message) {
	s.reply = message.AppendSplit(s.reply[:0], m)
	s.out = ws.AppendMasked(s.out, ws.Binary, maskKey, s.reply)
}
