package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

type pair struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

func mathService() *service.Service {
	svc := service.New("math", service.WithVersion("1.2.0"))
	svc.Handle("/mul", service.Handle(func(_ context.Context, in pair) (float64, error) { return in.A * in.B, nil }))
	return svc
}

// serveIt serves on a script that says yes.
func serveIt(t *testing.T, c *client.Client, l *link, svc *service.Service) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Serve(t.Context(), svc) }()
	for range svc.Routes() {
		l.reply(l.want(message.VerbServe), "null")
	}
	if err := recv(t, done, "Serve"); err != nil {
		t.Fatal(err)
	}
}

func (l *link) call(mid, to, body string) {
	l.send(message.Message{Verb: message.VerbCall, Mid: []byte(mid), To: []byte(to), From: []byte("asker@client:/"),
		Timeout: 10 * time.Second, Body: []byte(body)})
}

// wantError waits for an error message and returns its code.
func (l *link) wantError(rmid string) *message.Error {
	l.t.Helper()
	m := l.want(message.VerbError)
	if string(m.Rmid) != rmid {
		l.t.Fatalf("error for %s, want %s", m.Rmid, rmid)
	}
	return message.DecodeError(m.Body)
}

func TestServe(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"split": nil, "json": {client.WithJSON()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, l := dial(t, newScript(t), opts...)
			done := make(chan error, 1)
			go func() { done <- c.Serve(t.Context(), mathService()) }()
			m := l.want(message.VerbServe)
			if string(m.To) != "math:/mul" || !bytes.Contains(m.Body, []byte(`"version":"1.2.0"`)) || !bytes.Contains(m.Body, []byte(`"in":{`)) {
				t.Fatalf("%s %s", m.To, m.Body)
			}
			select {
			case err := <-done:
				t.Fatal("Serve returned before it was acknowledged:", err)
			default:
			}
			l.reply(m, "null")
			if err := recv(t, done, "Serve"); err != nil {
				t.Fatal(err)
			}
			l.call("1", "math:/mul", `{"a":2,"b":5}`)
			if m := l.want(message.VerbReply); string(m.Body) != "10" || string(m.Rmid) != "1" {
				t.Fatalf("%s %s", m.Rmid, m.Body)
			}
			l.call("2", "math:/mul", `{"a":"x"}`)
			if e := l.wantError("2"); e.Code != message.CodeInvalidInput {
				t.Fatal(e)
			}
			l.call("3", "math:/div", `1`)
			if e := l.wantError("3"); e.Code != message.CodeNoService {
				t.Fatal(e)
			}
			// Addresses as they are when the caller used instance or wildcards.
			l.call("4", "c1@math:/mul", `{"a":3,"b":5}`)
			if m := l.want(message.VerbReply); string(m.Body) != "15" {
				t.Fatalf("%s", m.Body)
			}
			l.call("5", "*:/mul", `{"a":4,"b":5}`)
			if m := l.want(message.VerbReply); string(m.Body) != "20" {
				t.Fatalf("%s", m.Body)
			}
		})
	}
}

func TestServePartsAndCancel(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	canceled := make(chan error, 10)
	svc := service.New("report")
	svc.HandleFunc("/long/{n}", func(ctx context.Context, req *route.Request, res route.Responder) {
		buf := []byte("0") // reused: the responder must copy
		for i := range 3 {
			buf[0] = byte('0' + i)
			if err := res.Part(route.JSON(buf)); err != nil {
				return
			}
		}
		if req.Param("n") == "forever" {
			<-ctx.Done()
			canceled <- context.Cause(ctx)
			if err := res.Reply(route.JSON([]byte("1"))); err == nil {
				canceled <- errors.New("a canceled call could be answered")
			}
			return
		}
		_ = res.Reply(route.Body{Bytes: fmt.Appendf(nil, "%s\n%s\n%s", req.Param("n"), req.Peer.ID(), req.Route), ContentType: "text/plain"})
	})
	serveIt(t, c, l, svc)

	l.call("7", "report:/long/x", "null")
	for i := range 3 {
		if m := l.want(message.VerbPart); string(m.Body) != fmt.Sprint(i) || string(m.Rmid) != "7" {
			t.Fatalf("part %d is %s", i, m.Body)
		}
	}
	m := l.want(message.VerbReply)
	if string(m.Body) != "x\nasker\nreport:/long/{n}" || string(m.ContentType) != "text/plain" {
		t.Fatalf("%q %s", m.Body, m.ContentType)
	}

	l.call("8", "report:/long/forever", "null")
	for range 3 {
		l.want(message.VerbPart)
	}
	l.send(message.Message{Verb: message.VerbCancel, Rmid: []byte("8")})
	wantCode(t, recv(t, canceled, "the cancellation"), message.CodeCanceled)
	l.send(message.Message{Verb: message.VerbCancel, Rmid: []byte("8")}) // over: nothing happens

	// A connection that is lost cancels too.
	l.call("9", "report:/long/forever", "null")
	for range 3 {
		l.want(message.VerbPart)
	}
	l.drop()
	wantCode(t, recv(t, canceled, "the cancellation"), message.CodeConnectionLost)
	if len(canceled) != 0 {
		t.Fatal(<-canceled)
	}
}

