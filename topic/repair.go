package topic

import (
	"context"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// errLost is what watchers see of a content whose owner is gone.
var errLost = message.NewError(message.CodeServiceDown, "nobody serves this topic now", "Wait: the content comes when somebody does.")

func faultEvent(epoch string, err *message.Error) *event {
	return &event{record{body: message.AppendError(nil, err), more: &more{fault: true}, stable: true}, epoch, ""}
}

// tap is one opening of a topic: what the request to another node, or a source or feed
// of this one, tells.
type tap struct {
	t       *topic
	turn    int
	visitor // if the owner is here
}

// Part implements route.Sink.
func (s *tap) Part(b route.Body) { s.t.part(b, s.turn) }

// Done implements route.Sink.
func (s *tap) Done(err *message.Error) { s.t.hub.later(func() { s.t.lose(err, s.turn) }) }

// upstream is what a topic has of its owner.
type upstream interface {
	// Close ends it. It must not be called with a lock held.
	Close(why *message.Error)
}

// ask asks the owner of a topic: directly if that is here, since a request costs
// too much of the memory and time of a small topic.
func (s *tap) ask(owner route.Endpoint, o *options) upstream {
	t := s.t
	if owner == nil || !owner.Local() {
		return t.hub.x.Open(t.to, o.body(), t.who, s)
	}
	s.visitor = visitor{hub: t.hub, to: s, seen: o.Recover}
	if err := s.visit(owner); err != nil {
		s.Done(message.AsError(err))
	}
	return &s.visitor
}

func (s *tap) visit(owner route.Endpoint) error {
	t := s.t
	a, err := message.ParseStrict(t.to)
	if err != nil {
		return err
	}
	match, err := t.hub.x.LookupTopic(a)
	if err != nil {
		return err
	}
	info := match.Info(owner).Topic
	if info == nil { // it has just gone
		return errLost
	}
	a.Instance = ""
	to := addressOf(a, []byte(t.to))
	if to == t.to {
		to = t.to // of many topics it is kept once
	}
	if err := t.hub.visit(&s.visitor, &view{owner, info, to, t.params, t.who}); err != nil {
		return err
	}
	return nil
}

// reopen asks the owner of the topic, whoever that is now. moving tells that the
// one before is still there.
func (t *topic) reopen(moving bool) {
	owner, info, err := t.hub.x.Owner(t.to)
	if !t.hub.conform(t, info, err) {
		return
	}
	t.mu.Lock()
	if t.state == over {
		t.mu.Unlock()
		return
	}
	t.turn++
	t.moving = moving
	turn := t.turn
	old, had := t.up, t.open
	t.began = now()
	o := options{Params: t.params}
	if t.events && t.epoch != "" {
		o.Recover = &position{t.epoch, t.past.told}
	}
	t.open = false
	t.mu.Unlock()
	if had { // it has moved
		old.Close(errUnwatched)
	}
	up := (&tap{t: t, turn: turn}).ask(owner, &o)
	t.mu.Lock()
	stays := t.state != over && t.turn == turn
	if stays {
		t.up, t.open, t.owner = up, true, owner
	}
	t.mu.Unlock()
	if !stays {
		up.Close(errUnwatched)
	}
}

// lose is told that the owner is lost, or has refused.
func (t *topic) lose(err *message.Error, turn int) {
	if err == nil {
		err = errLost
	}
	t.mu.Lock()
	if t.state == over || turn != t.turn {
		t.mu.Unlock()
		return
	}
	t.open = false
	if t.state == opening && final(err) {
		waiting := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		for _, e := range waiting {
			_ = e.res.Fail(err)
		}
		t.hub.release(t)
		t.mu.Lock()
		late := t.state == opening && turn == t.turn
		t.mu.Unlock()
		if late { // somebody has come meanwhile, and is to be answered, too
			t.hub.retry(t, firstRetry)
		}
		return
	}
	if t.state == live {
		t.state = broken
	}
	t.fails++
	if !t.events && t.state == broken && t.fails == patience {
		t.show(faultEvent(t.epoch, err))
	}
	wait := min(firstRetry<<min(t.fails, 10), lastRetry)
	if t.fails == 1 && now()-t.began > moment(firstRetry) {
		wait = 0 // there may be another owner already
	}
	t.mu.Unlock()
	t.hub.retry(t, wait)
}

// final tells whether to ask again makes no sense.
func final(err *message.Error) bool {
	switch err.Code {
	case message.CodeServiceLost, message.CodeNodeLost, message.CodeServiceDown, message.CodeMeshSplit, message.CodeShuttingDown,
		message.CodeSlowConsumer, message.CodeOverloaded, message.CodeConnectionLost:
		return false
	default:
		return !err.Retryable
	}
}

// retry has a topic opened again after a while.
func (h *Hub) retry(t *topic, wait time.Duration) {
	h.mu.Lock()
	if !h.closed && h.topics[t.key] == t {
		h.lost[t] = time.Now().Add(wait)
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// repair opens topics again that have lost their owner.
func (h *Hub) repair(ctx context.Context) {
	timer, settled := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer timer.Stop()
	defer settled.Stop()
	_, changed := h.x.Table().Version()
	var since time.Time // of the first change of routes that was not followed
	for {
		due, next := h.due(time.Now(), false)
		for _, t := range due {
			t.reopen(false)
		}
		if next > 0 {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		case <-changed:
			_, changed = h.x.Table().Version() // before it is looked at
			due, _ := h.due(time.Now(), true)
			for _, t := range due {
				t.reopen(false)
			}
			if since.IsZero() {
				since = time.Now()
			}
			settled.Reset(min(settle, time.Until(since.Add(maxSettle))))
		case <-settled.C:
			since = time.Time{}
			h.follow()
		}
	}
}

// settle is how long after a change of routes topics move to the owners that they
// have now: until then somebody may publish at the ones before, and what is
// published at the new ones is told from their history.
const settle = 500 * time.Millisecond

// maxSettle is how long topics stay where they are at most while routes change
// again and again.
const maxSettle = 3 * time.Second

// follow opens those topics anew that have another owner now, because a server
// has come. What is published goes there from now on. Routes may also say
// something else of their topics.
func (h *Hub) follow() {
	h.mu.Lock()
	list := make([]*topic, 0, len(h.topics))
	for _, t := range h.topics {
		list = append(list, t)
	}
	h.mu.Unlock()
	for _, t := range list {
		owner, info, err := h.x.Owner(t.to)
		if !h.conform(t, info, err) || err != nil {
			continue
		}
		t.mu.Lock()
		moved := t.open && t.owner != owner
		t.mu.Unlock()
		if moved {
			t.reopen(true)
		}
	}
}

// due takes the topics out that are to be opened now, or all, and tells after
// what time the next is; 0: there is none.
func (h *Hub) due(now time.Time, all bool) (list []*topic, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, at := range h.lost {
		left := at.Sub(now)
		switch {
		case all || left <= 0:
			list = append(list, t)
			delete(h.lost, t)
		case next == 0 || left < next:
			next = left
		}
	}
	return list, next
}

// end ends a topic with the node.
func (t *topic) end(why *message.Error) {
	t.mu.Lock()
	t.state = over
	waiting, up, open := t.waiting, t.up, t.open
	t.waiting, t.open = nil, false
	t.free()
	t.mu.Unlock()
	for _, e := range waiting {
		_ = e.res.Fail(why)
	}
	if open {
		up.Close(why)
	}
}

// free gives back what is encoded. t.mu is held.
func (t *topic) free() {
	if t.contents != nil {
		t.shown.Release()
	}
	t.forms.trim(t.past.told)
	if t.past.own {
		t.past.begin(0)
	}
}

var _ route.Sink = (*tap)(nil)
