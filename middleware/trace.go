package middleware

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Headers of the W3C trace context.
const (
	headerTraceparent = "traceparent"
	headerTracestate  = "tracestate"
)

// TraceContext is where in a trace a message belongs: the W3C traceparent. The
// zero TraceContext belongs to none.
type TraceContext struct {
	TraceID [16]byte
	SpanID  [8]byte
	// Flags: bit 0 says that the trace is recorded.
	Flags byte
}

// IsZero reports whether t belongs to no trace.
func (t TraceContext) IsZero() bool { return t == TraceContext{} }

// Sampled reports whether the trace is recorded.
func (t TraceContext) Sampled() bool { return t.Flags&1 != 0 }

// lenTraceparent is that of version 00: version, two ids and flags in
// hexadecimal, with dashes between.
const lenTraceparent = 2 + 1 + 32 + 1 + 16 + 1 + 2

// String returns the traceparent, "" for the zero TraceContext.
func (t TraceContext) String() string {
	if t.IsZero() {
		return ""
	}
	var out [lenTraceparent]byte
	b := append(out[:0], "00-"...)
	b = hex.AppendEncode(b, t.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.SpanID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{t.Flags})
	return string(b)
}

// ParseTraceparent reads a traceparent as strictly as the recommendation says:
// lower-case digits, ids that are not all zero, no version ff, and nothing
// behind version 00. What does not fit belongs to no trace.
func ParseTraceparent(s string) (TraceContext, bool) {
	var t TraceContext
	if len(s) < lenTraceparent || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return t, false
	}
	var version [1]byte
	var flags [1]byte
	if !lowerHex(version[:], s[:2]) || !lowerHex(t.TraceID[:], s[3:35]) ||
		!lowerHex(t.SpanID[:], s[36:52]) || !lowerHex(flags[:], s[53:55]) {
		return TraceContext{}, false
	}
	switch {
	case version[0] == 0xff,
		version[0] == 0 && len(s) > lenTraceparent,
		len(s) > lenTraceparent && s[lenTraceparent] != '-',
		t.TraceID == [16]byte{} || t.SpanID == [8]byte{}:
		return TraceContext{}, false
	}
	t.Flags = flags[0] & 1 // the only flag that version 00 knows
	return t, true
}

func lowerHex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := hexDigit(s[2*i]), hexDigit(s[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Tracer starts spans. [OTel] makes one of an OpenTelemetry provider.
type Tracer interface {
	// Start begins a span. It must not block. The context is given on to the
	// handlers inside the node.
	Start(ctx context.Context, s SpanStart) (context.Context, Span)
}

// SpanStart is what is known when a span begins.
type SpanStart struct {
	Route  string // "name:/pattern"; "" if it is not known
	Verb   message.Verb
	Parent TraceContext // of the caller; zero if it has none
	State  string       // the caller's tracestate
	Client string       // id of the peer that asks
	At     time.Time    // when the message was read
	Queued time.Duration
}

// Span is one message's part of a trace.
type Span interface {
	// Context is what the server of the message gets as its parent. If it is
	// zero or that of the caller, the message stays as it is.
	Context() TraceContext
	// End is called once, when the message is finished.
	End(o route.Outcome)
}

// TrySpan is a Span that shows the single tries of its message, where there is
// more than one: those of [Retry] and [Hedge].
type TrySpan interface {
	Span
	// Tried tells of one try: its number, from 1, and the id of its server, ""
	// if none was found. err says how it failed; it is nil when the try begins,
	// which is not told of the first. Tries may overlap. It may be called from
	// any goroutine, also after End, and must not block.
	Tried(n int, server string, err *message.Error)
}

type tryKey struct{}

// tries returns the span of the message that ctx belongs to, or nil.
func tries(ctx context.Context) TrySpan {
	s, _ := ctx.Value(tryKey{}).(TrySpan)
	return s
}

// Trace puts a span around each message and its context into the header
// traceparent that the server gets. With a nil Tracer it is nothing at all: the
// caller's trace context travels on unchanged.
//
// It fits the stages call, serve and deliver. With a Tracer it costs what that
// costs, and the header is written anew: some allocations a message.
func Trace(t Tracer) route.Middleware {
	return func(next route.Handler) route.Handler {
		if t == nil {
			return next
		}
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			m := &req.Message
			start := SpanStart{
				Route: req.Route, Verb: m.EffectiveVerb(), Client: peerOf(req).ID(),
				At: req.Received, Queued: time.Since(req.Received),
			}
			if m.Headers != nil {
				var ok bool
				if start.Parent, ok = ParseTraceparent(m.Header(headerTraceparent)); ok {
					start.State = m.Header(headerTracestate)
				}
			}
			ctx, span := t.Start(ctx, start)
			if s, ok := span.(TrySpan); ok {
				ctx = context.WithValue(ctx, tryKey{}, s)
			}
			if c := span.Context(); !c.IsZero() && c != start.Parent {
				m.SetHeader(headerTraceparent, c.String())
				if start.Parent.IsZero() && m.Header(headerTracestate) != "" {
					m.SetHeader(headerTracestate, "") // it belonged to a parent that could not be read
				}
			}
			res.OnFinish(ending{span})
			next.Handle(ctx, req, res)
		})
	}
}

// ending ends a span.
type ending struct{ Span }

// Finished ends the span.
func (e ending) Finished(o route.Outcome) { e.End(o) }

var _ route.Finisher = ending{}
