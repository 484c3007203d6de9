package client

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/message"
)

// receiveUnserve takes note that the node has taken back a path, which the
// client's session may not serve any more. It is left out of announcements until
// the session is another one.
func (c *Client) receiveUnserve(cn *conn, m *message.Message) {
	address, why := string(m.To), message.DecodeError(m.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.conn != cn {
		return // where it was told of a path that is served elsewhere by now
	}
	for _, r := range c.serving.regs {
		for i, rt := range r.routes {
			if address != r.service.Name()+":"+rt.Pattern.String() {
				continue
			}
			r.barred[i] = true
			c.log.Warn("the node does not let this client serve a path any more", "path", address, "err", why)
			if f := c.cfg.onUnserve; f != nil {
				c.lane.Go("client.unserved", func(context.Context) { f(address, why) })
			}
		}
	}
}

// unbar forgets what was taken back; c.mu is held.
func (c *Client) unbar() {
	for _, r := range c.serving.regs {
		clear(r.barred)
	}
}

// serveAgain announces anew what was refused or taken back, since the session is
// another one; c.mu is held.
func (c *Client) serveAgain() {
	w := c.session.main
	if w == nil || w.draining || c.serving.drained {
		c.unbar()
		return
	}
	some := false
	for _, r := range c.serving.regs {
		if slices.Contains(r.barred, true) || r.lacks() {
			clear(r.barred)
			c.announce(r)
			some = true
		}
	}
	if some {
		c.nudge()
	}
}

// lacks reports whether the node has refused a route of the last round.
func (r *registration) lacks() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}
