package hello_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
	"github.com/ropewalk/ropewalk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node returns a node that serves the services, and listens nowhere.
func node(t *testing.T) *ropewalk.Node {
	t.Helper()
	n, err := ropewalk.New(ropewalk.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range hello.WithPace(time.Millisecond) {
		if err := n.Serve(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	return n
}

func TestMath(t *testing.T) {
	t.Parallel()
	n := node(t)
	for _, tt := range []struct {
		path string
		in   any
		want float64
		code message.Code
	}{
		{"mul", hello.Pair{A: 2, B: 5}, 10, ""},
		{"add", hello.Pair{A: 2, B: 5}, 7, ""},
		{"sub", hello.Pair{A: 2, B: 5}, -3, ""},
		{"div", hello.Pair{A: 2, B: 5}, 0.4, ""},
		{"div", hello.Pair{A: 2}, 0, message.CodeInvalidInput},
		{"div", hello.Pair{}, 0, message.CodeInvalidInput},
		{"mul", hello.Pair{A: math.MaxFloat64, B: 2}, 0, message.CodeInvalidInput},
		{"mul", map[string]string{"a": "2", "b": "5"}, 0, message.CodeInvalidInput},
		{"mul", map[string]int{"a": 2}, 0, message.CodeInvalidInput},
		{"mul", nil, 0, message.CodeInvalidInput},
	} {
		got, err := ropewalk.Call[float64](t.Context(), n, "math:/decimal/"+tt.path, tt.in)
		if got != tt.want || message.CodeOf(err) != tt.code {
			t.Errorf("%s %v: %v, %v; want %v, %q", tt.path, tt.in, got, err, tt.want, tt.code)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if got, err := ropewalk.Call[string](t.Context(), node(t), "text:/up", "grün"); got != "GRÜN" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	n := node(t)
	s := ropewalk.Stream[hello.Progress, hello.Summary](t.Context(), n, "report:/long", hello.Order{Steps: 7, Title: "Year"})
	last := hello.Progress{}
	for p, err := range s.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		if p.Step != last.Step+1 || p.Of != 7 || p.Percent <= last.Percent || p.Note == "" {
			t.Errorf("part %+v after %+v", p, last)
		}
		last = p
	}
	sum, err := s.Answer()
	if err != nil || last.Percent != 100 || sum.Steps != 7 || sum.Title != "Year" || sum.Seconds <= 0 {
		t.Errorf("%+v, %v; last part %+v", sum, err, last)
	}
	if sum, err = ropewalk.Call[hello.Summary](t.Context(), n, "report:/long", nil); err != nil || sum.Steps != 20 || sum.Title == "" {
		t.Errorf("without an order: %+v, %v", sum, err)
	}
	if _, err = ropewalk.Call[hello.Summary](t.Context(), n, "report:/long", hello.Order{Steps: 1001}); message.CodeOf(err) != message.CodeInvalidInput {
		t.Errorf("1001 steps: %v", err)
	}
}

// TestReportCanceled leaves a report; goleak sees whether it stops.
func TestReportCanceled(t *testing.T) {
	t.Parallel()
	s := ropewalk.Stream[hello.Progress, hello.Summary](t.Context(), node(t), "report:/long", hello.Order{Steps: 1000})
	for range s.Parts() {
		break
	}
	_ = s.Close()
	if _, err := s.Answer(); !errors.Is(err, &message.Error{Code: message.CodeCanceled}) {
		t.Errorf("got %v", err)
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	if got := hello.Services(); len(got) != 3 || got[0].Name() != "math" {
		t.Errorf("got %v", got)
	}
}
