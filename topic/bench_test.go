package topic

import (
	"testing"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// taker is a client that encodes what it gets unless somebody has, as a connection
// does.
type taker struct{ got, encoded int }

func (c *taker) Update(m *message.Message, s *exchange.Shared) error {
	if s[0].Frame == nil {
		f := edge.NewFrame()
		f.Payload = message.AppendSplit(f.Payload, m)
		s[0].Frame = f
		c.encoded++
	}
	c.got++
	return nil
}

func (c *taker) Relief() <-chan struct{}                 { return nil }
func (c *taker) Disconnect(string)                       {}
func (c *taker) MayWatch(message.Address) *message.Error { return nil }
func (c *taker) Closed() bool                            { return false }

// watched is a topic that n clients watch.
func watched(n int, info route.Topic) (*topic, []*taker) {
	t := newTopic(New(Config{}), "k", "bench:/topic", 1, &info)
	t.state, t.epoch = live, "e"
	list := make([]*taker, n)
	for i := range n {
		list[i] = new(taker)
		v := &viewer{hub: t.hub, client: list[i]}
		w, _ := v.watching(t)
		w.at = int32(i) //nolint:gosec // small
		t.watchers = append(t.watchers, w)
	}
	return t, list
}

// next is a part with an event or content that differs from the one before.
func next(body []byte, offset uint64) route.Body {
	body[10] = 'a' + byte(offset%16)
	return route.Body{Bytes: body, Stamp: &route.Stamp{Epoch: "e", Offset: offset}}
}

// BenchmarkSpread is what a node does for an event to 1,000 watchers, but for
// putting the frame on their lists; a delivery is a thousandth of it.
func BenchmarkSpread(b *testing.B) {
	for _, events := range []bool{true, false} {
		name := "state"
		if events {
			name = "events"
		}
		b.Run(name, func(b *testing.B) {
			t, _ := watched(1000, route.Topic{Events: events})
			body := make([]byte, 128)
			b.ReportAllocs()
			for i := uint64(1); b.Loop(); i++ {
				t.part(next(body, i), 0)
			}
		})
	}
}

// TestSpreadAllocs: a delivery allocates nothing, a publish little, however many
// watch.
func TestSpreadAllocs(t *testing.T) { //nolint:paralleltest // counts allocations
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	const most = 4
	for _, info := range []route.Topic{{Events: true, History: route.History{Count: 4}}, {}} {
		var n uint64
		body := make([]byte, 128)
		cost := func(watchers int) float64 {
			top, list := watched(watchers, info)
			one := func() {
				n++
				top.part(next(body, n), 0)
			}
			for range 10 { // its history is full then
				one()
			}
			before := list[0].got
			got := testing.AllocsPerRun(100, one)
			if list[0].got != before+101 {
				t.Fatalf("%d of 101 came", list[0].got-before)
			}
			return got
		}
		one, many := cost(1), cost(1000)
		if one > most || many > one {
			t.Errorf("events %t: %v allocations to 1 watcher, %v to 1000; at most %d", info.Events, one, many, most)
		}
	}
}
