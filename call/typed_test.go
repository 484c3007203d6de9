package call_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// echo is a Caller that answers with what it is asked.
type echo struct {
	settings call.Settings
	parts    int
}

func (e *echo) Call(_ context.Context, _ string, body any, opts ...call.Option) (*call.Answer, error) {
	e.settings = call.Collect(opts)
	b, err := call.Encode(body, e.settings.ContentType)
	if err != nil {
		return nil, err
	}
	return &call.Answer{Body: b.Bytes, ContentType: b.ContentType, From: "me@echo:/"}, nil
}

func (e *echo) Stream(ctx context.Context, address string, body any, opts ...call.Option) *call.Stream {
	a, err := e.Call(ctx, address, body, opts...)
	if err != nil {
		return call.Failed(err)
	}
	f := call.NewFeed(ctx, e.settings.Buffer, nil)
	for i := range e.parts {
		_ = f.Push(call.Part{Body: fmt.Append(nil, i)})
	}
	f.Finish(a, nil)
	return f.Stream()
}

func (e *echo) Gather(context.Context, string, any, ...call.Option) (*call.Gathered, error) {
	return &call.Gathered{}, nil
}

func (e *echo) Send(context.Context, string, any, ...call.Option) error { return nil }

var _ call.Caller = (*echo)(nil)

func TestDo(t *testing.T) {
	t.Parallel()
	e := &echo{parts: 3}
	if n, err := call.Do[int](t.Context(), e, "echo:/", 7); err != nil || n != 7 {
		t.Fatal(n, err)
	}
	_, err := call.Do[int](t.Context(), e, "echo:/", "seven")
	code(t, err, message.CodeBadMessage)
	_, err = call.Do[int](t.Context(), e, "echo:/", json.RawMessage("{"))
	code(t, err, message.CodeInvalidInput)

	s := call.Streamed[int, string](t.Context(), e, "echo:/", "done")
	sum := 0
	for p, err := range s.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		sum += p
	}
	if out, err := s.Answer(); err != nil || out != "done" || sum != 3 {
		t.Fatal(out, err, sum)
	}
	bad := call.Streamed[string, string](t.Context(), e, "echo:/", "done")
	n := 0
	for _, err = range bad.Parts() {
		n++
	}
	code(t, err, message.CodeBadMessage)
	if n != 1 {
		t.Fatalf("%d parts of the wrong type", n)
	}
	if _, err := call.Streamed[int, string](t.Context(), e, "echo:/", make(chan int)).Answer(); err == nil {
		t.Fatal("a body that cannot be sent was sent")
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	e := new(echo)
	sel := route.Selection{By: "sticky", Key: "k"}
	_, err := e.Call(t.Context(), "echo:/", "x", call.WithTimeout(time.Second), call.WithStrategy(sel),
		call.WithHeader("a", "1"), call.WithHeader("b", "2"), call.WithHeader("a", "3"), call.WithType("t"),
		call.WithAuthorization("token"), call.WithContentType("text/plain"), call.WithIdempotent(), call.WithAck(),
		call.WithNoWait(), call.WithBuffer(-1))
	if err != nil {
		t.Fatal(err)
	}
	s := e.settings
	sel.Idempotent = true // the node is told, too
	if s.Timeout != time.Second || s.Strategy != sel || len(s.Headers) != 2 || s.Headers[0] != (call.Header{Name: "a", Value: "3"}) ||
		s.Type != "t" || s.Authorization != "token" || s.ContentType != "text/plain" || !s.Idempotent || !s.Ack || !s.NoWait || s.Buffer != 1 {
		t.Fatalf("%+v", s)
	}
	if s := call.Collect([]call.Option{call.WithStrategy(sel)}); !s.Idempotent {
		t.Error("idempotent in the selection alone is not enough")
	}
	if d := call.Collect(nil); d.Buffer != call.DefaultBuffer || d.Timeout != 0 {
		t.Fatalf("%+v", d)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	tests := []struct {
		name     string
		timeout  time.Duration
		deadline time.Time
		ok       bool
		want     time.Duration
	}{
		{"neither", 0, time.Time{}, false, call.DefaultTimeout},
		{"option", time.Minute, time.Time{}, false, time.Minute},
		{"context", 0, now.Add(time.Hour), true, time.Hour},
		{"option first", time.Minute, now.Add(time.Hour), true, time.Minute},
		{"context first", time.Hour, now.Add(time.Minute), true, time.Minute},
	}
	for _, tt := range tests {
		s := call.Settings{Timeout: tt.timeout}
		if got := s.Deadline(now, tt.deadline, tt.ok).Sub(now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func ExampleDo() {
	var caller call.Caller = new(echo) // a *client.Client, or a node
	sum, err := call.Do[float64](context.Background(), caller, "math:/add", 42)
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

func ExampleStreamed() {
	var caller call.Caller = &echo{parts: 2}
	report := call.Streamed[int, string](context.Background(), caller, "report:/long", "all good")
	for step, err := range report.Parts() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("step", step)
	}
	fmt.Println(report.Answer())
	// Output:
	// step 0
	// step 1
	// all good <nil>
}
