package client_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

func TestDialFails(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := dead.Addr().String()
	_ = dead.Close()
	s := newScript(t)
	s.setRefuse(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"code":"forbidden","message":"this origin is not allowed","hint":"ask"}`)
	})
	proxy := newScript(t)
	proxy.setRefuse(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	tests := []struct {
		name, url string
		code      message.Code
		says      string
	}{
		{"nobody there", "ws://" + addr, message.CodeNotReady, "ws://" + addr + "/: nothing listens there"},
		{"refused by the node", s.url(), message.CodeForbidden, "this origin"},
		{"something else", proxy.url(), message.CodeNotReady, "502 Bad Gateway"},
		{"no URL", "localhost:7420", message.CodeBadAddress, "begin with ws://"},
		{"no host", "ws:///x", message.CodeBadAddress, "no host"},
		{"not to be read", "ws://[", message.CodeBadAddress, "cannot be read"},
	}
	for _, tt := range tests {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c, err := client.Dial(ctx, tt.url, client.WithLogger(quiet))
		cancel()
		if c != nil || message.CodeOf(err) != tt.code || !strings.Contains(message.AsError(err).Message, tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestDialTLS(t *testing.T) {
	t.Parallel()
	s := newTLSScript(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.Dial(ctx, s.url(), client.WithLogger(quiet))
	wantCode(t, err, message.CodeNotReady)
	if text := message.AsError(err).Message; !strings.Contains(text, "wss://") || !strings.Contains(text, "certificate") {
		t.Fatal(text)
	}
	h := s.srv.Client()
	c, l := dial(t, s, client.WithHTTPClient(h), client.WithCompression())
	var waits []<-chan outcome
	long := strings.Repeat("x", 10_000)
	for range 100 {
		waits = append(waits, ask(t.Context(), c, "a:/", long))
	}
	for range waits {
		l.reply(l.want(message.VerbCall), `"`+long+`"`)
	}
	for _, w := range waits {
		if o := recv(t, w, "an answer"); o.err != nil || len(o.answer.Body) != len(long)+2 {
			t.Fatal(o.err)
		}
	}
	h.CloseIdleConnections()
}

func TestDialMuteServer(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.mute = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Dial(ctx, s.url(), client.WithLogger(quiet))
	wantCode(t, err, message.CodeDeadlineExceeded)
	_, err = client.Dial(t.Context(), s.url(), client.WithLogger(quiet),
		client.WithHandshakeTimeout(50*time.Millisecond), client.WithTransports("websocket"))
	wantCode(t, err, message.CodeNotReady)
}

func TestLazyWaitsForTheNode(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.setRefuse(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	c, err := client.Dial(t.Context(), s.url(), client.WithLazy(), client.WithLogger(quiet),
		client.WithBackoff(time.Millisecond, 5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Call(t.Context(), "a:/", nil, call.WithNoWait())
	wantCode(t, err, message.CodeNotReady)
	got := ask(t.Context(), c, "a:/", nil)
	eventually(t, "a try that failed", func() bool { return c.Err() != nil && c.Stats().Queued == 1 })
	s.setRefuse(nil)
	l := s.next()
	l.reply(l.want(message.VerbCall), "1")
	if o := recv(t, got, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	if c.Err() != nil {
		t.Fatal("Err still tells of the past:", c.Err())
	}
}

func TestCallsInFlightAtADrop(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	once := ask(t.Context(), c, "a:/once", nil)
	l.want(message.VerbCall)
	again := ask(t.Context(), c, "a:/again", nil, call.WithIdempotent())
	first := l.want(message.VerbCall)
	ack := make(chan error, 1)
	go func() { ack <- c.Send(t.Context(), "x@client:/", 1, call.WithAck()) }()
	l.want(message.VerbSend)
	fresh := c.Stream(t.Context(), "a:/fresh", nil, call.WithIdempotent())
	freshCall := l.want(message.VerbCall)
	begun := c.Stream(t.Context(), "a:/begun", nil, call.WithIdempotent())
	l.part(l.want(message.VerbCall), 1, "1")
	for range begun.Parts() {
		break
	}

	l.drop()
	wantCode(t, recv(t, once, "the call").err, message.CodeConnectionLost)
	wantCode(t, recv(t, ack, "the acknowledgement"), message.CodeConnectionLost)
	_, err := begun.Answer()
	wantCode(t, err, message.CodeConnectionLost)

	l = s.next()
	m := l.want(message.VerbCall)
	if string(m.Mid) != string(first.Mid) || m.Timeout >= first.Timeout {
		t.Fatalf("sent again with mid %s (was %s) and timeout %v (was %v)", m.Mid, first.Mid, m.Timeout, first.Timeout)
	}
	l.reply(m, "1")
	if o := recv(t, again, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	m = l.want(message.VerbCall)
	if string(m.Mid) != string(freshCall.Mid) {
		t.Fatal("the stream got another mid")
	}
	l.reply(m, "1")
	if _, err := fresh.Answer(); err != nil {
		t.Fatal(err)
	}
	if c.ID() != "c2" || c.Stats().Connects != 2 {
		t.Fatalf("id %s, %+v", c.ID(), c.Stats())
	}
}

func TestQueueWhileOffline(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s, client.WithQueue(20, 1<<20))
	s.setRefuse(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	l.drop()
	eventually(t, "offline", func() bool { return c.State() != client.Online })

	gone, cancel := context.WithCancel(t.Context())
	canceled := ask(gone, c, "a:/canceled", nil)
	late := ask(t.Context(), c, "a:/late", nil, call.WithTimeout(20*time.Millisecond))
	wantCode(t, recv(t, late, "the deadline").err, message.CodeDeadlineExceeded)
	eventually(t, "one call in the queue", func() bool { return c.Stats().Queued == 1 })
	cancel()
	wantCode(t, recv(t, canceled, "the cancellation").err, message.CodeCanceled)

	for i := range 10 {
		if err := c.Send(t.Context(), "x@client:/", i); err != nil {
			t.Fatal(err)
		}
	}
	got := ask(t.Context(), c, "a:/x", 10)
	eventually(t, "the call in the queue", func() bool { return c.Stats().Queued == 11 })
	for i := 11; i < 20; i++ {
		if err := c.Send(t.Context(), "x@client:/", i); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, c.Send(t.Context(), "x@client:/", 20), message.CodeOverloaded)
	_, err := c.Stream(t.Context(), "x:/", 20).Answer()
	wantCode(t, err, message.CodeOverloaded)
	_, err = c.Call(t.Context(), "x:/", 20)
	wantCode(t, err, message.CodeOverloaded)

	s.setRefuse(nil)
	l = s.next()
	for i := range 20 {
		m := l.recv()
		if string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s %s", i, m.To, m.Body)
		}
		if i == 10 {
			l.reply(m, "1")
		}
	}
	if o := recv(t, got, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
}

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code websocket.StatusCode
		back bool
		want message.Code
	}{
		{1001, true, message.CodeConnectionLost},
		{1011, true, message.CodeConnectionLost},
		{1012, true, message.CodeConnectionLost},
		{4000, true, message.CodeConnectionLost},
		{4001, true, message.CodeConnectionLost},
		{4003, true, message.CodeConnectionLost},
		{4099, true, message.CodeConnectionLost},
		{1000, false, message.CodeConnectionLost},
		{1002, false, message.CodeConnectionLost},
		{1003, false, message.CodeConnectionLost},
		{1007, false, message.CodeConnectionLost},
		{1009, false, message.CodeConnectionLost},
		{4100, false, message.CodeConnectionLost},
		{4101, false, message.CodeUnauthenticated},
		{4102, false, message.CodeForbidden},
		{4199, false, message.CodeConnectionLost},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(int(tt.code)), func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			c, l := dial(t, s)
			got := ask(t.Context(), c, "a:/", nil)
			l.want(message.VerbCall)
			_ = l.ws.Close(tt.code, "because")
			wantCode(t, recv(t, got, "the call").err, tt.want)
			if tt.back {
				s.next()
				until(t, c, client.Online)
				return
			}
			until(t, c, client.Closed)
			wantCode(t, c.Err(), tt.want)
			wantCode(t, c.Send(t.Context(), "a:/", nil), tt.want)
			if len(s.conns) != 0 {
				t.Fatal("the client came back")
			}
		})
	}
}

func TestHalfOpenServer(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	// A relay that stops passing bytes on, and keeps its sockets open.
	relay := newRelay(t, s.srv.Listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+relay.addr(), client.WithLogger(quiet), client.WithSilence(100*time.Millisecond),
		client.WithBackoff(time.Millisecond, 5*time.Millisecond), client.WithCloseTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.next()
	got := ask(t.Context(), c, "a:/", nil)
	eventually(t, "pings that are answered", func() bool { return c.Stats().InFlight == 1 })
	relay.freeze(true)
	wantCode(t, recv(t, got, "the call").err, message.CodeConnectionLost)
	relay.freeze(false)
	s.next()
	until(t, c, client.Online)

	relay.freeze(true) // a Close is bounded even so
	began := time.Now()
	_ = c.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Fatalf("Close took %v", took)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	states := make(chan client.State, 100)
	c, l := dial(t, s, client.WithOnState(func(st client.State) { states <- st }))
	want := func(list ...client.State) {
		t.Helper()
		for _, w := range list {
			if got := recv(t, states, "state "+w.String()); got != w {
				t.Fatalf("state %v, want %v", got, w)
			}
		}
	}
	want(client.Connecting, client.Online)
	l.drop()
	want(client.Offline, client.Connecting, client.Online)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want(client.Closed)
}

func TestNodeDrains(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	got := ask(t.Context(), c, "a:/old", nil)
	old := l.want(message.VerbCall)
	l.send(message.Message{Verb: message.VerbDrain})
	until(t, c, client.Draining)
	next := ask(t.Context(), c, "a:/new", nil)
	eventually(t, "the new call in the queue", func() bool { return c.Stats().Queued == 1 })
	l.reply(old, "1")
	if o := recv(t, got, "the old answer"); o.err != nil {
		t.Fatal(o.err)
	}
	if err := recv(t, l.ended, "the end of the old connection"); websocket.CloseStatus(err) != 1001 {
		t.Fatal(err)
	}
	l2 := s.next()
	l2.reply(l2.want(message.VerbCall), "2")
	if o := recv(t, next, "the new answer"); o.err != nil || string(o.answer.Body) != "2" {
		t.Fatal(o.err)
	}
	if len(l.got) != 0 {
		t.Fatal("something new came by the draining connection")
	}
}

func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	pending := ask(t.Context(), c, "a:/", nil)
	l.want(message.VerbCall)
	for i := range 500 {
		if err := c.Send(t.Context(), "x@client:/", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if m := l.want(message.VerbSend); string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Body)
		}
	}
	if err := recv(t, l.ended, "the close"); websocket.CloseStatus(err) != 1000 {
		t.Fatal(err)
	}
	wantCode(t, recv(t, pending, "the call").err, message.CodeCanceled)
}

func TestBackpressure(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s, client.WithQueue(4, 1<<20))
	// Far more than the queue holds, from many goroutines: nobody is refused.
	const senders, each = 8, 200
	errs := make(chan error, senders)
	for range senders {
		go func() {
			var err error
			for i := 0; i < each && err == nil; i++ {
				err = c.Send(t.Context(), "x@client:/", i)
			}
			errs <- err
		}()
	}
	for range senders {
		if err := recv(t, errs, "a sender"); err != nil {
			t.Fatal(err)
		}
	}
	for range senders * each {
		l.want(message.VerbSend)
	}
}
