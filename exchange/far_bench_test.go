package exchange_test

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// farSink is a FarLink that throws away what it gets.
type farSink struct{ mid []byte }

func (s *farSink) Deliver(_ exchange.Note, m *message.Message) error {
	s.mid = append(s.mid[:0], m.Mid...)
	return nil
}
func (s *farSink) Relief() <-chan struct{} { return nil }
func (s *farSink) Lose(string)             {}

// half is one node with one connection, and another node that is a sink.
type half struct {
	x    *exchange.Exchange
	conn *sink
	peer *exchange.Peer
	link *farSink
	far  *exchange.FarNode
}

func newHalf(tb testing.TB) half {
	tb.Helper()
	h := half{
		x:    exchange.New(exchange.Config{NodeID: strings.Repeat("a", 32), Allow: allowAll}),
		conn: &sink{wire: wire{id: "aaaaaaaa0000000000001"}}, link: new(farSink),
	}
	tb.Cleanup(h.x.Close)
	h.peer = h.x.Attach(h.conn, 1<<20)
	h.far = h.x.AttachNode(h.link, route.Place{Node: strings.Repeat("b", 32), Name: "b"})
	return h
}

// nearOnce returns a function that makes one call from the connection, which
// the other node answers.
func (h half) nearOnce(tb testing.TB) func() {
	tb.Helper()
	p, err := route.ParsePattern("/")
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.far.Serve("bbbbbbbb0000000000001", "echo", p, route.Info{}); err != nil {
		tb.Fatal(err)
	}
	ask := []byte("{\"to\":\"echo:/\",\"mid\":\"1\",\"tmo\":5}\n{\"a\":2,\"b\":5}")
	var m message.Message
	return func() {
		if err := message.DecodeSplit(ask, &m); err != nil {
			tb.Fatal(err)
		}
		h.peer.Receive(&m)
		m.Reset()
		m.Verb, m.Rmid, m.Body = message.VerbReply, h.link.mid, ask
		h.far.Receive(exchange.Note{}, &m)
	}
}

// farOnce returns a function that makes one call from the other node, which the
// connection answers.
func (h half) farOnce(tb testing.TB) func() {
	tb.Helper()
	serve := message.Message{Verb: message.VerbServe, To: []byte("echo:/"), Mid: []byte("s")}
	h.peer.Receive(&serve)
	ask := []byte("{\"vrb\":\"call\",\"to\":\"echo:/\",\"mid\":\"1\",\"frm\":\"bbbbbbbb0000000000001@client:/\",\"tmo\":5,\"ts\":\"2026-11-21T17:50:43.905Z\"}\n{\"a\":2,\"b\":5}")
	n := exchange.Note{Server: h.conn.id}
	var m message.Message
	return func() {
		if err := message.DecodeSplit(ask, &m); err != nil {
			tb.Fatal(err)
		}
		h.far.Receive(n, &m)
		m.Reset()
		m.Verb, m.Rmid, m.Body = message.VerbReply, h.conn.mid, ask
		h.peer.Receive(&m)
	}
}

// A call to another node costs the call itself, on both sides.
func TestFarCallAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	for name, once := range map[string]func(){"near": newHalf(t).nearOnce(t), "far": newHalf(t).farOnce(t)} {
		if n := testing.AllocsPerRun(1000, once); n > 1 {
			t.Errorf("%v allocations a call on the %s side, want at most 1: the call", n, name)
		}
	}
}

func BenchmarkFarCallNear(b *testing.B) {
	once := newHalf(b).nearOnce(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

func BenchmarkFarCallFar(b *testing.B) {
	once := newHalf(b).farOnce(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
