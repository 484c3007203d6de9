package client

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// topic is an address with params that is watched, by however many watches, with
// one subscription. It is guarded by Client.mu, which is held by whoever calls
// its methods.
//
//	           subscribe               reply
//	(watched) ──────────► ask under way ────► armed: has an id
//	    ▲ ▲                   │                  │
//	    │ └── refused; later ─┘                  │
//	    └─────────── connection lost ────────────┘
//	any ─► over, when nobody watches it, or the node says so
type topic struct {
	c       *Client
	key     string
	address string
	params  json.RawMessage
	delta   []string

	watches []*watch
	conn    *conn       // by which it is watched; nil if it is not
	id      string      // what the node calls it there
	ask     *ask        // under way; nil if none is
	stale   bool        // the whole content is needed
	known   bool        // it was armed once: what it is was answered
	events  bool        // what it is
	faulty  bool        // watches were told that there is nothing now, by the client itself
	try     int         // how often it was refused in a row
	timer   *time.Timer // until the next try; nil if there is none

	at   call.Position // of an event topic: the last event that came
	last call.Update   // of a state topic: what it holds
	has  bool          // last has a content
}

// watch is one reader of a topic. Guarded by Client.mu.
type watch struct {
	feed    *call.WatchFeed
	history int            // how many past events it wants
	since   *call.Position // after which event it wants to begin
	armed   bool
	at      call.Position // of an event topic: where it is
}

// ask is a subscribe that is under way: its sink.
type ask struct {
	t        *topic
	conn     *conn
	flight   *flight
	since    *call.Position // what it said was seen last
	wish     *watch         // for whom it asks for past events; nil for nobody
	anew     bool           // it is the first on its connection
	canceled bool
	stamp    stamp
}

func (a *ask) part(call.Part) error { return nil }

func (a *ask) stampedBy(m *message.Message) { a.stamp = stampOf(m) }

func (a *ask) finish(answer *call.Answer, err error) {
	c := a.t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.t.ask != a {
		return // the topic is watched by another connection now
	}
	a.t.ask = nil
	if err != nil {
		a.t.refused(a, message.AsError(err))
		return
	}
	a.t.armed(a, answer)
}

// join adds a watch.
func (t *topic) join(w *watch) {
	t.watches = append(t.watches, w)
	switch {
	case t.id == "": // its turn comes with the reply
	case !t.events && !t.stale:
		t.armState(w)
		return
	case t.events && !w.wishes():
		w.arm(t.at)
		return
	}
	t.subscribe()
}

// reached takes note of how far an event topic has come.
func (t *topic) reached(at call.Position) {
	if at.Epoch != t.at.Epoch || at.Offset > t.at.Offset {
		t.at = at
	}
}

// wishes reports whether a watch wants past events.
func (w *watch) wishes() bool { return !w.armed && (w.history > 0 || w.since != nil) }

// subscribe asks for what has to be asked for, if that can be now. When it can
// later, it is called again.
func (t *topic) subscribe() {
	cn := t.c.conn
	if t.ask != nil || t.timer != nil || len(t.watches) == 0 || cn == nil || cn.wire.draining {
		return
	}
	a := &ask{t: t, conn: cn, anew: t.conn != cn}
	var body struct {
		Params  json.RawMessage `json:"params,omitempty"`
		Delta   []string        `json:"delta,omitempty"`
		Recover *call.Position  `json:"recover,omitempty"`
		History int             `json:"history,omitempty"`
	}
	switch wish := t.wish(); {
	case a.anew && !t.mayWishFirst():
		a.since = t.since()
	case !a.anew && wish == nil && !t.stale && !t.lacks():
		return
	case wish != nil && !t.lacks():
		a.wish, body.History = wish, wish.history
		if wish.since != nil {
			a.since, body.History = wish.since, 0
		}
	}
	body.Params, body.Recover = t.params, a.since
	if !t.stale {
		body.Delta = t.delta
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.end(message.AsError(err))
		return
	}
	m := message.Message{Verb: message.VerbSubscribe, To: []byte(t.address), Mid: []byte(message.NewMid())}
	if string(text) != "{}" {
		m.Body = text
	}
	o := &outgoing{msg: m, cost: envelopeCost + len(m.To) + len(m.Body)}
	a.flight = &flight{out: o, mid: string(m.Mid), sink: a, bound: true}
	o.flight = a.flight
	if limit := t.c.session.limits.frame; limit > 0 && o.cost > limit {
		t.end(errTooLarge(o.cost, limit))
		return
	}
	if t.tell(cn, o) { // else the next connection begins with it
		t.ask = a
	}
}

