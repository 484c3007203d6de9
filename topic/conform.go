package topic

import (
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// conform has a topic be as its route says now, which err is about if nobody
// knows. It reports whether that can be: one of another kind is another topic, and
// ends this one.
func (h *Hub) conform(t *topic, info *route.Topic, err error) bool {
	switch message.CodeOf(err) { //nolint:exhaustive // the others say that there is no server, or none to be chosen
	case message.CodeUnimplemented, message.CodeBadAddress:
		e := message.AsError(err)
		h.end(t, &message.Error{Code: message.CodeRevoked, Message: e.Message, Hint: e.Hint})
		return false
	}
	if info == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.state == over:
		return false
	case info.Events != t.events || info.Personal != t.personal:
		why := &message.Error{
			Code: message.CodeRevoked, Message: t.to + " is another kind of topic now", Hint: "Subscribe again.", Retryable: true,
		}
		h.later(func() { h.end(t, why) })
		return false
	}
	if info.History != t.info.History && t.past.own {
		t.past.rebound(bounds(info.History))
		t.trim()
	}
	if info.Presence != t.info.Presence {
		for _, w := range t.watchers {
			if info.Presence {
				h.who.join(w)
			} else {
				h.who.leave(w)
			}
		}
	}
	t.info = info
	return true
}

// end ends a topic for all who watch it, or want to.
func (h *Hub) end(t *topic, why *message.Error) {
	h.mu.Lock()
	t.mu.Lock()
	if t.state == over {
		t.mu.Unlock()
		h.mu.Unlock()
		return
	}
	h.drop(t)
	up, open, waiting, watchers := t.up, t.open, t.waiting, slices.Clone(t.watchers)
	t.waiting = nil
	t.mu.Unlock()
	h.mu.Unlock()
	for _, e := range waiting {
		_ = e.res.Fail(why)
	}
	for _, w := range watchers {
		h.revoke(w, why)
	}
	t.mu.Lock()
	t.free()
	t.mu.Unlock()
	if open {
		up.Close(errUnwatched)
	}
}

// conform has a source be as its route says now. It reports whether that can be.
// s.mu is held.
func (s *source) conform(info *route.Topic) bool {
	if s.over || info.Events != s.events || info.Durable != s.counted || info.Personal != s.who {
		return false
	}
	if s.events {
		s.past.rebound(bounds(info.History))
	}
	return true
}
