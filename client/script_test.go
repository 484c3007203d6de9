package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// patience is how long a test waits for what has to happen.
const patience = 10 * time.Second

// script is a node that does what a test tells it.
type script struct {
	t     *testing.T
	srv   *httptest.Server
	conns chan *link
	frame int    // limits.frame
	mute  bool   // accept, but send no welcome
	name  string // of the node, and its id

	mu     sync.Mutex
	refuse func(w http.ResponseWriter) // instead of a handshake
	nodes  string                      // JSON: what welcomes say of nodes
	open   []*link
	count  int
}

// link is one connection as the script sees it.
type link struct {
	t     *testing.T
	ws    *websocket.Conn
	json  bool
	got   chan message.Message
	ended chan error // gets what reading came to
}

func newScript(t *testing.T) *script {
	t.Helper()
	s := makeScript(t)
	s.srv.Start()
	return s
}

func newTLSScript(t *testing.T) *script {
	t.Helper()
	s := makeScript(t)
	s.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.srv.StartTLS()
	return s
}

func makeScript(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, conns: make(chan *link, 100), frame: 1 << 20, name: "n"}
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.mu.Lock()
		for _, l := range s.open {
			_ = l.ws.CloseNow()
		}
		s.mu.Unlock()
		s.srv.Close()
	})
	return s
}

func (s *script) url() string { return "ws" + strings.TrimPrefix(s.srv.URL, "http") }

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		refuse(w)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{"ropewalk.v1.split", "ropewalk.v1.json"},
		CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		return
	}
	ws.SetReadLimit(64 << 20)
	l := &link{
		t: s.t, ws: ws, json: ws.Subprotocol() == "ropewalk.v1.json",
		got: make(chan message.Message, 10_000), ended: make(chan error, 1),
	}
	s.mu.Lock()
	s.open = append(s.open, l)
	s.count++
	id := fmt.Sprintf("c%d", s.count)
	nodes := s.nodes
	s.mu.Unlock()
	if nodes != "" {
		nodes = `,"nodes":` + nodes
	}
	if !s.mute {
		l.send(message.Message{
			Verb: message.VerbWelcome, To: []byte(id + "@client:/"), From: []byte(s.name + "@node:/"),
			Body: fmt.Appendf(nil, `{"id":%q,"node":{"id":%q,"name":"test"},"limits":{"frame":%d,"calls":1024}%s}`, id, s.name, s.frame, nodes),
		})
	}
	s.conns <- l
	l.readAll()
}

func (s *script) setRefuse(f func(w http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// next waits for the next connection.
func (s *script) next() *link {
	s.t.Helper()
	return recv(s.t, s.conns, "a connection")
}

func (l *link) readAll() {
	for {
		_, frame, err := l.ws.Read(context.Background())
		if err != nil {
			l.ended <- err
			return
		}
		var m message.Message
		decode := message.DecodeSplit
		if l.json {
			decode = message.DecodeJSON
		}
		if err := decode(frame, &m); err != nil {
			l.t.Errorf("the client sent %q: %v", frame, err)
			continue
		}
		l.got <- m.Clone()
	}
}

func (l *link) send(m message.Message) {
	if l.json {
		l.raw(websocket.MessageText, message.AppendJSON(nil, &m))
		return
	}
	l.raw(websocket.MessageBinary, message.AppendSplit(nil, &m))
}

func (l *link) raw(kind websocket.MessageType, frame []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = l.ws.Write(ctx, kind, frame) // a client that is gone does not matter
}

// recv waits for the next message of the client.
func (l *link) recv() message.Message {
	l.t.Helper()
	return recv(l.t, l.got, "a message")
}

// want waits for the next message and checks its verb.
func (l *link) want(v message.Verb) message.Message {
	l.t.Helper()
	m := l.recv()
	if m.Verb != v {
		l.t.Fatalf("got %s %s%s, want %s", m.Verb, m.To, m.Rmid, v)
	}
	return m
}

func (l *link) reply(to message.Message, body string) {
	l.send(message.Message{Verb: message.VerbReply, Rmid: to.Mid, From: []byte("s1@math:/"), Body: []byte(body)})
}

func (l *link) fail(to message.Message, code message.Code) {
	l.send(message.Message{Verb: message.VerbError, Rmid: to.Mid, From: []byte("n@node:/"),
		Body: message.AppendError(nil, message.NewError(code, "no", "try something else"))})
}

func (l *link) part(to message.Message, seq int, body string) {
	l.send(message.Message{Verb: message.VerbPart, Rmid: to.Mid, Seq: uint64(seq), Body: []byte(body)})
}

// drop ends the connection without a word.
func (l *link) drop() { _ = l.ws.CloseNow() }

func recv[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
		panic("unreachable")
	}
}

var quiet = slog.New(slog.DiscardHandler)

// dial connects to the script; the client is closed at the end of the test.
func dial(t *testing.T, s *script, opts ...client.Option) (*client.Client, *link) {
	t.Helper()
	opts = append([]client.Option{
		client.WithLogger(quiet), client.WithBackoff(time.Millisecond, 20*time.Millisecond),
		client.WithCloseTimeout(2 * time.Second),
	}, opts...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, s.url(), opts...)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, s.next()
}

// until waits for a state.
func until(t *testing.T, c *client.Client, want client.State) {
	t.Helper()
	eventually(t, "state "+want.String(), func() bool { return c.State() == want })
}

// eventually polls a condition that no channel tells of.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func wantCode(t *testing.T, err error, want message.Code) {
	t.Helper()
	if got := message.CodeOf(err); got != want {
		t.Fatalf("error %v has code %q, want %q", err, got, want)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