// tell sends a message by a connection, if that is still there.
func (t *topic) tell(cn *conn, o *outgoing) bool {
	ok := t.c.session.hurry(cn.wire, o, false) == nil
	t.c.nudge()
	return ok
}

// lacks reports whether a watch that wants no past events has to be armed.
func (t *topic) lacks() bool {
	return slices.ContainsFunc(t.watches, func(w *watch) bool { return !w.armed && !w.wishes() })
}

// mayWishFirst reports whether the first subscribe may ask for past events: the
// reply tells where these begin, which would be too early for other watches.
func (t *topic) mayWishFirst() bool {
	return !t.known && len(t.watches) == 1 && t.watches[0].since == nil && t.watches[0].history > 0
}

// wish returns the next watch that wants past events.
func (t *topic) wish() *watch {
	if t.known && !t.events {
		return nil
	}
	if i := slices.IndexFunc(t.watches, (*watch).wishes); i >= 0 {
		return t.watches[i]
	}
	return nil
}

// since returns what all watches have seen; nil if that cannot be said.
func (t *topic) since() *call.Position {
	if !t.known || t.stale {
		return nil
	}
	if !t.events {
		if at := t.last.Position(); at.Offset > 0 {
			return &at
		}
		return nil
	}
	var at *call.Position
	for _, w := range t.watches {
		if w.armed && (at == nil || w.at.Epoch == at.Epoch && w.at.Offset < at.Offset) {
			at = &w.at
		}
	}
	if at == nil || at.Epoch == "" {
		return nil
	}
	copied := *at
	return &copied
}

// armed takes the reply to a subscribe.
func (t *topic) armed(a *ask, answer *call.Answer) {
	t.conn, t.id, t.try = a.conn, a.stamp.id, 0
	a.conn.topics[t.id] = t
	if len(t.watches) == 0 {
		t.leave()
		return
	}
	here := call.Position{Epoch: a.stamp.epoch, Offset: a.stamp.offset}
	if a.since != nil && here.Epoch == "" {
		here.Epoch = a.since.Epoch
	}
	// An older content is of a node that has not heard the newest yet.
	same := t.known && !t.events && a.since != nil && here.Epoch == a.since.Epoch && here.Offset <= a.since.Offset
	t.events = answer.Body == nil && !a.stamp.fault && !same
	t.known, t.stale = true, false
	if t.events {
		t.armEvents(a, here)
		return
	}
	if !same {
		t.last = call.Update{Body: answer.Body, ContentType: answer.ContentType, Epoch: here.Epoch, Offset: here.Offset, Publisher: a.stamp.publisher}
		if t.has = !a.stamp.fault; !t.has {
			t.last.Body, t.last.ContentType, t.last.Fault = nil, "", message.DecodeError(answer.Body)
		}
	}
	again := !same || t.faulty
	t.faulty = false
	for _, w := range t.watches {
		switch {
		case !w.armed:
			t.armState(w)
		case again:
			w.feed.Push(t.last)
		}
	}
}

// armState arms a watch of a content.
func (t *topic) armState(w *watch) {
	w.arm(call.Position{})
	w.feed.Arm(false)
	if w.since == nil || *w.since != t.last.Position() {
		w.feed.Push(t.last)
	}
}

// armEvents arms watches of events after a reply that says where they are.
func (t *topic) armEvents(a *ask, here call.Position) {
	t.reached(here)
	t.faulty = false
	for _, w := range t.watches {
		switch {
		case w.armed:
			w.missed(here.Epoch, here.Offset)
		case w == a.wish && w.since != nil:
			w.arm(*w.since)
			w.missed(here.Epoch, here.Offset)
		case w == a.wish, a.wish == nil && !w.wishes():
			w.arm(here)
		}
	}
	t.subscribe() // for those that are not armed
}

// arm has a watch of events get those after a position.
func (w *watch) arm(at call.Position) {
	w.armed, w.at = true, at
	w.feed.Arm(true)
}

// missed takes a watch to a position, and tells if that leaves something out.
func (w *watch) missed(epoch string, offset uint64) {
	if !w.armed || w.at.Epoch == epoch && offset <= w.at.Offset {
		return
	}
	w.at = call.Position{Epoch: epoch, Offset: offset}
	w.feed.Push(call.Update{Gap: true, Epoch: w.at.Epoch, Offset: w.at.Offset})
}

// push tells all watches.
func (t *topic) push(u call.Update) {
	for _, w := range t.watches {
		if w.armed {
			w.feed.Push(u)
		}
	}
}

