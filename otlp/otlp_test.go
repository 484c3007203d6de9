package otlp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/otlp"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- r.URL.Path + " " + string(b)
	}))
	defer collector.Close()
	tracer, shutdown, err := otlp.New(t.Context(), otlp.Config{Endpoint: collector.URL, Sample: 1, Node: "n1", Version: "9"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), middleware.SpanStart{Route: "math:/mul", At: time.Now()})
	if span.Context().IsZero() {
		t.Error("the span has no context")
	}
	span.End(route.Outcome{})
	if err := shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	got := <-bodies
	for _, want := range []string{"/v1/traces", "math:/mul", "ropewalk", "n1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the collector did not get %q", want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []otlp.Config{
		{}, {Endpoint: "127.0.0.1:4318"}, {Endpoint: "ftp://x"}, {Endpoint: "http://x", Sample: 2}, {Endpoint: "http://x", Sample: -1},
	} {
		if _, _, err := otlp.New(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
