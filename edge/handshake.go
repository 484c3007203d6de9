package edge

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it; nothing depends on its strength
	"encoding/base64"
	"net/http"

	"github.com/ropewalk/ropewalk/message"
)

// closeRefused is the code, inside, of a connection that was refused by an HTTP
// status.
const closeRefused CloseCode = 1

// upgrade is what a WebSocket handshake asks for.
type upgrade struct {
	key, version          []byte
	origin, host          []byte
	connection, websocket bool
	framing               Framing
	peers                 *peering // nil if there are none
	peer                  bool     // the sub-protocol is that of peers
	hasFraming            bool
	twice                 bool // a field that there must be one of
	deflate               bool
}

// handshake reads the request at the start of data. It returns ok when the
// connection is open, and how many bytes were used; all of them when the
// connection will not become one of ours.
func (c *Conn) handshake(data []byte) (used int, ok bool) {
	h, size, complete, bad := parseHead(data)
	limit := c.srv.cfg.Limits.HandshakeBytes
	switch {
	case size > limit || !complete && !bad && len(data) >= limit:
		c.srv.metrics.hit(limitHandshakeBytes)
		c.refuse(http.StatusRequestHeaderFieldsTooLarge, message.NewError(message.CodeTooLarge,
			"the head of the request is too large", "Send fewer or shorter header fields."), "")
		return len(data), false
	case bad:
		c.refuse(http.StatusBadRequest, message.NewError(message.CodeBadFrame,
			"this is no HTTP request", "Speak HTTP here; TLS only if the listener has a certificate."), "")
		return len(data), false
	case !complete:
		return 0, false
	}
	u := upgrade{peers: c.srv.peering}
	wellFormed := h.each(func(name, value []byte) bool { u.field(name, value); return true })
	if !u.websocket || string(h.method) != http.MethodGet {
		c.srv.toHTTP(c, data)
		return len(data), false
	}
	if status, err, extra := c.check(&h, &u, wellFormed); err != nil {
		c.refuse(status, err, extra)
		return len(data), false
	}
	c.accept(&u)
	return size, true
}

func (u *upgrade) field(name, value []byte) {
	switch {
	case equalFold(name, "upgrade"):
		u.websocket = u.websocket || hasToken(value, "websocket")
	case equalFold(name, "connection"):
		u.connection = u.connection || hasToken(value, "upgrade")
	case equalFold(name, "sec-websocket-key"):
		u.once(&u.key, value)
	case equalFold(name, "sec-websocket-version"):
		u.once(&u.version, value)
	case equalFold(name, "sec-websocket-protocol"):
		u.protocols(value)
	case equalFold(name, "sec-websocket-extensions"):
		u.deflate = u.deflate || offersDeflate(value)
	case equalFold(name, "origin"):
		u.once(&u.origin, value)
	case equalFold(name, "host"):
		u.once(&u.host, value)
	}
}

// once keeps a field of which others on the way, who take the first or the
// last, must not see another one than we do.
func (u *upgrade) once(field *[]byte, value []byte) {
	u.twice = u.twice || *field != nil
	*field = value
}

// protocols takes the first one that we know.
func (u *upgrade) protocols(list []byte) {
	for len(list) > 0 && !u.hasFraming {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		switch string(trim(item)) {
		case ProtocolSplit:
			u.framing, u.hasFraming = FramingSplit, true
		case ProtocolJSON:
			u.framing, u.hasFraming = FramingJSON, true
		default:
			if u.peers != nil && string(trim(item)) == u.peers.Protocol {
				u.framing, u.hasFraming, u.peer = FramingSplit, true, true
			}
		}
	}
}

