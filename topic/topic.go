package topic

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
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
	hub *Hub

	// What each event needs lies together: of many topics it has to be fetched from
	// memory.
	mu       sync.Mutex
	state    state
	events   bool // info.Events
	turn     int  // counts openings: what belongs to an old one does not count
	watchers []*watch
	one      [1]*watch // where the usual watcher is
	id       []byte    // what it is called on connections: its number
	epochs   []byte    // epoch, on the wire
	room     [32]byte  // where these two are
	epoch    string
	updates  uint64
	past     history
	forms    forms // of events in past

	newest  *event            // of state: what is there now
	shown   exchange.Shared   // its encoded forms
	content *event            // of state: what an owner had last, though that may be lost since; nil if there is none
	before  map[string]uint64 // last offsets of epochs that are over
	told    string            // of state: epoch of what the owner has told last
	seeds   int               // how often an owner did not take the content of the one before, since one did
	waiting []*entrant        // want to watch, before it is live for the first time
	moving  bool              // from an owner that is still there
	began   time.Time         // when it was opened last
	fails   int               // how often that failed since it was live
	up      upstream
	open    bool // up is set
	owner   route.Endpoint
	info    route.Topic

	key    string
	to     string // the address
	params json.RawMessage
	who    *session.Session // nil: it is the same for all
	number uint64           // tells it from all others that there ever were here
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
	t := &topic{hub: h, key: key, to: to, info: *info, events: info.Events, number: n}
	t.id = strconv.AppendUint(t.room[:0], n, idBase)
	t.id = t.id[:len(t.id):len(t.id)]
	t.past.bound, t.past.mem, t.forms.mem = bounds(info.History), &h.metrics.memory, &h.metrics.memory
	if !info.Events {
		t.past.bound = route.History{Count: 1}
	}
	t.watchers = t.one[:0]
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
			after = t.past.entry(first - 1).offset
		}
	}
	w.offset = after
	if !t.answer(e, w, route.Body{Stamp: &route.Stamp{Epoch: t.epoch, Offset: after, Topic: string(t.id)}}) {
		return
	}
	for r := range t.past.from(first) {
		t.hand(w, r)
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
	e := eventOf(&b)
	t.take(&e, turn)
}

// take takes an event, which is the caller's.
func (t *topic) take(e *event, turn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == over || turn != t.turn {
		return
	}
	if t.events {
		t.happened(e)
	} else {
		t.changed(e)
	}
}

// happened takes an event, or what a source says about its history. t.mu is
// held.
func (t *topic) happened(e *event) {
	switch {
	case e.mark == markFrom:
		t.resume(e)
	case e.mark == markArmed:
		t.past.last = max(t.past.last, e.offset)
		t.arrived()
	case e.epoch == t.epoch && e.offset <= t.past.last:
		// It came before the owner was lost.
	default:
		t.past.push(&e.record)
		t.trim()
		t.updates++
		if len(t.watchers) == 0 {
			return
		}
		f := t.newFrame(&e.record, t.epochs)
		t.spread(f, nil, nil)
		f.done()
	}
}

// trim forgets what was encoded of events that are forgotten.
func (t *topic) trim() {
	if t.forms.list != nil {
		t.forms.trim(t.past.floor)
	}
}

// begin has the events after an offset follow, of an epoch.
func (t *topic) begin(epoch string, floor uint64) {
	t.forms.trim(t.past.last)
	t.past.begin(floor)
	t.setEpoch(epoch)
}

func (t *topic) setEpoch(epoch string) {
	if epoch != t.epoch {
		t.epoch, t.epochs = epoch, append(t.room[:len(t.id)], epoch...)[len(t.id):]
	}
}

// resume is told from where on the history that follows is complete. Watchers
// who have seen less are told that. t.mu is held.
func (t *topic) resume(e *event) {
	if e.epoch == t.epoch && e.offset <= t.past.last {
		return // nothing is missing
	}
	first := t.epoch == ""
	t.remember()
	known := t.before[e.epoch]
	t.begin(e.epoch, max(e.offset, known))
	// One that is still there has told all that it had, and this one tells all that
	// it has: those miss nothing who were not behind.
	whole := first || t.moving && e.offset <= known
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

// spread hands a frame to all watchers: that of an event, or of a content. Who has
// seen the content before it may take a change of that. t.mu is held.
func (t *topic) spread(f *frame, content, before *event) {
	var d changes
	if before != nil && !before.rest().fault && !f.m.Fault {
		d = changes{t: t, old: before, f: f}
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
		if t.give(w, g, content) {
			sent++
		}
	}
	d.release()
	t.hub.metrics.updates.Add(float64(sent))
}

// handContent gives a watcher the content there is, unless it has to wait for
// that. t.mu is held.
func (t *topic) handContent(w *watch) {
	if w.behind {
		return
	}
	f := t.newFrame(&t.newest.record, []byte(t.newest.epoch))
	f.shared = t.shown
	t.give(w, f, t.newest)
	t.shown, f.shared = f.shared, exchange.Shared{}
	f.done()
}

// hand gives a watcher a past event, unless it has to wait for it. t.mu is held.
func (t *topic) hand(w *watch, r *record) {
	if w.behind {
		return
	}
	f := t.newFrame(r, t.epochs)
	f.shared = t.forms.take(r.offset)
	t.give(w, f, nil)
	if len(t.watchers) >= sharers {
		t.forms.keep(r, f.shared)
		f.shared = exchange.Shared{}
	}
	f.done()
}

// give delivers an event, or what makes a content of what the watcher has seen.
// t.mu is held.
func (t *topic) give(w *watch, f *frame, content *event) bool {
	err := w.v.client.Update(&f.m, &f.shared)
	switch message.CodeOf(err) { //nolint:exhaustive // of the others nothing follows: the connection is over
	case "":
		w.seen, w.offset = content, f.m.Offset
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

// tellFault tells a watcher that it cannot be given something, in place of it.
func (t *topic) tellFault(w *watch, f *frame, err *message.Error) {
	epoch := f.m.Epoch
	if !t.events { // who recovers has not seen the content
		epoch = []byte(unseen)
	}
	g := t.newNote(message.VerbUpdate, epoch, f.m.Offset)
	g.m.To, g.m.Publisher, g.m.Fault, g.m.Body = f.m.To, f.m.Publisher, true, message.AppendError(nil, err)
	told := w.v.client.Update(&g.m, &g.shared)
	g.done()
	if message.CodeOf(told) == message.CodeOverloaded {
		w.behind = true
		w.v.wait(w)
		return
	}
	w.seen, w.offset = nil, f.m.Offset
}

// tellGap tells a watcher that it has missed events up to its offset. t.mu is
// held.
func (t *topic) tellGap(w *watch) {
	t.hub.metrics.gaps.Inc()
	g := t.newNote(message.VerbGap, t.epochs, w.offset)
	_ = w.v.client.Update(&g.m, &g.shared)
	g.done()
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
		if t.newest != nil && w.seen != t.newest {
			t.handContent(w)
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
	for r := range t.past.from(first) {
		if t.hand(w, r); w.behind {
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
