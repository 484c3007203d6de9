package topic

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// topic is what connections of this node watch at one address.
//
//	        first part            owner lost
//	opening ─────────► live ──────────────────► broken ──┐
//	   │ refused         ▲                          │     │ after a while, or when routes change
//	   ▼                 └──────────────────────────┘ ◄───┘
//	  over  ◄── nobody watches
type topic struct {
	hub    *Hub
	key    string
	to     string // the address
	params json.RawMessage
	who    *session.Session // nil: it is the same for all
	info   route.Topic
	number uint64 // tells it from all others that there ever were here
	id     []byte // what it is called on connections: its number

	mu       sync.Mutex
	state    state
	waiting  []*entrant // want to watch, before it is live for the first time
	watchers []*watch
	epoch    string
	newest   *frame // of state: what is there now
	content  *event // of state: what an owner had last, though that may be lost since; nil if there is none
	past     history[*frame]
	before   map[string]uint64 // last offsets of epochs that are over
	told     string            // of state: epoch of what the owner has told last
	seeds    int               // how often an owner did not take the content of the one before, since one did
	moving   bool              // from an owner that is still there
	began    time.Time         // when it was opened last
	fails    int               // how often that failed since it was live
	up       upstream
	open     bool // up is set
	owner    route.Endpoint
	turn     int // counts openings: what belongs to an old one does not count
	updates  uint64
}

type state uint8

const (
	opening state = iota
	live
	broken
	over
)

// entrant is a subscribe that has not been answered.
type entrant struct {
	v    *viewer
	res  route.Responder
	opts options
	addr message.Address
	t    *topic // while it waits
}

// idBase is the base in which the numbers of topics are written.
const idBase = 36

func newTopic(h *Hub, key, to string, n uint64, info *route.Topic) *topic {
	t := &topic{hub: h, key: key, to: to, info: *info, number: n, id: strconv.AppendUint(nil, n, idBase)}
	t.past.bound, t.past.mem = bounds(info.History), &h.metrics.memory
	if !info.Events {
		t.past.bound = route.History{Count: 1}
	}
	t.past.drop = func(f *frame) { f.release() }
	return t
}

// enter answers a subscribe, or has it wait for the first content. It reports
// whether the topic is still there.
func (t *topic) enter(e *entrant) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case over:
		return false
	case opening:
		e.t = t
		t.waiting = append(t.waiting, e)
		e.res.OnFinish(e)
	default:
		t.admit(e)
	}
	return true
}

// Finished implements route.Finisher: an entrant that was not answered in time
// waits no more.
func (e *entrant) Finished(out route.Outcome) {
	if out.Err == nil {
		return
	}
	t := e.t
	t.hub.later(func() { // the topic's lock may be held
		t.mu.Lock()
		t.waiting = slices.DeleteFunc(t.waiting, func(o *entrant) bool { return o == e })
		t.mu.Unlock()
		t.hub.release(t)
	})
}

// admit gives an entrant what there is and has it watch. t.mu is held.
func (t *topic) admit(e *entrant) {
	w, err := e.v.watching(t)
	if err == nil { // after it is among those that a change of the session looks at
		if err = e.v.mayStill(t, e.addr); err != nil && !w.answered {
			e.v.drop(w)
		}
	}
	if err != nil {
		_ = e.res.Fail(err)
		t.abandon()
		return
	}
	w.deltas = deltasOf(e.opts.Delta)
	if w.at < 0 {
		w.at = int32(len(t.watchers)) //nolint:gosec // there are fewer connections
		t.watchers = append(t.watchers, w)
		if t.info.Presence {
			t.hub.who.join(w)
		}
		t.hub.metrics.watches.Inc()
	}
	w.behind = false
	if t.info.Events {
		t.admitToEvents(e, w)
	} else {
		t.admitToContent(e, w)
	}
}

