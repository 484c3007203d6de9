package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// asked starts a call and returns what came of it.
type outcome struct {
	answer *call.Answer
	err    error
}

func ask(ctx context.Context, c *client.Client, address string, body any, opts ...call.Option) <-chan outcome {
	ch := make(chan outcome, 1)
	go func() {
		a, err := c.Call(ctx, address, body, opts...)
		ch <- outcome{a, err}
	}()
	return ch
}

func TestDialWelcome(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]client.Option{nil, {client.WithJSON()}} {
		c, _ := dial(t, newScript(t), opts...)
		if c.ID() != "c1" || c.State() != client.Online || c.Transport() != "websocket" || c.Err() != nil {
			t.Fatalf("id %q, state %v, transport %q, err %v", c.ID(), c.State(), c.Transport(), c.Err())
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"split": nil, "json": {client.WithJSON()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, l := dial(t, newScript(t), opts...)

			got := ask(t.Context(), c, "math:/mul", map[string]int{"a": 2}, call.WithTimeout(5*time.Second),
				call.WithHeader("x", "1"), call.WithType("t"), call.WithAuthorization("secret"),
				call.WithStrategy(route.Selection{By: "sticky", Key: "k"}))
			m := l.want(message.VerbCall)
			if string(m.To) != "math:/mul" || string(m.Body) != `{"a":2}` || m.Header("x") != "1" ||
				string(m.Type) != "t" || string(m.Authorization) != "secret" ||
				string(m.Strategy) != `{"by":"sticky","key":"k"}` {
				t.Fatalf("sent %s", jsonOf(t, m))
			}
			if m.Timeout <= 4*time.Second || m.Timeout > 5*time.Second {
				t.Fatalf("timeout %v", m.Timeout)
			}
			l.part(m, 1, `"ignored"`)
			l.reply(m, "10")
			o := recv(t, got, "the answer")
			if o.err != nil || string(o.answer.Body) != "10" || o.answer.From != "s1@math:/" {
				t.Fatalf("answer %+v, %v", o.answer, o.err)
			}

			// Bytes that are not JSON.
			got = ask(t.Context(), c, "math:/mul", []byte{0, 1, 10})
			m = l.want(message.VerbCall)
			if string(m.Body) != "\x00\x01\n" || string(m.ContentType) != call.Octets {
				t.Fatalf("sent %s", jsonOf(t, m))
			}
			l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, ContentType: []byte("text/plain"), Body: []byte("a\nb")})
			if o := recv(t, got, "the answer"); string(o.answer.Body) != "a\nb" || o.answer.ContentType != "text/plain" {
				t.Fatalf("answer %+v", o.answer)
			}

			// An error of the node.
			got = ask(t.Context(), c, "math:/mull", nil)
			m = l.want(message.VerbCall)
			if m.Body != nil {
				t.Fatalf("body %q", m.Body)
			}
			l.fail(m, message.CodeNoService)
			o = recv(t, got, "the error")
			wantCode(t, o.err, message.CodeNoService)
			if !message.FromPeer(o.err) {
				t.Fatal("the error does not know that it came from the node")
			}
		})
	}
}

func TestCallTyped(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	got := make(chan int, 1)
	go func() {
		n, _ := call.Do[int](t.Context(), c, "math:/mul", []int{2, 5})
		got <- n
	}()
	l.reply(l.want(message.VerbCall), "10")
	if n := recv(t, got, "the number"); n != 10 {
		t.Fatalf("got %d", n)
	}
}

