package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/otlp"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is what an OpenTelemetry collector is to the exporter.
type collector struct {
	*httptest.Server
	got chan *http.Request // with the body as it was before gzip
}

// newCollector answers each request with the next of the given handlers, and
// from then on with the last.
func newCollector(t *testing.T, answers ...http.HandlerFunc) *collector {
	t.Helper()
	c := &collector{got: make(chan *http.Request, 10)}
	var n atomic.Int32
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := io.ReadAll(unzipped)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		c.got <- r
		if i := min(int(n.Add(1)), len(answers)) - 1; i >= 0 {
			answers[i](w, r)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// oneSpan sends a span and returns what the end of the exporter returned.
func oneSpan(t *testing.T, cfg otlp.Config) error {
	t.Helper()
	cfg.Sample = 1
	tracer, shutdown, err := otlp.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), middleware.SpanStart{Route: "math:/mul", At: time.Now()})
	if span.Context().IsZero() {
		t.Error("the span has no context")
	}
	span.End(route.Outcome{})
	return shutdown(context.Background())
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	if err := oneSpan(t, otlp.Config{Endpoint: c.URL, Node: "n1", Version: "9", Headers: map[string]string{"X-Key": "k"}}); err != nil {
		t.Error(err)
	}
	r := <-c.got
	if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" ||
		r.Header.Get("X-Key") != "k" {
		t.Errorf("the collector got %s %s with %v", r.Method, r.URL, r.Header)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Fatal(err)
	}
	if got := data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0].GetName(); got != "math:/mul" {
		t.Errorf("the span is called %q", got)
	}
	for _, want := range []string{"ropewalk", "n1", "9"} {
		if !strings.Contains(data.GetResourceSpans()[0].GetResource().String(), want) {
			t.Errorf("the resource %v has no %q", data.GetResourceSpans()[0].GetResource(), want)
		}
	}
}

func TestTriesAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int{429, 502, 503, 504} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			c := newCollector(t, status(code), status(http.StatusOK))
			if err := oneSpan(t, otlp.Config{Endpoint: c.URL}); err != nil {
				t.Error(err)
			}
			if len(c.got) != 2 {
				t.Errorf("the collector was asked %d times", len(c.got))
			}
		})
	}
}

func TestDoesNotTryAgain(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"refused": status(http.StatusBadRequest),
		"moved":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"busy too long": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3000")
			w.WriteHeader(503)
		},
		"busy until a date": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			c := newCollector(t, answer)
			err := oneSpan(t, otlp.Config{Endpoint: c.URL, Logger: slog.New(slog.NewTextHandler(&log, nil)), Headers: map[string]string{"X-Key": "planted"}})
			if err != nil {
				t.Error(err)
			}
			if len(c.got) != 1 {
				t.Errorf("the collector was asked %d times", len(c.got))
			}
			if text := log.String(); !strings.Contains(text, "traces are lost") || strings.Contains(text, "planted") {
				t.Errorf("the log is %s", text)
			}
		})
	}
}

func TestCollectorThatHangs(t *testing.T) {
	t.Parallel()
	c := newCollector(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	var log bytes.Buffer
	err := oneSpan(t, otlp.Config{Endpoint: c.URL, Timeout: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || !strings.Contains(log.String(), "deadline exceeded") {
		t.Errorf("shutdown returned %v; the log is %s", err, &log)
	}
}

func TestCollectorThatIsAway(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.Close()
	var log bytes.Buffer
	start := strings.Replace(c.URL, "http://", "http://user:planted@", 1)
	err := oneSpan(t, otlp.Config{Endpoint: start, Timeout: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if text := log.String(); err != nil || !strings.Contains(text, "refused") || strings.Contains(text, "planted") {
		t.Errorf("shutdown returned %v; the log is %s", err, text)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []otlp.Config{
		{}, {Endpoint: "127.0.0.1:4318"}, {Endpoint: "ftp://x"}, {Endpoint: "http://x", Sample: 2}, {Endpoint: "http://x", Sample: -1},
		{Endpoint: "http://x", Headers: map[string]string{"a b": "c"}}, {Endpoint: "http://x", Headers: map[string]string{"a": "b\nc"}},
	} {
		if _, _, err := otlp.New(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
