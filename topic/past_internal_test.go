package topic

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// logged is a topic of a log at the same node.
func logged(t *testing.T, h route.History) (*Log, *topic) {
	t.Helper()
	hub := quietHub(t)
	info := route.Topic{Events: true, History: h}
	l := NewLog("e", route.Pattern{}, info, hub.metrics)
	top := newTopic(hub, "k", "e:/x", 1, &info)
	a, err := message.ParseStrict("e:/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Join(a, route.Stamp{}, &tap{t: top}); err != nil {
		t.Fatal(err)
	}
	return l, top
}

// enters has a client watch from an offset on.
func enters(t *testing.T, l *Log, top *topic, c client, offset uint64) *watch {
	t.Helper()
	v := &viewer{hub: top.hub, client: c, gone: make(chan struct{})}
	res := new(answers)
	top.enter(&entrant{v: v, res: res, opts: options{Recover: &position{l.epoch, offset}}})
	if res.reply == nil {
		t.Fatalf("no answer, %v", res.err)
	}
	return v.all()[0]
}

// numbered is the body of event n, of any size.
func numbered(n uint64) []byte {
	pad := bytes.Repeat([]byte{byte('a' + n%26)}, int(n*7919%(3*inData))) //nolint:gosec // small
	return append(strconv.AppendUint(nil, n, 10), pad...)
}

// strict is a client that takes what it gets if it has room, and if it is what
// follows.
type strict struct {
	t    *testing.T
	full atomic.Bool
	last uint64
	gap  bool
	got  int
}

func (c *strict) Update(m *message.Message, _ *exchange.Shared) error {
	if m.Verb == message.VerbGap {
		c.gap = true
		return nil
	}
	if c.full.Load() {
		return message.NewError(message.CodeOverloaded, "full", "")
	}
	if m.Offset != c.last+1 && !c.gap || m.Offset <= c.last {
		c.t.Errorf("event %d after %d, gap %t", m.Offset, c.last, c.gap)
	}
	if !bytes.Equal(m.Body, numbered(m.Offset)) {
		c.t.Errorf("the body of %d is %.20q", m.Offset, m.Body)
	}
	c.last, c.gap = m.Offset, false
	c.got++
	return nil
}

func (c *strict) Relief() <-chan struct{}                 { return nil }
func (c *strict) Disconnect(string)                       {}
func (c *strict) MayWatch(message.Address) *message.Error { return nil }
func (c *strict) Closed() bool                            { return false }

// A topic reads the history of its log while that is written to and forgets: who
// comes late or was slow gets all that follows as it was published, or is told that
// something is missing.
func TestHistoryIsReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	const events, watchers = 1000, 4
	l, top := logged(t, route.History{Count: 16})
	var all []*watch
	var clients []*strict
	for range watchers {
		c := &strict{t: t}
		clients = append(clients, c)
		all = append(all, enters(t, l, top, c, 0))
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // small
			for {
				select {
				case <-done:
					return
				default:
				}
				clients[i].full.Store(rnd.IntN(2) == 0)
				top.catchUp(all[i])
			}
		})
	}
	for n := uint64(1); n <= events; n++ {
		l.append([]byte("e:/x"), &event{record: record{body: numbered(n)}, epoch: l.epoch}, nil)
		if n%100 == 0 {
			late := &strict{t: t, last: n - 10}
			enters(t, l, top, late, n-10)
			if late.got != 10 {
				t.Errorf("who comes after %d and has seen up to %d gets %d", n, n-10, late.got)
			}
		}
	}
	close(done)
	wg.Wait()
	for i, w := range all {
		clients[i].full.Store(false)
		if top.catchUp(w); clients[i].last != events {
			t.Errorf("watcher %d has got %d events, the last is %d", i, clients[i].got, clients[i].last)
		}
	}
}

// While a log is published to its topic leaves it and comes back, its history is
// forgotten, and watchers come, go and are slow: nothing waits for ever, and all is
// told in order.
func TestMovesWhileItIsWritten(t *testing.T) {
	t.Parallel()
	const events = 80
	l, top := logged(t, route.History{Count: 16})
	at := message.Address{Name: "e", Path: "/x"}
	done := make(chan struct{})
	var wg sync.WaitGroup
	again := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					f(i)
				}
			}
		})
	}
	again(func(i int) {
		if top.mu.Lock(); i > 0 {
			top.turn++
		}
		one, seen := &tap{t: top, turn: top.turn}, route.Stamp{Epoch: top.epoch, Offset: top.past.told}
		top.mu.Unlock()
		var s route.Sink = one
		if i%2 == 0 {
			s = &far{one}
		}
		if err := l.Join(at, seen, s); err != nil {
			t.Error(err)
		}
		l.Leave(at, s)
	})
	again(func(int) {
		for _, s := range l.histories(nil) {
			s.shed(s.oldest())
		}
	})
	again(func(int) { top.shed(top.oldest()) })
	for n := range 3 {
		c := &strict{t: t}
		w := enters(t, l, top, c, 0)
		again(func(i int) {
			c.full.Store((i+n)%3 == 0)
			top.catchUp(w)
		})
	}
	for n := uint64(1); n <= events; n++ {
		l.append([]byte("e:/x"), &event{record: record{body: numbered(n)}, epoch: l.epoch}, nil)
		runtime.Gosched()
	}
	close(done)
	wg.Wait()
}

// Many who come back have missed the same, and share what is encoded. It goes with
// the history; what a topic takes besides that of its log is nothing.
func TestLatecomersShare(t *testing.T) {
	t.Parallel()
	const missed, comers = 20, 500
	l, top := logged(t, route.History{Count: 2 * missed})
	used := &top.hub.metrics.memory.used
	publish := func() {
		l.append([]byte("e:/x"), &event{record: record{body: make([]byte, 100)}, epoch: l.epoch}, nil)
	}
	for range missed {
		publish()
	}
	ofLog := func() int64 { return int64(l.rings.at([]byte("e:/x")).past.counted) }
	if got := used.Load(); got != ofLog() {
		t.Errorf("%d bytes, of the log %d", got, ofLog())
	}
	list := make([]taker, comers)
	for i := range list {
		enters(t, l, top, &list[i], 0)
		if list[i].got != missed {
			t.Fatalf("number %d has got %d", i, list[i].got)
		}
	}
	encoded := func() (n int) {
		for i := range list {
			n += list[i].encoded
		}
		return n
	}
	if most := sharers * missed; encoded() > most {
		t.Errorf("encoded %d times, want at most %d", encoded(), most)
	}
	if got := used.Load(); got < ofLog()+missed*formRoom {
		t.Errorf("what is encoded is not counted: %d bytes", got)
	}
	for range 2 * missed {
		publish()
	}
	if got := used.Load(); got != ofLog() || top.forms.list != nil {
		t.Errorf("%d forms are left, %d bytes", len(top.forms.list), got-ofLog())
	}
	if got := fmt.Sprint(list[0].got, list[comers-1].got, encoded() > sharers*missed+2*missed); got != "60 60 false" {
		t.Error(got)
	}
}