// renew asks for the whole content, since what is known is wrong.
func (t *topic) renew() {
	t.stale, t.has = true, false
	t.subscribe()
}

// refused takes the error of a subscribe.
func (t *topic) refused(a *ask, e *message.Error) {
	switch {
	case len(t.watches) == 0:
		t.leave()
	case a.canceled: // when nobody watched it for a moment
		t.subscribe()
	case a.wish != nil && t.id != "": // only one has asked for that
		if i := slices.Index(t.watches, a.wish); i >= 0 {
			t.watches = slices.Delete(t.watches, i, i+1)
			a.wish.feed.Finish(e)
		}
		if t.leave(); len(t.watches) > 0 {
			t.subscribe()
		}
	case e.Code == message.CodeShuttingDown && e.Remote():
		t.later(nil)
	case t.known && passing(e):
		t.later(e)
	default:
		t.end(e)
	}
}

// passing reports whether an error of a subscribe says nothing of a topic that
// was there before: after a restart of nodes, services come back one by one.
func passing(e *message.Error) bool { return e.Retryable || slices.Contains(passingCodes, e.Code) }

var passingCodes = []message.Code{
	message.CodeNoService, message.CodeServiceDown, message.CodeServiceLost, message.CodeNodeLost, message.CodeMeshSplit,
	message.CodeSourceDown, message.CodeDeadlineExceeded, message.CodeOverloaded, message.CodeRateLimited,
	message.CodeCircuitOpen, message.CodeTooManyTopics,
}

// later tries again after a while. Watches are told why there is nothing now, if
// that is the topic's.
func (t *topic) later(why *message.Error) {
	if why != nil && !t.faulty {
		t.faulty = true
		t.push(call.Update{Fault: why})
	}
	wait := backoff(t.try, t.c.cfg.minBackoff, t.c.cfg.maxBackoff)
	if why != nil {
		wait = max(wait, why.RetryAfter)
	}
	t.try++
	t.stopTimer()
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		t.c.mu.Lock()
		defer t.c.mu.Unlock()
		if t.timer == timer {
			t.timer = nil
			t.subscribe()
		}
	})
	t.timer = timer
}

func (t *topic) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// leave gives a topic up that nobody watches any more.
func (t *topic) leave() {
	switch {
	case len(t.watches) > 0:
		return
	case t.ask != nil && t.ask.flight.phase == sent:
		if !t.ask.canceled { // its answer comes back here
			t.ask.canceled = true
			t.tell(t.ask.conn, cancelOf(t.ask.flight))
		}
		return
	case t.ask != nil:
		t.c.session.cancel(t.ask.flight)
		t.ask = nil
	}
	if t.conn != nil && t.id != "" {
		delete(t.conn.topics, t.id)
		m := message.Message{Verb: message.VerbUnsubscribe, Topic: []byte(t.id), Mid: []byte(message.NewMid())}
		o := &outgoing{msg: m, cost: envelopeCost}
		o.flight = &flight{out: o, mid: string(m.Mid), sink: ignored{}, bound: true}
		t.tell(t.conn, o)
	}
	t.forget()
}

// ignored is the sink of a message whose answer does not matter.
type ignored struct{}

func (ignored) part(call.Part) error       { return nil }
func (ignored) finish(*call.Answer, error) {}

// end ends all watches of a topic.
func (t *topic) end(e *message.Error) {
	for _, w := range t.watches {
		w.feed.Finish(e)
	}
	t.watches = nil
	t.forget()
}

func (t *topic) forget() {
	t.stopTimer()
	if t.conn != nil {
		delete(t.conn.topics, t.id)
	}
	t.conn, t.id, t.ask = nil, "", nil
	if t.c.topics[t.key] == t {
		delete(t.c.topics, t.key)
	}
}

// detach takes note that a topic is not watched by its connection any more.
func (t *topic) detach() {
	t.conn, t.id, t.ask = nil, "", nil
	t.leave()
}

// watchAgain has all topics watched by the connection that is in use from now on;
// c.mu is held.
func (c *Client) watchAgain() {
	for _, t := range c.topics {
		t.detach()
		t.stopTimer()
		t.subscribe()
	}
}

// unwatched takes note that a connection is gone; c.mu is held.
func (c *Client) unwatched(cn *conn) {
	for _, t := range c.topics {
		if t.conn == cn || t.ask != nil && t.ask.conn == cn {
			t.detach()
		}
	}
	clear(cn.topics)
}

// endWatches ends everything that is watched; c.mu is held.
func (c *Client) endWatches(e *message.Error) {
	for _, t := range c.topics {
		t.end(e)
	}
}
