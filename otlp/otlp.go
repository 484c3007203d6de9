// Package otlp sends traces to an OpenTelemetry collector over OTLP/HTTP. It is
// apart from the root package so that programs without traces do not carry it.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
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
	// Headers go with each request, such as {"Authorization": "Bearer …"}.
	Headers map[string]string
	// Timeout is how long a batch of spans may take, tries after failures
	// included. Default: [DefaultTimeout].
	Timeout time.Duration
	// Logger is told of spans that are lost. Default: they are errors of the
	// OpenTelemetry library, which writes them to the log of the process.
	Logger *slog.Logger
}

// DefaultTimeout is what the OTLP specification says.
const DefaultTimeout = 10 * time.Second

// New returns a tracer and a function that sends what is left and ends it. It
// does not connect: a collector that is away costs spans, never a call.
func New(ctx context.Context, cfg Config) (middleware.Tracer, func(context.Context) error, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, nil, errors.New("the endpoint is no http or https URL; write it like http://127.0.0.1:4318")
	}
	if cfg.Sample < 0 || cfg.Sample > 1 {
		return nil, nil, errors.New("the share of calls to trace must be from 0 to 1")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	if err := checkHeaders(cfg.Headers); err != nil {
		return nil, nil, err
	}
	exporter, err := otlptrace.New(ctx, newPoster(u, &cfg))
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

// checkHeaders finds what would make every request fail.
func checkHeaders(headers map[string]string) error {
	for name, value := range headers {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
			return fmt.Errorf("%q is no name of a header", name)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return fmt.Errorf("the header %s has a control character", name)
		}
	}
	return nil
}
