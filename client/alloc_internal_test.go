package client

import (
	"bytes"
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

// mirror is a transport that answers each call with its own body.
type mirror struct {
	in   chan []byte
	dead chan struct{}
}

func (m *mirror) name() string               { return "mirror" }
func (m *mirror) heard() time.Time           { return time.Now() }
func (m *mirror) ping(context.Context) error { return nil }
func (m *mirror) close(int, string)          { m.kill() }

func (m *mirror) kill() {
	select {
	case <-m.dead:
	default:
		close(m.dead)
	}
}

func (m *mirror) read() ([]byte, error) {
	select {
	case f := <-m.in:
		return f, nil
	case <-m.dead:
		return nil, &dropped{}
	}
}

func (m *mirror) write(frames [][]byte) (int, error) {
	for _, f := range frames {
		var msg message.Message
		if err := message.DecodeSplit(f, &msg); err != nil {
			return 0, err
		}
		switch msg.Verb { //nolint:exhaustive // it is only asked these
		case message.VerbSubscribe:
			m.in <- message.AppendSplit(nil, &message.Message{
				Verb: message.VerbReply, Rmid: msg.Mid, Topic: []byte("t"), Epoch: []byte("e"), Offset: 1, Body: msg.Body,
			})
		case message.VerbCall:
			m.in <- message.AppendSplit(make([]byte, 0, 256), &message.Message{Verb: message.VerbReply, Rmid: msg.Mid, Body: msg.Body})
		}
	}
	return len(frames), nil
}

// TestCallAllocations guards what one call costs: message, its fields, flight,
// waiter with its channel, timer, answer, and one for the mirror's frame.
func TestCallAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	cfg := defaults()
	cfg.dial = func(context.Context, *place) (transport, *welcome, error) {
		return &mirror{in: make(chan []byte, 100), dead: make(chan struct{})}, &welcome{ID: "me"}, nil
	}
	c, err := start(t.Context(), []*url.URL{{Scheme: "http", Host: "test"}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := testing.AllocsPerRun(2000, func() {
		if _, err := c.Call(t.Context(), "a:/", 1); err != nil {
			t.Error(err)
		}
	})
	if n > 20 {
		t.Fatalf("a call costs %v allocations", n)
	}
	t.Logf("%v allocations", n)
}

// TestUpdateAllocations guards what an update costs: its body.
func TestUpdateAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	cfg := defaults()
	cfg.dial = func(context.Context, *place) (transport, *welcome, error) {
		return &mirror{in: make(chan []byte, 100), dead: make(chan struct{})}, &welcome{ID: "me"}, nil
	}
	c, err := start(t.Context(), []*url.URL{{Scheme: "http", Host: "test"}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events := c.Watch(t.Context(), "log:/a")
	if err := events.Ready(t.Context()); err != nil || !events.Events() {
		t.Fatal(err)
	}
	c.mu.Lock()
	cn := c.conn
	c.mu.Unlock()
	m := message.Message{Verb: message.VerbUpdate, Topic: []byte("t"), Epoch: []byte("e"), Offset: 1, Body: []byte(`{"a":1}`)}
	n := testing.AllocsPerRun(1000, func() {
		m.Offset++
		c.receiveUpdate(cn, &m)
		if u, err := events.Next(t.Context()); err != nil || u.Offset != m.Offset {
			t.Error(u, err)
		}
	})
	if n > 1 {
		t.Fatalf("an update costs %v allocations", n)
	}
}

func TestEncodeAndBatchAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	o := &outgoing{deadline: time.Now().Add(time.Minute), msg: message.Message{
		Verb: message.VerbCall, To: []byte("math:/mul"), Mid: []byte("1"), Body: bytes.Repeat([]byte("x"), 1000),
	}}
	w := writer{limit: 1 << 20}
	s := newSession(limits{messages: 100, bytes: 1 << 20})
	wire := s.connect(0)
	if n := testing.AllocsPerRun(1000, func() {
		for range 10 {
			_ = s.admit(o)
		}
		w.batch = s.take(wire, w.batch[:0], batchBytes)
		w.encode()
		s.written(wire, nil)
	}); n > 0 {
		t.Fatalf("ten messages cost %v allocations on their way to the transport", n)
	}
	if len(w.frames) != 10 {
		t.Fatalf("%d frames", len(w.frames))
	}
	batch := appendBatch(nil, o.msg.Body)
	src := bytes.NewReader(nil)
	r := newBatchReader(src, 1<<20)
	if n := testing.AllocsPerRun(1000, func() {
		src.Reset(batch)
		r.r.Reset(src)
		if _, err := r.next(); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Fatalf("a frame of a batch costs %v allocations", n)
	}
}
