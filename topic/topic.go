package topic

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"

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
	events   bool // what it is, and stays
	personal bool
	turn     int // counts openings: what belongs to an old one does not count
	watchers []*watch
	one      [1]*watch // where the usual watcher is …
	first    watch     // … which is this one, if it was the first that there ever was
	id       []byte    // what it is called on connections: its number
	epochs   []byte    // epoch, on the wire
	room     [32]byte  // where these two are
	epoch    string
	updates  uint64
	past     past
	forms    forms // of events in past

	*contents // of a state topic; else nil

	before  map[string]uint64 // last offsets of epochs that are over
	waiting []*entrant        // want to watch, before it is live for the first time
	moving  bool              // from an owner that is still there
	began   moment            // when it was opened last
	fails   int               // how often that failed since it was live
	up      upstream
	open    bool // up is set
	owner   route.Endpoint
	info    *route.Topic // of its route, as that is now

	key    string
	to     string // the address
	params json.RawMessage
	who    *session.Session // nil: it is the same for all
	number uint64           // tells it from all others that there ever were here
}

// newWatch returns a watch of the topic. t.mu is held.
func (t *topic) newWatch(v *viewer) *watch {
	w := &t.first
	if w.v != nil {
		w = new(watch)
	}
	w.t, w.v, w.at = t, v, -1
	return w
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
	t := &topic{hub: h, key: key, to: to, info: info, events: info.Events, personal: info.Personal, number: n}
	t.id = strconv.AppendUint(t.room[:0], n, idBase)
	t.id = slices.Clip(t.id)
	t.forms.mem = &h.metrics.memory
	t.watchers = t.one[:0]
	if !t.events {
		t.contents = new(contents)
	}
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
	if t.events {
		t.admitToEvents(e, w)
	} else {
		t.admitToContent(e, w)
	}
}

func (t *topic) admitToEvents(e *entrant, w *watch) {
	p := &t.past
	p.mu.Lock()
	defer p.mu.Unlock()
	after := p.told
	if r := e.opts.Recover; r != nil {
		if after = r.Offset; r.Epoch != t.epoch || !p.whole(after) {
			after = p.lowest()
		}
	} else if n := e.opts.History; n > 0 {
		after = p.back(n)
	}
	w.offset = after
	if !t.answer(e, w, route.Body{Stamp: &route.Stamp{Epoch: t.epoch, Offset: after, Topic: string(t.id)}}) {
		return
	}
	for r := range p.since(after) {
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
		t.resume(e.epoch, e.offset, nil)
	case e.mark == markArmed:
		t.past.told = max(t.past.told, e.offset)
		t.arrived()
	case e.epoch == t.epoch && e.offset <= t.past.told:
		// It came before the owner was lost.
	default:
		if t.past.shared == nil {
			t.keep(e.offset - 1)
		}
		if t.past.own {
			t.past.push(&e.record)
		}
		t.tell(&e.record)
	}
}

// tell gives all watchers an event, which is the next of t.past. t.mu is held.
func (t *topic) tell(r *record) {
	t.past.told = r.offset
	t.trim()
	t.updates++
	if len(t.watchers) == 0 {
		return
	}
	f := t.newFrame(r, t.epochs)
	t.spread(f, nil, nil)
	f.done()
}

// trim forgets what was encoded of events that are forgotten. t.mu is held.
func (t *topic) trim() {
	if t.forms.list == nil {
		return
	}
	t.past.mu.Lock()
	floor := t.past.lowest()
	t.past.mu.Unlock()
	t.forms.trim(floor)
}

// keep has the topic keep its events itself. t.mu is held.
func (t *topic) keep(floor uint64) {
	if !t.past.own {
		t.past.shared, t.past.own = new(shared), true
		t.past.bound, t.past.mem = bounds(t.info.History), &t.hub.metrics.memory
	}
	t.past.begin(floor)
}

// follow has the topic read the history of a log of this node from now on: what it
// was not told is in there after an offset, up to the newest one. The log's lock is
// held.
func (t *topic) follow(s *shared, epoch string, after, newest uint64, turn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == over || turn != t.turn {
		return
	}
	t.resume(epoch, after, s)
	first, _ := s.after(t.past.told)
	for r := range s.from(first) {
		t.tell(r)
	}
	t.past.told = max(t.past.told, newest)
	t.arrived()
}

// resume is told from where on the history that follows is complete: that of a log
// of this node, if there is one. Watchers who have seen less are told that. t.mu is
// held.
func (t *topic) resume(epoch string, offset uint64, of *shared) {
	p := &t.past
	missing := epoch != t.epoch || offset > p.told
	first := t.epoch == ""
	known := t.before[epoch]
	if missing {
		t.remember()
		t.forms.trim(p.told)
		p.floor = max(offset, known)
		p.told = p.floor
		t.setEpoch(epoch)
	}
	switch {
	case of != nil:
		if p.own {
			p.begin(0)
		}
		p.shared, p.own = of, false
	case missing || !p.own:
		t.keep(p.told)
	}
	if !missing {
		return
	}
	// One that is still there has told all that it had, and this one tells all that
	// it has: those miss nothing who were not behind.
	whole := first || t.moving && offset <= known
	for _, w := range t.watchers {
		w.offset = p.floor
		if !whole || w.behind && t.info.Slow != route.SlowDrop {
			t.tellGap(w)
		}
	}
}

func (t *topic) setEpoch(epoch string) {
	if epoch != t.epoch {
		t.epoch, t.epochs = epoch, append(t.room[:len(t.id)], epoch...)[len(t.id):]
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
	t.before[t.epoch] = t.past.told
}

// arrived makes the topic live. t.mu is held.
func (t *topic) arrived() {
	t.state, t.fails = live, 0
	if t.events && t.past.shared == nil { // nobody has said where the history begins
		t.keep(t.past.told)
	}
	waiting := t.waiting
	t.waiting = nil
	for _, e := range waiting {
		t.admit(e)
	}
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
