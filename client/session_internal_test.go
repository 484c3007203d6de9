package client

import (
	"cmp"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// nothing is a sink for flights whose outcome the test sees in the session.
type nothing struct{}

func (nothing) part(call.Part) error       { return nil }
func (nothing) finish(*call.Answer, error) {}

// sessionModel drives a session as a client does and keeps the books.
type sessionModel struct {
	s       session
	n       int
	flights []*flight
	idem    map[*flight]bool
	ends    map[*flight]int
	batches map[*wire][]*outgoing // taken, not written yet
	out     []*outgoing           // what may have reached a node, in order
	via     map[*outgoing]*wire
	times   map[*outgoing]int
	refused map[*outgoing]int
	sends   []*outgoing // admitted sends without acknowledgement, in order
}

func newModel() *sessionModel {
	return &sessionModel{
		s:    newSession(limits{messages: 8, bytes: 1 << 20, frame: 1 << 20}),
		idem: map[*flight]bool{}, ends: map[*flight]int{}, times: map[*outgoing]int{}, refused: map[*outgoing]int{},
		batches: map[*wire][]*outgoing{}, via: map[*outgoing]*wire{},
	}
}

// wire draws one of the connections, or nil.
func (m *sessionModel) wire(t *rapid.T) *wire {
	if len(m.s.wires) == 0 {
		return nil
	}
	return rapid.SampledFrom(m.s.wires).Draw(t, "wire")
}

func (m *sessionModel) message(verb message.Verb) *outgoing {
	m.n++
	return &outgoing{cost: 10, msg: message.Message{Verb: verb, Mid: []byte(strconv.Itoa(m.n))}}
}

func (m *sessionModel) finish(list []ending) {
	for _, e := range list {
		m.ends[e.flight]++
	}
}

func (m *sessionModel) send(*rapid.T) {
	o := m.message(message.VerbSend)
	if m.s.admit(o) == nil {
		m.sends = append(m.sends, o)
	}
}

func (m *sessionModel) call(t *rapid.T) {
	o := m.message(message.VerbCall)
	f := &flight{out: o, mid: string(o.msg.Mid), sink: nothing{}, idempotent: rapid.Bool().Draw(t, "idempotent")}
	o.flight = f
	m.idem[f] = f.idempotent
	m.flights = append(m.flights, f)
	if m.s.admit(o) != nil && m.s.cancel(f) {
		m.ends[f]++
	}
}

func (m *sessionModel) serve(*rapid.T) {
	o := m.message(message.VerbServe)
	f := &flight{out: o, mid: string(o.msg.Mid), sink: nothing{}, bound: true}
	o.flight = f
	if m.s.hurry(m.s.main, o, false) == nil {
		m.flights = append(m.flights, f)
	}
}

func (m *sessionModel) take(t *rapid.T) {
	w := m.wire(t)
	if w == nil || len(m.batches[w]) > 0 {
		return
	}
	m.batches[w] = m.s.take(w, nil, rapid.IntRange(1, 60).Draw(t, "limit"))
}

// write says that the batch is out up to tried; what is left never was.
func (m *sessionModel) write(w *wire, tried int) {
	batch := m.batches[w]
	delete(m.batches, w)
	for _, o := range batch[:tried] {
		m.out = append(m.out, o)
		m.via[o] = w
		m.times[o]++
	}
	m.s.written(w, batch[tried:])
}

func (m *sessionModel) written(t *rapid.T) {
	if w := m.wire(t); w != nil {
		m.write(w, len(m.batches[w]))
	}
}

func (m *sessionModel) drop(t *rapid.T) {
	w := m.wire(t)
	if w == nil {
		return
	}
	m.write(w, rapid.IntRange(0, len(m.batches[w])).Draw(t, "tried"))
	m.finish(m.s.drop(w, errOffline))
}

// connect makes the first connection, or another while the old ones drain.
func (m *sessionModel) connect(*rapid.T) {
	if m.s.shut == nil && len(m.s.wires) < 3 {
		m.s.connect(0)
	}
}

func (m *sessionModel) drain(t *rapid.T) {
	if w := m.wire(t); w != nil {
		w.draining = true
	}
}

// refuse has a node that drains refuse what came too late.
func (m *sessionModel) refuse(t *rapid.T) {
	if len(m.out) == 0 {
		return
	}
	o := rapid.SampledFrom(m.out).Draw(t, "message")
	if w := m.via[o]; !w.gone && w.draining && m.s.again(w, o.msg.Mid) {
		m.refused[o]++
	}
}

func (m *sessionModel) answer(t *rapid.T) {
	if len(m.out) == 0 {
		return
	}
	o := rapid.SampledFrom(m.out).Draw(t, "message")
	if m.via[o].gone {
		return
	}
	if f := m.s.final(m.via[o], o.msg.Mid); f != nil {
		m.ends[f]++
	}
}

func (m *sessionModel) cancel(t *rapid.T) {
	if len(m.flights) == 0 {
		return
	}
	if f := rapid.SampledFrom(m.flights).Draw(t, "flight"); m.s.cancel(f) {
		m.ends[f]++
	}
}

func (m *sessionModel) check(t *rapid.T) {
	for f, n := range m.ends {
		if n > 1 {
			t.Fatalf("call %s ended %d times", f.mid, n)
		}
	}
	var last uint64
	for _, o := range m.out {
		if o.flight == nil && o.msg.Verb == message.VerbSend {
			if o.order <= last {
				t.Fatalf("send %s is out of order or sent twice", o.msg.Mid)
			}
			last = o.order
		}
	}
	for o, n := range m.times {
		if n > 1+m.refused[o] && (o.flight == nil || !m.idem[o.flight]) {
			t.Fatalf("%s %s was sent %d times", o.msg.Verb, o.msg.Mid, n)
		}
	}
	weight := 0
	for _, o := range m.s.queue.list {
		weight += o.cost
	}
	if !slices.IsSortedFunc(m.s.queue.list, byOrder) {
		t.Fatal("the queue is out of order")
	}
	if weight != m.s.queue.bytes {
		t.Fatalf("the queue weighs %d, not %d", weight, m.s.queue.bytes)
	}
}

func TestSessionModel(t *testing.T) {
	t.Parallel()
	for range 20 { // one round of short runs finds too little
		rapid.Check(t, checkSession)
	}
}

func checkSession(t *rapid.T) {
	m := newModel()
	t.Repeat(map[string]func(*rapid.T){
		"send": m.send, "call": m.call, "serve": m.serve, "take": m.take, "written": m.written,
		"drop": m.drop, "connect": m.connect, "answer": m.answer, "drain": m.drain, "refuse": m.refuse, "cancel": m.cancel, "": m.check,
	})
	// Whatever happened: what was accepted goes out, what waits ends.
	for _, w := range slices.Clone(m.s.wires) {
		m.write(w, len(m.batches[w]))
		m.finish(m.s.drop(w, errOffline))
	}
	w := m.s.connect(0)
	for m.s.queued() > 0 {
		m.batches[w] = m.s.take(w, nil, 1<<20)
		m.write(w, len(m.batches[w]))
	}
	m.check(t)
	for _, o := range m.sends {
		if m.times[o] != 1 {
			t.Fatalf("send %s went out %d times", o.msg.Mid, m.times[o])
		}
	}
	m.finish(m.s.end(errNotReady))
	for _, f := range m.flights {
		if m.ends[f] != 1 {
			t.Fatalf("call %s ended %d times", f.mid, m.ends[f])
		}
	}
	if m.s.admit(m.message(message.VerbSend)) == nil {
		t.Fatal("a closed session takes messages")
	}
}

func byOrder(a, b *outgoing) int { return cmp.Compare(a.order, b.order) }

func TestLineKeepsOrder(t *testing.T) {
	t.Parallel()
	var l line
	for i := range 10 {
		l.push(&outgoing{cost: 10, order: uint64(i)}) //nolint:gosec // small
	}
	got := l.pop(nil, 35)
	got = l.pop(got, 1)
	got = l.pop(got, 1000)
	if len(got) != 10 || !slices.IsSortedFunc(got, byOrder) {
		t.Fatalf("%d messages", len(got))
	}
	if l.bytes != 0 || len(l.list) != 0 {
		t.Fatalf("%d bytes are left", l.bytes)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for try := range 100 {
		highest := time.Duration(0)
		for range 200 {
			d := backoff(try, 10*time.Millisecond, time.Second)
			if d < 0 || d > time.Second || try < 6 && d > 10*time.Millisecond<<try {
				t.Fatalf("try %d waits %v", try, d)
			}
			highest = max(highest, d)
		}
		if try > 10 && highest < 500*time.Millisecond {
			t.Fatalf("try %d never waits long", try)
		}
	}
}
