// Package otlp sends traces to an OpenTelemetry collector over OTLP/HTTP. It is
// apart from the root package so that programs without traces do not carry it.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/ropewalk/ropewalk/middleware"
)

// Config says where traces go.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318. Spans are
	// posted to its path /v1/traces, unless it has a path of its own.
	Endpoint string
	// Sample is the share of calls without a sampling decision of their own
	// that are traced, from 0 to 1.
	Sample float64
	// Node is the name of the node, service.instance.id of the traces.
	Node string
	// Version of the program, service.version of the traces.
	Version string
}

// New returns a tracer and a function that sends what is left and ends it. It
// does not connect: a collector that is away costs spans, never a call.
func New(ctx context.Context, cfg Config) (middleware.Tracer, func(context.Context) error, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, nil, fmt.Errorf("the endpoint %q is no http or https URL; write it like http://127.0.0.1:4318", cfg.Endpoint)
	}
	if cfg.Sample < 0 || cfg.Sample > 1 {
		return nil, nil, errors.New("the share of calls to trace must be from 0 to 1")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, nil, fmt.Errorf("make the trace exporter: %w", err)
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(cfg.Sample))),
		trace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "ropewalk"),
			attribute.String("service.instance.id", cfg.Node),
			attribute.String("service.version", cfg.Version),
		)),
	)
	return middleware.OTel(provider), provider.Shutdown, nil
}
