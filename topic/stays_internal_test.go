package topic

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// signed is a record of n bytes whose publisher is known.
func signed(offset uint64, n int, publisher string) *record {
	return &record{body: make([]byte, n), offset: offset, more: &more{publisher: []byte(publisher)}}
}

// What a history says is stable is so when its memory is used for other events.
func TestStableRecordsStay(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, inData, inData + 1} {
		h := history{bound: route.History{Count: 1, Bytes: 1 << 20}, mem: new(memory)}
		h.push(signed(1, size, `"ann"`))
		r := *h.newest()
		r.stay()
		h.push(signed(2, size, `"bob"`))
		if got := string(r.rest().publisher); got != `"ann"` {
			t.Errorf("%d bytes: the publisher is %s now", size, got)
		}
	}
}

// Who watches from inside keeps what it got, the publisher, too.
func TestInsiderKeepsWhatItGets(t *testing.T) {
	t.Parallel()
	c := &insider{hub: quietHub(t), events: true}
	s := call.CollectWatch(nil)
	c.feed = call.NewWatchFeed(t.Context(), "e:/x", &s, func(*message.Error) {})
	if err := c.Reply(route.Body{Stamp: &route.Stamp{Epoch: "e"}}); err != nil {
		t.Fatal(err)
	}
	m := &message.Message{Verb: message.VerbUpdate, Epoch: []byte("e"), Offset: 1, Body: []byte(`"body"`), Publisher: []byte(`"ann"`)}
	if err := c.Update(m, nil); err != nil {
		t.Fatal(err)
	}
	clear(m.Body)
	clear(m.Publisher)
	u, err := c.feed.Watch().Next(t.Context())
	if err != nil || string(u.Body) != `"body"` || string(u.Publisher) != `"ann"` {
		t.Errorf("%q of %q, %v", u.Body, u.Publisher, err)
	}
}

// Events that are too old are told to nobody, whoever has the history: to those who
// have missed them is told that.
func TestOldEventsAreNotTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bound := route.History{Age: duration.Duration(time.Second)}
		l, far := logged(t, bound)
		own, _ := watchedBy(t, new(noter), route.Topic{Events: true, History: bound})
		say(own, l.epoch, 0, markFrom, "")
		say(own, l.epoch, 0, markArmed, "")
		publish := func(n uint64) {
			put(l, "e:/x", "x", "")
			say(own, l.epoch, n, "", "x")
		}
		publish(1)
		publish(2)
		time.Sleep(600 * time.Millisecond)
		publish(3)
		time.Sleep(600 * time.Millisecond)
		for _, top := range []*topic{far, own} {
			for _, c := range []struct {
				o    options
				want string
			}{
				{options{History: 10}, "after 2, 3"},
				{options{Recover: &position{l.epoch, 1}}, "after 2, 3"},
				{options{Recover: &position{l.epoch, 2}}, "after 2, 3"},
				{options{Recover: &position{l.epoch, 3}}, "after 3"},
				{options{}, "after 3"},
			} {
				n, res := new(noter), new(answers)
				top.enter(&entrant{v: &viewer{hub: top.hub, client: n, gone: make(chan struct{})}, res: res, opts: c.o})
				got := fmt.Sprintf("after %d", res.reply.Stamp.Offset)
				for _, s := range n.got {
					got += ", " + string(bytes.TrimPrefix([]byte(s), []byte(l.epoch)))
				}
				if got != c.want {
					t.Errorf("own %t, %+v: %s, want %s", top.past.own, c.o, got, c.want)
				}
			}
		}
	})
}

// A source and the topics that visit it keep a large body once, together.
func TestLargeBodiesAreKeptOnce(t *testing.T) {
	t.Parallel()
	top, _ := watchedBy(t, new(noter), route.Topic{Events: true})
	src, _ := top.hub.source(sourceKey{what: "src"}, &view{info: top.info, to: "prices:/x"})
	src.armed = true
	src.admit(&visitor{hub: top.hub, to: &tap{t: top}})
	body := make([]byte, inData+1)
	src.Part(route.Body{Bytes: body})
	body[0] = 1 // it was not stable
	if a, b := src.past.newest().body, top.past.newest().body; &a[0] != &b[0] || a[0] != 0 {
		t.Errorf("it is kept twice, or as it was: %d %d", a[0], b[0])
	}
}
