package edge

import (
	"fmt"
	"runtime/debug"
)

// A Handler that panics has a bug, which costs the connection it was handling
// and not the poller with all others.

func (s *Server) tellOpen(c *Conn) {
	defer s.caught(c)
	if c.peering == nil {
		s.opened.Add(1)
	}
	c.handler().Open(c)
}

func (s *Server) frame(c *Conn, payload []byte) {
	defer s.caught(c)
	c.handler().Frame(c, payload)
}

func (s *Server) tellClosed(c *Conn) {
	defer s.caught(c)
	if c.peering == nil {
		s.opened.Add(-1)
	}
	c.handler().Closed(c, c.end)
}

func (s *Server) caught(c *Conn) {
	if p := recover(); p != nil {
		s.logPanic(c, p)
		c.Close(CloseInternal, "a bug on the node")
	}
}

func (s *Server) logPanic(c *Conn, p any) {
	s.log.Error("panic; the connection is closed", "client", c.id, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}