func (t *topic) admitToEvents(e *entrant, w *watch) {
	first, after := t.past.len(), t.past.last
	if r := e.opts.Recover; r != nil {
		var whole bool
		if r.Epoch == t.epoch {
			first, whole = t.past.after(r.Offset)
		}
		after = r.Offset
		if !whole {
			first, after = 0, t.past.floor
		}
	} else if n := e.opts.History; n > 0 {
		if first = max(0, first-n); first == 0 {
			after = t.past.floor
		} else {
			after = t.past.get(first - 1).number()
		}
	}
	w.offset = after
	if !t.answer(e, w, route.Body{Stamp: &route.Stamp{Epoch: t.epoch, Offset: after, Topic: string(t.id)}}) {
		return
	}
	for i := first; i < t.past.len(); i++ {
		t.hand(w, t.past.get(i))
	}
}

// answer answers a subscribe. When nobody waits for that any more it is as if it
// had never been.
func (t *topic) answer(e *entrant, w *watch, b route.Body) bool {
	if e.res.Reply(b) == nil {
		return true
	}
	if !w.answered {
		e.v.drop(w)
		t.remove(w)
		t.abandon()
		return false
	}
	return true
}

// abandon ends the topic soon if nobody watches it. t.mu is held.
func (t *topic) abandon() {
	if len(t.watchers) == 0 {
		t.hub.later(func() { t.hub.release(t) })
	}
}

// part takes what comes of an opening.
func (t *topic) part(b route.Body, turn int) {
	t.take(eventOf(&b), turn)
}

// take is part of an event that is shared.
func (t *topic) take(e *event, turn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == over || turn != t.turn {
		return
	}
	if t.info.Events {
		t.happened(e)
	} else {
		t.changed(e)
	}
}

// happened takes an event, or what a source says about its history. t.mu is
// held.
func (t *topic) happened(e *event) {
	switch mark := e.stamp.Topic; {
	case mark == markFrom:
		t.resume(e)
	case mark == markArmed:
		t.past.last = max(t.past.last, e.stamp.Offset)
		t.arrived()
	case e.stamp.Epoch == t.epoch && e.stamp.Offset <= t.past.last:
		// It came before the owner was lost.
	default:
		f := newFrame(e, t.id)
		t.past.push(f)
		t.updates++
		t.spread(f, nil)
	}
}

// resume is told from where on the history that follows is complete. Watchers
// who have seen less are told that. t.mu is held.
func (t *topic) resume(e *event) {
	if e.stamp.Epoch == t.epoch && e.stamp.Offset <= t.past.last {
		return // nothing is missing
	}
	first := t.epoch == ""
	t.remember()
	t.epoch = e.stamp.Epoch
	known := t.before[e.stamp.Epoch]
	t.past.begin(max(e.stamp.Offset, known))
	// One that is still there has told all that it had, and this one tells all that
	// it has: those miss nothing who were not behind.
	whole := first || t.moving && e.stamp.Offset <= known
	for _, w := range t.watchers {
		w.offset = t.past.floor
		if !whole || w.behind && t.info.Slow != route.SlowDrop {
			t.tellGap(w)
		}
	}
}

// maxBefore is of how many epochs it is remembered how far they were seen.
const maxBefore = 8

// remember keeps how far the events of this epoch were seen: its owner may be
// the owner again.
func (t *topic) remember() {
	if t.epoch == "" {
		return
	}
	if t.before == nil || len(t.before) >= maxBefore {
		t.before = make(map[string]uint64, 1)
	}
	t.before[t.epoch] = t.past.last
}

// arrived makes the topic live. t.mu is held.
func (t *topic) arrived() {
	t.state, t.fails = live, 0
	waiting := t.waiting
	t.waiting = nil
	for _, e := range waiting {
		t.admit(e)
	}
}

