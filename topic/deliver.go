package topic

import (
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

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
	if !t.events {
		if t.newest != nil && w.seen != t.newest {
			t.handContent(w)
		}
		return !w.behind
	}
	p := &t.past
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.whole(w.offset) {
		w.offset = p.lowest()
		switch t.info.Slow {
		case route.SlowDrop:
		case route.SlowDisconnect:
			w.v.client.Disconnect("too slow for the events of " + t.to)
			return true
		default:
			t.tellGap(w)
		}
	}
	for r := range p.since(w.offset) {
		if t.hand(w, r); w.behind {
			return false
		}
	}
	return true
}
