package client_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

func TestGetAndPublish(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	type result struct {
		u   *call.Update
		a   *call.Answer
		err error
	}
	get := func(opts ...call.Option) chan result {
		got := make(chan result, 1)
		go func() {
			u, err := c.Get(t.Context(), "json:/a", opts...)
			got <- result{u: u, err: err}
		}()
		return got
	}
	got := get(call.WithParams(map[string]int{"a": 1}))
	m := l.want(message.VerbGet)
	if string(m.Body) != `{"params":{"a":1}}` {
		t.Fatalf("%s", m.Body)
	}
	l.drop() // and it is asked again
	l = s.next()
	m = l.want(message.VerbGet)
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Epoch: []byte("e"), Offset: 3, ContentType: []byte("text/plain"), Body: []byte("x")})
	if r := recv(t, got, "the content"); r.err != nil || string(r.u.Body) != "x" || r.u.ContentType != "text/plain" || r.u.Position() != (call.Position{Epoch: "e", Offset: 3}) || r.u.Address != "json:/a" {
		t.Fatalf("%+v, %v", r.u, r.err)
	}
	got = get()
	m = l.want(message.VerbGet)
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Fault: true, Body: []byte(`{"code":"bad_content","message":"x"}`)})
	wantCode(t, recv(t, got, "the fault").err, message.CodeBadContent)
	_, err := c.Get(t.Context(), "json:/a", call.WithParams(1))
	wantCode(t, err, message.CodeInvalidInput)

	publish := func(body any) chan result {
		got := make(chan result, 1)
		go func() {
			a, err := c.Publish(t.Context(), "json:/a", body)
			got <- result{a: a, err: err}
		}()
		return got
	}
	got = publish(map[string]int{"a": 1})
	m = l.want(message.VerbPublish)
	if string(m.Body) != `{"a":1}` {
		t.Fatalf("%s", m.Body)
	}
	l.reply(m, "7")
	if r := recv(t, got, "the answer"); r.err != nil || string(r.a.Body) != "7" {
		t.Fatalf("%+v", r)
	}
	got = publish(nil)
	m = l.want(message.VerbPublish)
	if m.Body != nil {
		t.Fatalf("%s", m.Body)
	}
	l.fail(m, message.CodeForbidden)
	wantCode(t, recv(t, got, "the error").err, message.CodeForbidden)

	s.setRefuse(refuse503)
	l.drop()
	until(t, c, client.Offline)
	first := publish("1")
	eventually(t, "it to wait", func() bool { return c.Stats().Queued == 1 })
	second := publish("2")
	eventually(t, "both to wait", func() bool { return c.Stats().Queued == 2 })
	s.setRefuse(nil)
	l = s.next()
	var bodies []string
	for range 2 {
		m := l.want(message.VerbPublish)
		bodies = append(bodies, string(m.Body))
		l.reply(m, "null")
	}
	if !slices.Equal(bodies, []string{`"1"`, `"2"`}) {
		t.Fatal(bodies)
	}
	recv(t, first, "the first")
	recv(t, second, "the second")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Get(ctx, "json:/slow")
		ended <- err
	}()
	m = l.want(message.VerbGet)
	cancel()
	wantCode(t, recv(t, ended, "the end"), message.CodeCanceled)
	if got := l.want(message.VerbCancel); string(got.Rmid) != string(m.Mid) {
		t.Fatalf("%+v", got)
	}
}

func TestWatchEndsWithItsTime(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, newScript(t))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	w := c.Watch(ctx, "json:/a")
	wantNext(t, w, "deadline_exceeded")
	wantCode(t, w.Err(), message.CodeDeadlineExceeded)
}

func refuse503(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }
