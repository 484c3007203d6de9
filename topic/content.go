package topic

import (
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// contents is what a state topic has. Guarded by the topic's lock.
type contents struct {
	newest  *event          // what is there now; nil: nothing came yet
	shown   exchange.Shared // its encoded forms
	content *event          // what an owner had last, though that may be lost since; nil if there is none
	told    string          // epoch of what the owner has told last
	seeds   int             // how often an owner did not take the content of the one before, since one did
}

// admitToContent gives a watcher of a state topic what there is. t.mu is held.
func (t *topic) admitToContent(e *entrant, w *watch) {
	c := t.newest
	if c == nil { // it was lost before there was anything
		c = faultEvent(t.epoch, errLost)
	}
	w.seen = c
	b := c.part()
	b.Stamp.Topic = string(t.id)
	if r := e.opts.Recover; r != nil && r.Epoch == c.epoch && r.Offset == c.offset && !b.Fault {
		b.Bytes, b.ContentType = nil, ""
	}
	t.answer(e, w, b)
}

// changed takes what the owner of a state topic tells. t.mu is held.
func (t *topic) changed(e *event) {
	told := t.told
	t.told = e.epoch
	if e.empty() && t.content != nil && e.epoch != told { // a new owner, to which nothing was published
		t.seed(e.epoch)
		if t.newest.rest().fault { // that it was lost
			t.show(t.content)
		}
		t.arrived()
		return
	}
	if t.newest == nil || !t.newest.same(e) { // a new owner begins with what there is
		t.setEpoch(e.epoch)
		t.updates++
		own := *e
		own.stay()
		t.show(&own)
	}
	t.content = nil
	if !e.rest().fault {
		t.content = t.newest
	}
	t.arrived()
}

// show gives all watchers a content, which stays as it is. t.mu is held.
func (t *topic) show(e *event) {
	old := t.newest
	t.newest = e
	t.shown.Release()
	if len(t.watchers) == 0 {
		return
	}
	f := t.newFrame(&e.record, []byte(e.epoch))
	t.spread(f, e, old)
	t.shown, f.shared = f.shared, exchange.Shared{}
	f.done()
}

// seed begins the epoch of a publish that counts only for the owner whose epoch
// follows, and only if nothing was published there, nor deleted.
const seed = "seed:"

const (
	// maxSeeds is how often an owner is given the content that refuses it for good.
	maxSeeds = 3
	// reseed is the time after which an owner is given the content again that did
	// not take it.
	reseed = time.Second
)

// seed gives an owner that knows nothing yet what the one before it had. t.mu is
// held.
func (t *topic) seed(epoch string) {
	e, s := t.content, seeding{t, t.turn}
	m := &message.Message{
		Verb: message.VerbPublish, To: []byte(t.to), Epoch: []byte(seed + epoch), Body: e.body, ContentType: []byte(e.rest().contentType),
	}
	t.hub.later(func() { t.hub.x.Local().Ask(m, s) })
}

// seeding is the Sink of the publish by which an owner is given a content.
type seeding struct {
	t    *topic
	turn int
}

// Part implements route.Sink.
func (seeding) Part(route.Body) {}

// Done implements route.Sink.
func (s seeding) Done(err *message.Error) { s.t.hub.later(func() { s.t.seeded(err, s.turn) }) }

// seeded is told whether the owner has taken the content. If not it is asked once
// more what it has, after a while.
func (t *topic) seeded(err *message.Error, turn int) {
	t.mu.Lock()
	if t.state == over || turn != t.turn {
		t.mu.Unlock()
		return
	}
	if err == nil {
		t.seeds = 0
		t.mu.Unlock()
		return
	}
	if final(err) {
		t.seeds++
	}
	again := t.seeds < maxSeeds
	if again {
		t.told = "" // that it has nothing does not mean that it was deleted
	}
	t.mu.Unlock()
	if again {
		t.hub.retry(t, reseed)
		return
	}
	t.hub.log.Warn("the new owner of a topic does not take its content: who did not watch it before finds none",
		"topic", t.to, "err", err)
}

var _ route.Sink = seeding{}
