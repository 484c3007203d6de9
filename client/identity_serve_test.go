package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// What a connection that drains says of the session is told to the new one.
func TestSessionWhileMoving(t *testing.T) {
	t.Parallel()
	one, two := newScript(t), newScript(t)
	one.name, two.name = "one", "two"
	c, l, events := be(t, one, "anna", client.WithToken("t1"), client.WithURLs(two.url()))
	pending := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), "door:/in", nil)
		pending <- err
	}()
	in := l.want(message.VerbCall)
	l.send(message.Message{Verb: message.VerbDrain})
	l2 := two.next()
	l2.letIn("anna", "")
	until(t, c, client.Online)
	l.tell(sessionBody("changed", "berta", "t2", time.Hour))
	l.reply(in, `1`)
	if got := l2.letIn("berta", ""); got != "t2" {
		t.Fatalf("opened with %s", got)
	}
	for e := range events {
		if e.Session.Subject == "berta" {
			break
		}
	}
	if err := recv(t, pending, "an answer"); err != nil {
		t.Fatal(err)
	}
}

func TestUnserved(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	gone := make(chan string, 10)
	c, l, _ := be(t, s, "anna", client.WithToken("t1"),
		client.WithOnUnserve(func(address string, err error) { gone <- address + " " + string(message.CodeOf(err)) }))
	svc := service.New("x")
	svc.Handle("/a", service.Handle(func(context.Context, struct{}) (int, error) { return 1, nil }))
	svc.Handle("/b/{id}", service.Handle(func(context.Context, struct{}) (int, error) { return 1, nil }))
	done := make(chan error, 1)
	go func() { done <- c.Serve(t.Context(), svc) }()
	serves := func(n int) (paths string) {
		for range n {
			m := l.want(message.VerbServe)
			paths += string(m.To) + " "
			l.reply(m, `{}`)
		}
		return paths
	}
	serves(2)
	if err := recv(t, done, "the service"); err != nil {
		t.Fatal(err)
	}
	l.send(message.Message{Verb: message.VerbUnserve, To: []byte("x:/b/{id}"),
		Body: message.AppendError(nil, message.NewError(message.CodeForbidden, "no", ""))})
	if got := recv(t, gone, "news"); got != "x:/b/{id} forbidden" {
		t.Fatal(got)
	}
	l.drop()
	l = s.next()
	m := l.want(message.VerbCall)
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: sessionOf(c)}) // the same session
	if got := serves(1); got != "x:/a " {
		t.Fatal("announced ", got)
	}
	l.tell(sessionBody("changed", "berta", "t2", time.Hour))
	if got := serves(2); got != "x:/a x:/b/{id} " {
		t.Fatal("announced ", got)
	}
}

// sessionOf is what the client knows of its session, as a node would say it.
func sessionOf(c *client.Client) []byte {
	v := c.Session()
	return fmt.Appendf(nil, `{"session":{"id":%q,"subject":%q,"public":{"role":%q},"since":%d,"expires":%.3f}}`,
		v.ID, v.Subject, v.Public["role"], v.Since.Unix(), float64(v.Expires.UnixMilli())/1000)
}

// What a handler wants of its caller's session goes with its reply.
func TestServiceChangesSession(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"split": nil, "json": {client.WithJSON()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			c, l := dial(t, s, opts...)
			svc := service.New("door")
			svc.Handle("/in", service.Handle(func(ctx context.Context, _ struct{}) (string, error) {
				was := service.SessionOf(ctx)
				subject := "anna"
				return was.ID + " " + fmt.Sprint(was.Secret["pin"]), service.ChangeSession(ctx, session.Patch{
					Subject: &subject, Set: session.Claims{"role": "editor"}, Secret: session.Claims{"pin": "1"}, Delete: []string{"old"},
				})
			}))
			done := make(chan error, 1)
			go func() { done <- c.Serve(t.Context(), svc) }()
			l.reply(l.want(message.VerbServe), `{}`)
			if err := recv(t, done, "the service"); err != nil {
				t.Fatal(err)
			}
			l.send(message.Message{Verb: message.VerbCall, To: []byte("door:/in"), Mid: []byte("1"), Body: []byte(`{}`),
				Session: []byte(`{"id":"s1","secret":{"pin":"2"}}`)})
			m := l.want(message.VerbReply)
			var patch session.Patch
			if err := json.Unmarshal(m.Session, &patch); err != nil {
				t.Fatalf("%q: %v", m.Session, err)
			}
			if string(m.Body) != `"s1 2"` || *patch.Subject != "anna" || patch.Set["role"] != "editor" || patch.Secret["pin"] != "1" || patch.Delete[0] != "old" {
				t.Fatalf("%s %s", m.Body, m.Session)
			}
		})
	}
}
