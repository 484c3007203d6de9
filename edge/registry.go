package edge

import (
	"net/http"
	"net/netip"
	"strconv"

	"github.com/ropewalk/ropewalk/message"
)

// newConn returns a connection in the state handshake that nobody knows yet.
func (s *Server) newConn(l *listener, remote netip.AddrPort) *Conn {
	c := &Conn{srv: s, lis: l, addr: remote, fd: -1}
	c.timer.Owner = (*expiry)(c)
	return c
}

// admit takes a slot for a new connection. If there is none it returns the
// HTTP status and error to refuse it with.
func (s *Server) admit(c *Conn) (status int, refusal *message.Error) {
	l := &s.cfg.Limits
	ip := c.addr.Addr()
	s.connMu.Lock()
	defer s.connMu.Unlock()
	switch {
	case s.shut:
		return http.StatusServiceUnavailable, errStopping
	case l.Connections > 0 && s.slots >= l.Connections:
		s.metrics.hit(limitConnections)
		s.metrics.refused(c.lis, http.StatusServiceUnavailable)
		return http.StatusServiceUnavailable, errConnections
	case l.PerIP > 0 && !c.unmetered && s.perIP[ip] >= l.PerIP:
		s.metrics.hit(limitPerIP)
		s.metrics.refused(c.lis, http.StatusTooManyRequests)
		return http.StatusTooManyRequests, errPerIP
	}
	s.slots++
	if l.PerIP > 0 && !c.unmetered {
		s.perIP[ip]++
	}
	return 0, nil
}

// giveBack returns a slot.
func (s *Server) giveBack(ip netip.Addr) {
	s.connMu.Lock()
	s.giveBackLocked(ip)
	s.connMu.Unlock()
}

func (s *Server) giveBackLocked(ip netip.Addr) {
	s.slots--
	s.unmeter(ip)
}

// unmeter is called with connMu held.
func (s *Server) unmeter(ip netip.Addr) {
	if s.cfg.Limits.PerIP == 0 {
		return
	}
	if s.perIP[ip]--; s.perIP[ip] <= 0 {
		delete(s.perIP, ip)
	}
}

// register puts c on the list of connections and starts the time-out of its
// handshake.
func (s *Server) register(c *Conn) {
	if d := s.cfg.Limits.HandshakeTime; d > 0 {
		s.wheel.Reset(&c.timer, d)
	}
	s.connMu.Lock()
	c.next = s.first
	if c.next != nil {
		c.next.prev = c
	}
	s.first = c
	s.total++
	late := s.draining
	s.connMu.Unlock()
	if late { // it was admitted just before, and drain has not seen it
		c.doom(&CloseError{Code: CloseGoingAway, Reason: "the node stops"})
	}
}

// forget takes c off the list and gives back its slot.
func (s *Server) forget(c *Conn) {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	s.unlist(c)
	s.dismissLocked(c)
}

// dismiss gives back the slot of a connection that was admitted and has come to
// nothing.
func (s *Server) dismiss(c *Conn) {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	s.dismissLocked(c)
}

func (s *Server) dismissLocked(c *Conn) {
	if c.unmetered {
		s.slots--
		return
	}
	s.giveBackLocked(c.addr.Addr())
}

func (s *Server) unlist(c *Conn) {
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	c.next, c.prev = nil, nil
	s.total--
	if c.peering != nil {
		s.peers--
	}
	s.tellLeft()
	s.tellEmpty()
}

// tellLeft is called with connMu held when there may be no client left after the
// last was accepted.
func (s *Server) tellLeft() {
	if s.shut && s.total == s.peers && !s.hasLeft {
		s.hasLeft = true
		close(s.left)
	}
}

// tellEmpty is called with connMu held when there may be no connection left
// after a drain.
func (s *Server) tellEmpty() {
	if s.draining && s.total == 0 && !s.told {
		s.told = true
		close(s.empty)
	}
}

// What those get who are refused before anything was read from them.
//
//nolint:gochecknoglobals // constants in all but name
var (
	errStopping = message.NewError(message.CodeShuttingDown,
		"the node stops", "Connect again in a moment, or to another node.")
	errConnections = message.NewError(message.CodeOverloaded,
		"the node has as many connections as it may", "Connect later, or raise limits.connections.")
	errPerIP = message.NewError(message.CodeRateLimited,
		"too many connections from this address", "Close some, or raise limits.per_ip.")
)

// appendRefusal appends a whole HTTP response; extra are header lines.
func appendRefusal(dst []byte, status int, err *message.Error, extra string) []byte {
	body := message.AppendError(nil, err)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, " "+http.StatusText(status)+crlf+extra+
		"Content-Type: application/json\r\nConnection: close\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, crlf+crlf...)
	return append(dst, body...)
}
