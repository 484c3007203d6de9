package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
)

// A configuration with an endpoint is enough to see calls in a collector.
func TestTracesByConfiguration(t *testing.T) {
	t.Parallel()
	spans := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		spans <- string(b)
	}))
	defer collector.Close()
	n, err := newNode(t.Context(), newWorld(nil, io.Discard, io.Discard, nil), standard.Config{Config: ropewalk.Config{Trace: ropewalk.Trace{Endpoint: collector.URL}}}, &config.Report{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(hello.Math()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Call(t.Context(), "math:/decimal/mul", map[string]any{"a": 2, "b": 5}); err != nil {
		t.Error(err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-spans; !strings.Contains(got, "math:/decimal/mul") {
		t.Errorf("the collector got %q", got)
	}
	if _, err := newNode(t.Context(), newWorld(nil, io.Discard, io.Discard, nil), standard.Config{Config: ropewalk.Config{Trace: ropewalk.Trace{Endpoint: "collector:4318"}}}, &config.Report{}); err == nil || !strings.Contains(err.Error(), "http://") {
		t.Errorf("a bad endpoint: %v", err)
	}
}
