package mesh_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// rail is the least that can be a backplane between two nodes: one goroutine
// for each direction and buffers that are used again.
type rail struct {
	to    *rail
	queue chan *[]byte
	pool  sync.Pool
	done  chan struct{}
}

// newRails returns the two ends.
func newRails() (a, b *rail) {
	a, b = &rail{queue: make(chan *[]byte, 1024), done: make(chan struct{})}, &rail{queue: make(chan *[]byte, 1024), done: make(chan struct{})}
	a.to, b.to = b, a
	return a, b
}

func (r *rail) Open(_ context.Context, _ string, to mesh.Receiver) error {
	go func() {
		defer close(r.done)
		for b := range r.queue {
			if b == nil {
				return
			}
			to.Received(*b)
			r.pool.Put(b)
		}
	}()
	return nil
}

func (r *rail) Send(_ string, data []byte) error {
	b, ok := r.to.pool.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = append((*b)[:0], data...)
	r.to.queue <- b
	return nil
}

func (r *rail) Publish(data []byte) error { return r.Send("", data) }

func (*rail) Addr() string { return "" }

func (r *rail) Close(context.Context) error {
	r.queue <- nil
	<-r.done
	return nil
}

// drain is a mesh.Handler that counts messages.
type drain struct {
	joined chan *mesh.Node
	got    chan struct{} // after each batch of messages
	batch  int
	n      int
}

func (d *drain) Joined(n *mesh.Node)               { d.joined <- n }
func (*drain) Served(*mesh.Node, route.Seat) error { return nil }
func (*drain) Unserved(*mesh.Node, route.Seat)     {}
func (*drain) Left(*mesh.Node, *message.Error)     {}
func (d *drain) Message(_ *mesh.Node, _ mesh.Note, _ *message.Message) {
	if d.n++; d.n == d.batch {
		d.n = 0
		d.got <- struct{}{}
	}
}

// newLine returns a function that sends so many messages from one node to
// another, and waits until they are there.
func newLine(tb testing.TB, batch int) func() {
	tb.Helper()
	a, b := newRails()
	here := &drain{joined: make(chan *mesh.Node, 1), got: make(chan struct{}, 1), batch: -1}
	there := &drain{joined: make(chan *mesh.Node, 1), got: make(chan struct{}, 1), batch: batch}
	for id, end := range map[string]struct {
		rail *rail
		h    *drain
	}{"a": {a, here}, "b": {b, there}} {
		m, err := mesh.Start(tb.Context(), mesh.Config{
			ID: strings.Repeat(id, 32), Backplane: end.rail, Table: route.NewTable(), Handler: end.h,
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = m.Close(context.Background()) })
	}
	link := <-here.joined
	<-there.joined
	m := message.Message{
		Verb: message.VerbCall, To: []byte("math:/decimal/mul"), Mid: []byte("1a"), From: []byte("0123456789abcdefghijk@client:/"),
		Timestamp: []byte("2026-11-21T17:50:43.905Z"), Body: []byte(strings.Repeat("x", 128)),
	}
	note := mesh.Note{Server: "bbbbbbbb0000000000001"}
	return func() {
		for range batch {
			if err := link.Deliver(note, &m); err != nil {
				tb.Fatal(err)
			}
		}
		<-there.got
	}
}

// A message on its own: the price of waking up is in it.
func BenchmarkMessage(b *testing.B) { benchmarkMessages(b, 1) }

// Messages that come together share a packet.
func BenchmarkMessages64(b *testing.B) { benchmarkMessages(b, 64) }

func benchmarkMessages(b *testing.B, batch int) {
	once := newLine(b, batch)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		once()
		n += batch
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
}
