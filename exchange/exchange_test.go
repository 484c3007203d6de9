package exchange_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a Link that keeps what is delivered.
type wire struct {
	id   string
	got  chan message.Message
	room chan struct{}

	mu        sync.Mutex
	full      bool
	partsFull bool
	closed    int
}

func (w *wire) ID() string         { return w.id }
func (w *wire) Listener() string   { return "main" }
func (w *wire) RemoteAddr() string { return "127.0.0.1:1" }
func (w *wire) Transport() string  { return "websocket" }
func (w *wire) RefuseWhenFull()    {}

// Relief is given when the test says so.
func (w *wire) Relief() <-chan struct{} { return w.room }

func (w *wire) Deliver(m *message.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full || (w.partsFull && m.Verb == message.VerbPart) {
		return message.NewError(message.CodeOverloaded, "full", "")
	}
	w.got <- m.Clone()
	return nil
}

func (w *wire) Close(code int, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = code
}

// next returns the next message that was delivered.
func (w *wire) next(t *testing.T) message.Message {
	t.Helper()
	select {
	case m := <-w.got:
		return m
	case <-time.After(10 * time.Second):
		t.Fatalf("%s got no message", w.id)
		return message.Message{}
	}
}

// none fails if a message was delivered that nobody took.
func (w *wire) none(t *testing.T) {
	t.Helper()
	select {
	case m := <-w.got:
		t.Fatalf("%s got a message too many: %s %s", w.id, m.EffectiveVerb(), m.Body)
	default:
	}
}

func allowAll(route.Peer, message.Verb, message.Address) error { return nil }

type world struct {
	*exchange.Exchange
	t *testing.T
}

func newWorld(t *testing.T, change ...func(*exchange.Config)) world {
	t.Helper()
	cfg := exchange.Config{
		NodeID: strings.Repeat("0", 32), NodeName: "test",
		Allow: allowAll,
	}
	for _, f := range change {
		f(&cfg)
	}
	x := exchange.New(cfg)
	t.Cleanup(x.Close)
	return world{x, t}
}

// end is one connection in a test.
type end struct {
	*wire
	*exchange.Peer
	t *testing.T
}

func (w world) connect(id string) end {
	w.t.Helper()
	l := &wire{id: id, got: make(chan message.Message, 4096)}
	e := end{l, w.Attach(l, 1<<20), w.t}
	if m := e.next(w.t); m.Verb != message.VerbWelcome {
		w.t.Fatalf("the first message is %s", m.Verb)
	}
	return e
}

func (e end) ID() string { return e.id }

// send has the other end send a message, written as JSON.
func (e end) send(format string, args ...any) {
	e.t.Helper()
	var m message.Message
	frame := fmt.Appendf(nil, format, args...)
	if err := message.DecodeJSON(frame, &m); err != nil {
		e.t.Fatalf("%s: %v", frame, err)
	}
	e.Receive(&m)
	clear(frame) // what is needed later must have been copied
}

// serve announces a path and takes the acknowledgement.
func (e end) serve(address string) {
	e.t.Helper()
	e.send(`{"vrb":"serve","mid":"s","to":%q}`, address)
	if m := e.next(e.t); m.Verb != message.VerbReply {
		e.t.Fatalf("serve %s: %s", address, m.Body)
	}
}

// want takes the next message and compares it.
func (e end) want(verb message.Verb, rmid, body string) message.Message {
	e.t.Helper()
	m := e.next(e.t)
	if m.Verb != verb || string(m.Rmid) != rmid || string(m.Body) != body {
		e.t.Fatalf("%s got %s of %q with %s, want %s of %q with %s", e.id, m.Verb, m.Rmid, m.Body, verb, rmid, body)
	}
	return m
}

func (e end) wantError(rmid string, code message.Code) *message.Error {
	e.t.Helper()
	m := e.next(e.t)
	got := message.DecodeError(m.Body)
	if m.Verb != message.VerbError || string(m.Rmid) != rmid || got.Code != code {
		e.t.Fatalf("%s got %s of %q with %s, want error %s of %q", e.id, m.Verb, m.Rmid, m.Body, code, rmid)
	}
	return got
}

func TestCallThroughTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.connect("c1"), w.connect("s1")
	server.serve("math:/decimal/{op}")
	client.send(`{"to":"math:/decimal/mul","mid":"7","frm":"liar:/","tmo":5,"aut":"secret","hdr":{"traceparent":"x"},"bdy":{"a":2}}`)
	got := server.next(t)
	if got.Verb != message.VerbCall || string(got.To) != "math:/decimal/mul" || string(got.Body) != `{"a":2}` {
		t.Fatalf("the server got %s to %s with %s", got.Verb, got.To, got.Body)
	}
	if string(got.From) != "c1@client:/" || got.Authorization != nil || got.Header("traceparent") != "x" {
		t.Errorf("from %s, token %q, headers %s", got.From, got.Authorization, got.Headers)
	}
	if got.Timeout <= 0 || got.Timeout > 5*time.Second || len(got.Timestamp) != 24 {
		t.Errorf("time left %v, timestamp %q", got.Timeout, got.Timestamp)
	}
	server.send(`{"vrb":"part","rmid":%q,"seq":9,"bdy":1}`, got.Mid)
	server.send(`{"vrb":"part","rmid":%q,"bdy":2}`, got.Mid)
	server.send(`{"vrb":"reply","rmid":%q,"bdy":10}`, got.Mid)
	for i, body := range []string{"1", "2"} {
		if m := client.want(message.VerbPart, "7", body); m.Seq != uint64(i+1) {
			t.Errorf("part %d is numbered %d", i+1, m.Seq)
		}
	}
	if m := client.want(message.VerbReply, "7", "10"); string(m.From) != "s1@math:/" {
		t.Errorf("the reply is from %s", m.From)
	}
	server.send(`{"vrb":"reply","rmid":%q,"bdy":11}`, got.Mid) // late
	client.none(t)
	server.none(t)
	if n := w.InFlight(); n != 0 {
		t.Errorf("%d calls in flight", n)
	}
}

// A thousand clients use the same ids, and each gets its own answers.
func TestCollidingIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.connect("s1")
	server.serve("echo:/")
	clients := make([]end, 1000)
	for i := range clients {
		clients[i] = w.connect(fmt.Sprintf("c%d", i))
		for _, mid := range []string{"1", "2"} {
			clients[i].send(`{"to":"echo:/","mid":%q,"bdy":"%d/%s"}`, mid, i, mid)
		}
	}
	calls := make([]message.Message, 0, 2000)
	for range 2000 {
		calls = append(calls, server.next(t))
	}
	var all sync.WaitGroup
	for part := range 4 { // answers come from several goroutines, last calls first
		all.Go(func() {
			for i := len(calls) - 1 - part; i >= 0; i -= 4 {
				var m message.Message
				m.Verb, m.Rmid, m.Body = message.VerbReply, calls[i].Mid, calls[i].Body
				server.Receive(&m)
			}
		})
	}
	all.Wait()
	for i, c := range clients {
		seen := map[string]string{}
		for range 2 {
			m := c.next(t)
			seen[string(m.Rmid)] = string(m.Body)
		}
		for _, mid := range []string{"1", "2"} {
			if want := fmt.Sprintf(`"%d/%s"`, i, mid); seen[mid] != want {
				t.Fatalf("client %d got %s for call %s", i, seen[mid], mid)
			}
		}
		c.none(t)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, frame string
		code        message.Code
		hint        string
	}{
		{"nobody", `{"to":"math:/x","mid":"1"}`, message.CodeNoService, ""},
		{"no address", `{"mid":"1"}`, message.CodeBadMessage, "to"},
		{"bad address", `{"to":"math","mid":"1"}`, message.CodeBadAddress, ""},
		{"dots", `{"to":"math:/../x","mid":"1"}`, message.CodeBadAddress, ""},
		{"call a client", `{"to":"c1@client:/","mid":"1"}`, message.CodeUnknownVerb, "send"},
		{"unknown strategy", `{"to":"echo:/","mid":"1","str":"best"}`, message.CodeBadMessage, "least-busy"},
		{"gathered send", `{"vrb":"send","to":"echo:/","mid":"1","str":"all"}`, message.CodeBadMessage, "call"},
		{"welcome from a client", `{"vrb":"welcome","mid":"1"}`, message.CodeUnknownVerb, "serve"},
		{"serve a reserved name", `{"vrb":"serve","to":"node:/x","mid":"1"}`, message.CodeBadAddress, "own"},
		{"serve a client's name", `{"vrb":"serve","to":"client:/**","mid":"1"}`, message.CodeBadAddress, ""},
		{"serve any name", `{"vrb":"serve","to":"*:/x","mid":"1"}`, message.CodeBadAddress, ""},
		{"serve as an instance", `{"vrb":"serve","to":"i@math:/x","mid":"1"}`, message.CodeBadAddress, ""},
		{"serve a bad pattern", `{"vrb":"serve","to":"math:/**/x","mid":"1"}`, message.CodeBadAddress, ""},
		{"serve a bad body", `{"vrb":"serve","to":"math:/x","mid":"1","bdy":{"version":7}}`, message.CodeBadMessage, "version"},
		{"send to nobody", `{"vrb":"send","to":"nosuch@client:/","mid":"1"}`, message.CodeNoClient, "clients"},
		{"send to no client", `{"vrb":"send","to":"client:/","mid":"1"}`, message.CodeBadAddress, "*@client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.connect("s1").serve("echo:/")
			c := w.connect("c1")
			c.send("%s", tc.frame)
			if err := c.wantError("1", tc.code); !strings.Contains(err.Hint, tc.hint) {
				t.Errorf("hint %q lacks %q", err.Hint, tc.hint)
			}
			c.none(t)
		})
	}
}

func TestServeNeedsPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) { c.Allow = nil })
	c := w.connect("c1")
	c.send(`{"vrb":"serve","to":"math:/x","mid":"1"}`)
	c.wantError("1", message.CodeForbidden)
	c.send(`{"vrb":"send","to":"*@client:/","mid":"2"}`)
	c.wantError("2", message.CodeForbidden)
}

func TestDuplicateAndTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) { c.MaxCalls = 2 })
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	c.send(`{"to":"echo:/","mid":"1"}`)
	c.wantError("1", message.CodeDuplicateID)
	c.send(`{"to":"echo:/","mid":"2"}`)
	c.send(`{"to":"echo:/","mid":"3"}`)
	c.wantError("3", message.CodeTooManyCalls)
	first, second := s.next(t), s.next(t)
	s.none(t)
	s.send(`{"rmid":%q,"bdy":1}`, first.Mid)
	c.want(message.VerbReply, "1", "1")
	c.send(`{"to":"echo:/","mid":"1"}`) // the id is free again
	s.send(`{"rmid":%q,"bdy":2}`, second.Mid)
	c.want(message.VerbReply, "2", "2")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s, other := w.connect("c1"), w.connect("s1"), w.connect("c2")
	s.serve("slow:/")
	c.send(`{"to":"slow:/","mid":"1"}`)
	m := s.next(t)
	other.send(`{"vrb":"cancel","rmid":"1"}`) // of somebody else
	other.send(`{"vrb":"reply","rmid":%q,"bdy":"stolen"}`, m.Mid)
	c.none(t)
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	c.wantError("1", message.CodeCanceled)
	s.want(message.VerbCancel, string(m.Mid), "")
	s.send(`{"rmid":%q,"bdy":"late"}`, m.Mid)
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	c.none(t)
	s.none(t)
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("slow:/")
	c.send(`{"to":"slow:/","mid":"1","tmo":0.05}`)
	m := s.next(t)
	c.wantError("1", message.CodeDeadlineExceeded)
	s.want(message.VerbCancel, string(m.Mid), "")
}

func TestServerLostAndTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s1, s2 := w.connect("c1"), w.connect("s1"), w.connect("s2")
	s1.serve("echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	s1.next(t)
	s2.serve("echo:/")
	s1.Gone()
	c.wantError("1", message.CodeServiceLost)
	c.send(`{"to":"echo:/","mid":"2"}`)
	m := s2.next(t)
	s2.send(`{"rmid":%q,"bdy":2}`, m.Mid)
	c.want(message.VerbReply, "2", "2")
	s2.Gone()
	c.send(`{"to":"echo:/","mid":"3"}`)
	c.wantError("3", message.CodeServiceDown)
}

func TestCallerLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("slow:/")
	c.send(`{"to":"slow:/","mid":"1"}`)
	m := s.next(t)
	c.Gone()
	s.want(message.VerbCancel, string(m.Mid), "")
	if w.Peer("c1") != nil || w.InFlight() != 0 {
		t.Error("the caller is still known")
	}
}

func TestFullServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("echo:/")
	s.mu.Lock()
	s.full = true
	s.mu.Unlock()
	c.send(`{"to":"echo:/","mid":"1"}`)
	if err := c.wantError("1", message.CodeOverloaded); !err.Retryable || err.RetryAfter == 0 {
		t.Errorf("%+v does not say that it may be repeated", err)
	}
	if s.InFlight() != 0 {
		t.Error("the call still counts")
	}
}

// A caller whose final answer finds no room learns from the end of its
// connection that the call is over.
func TestFullCallerIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	m := s.next(t)
	c.mu.Lock()
	c.full = true
	c.mu.Unlock()
	s.send(`{"rmid":%q,"bdy":1}`, m.Mid)
	if c.closed != exchange.CloseSlowConsumer || w.InFlight() != 0 {
		t.Errorf("closed with %d, %d in flight", c.closed, w.InFlight())
	}
}

func TestSends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.connect("a"), w.connect("b"), w.connect("c")
	a.send(`{"vrb":"send","to":"b@client:/","mid":"1","typ":"chat","bdy":"hi"}`)
	m := b.next(t)
	if m.Verb != message.VerbSend || string(m.From) != "a@client:/" || string(m.Body) != `"hi"` || string(m.Type) != "chat" || string(m.Mid) != "1" {
		t.Fatalf("b got %s from %s: %s", m.Verb, m.From, m.Body)
	}
	a.none(t)
	a.send(`{"vrb":"send","to":"b@client:/","mid":"2","ack":true,"bdy":"hi"}`)
	a.want(message.VerbReply, "2", "")
	b.next(t)
	a.send(`{"vrb":"send","to":"*@client:/","mid":"3","ack":true,"bdy":"all"}`)
	a.want(message.VerbReply, "3", "")
	b.want(message.VerbSend, "", `"all"`)
	c.want(message.VerbSend, "", `"all"`)
	a.send(`{"vrb":"send","to":"*@client:/elsewhere","bdy":"none"}`)
	b.none(t)
	c.serve("log:/")
	a.send(`{"vrb":"send","to":"log:/","mid":"4","bdy":"line"}`)
	if m := c.next(t); m.Verb != message.VerbSend || string(m.Body) != `"line"` {
		t.Fatalf("the service got %s %s", m.Verb, m.Body)
	}
	a.none(t)
}
