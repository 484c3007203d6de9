package ropewalk_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
)

// get returns the status and body of a page of a node.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(url, "ws://", "http://", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestHealthReadinessMetrics(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Call(t.Context(), "math:/decimal/mul", pair{2, 5}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/healthz": "ok",
		"/readyz":  "ready",
		"/metrics": `ropewalk_calls_total{code="ok",route="math:/decimal/mul"} 1`,
	} {
		if status, body := get(t, url+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
	if status, _ := get(t, url+"/nothing"); status != http.StatusNotFound {
		t.Errorf("a page that is not there: %d", status)
	}
}

// A known bad order of middleware is warned about when the node is made.
func TestBadOrderIsWarnedAbout(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	n, err := ropewalk.New(ropewalk.Config{
		Logger:     slog.New(slog.NewTextHandler(&log, nil)),
		Middleware: []ropewalk.Middleware{{Stage: "call", Kind: "log"}, {Stage: "call", Kind: "recover"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "recover") {
		t.Errorf("the log is %q", log.String())
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]ropewalk.Config{
		"log.level":       {Log: ropewalk.Log{Level: "loud"}},
		"log.format":      {Log: ropewalk.Log{Format: "xml"}},
		"calls.strategy":  {Calls: ropewalk.Calls{Strategy: "best"}},
		"calls.routes":    {Calls: ropewalk.Calls{Routes: map[string]string{"math:/x": "best"}}},
		"middleware[0]":   {Middleware: []ropewalk.Middleware{{Stage: "call", Kind: "magic"}}},
		"no stage":        {Middleware: []ropewalk.Middleware{{Stage: "nowhere", Kind: "log"}}},
		"package otlp":    {Trace: ropewalk.Trace{Endpoint: "http://127.0.0.1:4318"}},
		"services.x.kind": {Services: map[string]ropewalk.BuiltIn{"x": {Kind: "y"}}},
	} {
		n, err := ropewalk.New(cfg)
		if err == nil {
			_ = n.Shutdown(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", cfg, err, want)
		}
	}
	n, err := ropewalk.New(ropewalk.Config{Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0", Driver: "steam"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "listeners.main.driver") {
		t.Errorf("an unknown driver: %v", err)
	}
	if err := errors.Join(n.Shutdown(context.Background()), n.Shutdown(context.Background())); err != nil {
		t.Error(err)
	}
}