func TestCallRefusedHere(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.frame = 1000
	c, l := dial(t, s)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		address string
		body    any
		opts    []call.Option
		code    message.Code
	}{
		{"address", t.Context(), "math", nil, nil, message.CodeBadAddress},
		{"body", t.Context(), "math:/x", make(chan int), nil, message.CodeInvalidInput},
		{"raw", t.Context(), "math:/x", json.RawMessage("{"), nil, message.CodeInvalidInput},
		{"typed", t.Context(), "math:/x", 1, []call.Option{call.WithContentType("text/plain")}, message.CodeInvalidInput},
		{"large", t.Context(), "math:/x", strings.Repeat("x", 1000), nil, message.CodeTooLarge},
		{"large envelope", t.Context(), "math:/x", nil, []call.Option{call.WithHeader("h", strings.Repeat("x", 1000))}, message.CodeTooLarge},
		{"canceled", over, "math:/x", nil, nil, message.CodeCanceled},
	}
	for _, tt := range tests {
		_, err := c.Call(tt.ctx, tt.address, tt.body, tt.opts...)
		if message.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", tt.name, err)
		}
		err = c.Send(tt.ctx, tt.address, tt.body, tt.opts...)
		if message.CodeOf(err) != tt.code {
			t.Errorf("send %s: %v", tt.name, err)
		}
		_, err = c.Stream(tt.ctx, tt.address, tt.body, tt.opts...).Answer()
		if message.CodeOf(err) != tt.code {
			t.Errorf("stream %s: %v", tt.name, err)
		}
	}
	// What just fits goes out.
	if err := c.Send(t.Context(), "math:/x", strings.Repeat("x", 850)); err != nil {
		t.Fatal(err)
	}
	l.want(message.VerbSend)
}

func TestCallEndsByCaller(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	ctx, cancel := context.WithCancel(t.Context())
	got := ask(ctx, c, "math:/x", nil)
	m := l.want(message.VerbCall)
	cancel()
	wantCode(t, recv(t, got, "the end").err, message.CodeCanceled)
	if x := l.want(message.VerbCancel); string(x.Rmid) != string(m.Mid) {
		t.Fatalf("canceled %s, not %s", x.Rmid, m.Mid)
	}
	l.reply(m, "1") // too late

	got = ask(t.Context(), c, "math:/x", nil, call.WithTimeout(20*time.Millisecond))
	l.want(message.VerbCall)
	wantCode(t, recv(t, got, "the end").err, message.CodeDeadlineExceeded)
	l.want(message.VerbCancel)

	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	got = ask(soon, c, "math:/x", nil)
	m = l.want(message.VerbCall)
	if m.Timeout > 20*time.Millisecond {
		t.Fatalf("timeout %v", m.Timeout)
	}
	wantCode(t, recv(t, got, "the end").err, message.CodeDeadlineExceeded)
	eventually(t, "the late answer", func() bool { return c.Stats().Late == 1 && c.Stats().InFlight == 0 })
}

