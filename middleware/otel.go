package middleware

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// scope is the name under which spans say who made them.
const scope = "github.com/ropewalk/ropewalk/middleware"

// OTel makes a Tracer of an OpenTelemetry provider. A span is named after the
// route, and says verb, route, client, error code, number of parts, and how long
// the message waited in the node before the span began. Tries are its events
// "try" and "try failed", with number, server and code.
func OTel(p trace.TracerProvider) Tracer { return otelTracer{p.Tracer(scope)} }

type otelTracer struct{ tracer trace.Tracer }

// Start begins a span that is a child of the caller's.
func (t otelTracer) Start(ctx context.Context, s SpanStart) (context.Context, Span) {
	if !s.Parent.IsZero() {
		parent := trace.SpanContextConfig{
			TraceID: s.Parent.TraceID, SpanID: s.Parent.SpanID, TraceFlags: trace.TraceFlags(s.Parent.Flags), Remote: true,
		}
		if state, err := trace.ParseTraceState(s.State); err == nil {
			parent.TraceState = state
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(parent))
	}
	name := s.Route
	if name == "" {
		name = s.Verb.String()
	}
	ctx, span := t.tracer.Start(ctx, name, //nolint:spancheck // Span.End ends it
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(s.At),
		trace.WithAttributes(
			attribute.String("ropewalk.verb", s.Verb.String()),
			attribute.String("ropewalk.route", s.Route),
			attribute.String("ropewalk.client", s.Client),
			attribute.Float64("ropewalk.queued_seconds", s.Queued.Seconds()),
		))
	return ctx, otelSpan{span} //nolint:spancheck // the same
}

type otelSpan struct{ span trace.Span }

// Context returns the ids of the span.
func (s otelSpan) Context() TraceContext {
	c := s.span.SpanContext()
	if !c.IsValid() {
		return TraceContext{}
	}
	return TraceContext{TraceID: c.TraceID(), SpanID: c.SpanID(), Flags: byte(c.TraceFlags() & trace.FlagsSampled)}
}

// Tried adds an event.
func (s otelSpan) Tried(n int, server string, err *message.Error) {
	if !s.span.IsRecording() {
		return
	}
	name, about := "try", []attribute.KeyValue{attribute.Int("ropewalk.try", n), attribute.String("ropewalk.server", server)}
	if err != nil {
		name, about = "try failed", append(about, attribute.String("ropewalk.code", string(err.Code)))
	}
	s.span.AddEvent(name, trace.WithAttributes(about...))
}

// End writes down how the message ended.
func (s otelSpan) End(o route.Outcome) {
	if s.span.IsRecording() {
		if o.Parts > 0 {
			s.span.SetAttributes(attribute.Int64("ropewalk.parts", int64(o.Parts))) //nolint:gosec // nobody sends 2^63 parts
		}
		if o.Err != nil {
			s.span.SetAttributes(attribute.String("ropewalk.code", string(o.Err.Code)))
			s.span.SetStatus(otelcodes.Error, o.Err.Message)
		}
	}
	s.span.End()
}

var (
	_ Tracer  = otelTracer{}
	_ TrySpan = otelSpan{}
)
