package call

import (
	"encoding/json"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

const (
	// DefaultTimeout is the time that a call has if neither its context nor an
	// option says otherwise: what the wire gives to a call without a time-out.
	DefaultTimeout = 30 * time.Second
	// DefaultBuffer is how many parts a Stream holds for its reader: enough
	// for a burst while the reader is busy, little beside the frames' sizes.
	DefaultBuffer = 256
	// MaxBufferBytes bounds the bytes of the parts that a Stream holds, however
	// many parts it may hold. One part is always taken.
	MaxBufferBytes = 8 << 20
)

// Option changes one call, stream, gather or send. Options that do not apply
// to one of them are ignored by it, as their comments say.
type Option interface{ apply(*Settings) }

type option func(*Settings)

func (f option) apply(s *Settings) { f(s) }

// Settings is what the options of one call add up to. It is for those who
// implement a [Caller]; callers use the With functions.
type Settings struct {
	// Timeout is 0 if none was given.
	Timeout time.Duration
	// Strategy is the zero Selection if none was given.
	Strategy route.Selection
	// Headers in the order given.
	Headers []Header
	// Type is the application's word for the message.
	Type string
	// Authorization is a token.
	Authorization string
	// ContentType of a body that is bytes or text; "" for JSON.
	ContentType string
	// Buffer is how many parts a stream may hold; at least 1.
	Buffer int
	// Idempotent allows to send the call again. Collect sets it and
	// Strategy.Idempotent to the same.
	Idempotent bool
	// Ack asks for an acknowledgement of a send.
	Ack bool
	// NoWait fails at once when there is no connection.
	NoWait bool
	// Params of a get: a JSON object in canonical form; nil if there are none.
	Params json.RawMessage
	// ParamsErr is set if the params cannot be written: the get fails with it.
	ParamsErr error
}

// Header is one header of a message.
type Header struct{ Name, Value string }

// Collect adds options up, defaults filled in.
func Collect(opts []Option) Settings {
	s := Settings{Buffer: DefaultBuffer}
	for _, o := range opts {
		o.apply(&s)
	}
	s.Idempotent = s.Idempotent || s.Strategy.Idempotent
	s.Strategy.Idempotent = s.Idempotent
	return s
}

// WithTimeout limits how long the answer may take, from now; the deadline of
// the context counts too, whichever is first. Without either it is
// [DefaultTimeout]. d of 0 or less changes nothing. It bounds how long a send
// with [WithAck] waits; other sends ignore it.
func WithTimeout(d time.Duration) Option {
	return option(func(s *Settings) { s.Timeout = max(d, 0) })
}

// WithStrategy says how to choose among the servers of the address; the
// default is the route's, mostly least-busy. For a gather, a Selection whose
// By is empty gathers from all, with the limits it names.
func WithStrategy(sel route.Selection) Option {
	return option(func(s *Settings) { s.Strategy = sel })
}

// WithHeader adds a header, or replaces the one of that name. traceparent and
// tracestate are filled in from the context when they are not given.
func WithHeader(name, value string) Option {
	return option(func(s *Settings) {
		for i := range s.Headers {
			if s.Headers[i].Name == name {
				s.Headers[i].Value = value
				return
			}
		}
		s.Headers = append(s.Headers, Header{name, value})
	})
}

// WithType sets the application's own word for the message (typ). Ropewalk
// passes it on and does not look at it.
func WithType(word string) Option {
	return option(func(s *Settings) { s.Type = word })
}

// WithAuthorization sends a token along (aut).
func WithAuthorization(token string) Option {
	return option(func(s *Settings) { s.Authorization = token })
}

// WithContentType declares what a body of type []byte or string is: it is sent
// as it is, not as JSON. A body of another type is then refused.
func WithContentType(t string) Option {
	return option(func(s *Settings) { s.ContentType = t })
}

// WithIdempotent says that executing the call twice is as good as once. When
// the connection is lost before the answer came, the client sends the call
// again, with the same id, instead of failing with CodeConnectionLost; and a
// node whose middleware retries calls does so when the server is lost. A
// stream that has already seen a part fails all the same. A send with [WithAck]
// is sent again by the client, too.
func WithIdempotent() Option {
	return option(func(s *Settings) { s.Idempotent = true })
}

// WithAck has a send wait until the message was handed to the receiver's
// connection, or until it is known that this cannot be done. Calls ignore it.
func WithAck() Option {
	return option(func(s *Settings) { s.Ack = true })
}

// WithNoWait fails with CodeNotReady when the client is not connected, instead
// of waiting for the connection. Inside a node it changes nothing.
func WithNoWait() Option {
	return option(func(s *Settings) { s.NoWait = true })
}

// WithBuffer sets how many parts a stream, or events a watch, holds for a reader
// that is busy: [DefaultBuffer] if not given, at least 1. Only streams and
// watches use it.
func WithBuffer(parts int) BothOption {
	return bothOption{
		func(s *Settings) { s.Buffer = max(parts, 1) },
		func(s *WatchSettings) { s.Buffer = max(parts, 1) },
	}
}

// Deadline returns when a call that starts at now ends, given the deadline of
// its context; ok says whether there is one.
func (s *Settings) Deadline(now, deadline time.Time, ok bool) time.Time {
	d := s.Timeout
	if d == 0 && !ok {
		d = DefaultTimeout
	}
	if d == 0 {
		return deadline
	}
	if own := now.Add(d); !ok || own.Before(deadline) {
		return own
	}
	return deadline
}
