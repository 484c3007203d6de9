package route

import (
	"context"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Handler answers requests.
//
// Handle is given a request and the means to answer it, and may finish the
// request before or after it returns: exactly one of Reply and Fail takes
// effect. Inside the node Handle runs on the goroutine that read the message,
// so it must not block: code that waits calls [Request.Keep] and goes on
// elsewhere. Handlers of services are wrapped by package service, which gives
// each call a goroutine of its own; those may block as they like.
type Handler interface {
	Handle(ctx context.Context, req *Request, res Responder)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, req *Request, res Responder)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, req *Request, res Responder) { f(ctx, req, res) }

// Middleware wraps a Handler in another. It is called once, when the chain is
// built, and the handler it returns may be called from many goroutines.
type Middleware func(next Handler) Handler

// Body is what is sent as the body of a part or reply.
type Body struct {
	// Bytes is the encoded body; nil is "no body". Unless the body is Stable the
	// Responder does not keep it after Part or Reply returned.
	Bytes []byte
	// ContentType is empty for JSON.
	ContentType string
	// Stamp is where in its topic a content or event stands, in what a watcher
	// gets; nil lets the node that asks count.
	Stamp *Stamp
	// Fault says, in a part for a watcher, that there is no content now, and that
	// Bytes is the body of an error.
	Fault bool
	// Stable tells that Bytes and Stamp are never written to again, so that
	// whoever gets a part may keep them rather than copy them. Middleware that
	// changes Bytes clears it unless that holds for its own.
	Stable bool
	// Session is what is to become of the caller's session, in a reply; nil
	// leaves it as it is. The reply is given when that is done.
	Session *session.Patch
	// Window is, in a part that comes from another node, what holds its server
	// back while the caller takes no parts; else nil. Middleware passes it on.
	Window Window
}

// Window is how much a server on another node may send. Whoever cannot pass a
// part on and keeps it calls Hold, and when all that was kept is gone, Release,
// once for each Hold. Neither blocks; both may be called from any goroutine.
type Window interface {
	Hold()
	Release()
}

// JSON returns a body of bytes that are already JSON.
func JSON(b []byte) Body { return Body{Bytes: b} }

// Responder takes the answer to one request: any number of parts, then one
// Reply or Fail. Its methods may be called from any goroutine, one at a time.
//
// After the request is finished, by the handler or because the caller
// canceled, went away or waited long enough, every method returns the error
// that says so (an *message.Error) and does nothing.
type Responder interface {
	// Part sends an intermediate message. It does not block; when the caller
	// does not take its messages it returns an error with CodeSlowConsumer and
	// the call is over.
	Part(Body) error
	// Reply ends the request with an answer.
	Reply(Body) error
	// Fail ends the request with an error; see [message.AsError].
	Fail(error) error
	// OnFinish has f told once, when the request is finished, however that
	// comes about; at once if it already is. f must not block.
	OnFinish(f Finisher)
}

// Patient is a Responder that can hold a part back. Package service uses it for
// the parts of handlers, which may block; a middleware that wraps a Responder
// without being Patient takes that away.
type Patient interface {
	// PartWhenRoom is Part, but while the caller has much more waiting than it
	// takes it waits: until there is room, the request is finished, or ctx ends.
	PartWhenRoom(ctx context.Context, b Body) error
}

// Finisher is told of the end of a request.
type Finisher interface {
	Finished(Outcome)
}

// Outcome is how a request ended.
type Outcome struct {
	// Route is the pattern that matched, "name:/pattern", or "" if none did.
	// The number of different values is bounded, so it may label a metric.
	Route string
	// Err is nil after a reply.
	Err *message.Error
	// Parts that were sent.
	Parts uint64
	// Took is the time from reading the request to its end.
	Took time.Duration
}

// Peer is the other end of a connection, as a handler sees it.
type Peer interface {
	// ID is the peer's client id.
	ID() string
	// Listener is the name of the listener it came by; "" inside the process.
	Listener() string
	// RemoteAddr is host:port as the listener saw it; "" inside the process.
	RemoteAddr() string
}

// Request is one message on its way to a handler.
//
// A Request is valid until Handle returns; whoever needs it longer calls
// [Request.Keep] before that. Strings taken from it are valid for ever.
// Handlers of services always get a kept request.
type Request struct {
	// Message is the envelope and body as they arrived.
	Message message.Message
	// Address is Message.To, taken apart.
	Address message.Address
	// Route is the pattern that matched, "name:/pattern"; "" before routing.
	Route string
	// Server is the one that was chosen, from the serve stage on.
	Server Endpoint
	// Peer is who asks.
	Peer Peer
	// Leg is, where a gather asks one of its servers, the id of that; else "".
	Leg string
	// Received is when the node read the message.
	Received time.Time
	// Deadline is when the caller stops waiting; never zero for a call.
	Deadline time.Time

	match   Match
	kept    bool
	session *session.Session
	gates   []Gate // shared with other requests

	// What Selection has read, and from what.
	sel     Selection
	selFrom *byte
	selLen  int
}

// Session is who asks, as far as that is known: never nil, [session.Anonymous]
// if it is not. A call from inside the process has the session that the call
// itself names, if any. It may be called by whoever was handed the request, as
// long as it was not handed on to another goroutine.
func (r *Request) Session() *session.Session {
	if r.session == nil {
		s, err := session.ParseWire(r.Message.Session) // as it came from another node, or to a service
		if err != nil {
			s = session.Anonymous()
		}
		r.session = s
	}
	return r.session
}

// SetSession says who asks. Nodes use it.
func (r *Request) SetSession(s *session.Session) { r.session = s }

// Param returns the segment of the path that matched {name} in the pattern,
// or "".
func (r *Request) Param(name string) string { return r.match.Params.Get(name) }

// Params returns the parameters of the path, after routing.
func (r *Request) Params() Params { return r.match.Params }

// Match returns who could answer, from the call stage on. It must not be
// changed.
func (r *Request) Match() *Match { return &r.match }

// Matched sets Route and the parameters to what a look-up found.
func (r *Request) Matched(m Match) {
	r.Route = m.Route
	r.match = m
}

// Chosen sets Server, and Route and the parameters to what that server made of
// them.
func (r *Request) Chosen(e Endpoint) {
	r.Server = e
	m := r.match.For(e)
	r.Route, r.match.Params = m.Route, m.Params
}

// Kept reports whether Keep was called.
func (r *Request) Kept() bool { return r.kept }

// Selection is what the message asks for in its field str, as [ParseSelection]
// reads it: once, for all who ask. It may be called by whoever was handed the
// request, as long as it was not handed on to another goroutine.
func (r *Request) Selection() (Selection, error) {
	raw := r.Message.Strategy
	if len(raw) == 0 {
		return Selection{}, nil
	}
	if r.selFrom == &raw[0] && r.selLen == len(raw) {
		return r.sel, nil
	}
	sel, err := ParseSelection(raw)
	if err == nil {
		r.sel, r.selFrom, r.selLen = sel, &raw[0], len(raw)
	}
	return sel, err
}

// Keep makes the request last, and the body's bytes independent of the buffer
// that they were read into. Only the first call copies.
func (r *Request) Keep() {
	if r.kept {
		return
	}
	r.kept = true
	if r.Message.Body != nil {
		r.Message.Body = append(make([]byte, 0, len(r.Message.Body)), r.Message.Body...)
	}
}
