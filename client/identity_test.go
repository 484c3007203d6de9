package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// dialAs begins to dial a script that decides about the token, and returns what
// is told of the session.
func dialAs(t *testing.T, s *script, opts ...client.Option) (dialed <-chan *client.Client, failed <-chan error, events chan client.SessionEvent) {
	t.Helper()
	events = make(chan client.SessionEvent, 100)
	ok, bad := make(chan *client.Client, 1), make(chan error, 1)
	opts = append([]client.Option{
		client.WithLogger(quiet), client.WithBackoff(time.Millisecond, 20*time.Millisecond), client.WithCloseTimeout(2 * time.Second),
		client.WithOnSession(func(e client.SessionEvent) { events <- e }),
	}, opts...)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	go func() {
		defer cancel()
		c, err := client.Dial(ctx, s.url(), opts...)
		if err != nil {
			bad <- err
			return
		}
		ok <- c
	}()
	t.Cleanup(func() {
		select {
		case c := <-ok:
			_ = c.Close()
		default:
		}
	})
	return ok, bad, events
}

// be dials a script that takes a token and says who that is.
func be(t *testing.T, s *script, subject string, opts ...client.Option) (*client.Client, *link, chan client.SessionEvent) {
	t.Helper()
	ok, bad, events := dialAs(t, s, opts...)
	l := s.next()
	l.letIn(subject, "")
	select {
	case err := <-bad:
		t.Fatal(err)
		return nil, nil, nil
	case c := <-ok:
		t.Cleanup(func() { _ = c.Close() })
		if e := recv(t, events, "an event"); e.Kind != client.SessionChanged || e.Session.Subject != subject {
			t.Fatalf("got %+v", e)
		}
		return c, l, events
	}
}

// letIn waits for a session to be opened and says whose it is.
func (l *link) letIn(subject, token string) (credential string) {
	l.t.Helper()
	m := l.want(message.VerbCall)
	if string(m.To) != "node:/session/open" {
		l.t.Fatalf("got a call of %s", m.To)
	}
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: sessionBody("", subject, token, time.Hour)})
	return string(m.Authorization)
}

func sessionBody(event, subject, token string, left time.Duration) []byte {
	return fmt.Appendf(nil, `{"event":%q,"session":{"id":"s-%s","subject":%q,"public":{"role":"editor"},"since":1700000000,"expires":%d.5},"token":%q}`,
		event, subject, subject, time.Now().Add(left).Unix(), token)
}

// tell sends what a node says by itself of a session.
func (l *link) tell(body []byte) { l.send(message.Message{Verb: message.VerbSession, Body: body}) }

func TestTokenGoesFirst(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"split": nil, "json": {client.WithJSON()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			got := make(chan string, 1)
			opts := append([]client.Option{client.WithToken("t1"), client.WithLazy()}, opts...)
			ok, _, events := dialAs(t, s, opts...)
			c := recv(t, ok, "the client")
			t.Cleanup(func() { _ = c.Close() })
			if err := c.Send(t.Context(), "x:/y", 1); err != nil {
				t.Fatal(err)
			}
			l := s.next()
			m := l.want(message.VerbCall)
			if string(m.To) != "node:/session/open" || string(m.Authorization) != "t1" || len(m.Body) != 0 || m.Timeout == 0 {
				t.Fatalf("got %s %s %q", m.Verb, m.To, m.Authorization)
			}
			// What comes meanwhile is not lost.
			l.send(message.Message{Verb: message.VerbSend, To: []byte("c1@client:/"), Body: []byte(`"early"`)})
			if n := len(l.got); n != 0 || c.State() == client.Online {
				t.Fatalf("%d messages went out before the answer, state %v", n, c.State())
			}
			l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: sessionBody("", "anna", "t2", time.Hour)})
			if m := l.want(message.VerbSend); string(m.To) != "x:/y" {
				t.Fatalf("got a send to %s", m.To)
			}
			c.OnSend(func(_ context.Context, req *route.Request) { got <- string(req.Message.Body) })
			if v := recv(t, got, "the early message"); v != `"early"` {
				t.Fatal(v)
			}
			e := recv(t, events, "an event")
			v := c.Session()
			if e.Kind != client.SessionChanged || v.Subject != "anna" || v.ID != "s-anna" || v.Token != "t2" || !v.Authenticated() ||
				v.Public["role"] != "editor" || v.Since.Unix() != 1700000000 || v.Expires.Before(time.Now()) {
				t.Fatalf("got %+v with token %q", v, v.Token)
			}
		})
	}
}

