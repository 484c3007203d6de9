package middleware_test

import (
	"context"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParseTraceparent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, out string // out "": refused
	}{
		{"ok", parent, parent},
		{"not sampled", parent[:53] + "00", parent[:53] + "00"},
		{"unknown flags", parent[:53] + "ff", parent},
		{"later version", "cc" + parent[2:], parent},
		{"later version with more", "cc" + parent[2:] + "-what", parent},
		{"later version without a dash", "cc" + parent[2:] + ".what", ""},
		{"version ff", "ff" + parent[2:], ""},
		{"version 00 with more", parent + "-what", ""},
		{"upper case", strings.ToUpper(parent), ""},
		{"no trace id", "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"no span id", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"short", parent[:54], ""},
		{"empty", "", ""},
		{"no digits", "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", ""},
		{"other separators", strings.ReplaceAll(parent, "-", "_"), ""},
		{"version without digits", "0x" + parent[2:], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := middleware.ParseTraceparent(c.in)
			if ok != (c.out != "") || got.String() != c.out {
				t.Errorf("%q, %v, want %q", got, ok, c.out)
			}
			if got.Sampled() != strings.HasSuffix(c.out, "01") {
				t.Errorf("sampled %v", got.Sampled())
			}
		})
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add(parent)
	f.Add("cc" + parent[2:] + "-what")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := middleware.ParseTraceparent(s)
		if ok == got.IsZero() {
			t.Fatalf("ok %v, %q", ok, got)
		}
		if again, ok2 := middleware.ParseTraceparent(got.String()); ok2 != ok || again != got {
			t.Fatalf("%q became %q", got, again)
		}
	})
}

// header returns what the server of a call gets.
func header(t *testing.T, tracer middleware.Tracer, headers string, err error) (traceparent, tracestate string, ctx context.Context) {
	t.Helper()
	c := newCall("a:/{id}")
	c.req.Message.Headers = []byte(headers)
	if headers == "" {
		c.req.Message.Headers = nil
	}
	run(t, middleware.Trace(tracer)(route.HandlerFunc(func(hctx context.Context, req *route.Request, res route.Responder) {
		traceparent, tracestate = req.Message.Header("traceparent"), req.Message.Header("tracestate")
		ctx = hctx
		if err != nil {
			_ = res.Fail(err)
			return
		}
		_ = res.Reply(route.Body{})
	})), c)
	return traceparent, tracestate, ctx
}

func TestTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	sdk := middleware.OTel(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	with := `{"traceparent":"` + parent + `","tracestate":"a=b","x":"y"}`

	if got, state, _ := header(t, nil, with, nil); got != parent || state != "a=b" {
		t.Errorf("without a tracer: %q, %q", got, state)
	}
	if got, _, _ := header(t, middleware.OTel(noop.NewTracerProvider()), with, nil); got != parent {
		t.Errorf("with a provider that does nothing: %q", got)
	}
	if got, _, _ := header(t, middleware.OTel(noop.NewTracerProvider()), "", nil); got != "" {
		t.Errorf("with a provider that does nothing, and no parent: %q", got)
	}
	got, state, ctx := header(t, sdk, with, message.NewError(message.CodeNotFound, "no such thing", ""))
	child, ok := middleware.ParseTraceparent(got)
	from, _ := middleware.ParseTraceparent(parent)
	if !ok || child.TraceID != from.TraceID || child.SpanID == from.SpanID || state != "a=b" {
		t.Errorf("child of a caller: %q, %q", got, state)
	}
	if sc := trace.SpanContextFromContext(ctx); sc.SpanID() != child.SpanID {
		t.Errorf("the handler's context has span %v", sc.SpanID())
	}
	if got, state, _ := header(t, sdk, `{"traceparent":"garbage","tracestate":"a=b"}`, nil); got == "garbage" || got == "" || state != "" {
		t.Errorf("garbage: %q, %q", got, state)
	}
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans ended, want 2", len(ended))
	}
	s := ended[0]
	if s.Name() != "a:/{id}" || s.Parent().SpanID() != from.SpanID || !s.Parent().IsRemote() || s.Status().Description != "no such thing" {
		t.Errorf("span %q, parent %v, status %v", s.Name(), s.Parent(), s.Status())
	}
	attrs := map[string]string{}
	for _, a := range s.Attributes() {
		attrs[string(a.Key)] = a.Value.String()
	}
	for key, want := range map[string]string{"ropewalk.route": "a:/{id}", "ropewalk.client": "p1", "ropewalk.verb": "call", "ropewalk.code": "not_found"} {
		if attrs[key] != want {
			t.Errorf("attribute %s is %q, want %q", key, attrs[key], want)
		}
	}
}
