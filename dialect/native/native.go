// Package native is Ropewalk's own dialect: what its clients and nodes speak.
// See docs/reference/wire.md.
package native

import "github.com/ropewalk/ropewalk/message"

// Dialect is one of the two framings of a message.
type Dialect struct {
	// Split is true for the two-part framing: the envelope as JSON, a line
	// feed, and the body as it is. Otherwise the body is inside the envelope.
	Split bool
}

// Decode reads a frame into m, which then points into it. On an error, which
// is an *message.Error, m holds what could be read.
func (d Dialect) Decode(frame []byte, m *message.Message) error {
	if d.Split {
		return message.DecodeSplit(frame, m)
	}
	return message.DecodeJSON(frame, m)
}

// Append appends m as a frame to dst. It refuses, with CodeBadMessage, a body
// that claims to be JSON but would break a JSON frame: bodies of split frames
// are never looked at on their way in.
func (d Dialect) Append(dst []byte, m *message.Message) ([]byte, error) {
	if d.Split {
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