// check returns the status and error to refuse the handshake with, and header
// lines to go with them.
func (c *Conn) check(h *head, u *upgrade, wellFormed bool) (status int, err *message.Error, extra string) {
	switch {
	case !wellFormed || u.twice || !u.connection || string(h.proto) != "HTTP/1.1" || len(u.host) == 0 || !validKey(u.key):
		return http.StatusBadRequest, message.NewError(message.CodeBadFrame,
			"this is not a WebSocket handshake as RFC 6455 has it", "Use a WebSocket library."), ""
	case string(u.version) != "13":
		return http.StatusUpgradeRequired, message.NewError(message.CodeUnimplemented,
				"only version 13 of WebSocket is spoken here", "Use a newer WebSocket library."),
			"Sec-WebSocket-Version: 13" + crlf
	case !c.lis.originAllowed(string(u.origin), string(u.host)), u.peer && u.origin != nil:
		return http.StatusForbidden, errOrigin, ""
	case !u.hasFraming:
		return http.StatusBadRequest, message.NewError(message.CodeUnimplemented,
			"the handshake offers no sub-protocol that this node knows",
			"Offer the sub-protocol "+ProtocolSplit+" or "+ProtocolJSON+": new WebSocket(url, [\""+ProtocolJSON+"\"])."), ""
	}
	if admit := c.lis.cfg.Admit; admit != nil && !u.peer {
		refusal := admit(&Handshake{Listener: c.lis.cfg.Name, Transport: TransportWebSocket, Remote: c.addr, conn: c, head: h})
		if refusal != nil {
			err = message.AsError(refusal)
			return err.Code.HTTPStatus(), err, ""
		}
	}
	return 0, nil, ""
}

//nolint:gochecknoglobals // a constant in all but name
var errOrigin = message.NewError(message.CodeForbidden,
	"pages of this origin may not connect here", "Add the page's origin to the listener's origins.")

// validKey checks for the base64 of 16 bytes.
func validKey(key []byte) bool {
	if len(key) != 24 {
		return false
	}
	var b [18]byte
	n, err := base64.StdEncoding.Decode(b[:], key)
	return err == nil && n == 16
}

// appendAccept appends the answer to a key.
func appendAccept(dst, key []byte) []byte {
	var b [24 + 36]byte
	copy(b[:], key)
	copy(b[24:], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
	sum := sha1.Sum(b[:]) //nolint:gosec // as above
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// accept answers the handshake and opens the connection.
func (c *Conn) accept(u *upgrade) {
	f := newControl(opRaw, nil)
	f.Payload = append(f.Payload, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	f.Payload = appendAccept(f.Payload, u.key)
	f.Payload = append(f.Payload, "\r\nSec-WebSocket-Protocol: "...)
	if u.peer {
		f.Payload = append(f.Payload, u.peers.Protocol...)
		c.becomePeer()
	} else {
		f.Payload = append(append(f.Payload, "ropewalk.v1."...), u.framing.String()...)
	}
	if u.deflate && c.lis.cfg.Deflate {
		c.deflate = true
		f.Payload = append(f.Payload, "\r\nSec-WebSocket-Extensions: "+deflateAnswer...)
	}
	f.Payload = append(f.Payload, crlf+crlf...)
	c.framing = u.framing
	c.open(f)
}

// open makes the connection known to the Handler. first, if any, is sent before
// all else. Only the owner calls it.
func (c *Conn) open(first *Frame) {
	c.id = message.NewClientID(c.srv.cfg.NodeID)
	c.mu.Lock()
	if state(c.state.Load()) != stateHandshake {
		c.mu.Unlock()
		if first != nil {
			first.Release()
		}
		return
	}
	c.state.Store(uint32(stateOpen))
	push := first != nil && c.enqueue(first)
	c.srv.wheel.Stop(&c.timer)
	if tick := c.limits().tick(); c.via() != viaWebSocket {
		c.startUnread()
	} else if tick > 0 {
		c.srv.wheel.Reset(&c.timer, tick)
	}
	c.mu.Unlock()
	if push {
		c.srv.dirty(c)
	}
	c.opened = true
	c.srv.metrics.opened(c)
	c.srv.tellOpen(c)
}

// refuse answers the handshake with an HTTP status and ends the connection.
func (c *Conn) refuse(status int, err *message.Error, extra string) {
	c.deaf = true
	c.srv.metrics.refused(c.lis, status)
	f := newControl(opRaw, nil)
	f.Payload = appendRefusal(f.Payload, status, err, extra)
	c.closeWith(&CloseError{Code: closeRefused, Reason: err.Message}, f)
}
