// Package edge is where the network ends: it listens, accepts, speaks the
// opening of a connection, cuts the byte stream into frames and writes frames
// out. It knows what a frame is and never what is in one.
//
// One [Conn] type stands for every connection, however it came: WebSocket
// through the poller (Linux, no TLS), WebSocket through a goroutine (anywhere,
// also with TLS), an HTTP stream, or long-polling. A [Handler] is told of its
// opening, of each frame, and of its end.
//
// # Writing
//
// [Conn.Send] puts a shared, counted [Frame] on the connection's bounded list
// of pending frames and the connection on the server's dirty list; it never
// writes. Whoever is handling input (a poller, for example) flushes all dirty
// connections when it has handled everything that arrived together, so many
// frames leave in one system call and nobody is woken. When nobody is handling
// input, one of a few flusher goroutines is woken.
//
// # States of a connection
//
//	handshake ──► open ──► closing ──► dead
//	    └──────────┴──────────────────► dead
//
// In closing the pending frames and the close frame leave, and the answer of
// the other end is waited for; the Handler has already been told.
package edge

import (
	"strconv"
)

// Handler is told what happens on connections. The node implements it.
//
// For one connection its methods are called one at a time and in order: Open,
// any number of Frame, Closed. For different connections they are called from
// different goroutines at once. They run where the bytes were read and must not
// block: while one runs, other connections of the same poller wait.
type Handler interface {
	// Open is called after the handshake and before the first Frame. What it
	// sends is the first thing that the other end gets.
	Open(c *Conn)
	// Frame is called for each complete message frame. The bytes may be changed
	// by the callee and are valid until it returns.
	Frame(c *Conn, frame []byte)
	// Closed is called exactly once for each connection that was opened, after
	// its last Frame. err is always a [*CloseError]. Send fails from before this
	// call on.
	Closed(c *Conn, err error)
}

// Framing is how one message is laid out in one frame. It was negotiated when
// the connection was made.
type Framing uint8

// The framings of docs/reference/wire.md.
const (
	FramingJSON  Framing = iota // the envelope with the body inside; a text frame on WebSocket
	FramingSplit                // the envelope, a line feed, the body; a binary frame on WebSocket
)

// Protocols by which a WebSocket client asks for a framing.
const (
	ProtocolJSON  = "ropewalk.v1.json"
	ProtocolSplit = "ropewalk.v1.split"
)

// String returns "json" or "split".
func (f Framing) String() string {
	if f == FramingSplit {
		return "split"
	}
	return "json"
}

// Names of transports, as [Conn.Transport] returns them.
const (
	TransportWebSocket = "websocket"
	TransportStream    = "stream"
	TransportPoll      = "poll"
)

// CloseCode tells the other end why a connection ends and whether to come
// back; see docs/reference/wire.md, "Close codes".
type CloseCode uint16

// The close codes. Those from 4000 to 4099 say: come back.
const (
	CloseNormal      CloseCode = 1000 // the other end wanted it
	CloseGoingAway   CloseCode = 1001 // the node stops
	CloseProtocol    CloseCode = 1002 // not WebSocket as it should be
	CloseUnsupported CloseCode = 1003 // a kind of data that is not taken
	CloseNoStatus    CloseCode = 1005 // never sent: the other end gave no code
	CloseAbnormal    CloseCode = 1006 // never sent: the connection broke
	CloseBadText     CloseCode = 1007 // text that is not UTF-8
	CloseTooLarge    CloseCode = 1009 // a frame over the limit
	CloseInternal    CloseCode = 1011 // a bug on the node

	ClosePing         CloseCode = 4000 // pings were not answered
	CloseSlowConsumer CloseCode = 4001 // it does not take what is sent to it
	CloseIdle         CloseCode = 4002 // no message for too long
	CloseRateLimited  CloseCode = 4003 // too many messages in too short a time
	CloseReplaced     CloseCode = 4004 // another connection took its place

	CloseBadMessages     CloseCode = 4100 // too many messages that could not be understood
	CloseUnauthenticated CloseCode = 4101 // who is there is not known
	CloseForbidden       CloseCode = 4102 // known, but not allowed
)

// ComeBack reports whether a client that was closed with c should connect
// again.
func (c CloseCode) ComeBack() bool {
	switch c {
	case CloseGoingAway, CloseNoStatus, CloseAbnormal, CloseInternal:
		return true
	default:
		return c >= 4000 && c < 4100
	}
}

// CloseError is how a connection ended.
type CloseError struct {
	Code   CloseCode
	Reason string
	// Remote is true when the other end closed, false when we did or the
	// connection broke.
	Remote bool
	// Cause is the error of the socket, if there was one.
	Cause error
}

// Error tells code and reason.
func (e *CloseError) Error() string {
	by := "closed"
	if e.Remote {
		by = "closed by the other end"
	}
	s := by + " with " + strconv.Itoa(int(e.Code))
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the socket's error.
func (e *CloseError) Unwrap() error { return e.Cause }

// Policy says what happens when the list of pending frames of a connection is
// full.
type Policy uint8

// The policies.
const (
	// PolicyClose closes the connection with [CloseSlowConsumer]. It is the
	// default and right for clients: they come back and ask again.
	PolicyClose Policy = iota
	// PolicyReject has Send fail with message.CodeOverloaded and keeps the
	// connection. It is right for services: the caller is told at once.
	PolicyReject
)

// Driver is the way in which the sockets of a listener are read.
type Driver uint8

// The drivers.
const (
	DriverAuto      Driver = iota // the poller where it can be used, else goroutines
	DriverPoller                  // epoll: an idle connection costs only its state. Linux, no TLS
	DriverGoroutine               // one goroutine a connection. Everywhere, with and without TLS
)

// String returns "auto", "poller" or "goroutine".
func (d Driver) String() string {
	switch d {
	case DriverPoller:
		return "poller"
	case DriverGoroutine:
		return "goroutine"
	default:
		return "auto"
	}
}

// ParseDriver is the inverse of [Driver.String]; "" is auto.
func ParseDriver(s string) (Driver, bool) {
	switch s {
	case "", "auto":
		return DriverAuto, true
	case "poller":
		return DriverPoller, true
	case "goroutine":
		return DriverGoroutine, true
	default:
		return DriverAuto, false
	}
}
