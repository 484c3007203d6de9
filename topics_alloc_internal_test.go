package ropewalk

import (
	"context"
	"strconv"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
)

// watching is a connection that counts its updates.
type watching struct {
	nowhere

	got int
}

func (w *watching) Deliver(m *message.Message) error {
	if m.Verb == message.VerbUpdate {
		w.got++
	}
	return nil
}

// publishes returns a function that publishes an event to one of many topics, each
// of which one of ten connections watches, and how many events these got.
func publishes(t testing.TB, topics int) (once func(), got func() int) {
	t.Helper()
	n, err := New(Config{
		Topics:      map[string]route.Topic{"bench:/topic/**": {Events: true, History: route.History{Count: 16}}},
		Permissions: policy.Config{Preset: "dev"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	const conns = 10
	links := make([]watching, conns)
	address := func(i int) []byte { return []byte("bench:/topic/" + strconv.Itoa(i)) }
	for c := range links {
		p := n.x.Attach(&links[c], 1<<20)
		for i := c; i < topics; i += conns {
			p.Receive(&message.Message{Verb: message.VerbSubscribe, To: address(i), Mid: strconv.AppendInt(nil, int64(i), 10)})
		}
	}
	p := n.x.Attach(new(nowhere), 1<<20)
	var m message.Message
	mid, body, next := []byte("1"), make([]byte, 128), 0
	return func() {
			next += 7919 // a prime: they come in no order
			m.Reset()
			m.Verb, m.To, m.Mid, m.Body = message.VerbPublish, address(next%topics), mid, body
			p.Receive(&m)
		}, func() (sum int) {
			for i := range links {
				sum += links[i].got
			}
			return sum
		}
}

// A publish allocates what its topic keeps, and little more, however many topics
// there are.
func TestPublishAllocations(t *testing.T) { //nolint:paralleltest // it counts allocations
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	const runs, most = 1000, 5
	once, got := publishes(t, 100)
	for range 100 * 20 { // all histories are full
		once()
	}
	before := got()
	if n := testing.AllocsPerRun(runs, once); n > most {
		t.Errorf("%v allocations a publish, want at most %d", n, most)
	}
	if n := got() - before; n != runs+1 {
		t.Errorf("%d of %d events came", n, runs+1)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, topics := range []int{10, 1000, 100_000} {
		b.Run(strconv.Itoa(topics), func(b *testing.B) {
			once, _ := publishes(b, topics)
			for range min(topics*16, 500_000) {
				once()
			}
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}
