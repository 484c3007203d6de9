package edge

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Peering has a [Server] take connections that are no clients: lines to other
// servers. They have a sub-protocol of their own on the same listeners, and
// [Server.Dial] makes them to others. They are WebSockets whose frames are not
// masked, in either direction: masks protect from what scripts of web pages can
// do, and a handshake with an Origin is refused here.
//
// They do not show in [Server.Conns] and [Server.Count], and Shutdown does not
// wait for them. They are not pinged: the Handler knows by itself who is there.
type Peering struct {
	// Protocol is the sub-protocol, and Name what metrics and [Conn.Listener]
	// have instead of a listener's name.
	Protocol, Name string
	// Handler is told of these connections instead of the server's.
	Handler Handler
	// Frame, PendingFrames and PendingBytes replace those of [Limits]. There is
	// no limit of rates.
	Frame, PendingFrames, PendingBytes int
	// Flush, if set, is called by whoever has handled input, before what was
	// sent meanwhile leaves: see [Server.Busy].
	Flush func()
}

// peering is a Peering as connections have it.
type peering struct {
	Peering

	limits Limits
	lis    *listener // a name and metrics; nothing listens
}

// answerBytes bounds the head of the answer to a handshake of ours.
const answerBytes = 4 << 10

func newPeering(s *Server, cfg *Peering) (*peering, error) {
	p := &peering{Peering: *cfg, limits: s.cfg.Limits}
	l := &p.limits
	l.Frame, l.PendingFrames, l.PendingBytes = cfg.Frame, cfg.PendingFrames, cfg.PendingBytes
	l.Ping, l.Idle, l.FramesPerSecond, l.BytesPerSecond = 0, 0, 0, 0
	if cfg.Protocol == "" || cfg.Handler == nil || l.Frame <= 0 || l.PendingFrames <= 0 || l.PendingBytes <= 0 {
		return nil, errors.New("edge: peering needs a protocol, a handler and limits")
	}
	var err error
	p.lis, err = newListener(s, &ListenerConfig{Name: cfg.Name})
	return p, err
}

// limits are those of the connection's kind.
func (c *Conn) limits() *Limits {
	if c.peering != nil {
		return &c.peering.limits
	}
	return &c.srv.cfg.Limits
}

// handler is that of the connection's kind.
func (c *Conn) handler() Handler {
	if c.peering != nil {
		return c.peering.Handler
	}
	return c.srv.handler
}

// becomePeer makes c a connection that is no client. Only the owner calls it,
// before it opens c.
func (c *Conn) becomePeer() {
	p := c.srv.peering
	c.peering, c.lis, c.framing = p, p.lis, FramingSplit
	s := c.srv
	s.connMu.Lock()
	defer s.connMu.Unlock()
	s.peers++
	s.tellLeft()
}

// Unmeter has the connection no longer count against [Limits].PerIP: it is
// known now who is there. It may only be called from [Handler] methods.
func (c *Conn) Unmeter() {
	s := c.srv
	s.connMu.Lock()
	defer s.connMu.Unlock()
	if !c.unmetered {
		c.unmetered = true
		s.unmeter(c.addr.Addr())
	}
}

// Together runs f. What f sends, on whichever connections, leaves when it
// returns, written by this goroutine, so that nobody else is woken.
func (s *Server) Together(f func()) { s.turn(f) }

// Busy tells that somebody handles input now, and will call [Peering].Flush
// when he is done. What was asked for before Busy said true is seen by that
// call.
func (s *Server) Busy() bool { return s.busy.Load() > 0 }

// beat is something that is done again and again.
type beat struct {
	wait time.Duration // until the first time
	do   func() (wait time.Duration)
	over chan struct{} // closed when it is done no more
}

// Repeat calls f after a time, and then each time after as long as f has
// returned, until that is 0 or the server ends; then the channel is closed. It
// is nil if this server cannot do that. f runs on the goroutine of a poller and
// must not block. There is one at most. For something that a process does for as
// long as it lives this costs less than a timer of Go's: those wake the
// runtime's monitor, too, which then looks around for as long as the process has
// anything to do.
func (s *Server) Repeat(wait time.Duration, f func() time.Duration) <-chan struct{} {
	s.lifeMu.Lock()
	defer s.lifeMu.Unlock()
	if s.stopped || s.serving && len(s.pollers) == 0 {
		return nil
	}
	b := &beat{wait: wait, do: f, over: make(chan struct{})}
	switch {
	case s.serving:
		if err := s.pollers[0].repeat(b); err != nil {
			return nil
		}
	case s.beat != nil:
		return nil
	default:
		s.beat = b
	}
	return b.over
}

// startBeat begins what Repeat was called for before there was a poller.
func (s *Server) startBeat() {
	if b := s.beat; b != nil && (len(s.pollers) == 0 || s.pollers[0].repeat(b) != nil) {
		close(b.over)
	}
}

// serves tells whether Serve has been called, and nothing has ended it.
func (s *Server) serves() bool {
	s.lifeMu.Lock()
	defer s.lifeMu.Unlock()
	return s.serving && !s.stopped
}

// Dial makes a connection to the listener of another server, at HOST:PORT, with
// the sub-protocol of [Peering]. Its Handler gets it with [Conn.Data] being data,
// perhaps before Dial returns. Dial blocks until the handshake is done, or ctx
// has ended. It is an error before Serve was called.
func (s *Server) Dial(ctx context.Context, addr string, data any) error {
	if s.peering == nil {
		return errors.New("edge: this server has no peers")
	}
	if !s.serves() {
		return errors.New("edge: this server does not serve yet, or any more")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	err = s.knock(conn, addr)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	return s.adopt(conn, data)
}

// knock does the handshake of a WebSocket client.
func (s *Server) knock(conn net.Conn, addr string) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: "+key+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: "+s.peering.Protocol+crlf+crlf); err != nil {
		return err
	}
	r := bufio.NewReaderSize(io.LimitReader(conn, answerBytes), answerBytes)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("read the answer to a handshake: %w", err)
	}
	_ = res.Body.Close() // there is none in an answer that is good
	switch {
	case res.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the handshake was answered with %s", res.Status)
	case !strings.EqualFold(res.Header.Get("Upgrade"), "websocket"),
		res.Header.Get("Sec-WebSocket-Accept") != string(appendAccept(nil, []byte(key))),
		res.Header.Get("Sec-WebSocket-Protocol") != s.peering.Protocol:
		return errors.New("the handshake was answered with another protocol")
	case r.Buffered() > 0:
		return errors.New("something came right behind the answer to a handshake; who dials speaks first")
	}
	return nil
}

// adopt makes a connection of a socket whose handshake is done, and opens it.
func (s *Server) adopt(conn net.Conn, data any) error {
	c := s.newConn(s.peering.lis, addrPort(conn.RemoteAddr()))
	c.data, c.unmetered = data, true
	if _, refusal := s.admit(c); refusal != nil {
		_ = conn.Close()
		return refusal
	}
	if tcp, ok := conn.(*net.TCPConn); ok && len(s.pollers) > 0 {
		return s.nextPoller().adopt(c, tcp)
	}
	k := s.newSock(c, conn, true)
	s.register(c)
	if !s.lane.Do(func(context.Context) {
		defer k.caught(c)
		s.turn(func() {
			c.becomePeer()
			c.open(nil)
		})
		k.run(c)
	}) {
		c.lost(nil)
		return errStopping
	}
	return nil
}
