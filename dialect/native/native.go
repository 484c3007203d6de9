// Package native is Ropewalk's own dialect: what its clients and nodes speak.
// See docs/reference/wire.md.
package native

import (
	"fmt"

	"github.com/ropewalk/ropewalk/message"
)

// Framing is how a message becomes one frame.
type Framing uint8

// The framings; the zero Framing is none.
const (
	// JSON is one JSON text a message, the body inside.
	JSON Framing = iota + 1
	// Split is the envelope as JSON, a line feed, and the body as it is.
	Split
)

// WebSocket sub-protocols by which a client asks for a framing.
const (
	ProtocolJSON  = "ropewalk.v1.json"
	ProtocolSplit = "ropewalk.v1.split"
)

// ByProtocol returns the framing of a WebSocket sub-protocol.
func ByProtocol(protocol string) (Framing, bool) {
	switch protocol {
	case ProtocolJSON:
		return JSON, true
	case ProtocolSplit:
		return Split, true
	}
	return 0, false
}

// String returns the word that the HTTP transports use.
func (f Framing) String() string {
	switch f {
	case JSON:
		return "json"
	case Split:
		return "split"
	}
	return fmt.Sprintf("Framing(%d)", uint8(f))
}

// Decode reads a frame into m, which then points into it. On an error m holds
// what could be read.
func (f Framing) Decode(frame []byte, m *message.Message) error {
	if f == JSON {
		return message.DecodeJSON(frame, m)
	}
	return message.DecodeSplit(frame, m)
}

// Append appends m as a frame to dst. It refuses, with CodeBadMessage, a body
// that claims to be JSON but would break a JSON frame: bodies of split frames
// are never looked at on their way in.
func (f Framing) Append(dst []byte, m *message.Message) ([]byte, error) {
	if f == Split {
		return message.AppendSplit(dst, m), nil
	}
	if m.Body != nil && m.ContentType == nil && !message.ValidJSON(m.Body) {
		return dst, &message.Error{
			Code: message.CodeBadMessage, Message: "the body is no valid JSON", Path: "bdy",
			Hint: "Send JSON, or say with contentType what it is.",
		}
	}
	return message.AppendJSON(dst, m), nil
}
