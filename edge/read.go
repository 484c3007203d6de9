package edge

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// readTurn is how much is read from one connection before the others have
// their turn.
const readTurn = 64 << 10

// What seen tells.
const (
	seenAny     = 1 // bytes have come
	seenMessage = 2 // and a message was complete
)

// begin returns where to read to: behind what is held of an incomplete frame.
// If that is little it is copied to the start of shared first, so that the read
// can be a large one; a large incomplete frame is read on in its own buffer.
// input has to follow when something was read.
func (c *Conn) begin(shared []byte) (into []byte) {
	c.inShared = c.in == nil || len(c.in.b) <= len(shared)/2
	switch {
	case c.in == nil:
		return shared
	case c.inShared:
		return shared[copy(shared, c.in.b):]
	default:
		return c.in.b[len(c.in.b):cap(c.in.b)]
	}
}

// input handles n bytes that were read to where begin said. Only the owner
// calls it, and looks at the state afterwards.
func (c *Conn) input(shared []byte, n int) {
	if c.seen.Load()&seenAny == 0 {
		c.seen.Or(seenAny)
	}
	held := c.in
	size := n
	if held != nil {
		size += len(held.b)
	}
	var data []byte
	if c.inShared {
		data = shared[:size]
	} else {
		held.b = held.b[:size]
		data = held.b
	}
	used, need := c.consume(data)
	if c.in != held {
		return // consume has given the bytes away, and the connection with them
	}
	left := data[used:]
	switch {
	case len(left) == 0:
		held.free()
		c.in = nil
	case c.inShared:
		c.in = held.replace(left, need)
	default:
		held.b = held.b[:copy(held.b, left)]
		c.in = held.grow(need)
	}
}

// consume handles everything in data that is complete. It returns how much of
// it was used, and how long the rest must become at least to be of use.
func (c *Conn) consume(data []byte) (used, need int) {
	if state(c.state.Load()) == stateHandshake {
		n, ok := c.handshake(data)
		if !ok {
			return n, c.srv.cfg.Limits.HandshakeBytes
		}
		used = n
	}
	limits := c.limits() // after the handshake, which settles them
	frames, start := 0, used
	for used < len(data) && !c.deaf {
		h, ok, bad := parseHeader(data[used:], c.peering == nil, c.deflate, limits.Frame)
		if bad.code != 0 {
			c.violated(bad)
			break
		}
		if !ok {
			need = 14
			break
		}
		if need = h.size + h.length; need > len(data)-used {
			break
		}
		payload := data[used+h.size : used+need]
		if h.masked {
			ws.Cipher(payload, h.mask, 0)
		}
		used += need
		need = 0
		if h.op >= opClose {
			c.controlFrame(h.op, payload)
		} else if c.dataFrame(&h, payload) {
			frames++
		}
	}
	c.srv.metrics.received(frames, used-start)
	if c.deaf {
		return len(data), 0
	}
	return used, need
}

// dataFrame handles one piece of a message and reports whether it was the last.
func (c *Conn) dataFrame(h *header, payload []byte) bool {
	if state(c.state.Load()) != stateOpen {
		return false // we have closed: what still comes is for nobody
	}
	if wait := c.rate.spend(c.limits(), len(payload)); wait {
		c.srv.metrics.hit(limitRate)
		c.Close(CloseRateLimited, "more messages or bytes a second than the node takes")
		return false
	}
	if h.op == opCont != (c.whole != nil) {
		c.violated(violation{CloseProtocol, "a fragment out of order"})
		return false
	}
	if h.fin && c.whole == nil {
		return c.message(h.op, h.packed, payload)
	}
	if c.whole == nil {
		c.whole, c.wholeOp, c.wholePack = getBuffer(max(2*len(payload), 1)), h.op, h.packed
	}
	size := len(c.whole.b) + len(payload)
	if size > c.limits().Frame {
		c.violated(violation{CloseTooLarge, "the message is larger than the node takes"})
		return false
	}
	if size > cap(c.whole.b) {
		g := getBuffer(min(max(size, 2*cap(c.whole.b)), c.limits().Frame))
		g.b = append(g.b, c.whole.b...)
		c.whole.free()
		c.whole = g
	}
	c.whole.b = append(c.whole.b, payload...)
	if !h.fin {
		return false
	}
	whole := c.whole
	c.whole = nil
	done := c.message(c.wholeOp, c.wholePack, whole.b)
	whole.free()
	return done
}

// message hands a complete message to the Handler.
func (c *Conn) message(op opcode, packed bool, payload []byte) bool {
	if packed {
		b, bad := inflate(payload, c.limits().Frame)
		if bad.code != 0 {
			c.violated(bad)
			return false
		}
		defer b.free()
		payload = b.b
	}
	if op == opText && !utf8.Valid(payload) {
		c.violated(violation{CloseBadText, "text that is not UTF-8"})
		return false
	}
	if c.seen.Load()&seenMessage == 0 {
		c.seen.Or(seenMessage)
	}
	c.srv.frame(c, payload)
	return true
}

func (c *Conn) controlFrame(op opcode, payload []byte) {
	switch op {
	case opPing:
		if frames, _ := c.Pending(); c.peering != nil && frames > 0 {
			return // RFC 6455 lets us; the list is long, and strangers would fill it
		}
		c.control(newControl(opPong, payload))
	case opClose:
		code, reason, bad := readClose(payload)
		if bad.code != 0 {
			c.violated(bad)
			return
		}
		c.deaf = true
		c.closedByPeer(code, reason)
	default: // A pong has done its work by being seen.
	}
}

// closedByPeer answers a close frame.
func (c *Conn) closedByPeer(code CloseCode, reason string) {
	c.mu.Lock()
	c.gotClose = true
	if state(c.state.Load()) < stateClosing {
		c.startClosing(&CloseError{Code: code, Reason: reason, Remote: true}, newClose(code, ""))
		return
	}
	if len(c.pending) == 0 {
		c.kill = true
	}
	c.mu.Unlock()
	c.link.nudge(c)
}

// violated closes for a breach of the protocol, after which the rest of the
// input means nothing.
func (c *Conn) violated(bad violation) {
	c.deaf = true
	c.srv.metrics.violated(bad.code)
	c.Close(bad.code, bad.reason)
}