func TestCallsAnsweredInAnyOrder(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	const n = 200
	var got [n]<-chan outcome
	for i := range n {
		got[i] = ask(t.Context(), c, "math:/echo", i)
	}
	var calls [n]message.Message
	for i := range n {
		calls[i] = l.want(message.VerbCall)
	}
	for i := range n {
		m := calls[n-1-i]
		l.reply(m, string(m.Body))
	}
	for i := range n {
		if o := recv(t, got[i], "an answer"); o.err != nil || string(o.answer.Body) != fmt.Sprint(i) {
			t.Fatalf("call %d got %+v, %v", i, o.answer, o.err)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	st := call.Streamed[int, string](t.Context(), c, "report:/long", nil)
	m := l.want(message.VerbCall)
	for i := range 3 {
		l.part(m, i+1, fmt.Sprint(i))
	}
	l.reply(m, `"done"`)
	sum := 0
	for p, err := range st.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		sum += p
	}
	if out, err := st.Answer(); err != nil || out != "done" || sum != 3 {
		t.Fatalf("%q, %v, sum %d", out, err, sum)
	}

	// Closed by the reader.
	raw := c.Stream(t.Context(), "report:/long", nil)
	m = l.want(message.VerbCall)
	l.part(m, 1, "1")
	for range raw.Parts() {
		break
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	if x := l.want(message.VerbCancel); string(x.Rmid) != string(m.Mid) {
		t.Fatal("another call was canceled")
	}
	_, err := raw.Answer()
	wantCode(t, err, message.CodeCanceled)

	// Failed by the service, after a part.
	raw = c.Stream(t.Context(), "report:/long", nil)
	m = l.want(message.VerbCall)
	l.part(m, 1, "1")
	l.fail(m, message.CodeConflict)
	parts := 0
	for _, err = range raw.Parts() {
		if err == nil {
			parts++
		}
	}
	wantCode(t, err, message.CodeConflict)
	if parts != 1 {
		t.Fatalf("%d parts", parts)
	}
}

func TestSlowStreamStallsNobody(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	slow := c.Stream(t.Context(), "report:/long", nil, call.WithBuffer(4))
	m := l.want(message.VerbCall)
	for i := range 100 {
		l.part(m, i+1, fmt.Sprint(i))
	}
	if x := l.want(message.VerbCancel); string(x.Rmid) != string(m.Mid) {
		t.Fatal("another call was canceled")
	}
	got := ask(t.Context(), c, "math:/x", nil)
	l.reply(l.want(message.VerbCall), "1")
	if o := recv(t, got, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	parts, err := 0, error(nil)
	for _, err = range slow.Parts() {
		if err == nil {
			parts++
		}
	}
	wantCode(t, err, message.CodeSlowConsumer)
	if parts != 4 {
		t.Fatalf("%d parts, want the 4 that were held", parts)
	}
}

func TestGather(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	type result struct {
		g   *call.Gathered
		err error
	}
	got := make(chan result, 1)
	gather := func(opts ...call.Option) {
		g, err := c.Gather(t.Context(), "math:/*", nil, opts...)
		got <- result{g, err}
	}
	go gather()
	m := l.want(message.VerbCall)
	if string(m.Strategy) != `"all"` {
		t.Fatalf("strategy %s", m.Strategy)
	}
	l.reply(m, `{"answers":[{"server":"a","name":"math","path":"/mul","took":0.5,"body":10},
		{"server":"b","name":"math","path":"/add","took":0.1,"error":{"code":"conflict","message":"no"}},
		{"server":"c","name":"math","path":"/x","took":0,"body":"AAE=","contentType":"x/y"}],
		"missing":[{"server":"z","name":"math","path":"/mul"}],"servers":4}`)
	r := recv(t, got, "the gather")
	if r.err != nil || r.g.Servers != 4 || len(r.g.Answers) != 3 || r.g.Missing[0].ID != "z" {
		t.Fatalf("%+v, %v", r.g, r.err)
	}
	var n int
	if err := r.g.Answers[0].Decode(&n); err != nil || n != 10 || r.g.Answers[0].Took != 500*time.Millisecond {
		t.Fatalf("%+v, %v", r.g.Answers[0], err)
	}
	wantCode(t, r.g.Answers[1].Decode(&n), message.CodeConflict)
	if string(r.g.Answers[2].Body) != "\x00\x01" {
		t.Fatalf("body %q", r.g.Answers[2].Body)
	}

	go gather(call.WithStrategy(route.Selection{Quorum: 2}))
	m = l.want(message.VerbCall)
	if string(m.Strategy) != `{"by":"all","quorum":2}` {
		t.Fatalf("strategy %s", m.Strategy)
	}
	l.fail(m, message.CodeNoQuorum)
	wantCode(t, recv(t, got, "the gather").err, message.CodeNoQuorum)

	go gather()
	l.reply(l.want(message.VerbCall), `[]`)
	wantCode(t, recv(t, got, "the gather").err, message.CodeBadMessage)
}

func TestSend(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	for i := range 50 {
		if err := c.Send(t.Context(), "x@client:/", i); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for i := range 50 {
		m := l.want(message.VerbSend)
		if string(m.Body) != fmt.Sprint(i) || seen[string(m.Mid)] || m.Ack {
			t.Fatalf("message %d is %s with mid %s", i, m.Body, m.Mid)
		}
		seen[string(m.Mid)] = true
	}
	got := make(chan error, 1)
	go func() { got <- c.Send(t.Context(), "x@client:/", 1, call.WithAck()) }()
	m := l.want(message.VerbSend)
	if !m.Ack {
		t.Fatal("no acknowledgement is asked for")
	}
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid})
	if err := recv(t, got, "the acknowledgement"); err != nil {
		t.Fatal(err)
	}
	go func() { got <- c.Send(t.Context(), "x@client:/", 1, call.WithAck()) }()
	l.fail(l.want(message.VerbSend), message.CodeNoClient)
	wantCode(t, recv(t, got, "the error"), message.CodeNoClient)
}

func TestOnSend(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	deliver := func(i int) {
		l.send(message.Message{Verb: message.VerbSend, To: []byte("c1@client:/"), From: []byte("other@client:/"),
			Mid: fmt.Append(nil, i), Body: fmt.Append(nil, i)})
	}
	for i := range 10 {
		deliver(i) // before anybody listens
	}
	got := make(chan *route.Request, 100)
	c.OnSend(func(_ context.Context, req *route.Request) {
		if string(req.Message.Body) == "5" {
			panic("a bug of the program must not end the delivery")
		}
		got <- req
	})
	for i := 10; i < 20; i++ {
		deliver(i)
	}
	for i := range 20 {
		if i == 5 {
			continue
		}
		req := recv(t, got, "a message")
		if string(req.Message.Body) != fmt.Sprint(i) || req.Peer.ID() != "other" {
			t.Fatalf("message %d is %s from %s", i, req.Message.Body, req.Peer.ID())
		}
	}
}

func TestTraceContext(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	id, _ := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	span, _ := trace.SpanIDFromHex("b7ad6b7169203331")
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled,
	}))
	if err := c.Send(ctx, "x:/", nil); err != nil {
		t.Fatal(err)
	}
	sent := l.recv()
	if got := sent.Header("traceparent"); got != parent {
		t.Fatalf("traceparent %q", got)
	}
	if err := c.Send(ctx, "x:/", nil, call.WithHeader("traceparent", "mine")); err != nil {
		t.Fatal(err)
	}
	sent = l.recv()
	if got := sent.Header("traceparent"); got != "mine" {
		t.Fatalf("traceparent %q", got)
	}
	got := make(chan trace.SpanContext, 1)
	c.OnSend(func(ctx context.Context, _ *route.Request) { got <- trace.SpanContextFromContext(ctx) })
	m := message.Message{Verb: message.VerbSend, To: []byte("c1@client:/")}
	m.SetHeader("traceparent", parent)
	l.send(m)
	if sc := recv(t, got, "the message"); sc.TraceID() != id || !sc.IsRemote() {
		t.Fatalf("span %v", sc)
	}
}