func TestSessionPrintsNoToken(t *testing.T) {
	t.Parallel()
	e := client.SessionEvent{Kind: client.SessionChanged, Session: client.Session{ID: "i", Subject: "anna", Token: "geheim"}}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(e), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), string(b), e.Session.String()} {
		if strings.Contains(s, "geheim") {
			t.Error(s)
		}
	}
	if s := (client.Session{}).String() + (client.Session{ID: "x"}).String(); s != "anonymousx" {
		t.Error(s)
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, bad, _ := dialAs(t, s, client.WithToken("forged"))
	l := s.next()
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	err := recv(t, bad, "the error")
	wantCode(t, err, message.CodeUnauthenticated)
	if strings.Contains(err.Error(), "forged") {
		t.Error(err)
	}
}

// A node that refuses everything ends no lazy client: it is nobody, and says so.
func TestTokenRefusedLater(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l, events := be(t, s, "anna", client.WithToken("t1"))
	l.drop()
	l = s.next()
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	e := recv(t, events, "an event")
	if e.Kind != client.SessionEnded || message.CodeOf(e.Err) != message.CodeUnauthenticated || e.Session.ID != "" {
		t.Fatalf("got %+v", e)
	}
	until(t, c, client.Online)
	if v := c.Session(); v.ID != "" || v.Token != "" {
		t.Fatalf("got %+v", v)
	}
	l.drop() // the token is not tried any more
	l = s.next()
	if err := c.Send(t.Context(), "x:/y", nil); err != nil {
		t.Fatal(err)
	}
	l.want(message.VerbSend)
}

func TestTokenSource(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var asked atomic.Int64
	source := func(context.Context) (string, error) {
		switch n := asked.Add(1); n {
		case 1, 2, 5:
			return fmt.Sprint("t", n), nil
		case 3:
			return "", errors.New("not now")
		default:
			return "t5", nil
		}
	}
	ok, bad, events := dialAs(t, s, client.WithTokenSource(source))
	l := s.next()
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	if got := l.letIn("anna", ""); got != "t2" {
		t.Fatalf("opened with %s", got)
	}
	var c *client.Client
	select {
	case err := <-bad:
		t.Fatal(err)
	case c = <-ok:
	}
	t.Cleanup(func() { _ = c.Close() })
	recv(t, events, "an event")

	// The token of the session goes first; when it is refused, the source.
	l.drop()
	l = s.next()
	m := l.want(message.VerbCall)
	if string(m.Authorization) != "t2" {
		t.Fatalf("opened with %s", m.Authorization)
	}
	l.fail(m, message.CodeUnauthenticated) // the source fails, so the connection does
	recv(t, l.ended, "the end of the connection")
	l = s.next()
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	if got := l.letIn("berta", ""); got != "t5" {
		t.Fatalf("opened with %s", got)
	}
	until(t, c, client.Online)
	if v := c.Session(); v.Subject != "berta" || v.Token != "t5" {
		t.Fatalf("got %+v", v)
	}
}

// Somebody whose source has nothing good is nobody for a while.
func TestTokenSourceOutOfDate(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var fresh atomic.Value
	fresh.Store("old")
	ok, _, events := dialAs(t, s, client.WithLazy(),
		client.WithTokenSource(func(context.Context) (string, error) { return fresh.Load().(string), nil }))
	c := recv(t, ok, "the client")
	t.Cleanup(func() { _ = c.Close() })
	l := s.next()
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	if e := recv(t, events, "an event"); e.Kind != client.SessionEnded || e.Err == nil {
		t.Fatalf("got %+v", e)
	}
	until(t, c, client.Online)
	fresh.Store("new")
	for {
		m := l.want(message.VerbCall)
		if string(m.Authorization) == "new" {
			l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: sessionBody("", "anna", "", time.Hour)})
			break
		}
		l.fail(m, message.CodeUnauthenticated)
	}
	for e := range events {
		if e.Kind == client.SessionChanged {
			break
		}
	}
	if v := c.Session(); v.Subject != "anna" || v.Token != "new" {
		t.Fatalf("got %+v", v)
	}
}

