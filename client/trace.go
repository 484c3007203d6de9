package client

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ropewalk/ropewalk/message"
)

// injectTrace writes the span of ctx into the headers, unless the caller has.
func injectTrace(ctx context.Context, m *message.Message) {
	if !trace.SpanContextFromContext(ctx).IsValid() || m.Header("traceparent") != "" {
		return
	}
	propagation.TraceContext{}.Inject(ctx, carrier{m})
}

// extractTrace puts the span that a message belongs to into ctx, so that calls
// made while it is handled belong to it too.
func extractTrace(ctx context.Context, m *message.Message) context.Context {
	if len(m.Headers) == 0 {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, carrier{m})
}

// carrier shows the headers of a message to OpenTelemetry.
type carrier struct{ m *message.Message }

func (c carrier) Get(key string) string { return c.m.Header(key) }
func (c carrier) Set(key, value string) { c.m.SetHeader(key, value) }

func (c carrier) Keys() []string {
	var keys []string
	for name := range c.m.AllHeaders() {
		keys = append(keys, name)
	}
	return keys
}