func TestServeAgainAfterReconnect(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	serveIt(t, c, l, mathService())
	if err := c.Send(t.Context(), "x@client:/", 0); err != nil {
		t.Fatal(err)
	}
	l.want(message.VerbSend)
	l.drop()
	l = s.next()
	m := l.want(message.VerbServe) // before all else
	l.reply(m, "null")
	l.call("1", "math:/mul", `{"a":2,"b":5}`)
	if m := l.want(message.VerbReply); string(m.Body) != "10" {
		t.Fatalf("%s", m.Body)
	}
}

func TestServeRefused(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	done := make(chan error, 1)
	svc := mathService()
	svc.Handle("/add", service.Handle(func(_ context.Context, in pair) (float64, error) { return in.A + in.B, nil }))
	go func() { done <- c.Serve(t.Context(), svc) }()
	l.reply(l.want(message.VerbServe), "null")
	l.fail(l.want(message.VerbServe), message.CodeForbidden)
	wantCode(t, recv(t, done, "Serve"), message.CodeForbidden)
	for range 2 {
		l.want(message.VerbUnserve)
	}
	l.call("1", "math:/mul", `{}`)
	if e := l.wantError("1"); e.Code != message.CodeServiceDown && e.Code != message.CodeNoService {
		t.Fatal(e)
	}

	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- c.Serve(ctx, mathService()) }()
	l.want(message.VerbServe)
	cancel()
	wantCode(t, recv(t, done, "Serve"), message.CodeCanceled)
	l.want(message.VerbUnserve)
}

func TestServeWaitsForAConnection(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	done := make(chan error, 1)
	go func() { done <- c.Serve(t.Context(), mathService()) }()
	l.want(message.VerbServe)
	l.drop() // before the answer
	l = s.next()
	l.reply(l.want(message.VerbServe), "null")
	if err := recv(t, done, "Serve"); err != nil {
		t.Fatal(err)
	}
}

func TestServeEndsWithTheClient(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	done := make(chan error, 2)
	go func() { done <- c.Serve(t.Context(), mathService()) }()
	l.want(message.VerbServe)
	_ = l.ws.Close(4102, "go away")
	wantCode(t, recv(t, done, "Serve"), message.CodeForbidden)
	wantCode(t, c.Serve(t.Context(), mathService()), message.CodeForbidden)
}

