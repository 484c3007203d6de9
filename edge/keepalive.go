package edge

// expiry is a Conn as its timer sees it.
type expiry Conn

// Expire implements wheel.Expirer.
func (e *expiry) Expire() { (*Conn)(e).onTimer() }

// onTimer is called by the wheel: the handshake took too long, the close took
// too long, or a turn of the keep-alive is over.
func (c *Conn) onTimer() {
	c.mu.Lock()
	switch state(c.state.Load()) {
	case stateHandshake:
		c.srv.metrics.hit(limitHandshakeTime)
		c.doomLocked(&CloseError{Code: CloseAbnormal, Reason: "the handshake took too long"})
	case stateClosing:
		c.kill = true
	case stateOpen:
		if c.via() != viaWebSocket {
			if l, ok := c.link.(*httpLink); ok && l.readers > 0 {
				break // somebody has begun to read while this waited for the lock
			}
			c.srv.metrics.hit(limitUnread)
			c.doomLocked(&CloseError{Code: CloseAbnormal, Reason: "it was neither streamed nor polled"})
			break
		}
		if ping, err := c.keepAlive(); err != nil {
			c.drop(max(c.inflight, min(c.off, 1)))
			c.startClosing(err, newClose(err.Code, err.Reason))
			return
		} else if ping {
			c.srv.wheel.Reset(&c.timer, c.limits().tick())
			c.mu.Unlock()
			c.control(newControl(opPing, nil))
			return
		}
		c.srv.wheel.Reset(&c.timer, c.limits().tick())
		c.mu.Unlock()
		return
	case stateDead:
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.link.nudge(c)
}

// keepAlive is called once a turn with mu held. It reports whether to ping, or
// why to close.
func (c *Conn) keepAlive() (ping bool, err *CloseError) {
	l := c.limits()
	seen := c.seen.Swap(0)
	if len(c.pending) == 0 && cap(c.pending) > 8 {
		c.pending = nil // it was busy once; an idle connection costs its state and nothing else
	}
	c.misses++
	if seen&seenAny != 0 {
		c.misses = 0
	}
	c.idle++
	if seen&seenMessage != 0 {
		c.idle = 0
	}
	switch {
	case c.misses >= 2 && l.Ping > 0:
		c.srv.metrics.hit(limitPing)
		return false, &CloseError{Code: ClosePing, Reason: "pings were not answered"}
	case l.Idle > 0 && int64(c.idle) >= (int64(l.Idle)+int64(l.tick())-1)/int64(l.tick()):
		c.srv.metrics.hit(limitIdle)
		return false, &CloseError{Code: CloseIdle, Reason: "no message for too long"}
	case (c.blocked || c.writing) && c.stuck:
		c.srv.metrics.hit(limitSlowConsumer)
		return false, &CloseError{Code: CloseSlowConsumer, Reason: "slow consumer: nothing was taken for a whole ping interval"}
	}
	c.stuck = c.blocked || c.writing // done clears it when anything has left
	return l.Ping > 0 && seen&seenMessage == 0, nil
}