func TestSessionNews(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l, events := be(t, s, "anna", client.WithToken("t1"))
	l.tell(sessionBody("changed", "berta", "t2", time.Hour))
	if e := recv(t, events, "an event"); e.Kind != client.SessionChanged || e.Session.Subject != "berta" || e.Session.Token != "t2" {
		t.Fatalf("got %+v", e)
	}
	l.drop() // that token opens it on the next connection
	l = s.next()
	if got := l.letIn("berta", ""); got != "t2" {
		t.Fatalf("opened with %s", got)
	}
	until(t, c, client.Online)

	// It is refreshed by itself, and again when that fails at first.
	l.tell(sessionBody("ending", "berta", "", 30*time.Second))
	if e := recv(t, events, "an event"); e.Kind != client.SessionChanged { // its end moved when it was opened anew
		if e.Kind != client.SessionEnding {
			t.Fatalf("got %+v", e)
		}
	} else if e := recv(t, events, "an event"); e.Kind != client.SessionEnding {
		t.Fatalf("got %+v", e)
	}
	m := l.want(message.VerbCall)
	if string(m.To) != "node:/session/refresh" {
		t.Fatalf("got a call of %s", m.To)
	}
	l.fail(m, message.CodeInternal)
	m = l.want(message.VerbCall)
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: sessionBody("", "berta", "t3", 2*time.Hour)})
	if e := recv(t, events, "an event"); e.Kind != client.SessionChanged || e.Session.Token != "t3" {
		t.Fatalf("got %+v", e)
	}

	l.tell([]byte(`{"event":"revoked","reason":"stolen"}`))
	if e := recv(t, events, "an event"); e.Kind != client.SessionRevoked || e.Reason != "stolen" || e.Session.ID != "" {
		t.Fatalf("got %+v", e)
	}
	if v := c.Session(); v.ID != "" {
		t.Fatalf("got %+v", v)
	}
	l.tell([]byte(`[]`)) // nonsense
	l.tell([]byte(`{"event":"of a later version"}`))
	eventually(t, "a malformed message", func() bool { return c.Stats().Malformed == 1 })
}

func TestWithoutRefresh(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l, events := be(t, s, "anna", client.WithToken("t1"), client.WithoutRefresh(),
		client.WithTokenSource(func(context.Context) (string, error) { return "t2", nil }))
	l.tell(sessionBody("ending", "anna", "", time.Hour))
	if e := recv(t, events, "an event"); e.Kind != client.SessionEnding {
		t.Fatalf("got %+v", e)
	}
	l.tell([]byte(`{"event":"ended","expired":true}`)) // its time is over, whatever our clock says: the source gives another
	if e := recv(t, events, "an event"); e.Kind != client.SessionEnded {
		t.Fatalf("got %+v", e)
	}
	if got := l.letIn("anna", ""); got != "t2" {
		t.Fatalf("opened with %s", got)
	}
	if e := recv(t, events, "an event"); e.Kind != client.SessionChanged || c.Session().Token != "t2" {
		t.Fatalf("got %+v", e)
	}
	l.tell([]byte(`{"event":"ended"}`)) // it was logged out: nobody is asked
	if e := recv(t, events, "an event"); e.Kind != client.SessionEnded {
		t.Fatalf("got %+v", e)
	}
	l.drop()
	l = s.next()
	if err := c.Send(t.Context(), "x:/y", nil); err != nil {
		t.Fatal(err)
	}
	l.want(message.VerbSend)
}

// A session at its limit is not refreshed over and over.
func TestRefreshAtTheLimit(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, l, events := be(t, s, "anna", client.WithToken("t1"))
	body := sessionBody("ending", "anna", "", time.Minute)
	l.tell(body)
	m := l.want(message.VerbCall)
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: body})
	recv(t, events, "an event")
	l.tell([]byte(`{"event":"nothing"}`))
	eventually(t, "no more refresh", func() bool {
		l.tell(body)
		recv(t, events, "an event")
		return len(l.got) == 0
	})
}

func TestOpenAndCloseSession(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	type result struct {
		s   client.Session
		err error
	}
	done := make(chan result, 1)
	open := func(token string) {
		go func() {
			v, err := c.OpenSession(t.Context(), token)
			done <- result{v, err}
		}()
	}
	open("bad")
	l.fail(l.want(message.VerbCall), message.CodeUnauthenticated)
	wantCode(t, recv(t, done, "an answer").err, message.CodeUnauthenticated)
	open("good")
	if got := l.letIn("anna", ""); got != "good" {
		t.Fatal(got)
	}
	if r := recv(t, done, "an answer"); r.err != nil || r.s.Subject != "anna" || r.s.Token != "good" {
		t.Fatalf("got %+v", r)
	}
	open("")
	wantCode(t, recv(t, done, "an answer").err, message.CodeInvalidInput)

	closed := make(chan error, 1)
	go func() { closed <- c.CloseSession(t.Context(), true) }()
	m := l.want(message.VerbCall)
	if string(m.To) != "node:/session/close" || string(m.Body) != `{"everywhere":true}` {
		t.Fatalf("got a call of %s with %s", m.To, m.Body)
	}
	l.reply(m, `{}`)
	if err := recv(t, closed, "an answer"); err != nil || c.Session().ID != "" {
		t.Fatal(err, c.Session())
	}
	open("odd")
	l.reply(l.want(message.VerbCall), `[]`)
	wantCode(t, recv(t, done, "an answer").err, message.CodeBadMessage)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.RefreshSession(ctx)
	wantCode(t, err, message.CodeCanceled)
}