func TestUnserve(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	hold, started := make(chan struct{}), make(chan struct{})
	svc := service.New("slow")
	svc.HandleFunc("/x", func(_ context.Context, _ *route.Request, res route.Responder) {
		close(started)
		<-hold
		_ = res.Reply(route.JSON([]byte("1")))
	})
	serveIt(t, c, l, svc)
	l.call("1", "slow:/x", "null")
	recv(t, started, "the handler")
	done := make(chan error, 1)
	go func() { done <- c.Unserve(t.Context(), svc) }()
	m := l.want(message.VerbUnserve)
	if string(m.To) != "slow:/x" {
		t.Fatalf("%s", m.To)
	}
	l.reply(m, "null")
	select {
	case err := <-done:
		t.Fatal("Unserve returned while a call was being answered:", err)
	default:
	}
	close(hold)
	l.want(message.VerbReply)
	if err := recv(t, done, "Unserve"); err != nil {
		t.Fatal(err)
	}
	if err := c.Unserve(t.Context(), svc); err != nil {
		t.Fatal("a second Unserve:", err)
	}
}

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	hold, started := make(chan struct{}), make(chan struct{})
	svc := service.New("slow")
	svc.HandleFunc("/x", func(_ context.Context, _ *route.Request, res route.Responder) {
		close(started)
		<-hold
		_ = res.Reply(route.JSON([]byte("1")))
	})
	serveIt(t, c, l, svc)
	l.call("1", "slow:/x", "null")
	recv(t, started, "the handler")
	done := make(chan error, 1)
	go func() { done <- c.Close() }()
	l.want(message.VerbDrain)
	l.call("2", "slow:/x", "null")
	if e := l.wantError("2"); e.Code != message.CodeShuttingDown {
		t.Fatal(e)
	}
	close(hold)
	if m := l.want(message.VerbReply); string(m.Rmid) != "1" {
		t.Fatalf("%s", m.Rmid)
	}
	if err := recv(t, done, "Close"); err != nil {
		t.Fatal(err)
	}
}

func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t), client.WithCloseTimeout(50*time.Millisecond))
	started, canceled := make(chan struct{}), make(chan struct{})
	svc := service.New("slow")
	svc.HandleFunc("/x", func(ctx context.Context, _ *route.Request, _ route.Responder) {
		close(started)
		<-ctx.Done()
		close(canceled)
	})
	serveIt(t, c, l, svc)
	l.call("1", "slow:/x", "null")
	recv(t, started, "the handler")
	wantCode(t, c.Close(), message.CodeDeadlineExceeded)
	recv(t, canceled, "the end of the handler")
}

func TestServedIDsAndOwnIDsDoNotMix(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	serveIt(t, c, l, mathService())
	got := ask(t.Context(), c, "other:/x", nil)
	own := l.want(message.VerbCall)
	l.call(string(own.Mid), "math:/mul", `{"a":2,"b":5}`) // the node's call with the very same id
	if m := l.want(message.VerbReply); string(m.Rmid) != string(own.Mid) || string(m.Body) != "10" {
		t.Fatalf("%s %s", m.Rmid, m.Body)
	}
	l.reply(own, `"mine"`)
	if o := recv(t, got, "the answer"); o.err != nil || string(o.answer.Body) != `"mine"` {
		t.Fatalf("%+v, %v", o.answer, o.err)
	}
}

func TestServeSendsAndTrace(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	got := make(chan string, 10)
	svc := service.New("log")
	svc.HandleFunc("/line", func(ctx context.Context, req *route.Request, res route.Responder) {
		got <- string(req.Message.Body) + trace.SpanContextFromContext(ctx).TraceID().String()[:4]
		_ = res.Reply(route.Body{})
	})
	serveIt(t, c, l, svc)
	m := message.Message{Verb: message.VerbSend, To: []byte("log:/line"), From: []byte("x@client:/"), Body: []byte(`1`)}
	m.SetHeader("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	l.send(m)
	if s := recv(t, got, "the message"); s != "10af7" {
		t.Fatal(s)
	}
	// The handler calls on: its calls belong to the trace.
	svc2 := service.New("front")
	svc2.HandleFunc("/x", func(ctx context.Context, _ *route.Request, res route.Responder) {
		a, err := c.Call(ctx, "back:/x", nil)
		if err != nil {
			_ = res.Fail(err)
			return
		}
		_ = res.Reply(route.JSON(a.Body))
	})
	serveIt(t, c, l, svc2)
	call := message.Message{Verb: message.VerbCall, Mid: []byte("1"), To: []byte("front:/x"), From: []byte("x@client:/"), Timeout: 5 * time.Second}
	call.SetHeader("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	l.send(call)
	back := l.want(message.VerbCall)
	if tp := back.Header("traceparent"); tp != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" {
		t.Fatal(tp)
	}
	if back.Timeout <= 0 || back.Timeout > 5*time.Second {
		t.Fatal("the deadline did not travel:", back.Timeout)
	}
	l.reply(back, "2")
	if m := l.want(message.VerbReply); string(m.Body) != "2" {
		t.Fatalf("%s", m.Body)
	}
}