func TestMalformedFromNode(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	got := ask(t.Context(), c, "math:/x", nil)
	m := l.want(message.VerbCall)
	for _, frame := range []string{"", "x", "[]", "{", `{"vrb":"reply"`, `{"vrb":"hop"}`, `{"vrb":"serve","to":"a:/","mid":"1"}`,
		`{"vrb":"reply","rmid":"nobody"}`, `{"vrb":"call","to":"a:/"}`, "\xff\xfe", `{"vrb":"welcome"}`} {
		l.raw(2, []byte(frame))
	}
	l.raw(2, []byte(`{"vrb":"reply","rmid":"`+string(m.Mid)+`","seq":"x"}`))
	wantCode(t, recv(t, got, "the answer that cannot be read").err, message.CodeBadMessage)
	got = ask(t.Context(), c, "math:/x", nil)
	l.reply(l.want(message.VerbCall), "1")
	if o := recv(t, got, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	if n := c.Stats().Malformed; n < 8 {
		t.Fatalf("%d malformed messages were counted", n)
	}
}

func TestErrorsAreErrors(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, newScript(t))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Call(t.Context(), "math:/x", nil)
	var e *message.Error
	if !errors.As(err, &e) || e.Code != message.CodeNotReady || e.Hint == "" {
		t.Fatalf("after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal("a second Close:", err)
	}
	wantCode(t, c.Serve(t.Context(), mathService()), message.CodeNotReady)
	wantCode(t, c.Send(t.Context(), "a:/", nil), message.CodeNotReady)
	_, err = c.Stream(t.Context(), "a:/", nil).Answer()
	wantCode(t, err, message.CodeNotReady)
	if c.State() != client.Closed {
		t.Fatal(c.State())
	}
}