// spread hands a frame to all watchers. Those of state may take a change of what
// they have seen, which is that of old. t.mu is held.
func (t *topic) spread(f, old *frame) {
	if len(t.watchers) == 0 {
		return
	}
	var d changes
	if old != nil && !old.fault && !f.fault {
		d = changes{old: old.event, f: f}
	}
	sent := 0
	for _, w := range t.watchers {
		if w.behind {
			t.hub.metrics.conflated.Inc()
			continue
		}
		g := f
		if w.deltas != nil && d.f != nil && w.seen == d.old {
			g = d.of(w.deltas)
		}
		if t.give(w, g, f) {
			sent++
		}
	}
	d.release()
	f.rest()
	t.hub.metrics.updates.Add(float64(sent))
}

// hand gives a watcher a frame unless it has to wait for it. t.mu is held.
func (t *topic) hand(w *watch, f *frame) {
	if !w.behind {
		t.give(w, f, f)
		f.rest()
	}
}

// give delivers g, which makes of what the watcher has seen what f has. t.mu is
// held.
func (t *topic) give(w *watch, g, f *frame) bool {
	err := w.v.client.Update(g.message(), &g.shared)
	switch message.CodeOf(err) { //nolint:exhaustive // of the others nothing follows: the connection is over
	case "":
		w.seen, w.offset = f.event, f.stamp.Offset
		if t.info.Events {
			w.seen = nil
		}
		return true
	case message.CodeOverloaded:
		w.behind = true
		w.v.wait(w)
	case message.CodeTooLarge, message.CodeBadMessage, message.CodeInvalidInput:
		t.tellFault(w, f, message.AsError(err))
	}
	return false
}

// unseen is the epoch of what a watcher is told in place of a content.
const unseen = "unseen"

// tellFault tells a watcher that it cannot be given a content, in place of it.
func (t *topic) tellFault(w *watch, f *frame, err *message.Error) {
	e := *f.event
	e.body, e.contentType, e.fault = message.AppendError(nil, err), "", true
	if !t.info.Events { // who recovers has not seen the content
		s := *e.stamp
		s.Epoch = unseen
		e.stamp = &s
	}
	g := newFrame(&e, t.id)
	told := w.v.client.Update(g.message(), &g.shared)
	g.release()
	if message.CodeOf(told) == message.CodeOverloaded {
		w.behind = true
		w.v.wait(w)
		return
	}
	w.seen, w.offset = nil, f.stamp.Offset
}

// tellGap tells a watcher that it has missed events up to its offset. t.mu is
// held.
func (t *topic) tellGap(w *watch) {
	t.hub.metrics.gaps.Inc()
	g := frame{m: &message.Message{Verb: message.VerbGap, Topic: t.id, Epoch: []byte(t.epoch), Offset: w.offset}}
	_ = w.v.client.Update(g.m, &g.shared)
	g.release()
}

// catchUp gives a watcher that was behind what it has missed. It reports whether
// it is behind no more.
func (t *topic) catchUp(w *watch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.at < 0 || !w.behind {
		return true
	}
	w.behind = false
	if !t.info.Events {
		if f := t.newest; f != nil && w.seen != f.event {
			t.hand(w, f)
		}
		return !w.behind
	}
	first, whole := t.past.after(w.offset)
	if !whole {
		w.offset = t.past.floor
		switch t.info.Slow {
		case route.SlowDrop:
		case route.SlowDisconnect:
			w.v.client.Disconnect("too slow for the events of " + t.to)
			return true
		default:
			t.tellGap(w)
		}
	}
	for i := first; i < t.past.len(); i++ {
		if t.hand(w, t.past.get(i)); w.behind {
			return false
		}
	}
	return true
}

// remove takes a watcher out. t.mu is held.
func (t *topic) remove(w *watch) {
	if w.at < 0 {
		return
	}
	if t.info.Presence {
		t.hub.who.leave(w)
	}
	last := len(t.watchers) - 1
	t.watchers[w.at] = t.watchers[last]
	t.watchers[w.at].at = w.at
	t.watchers[last] = nil
	t.watchers = t.watchers[:last]
	w.at = -1
	t.hub.metrics.watches.Dec()
}
