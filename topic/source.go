package topic

import (
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// sourceKey tells sources apart: a server, and what is watched of it.
type sourceKey struct {
	server route.Endpoint
	what   string
}

// source is what a server of this node has at one address: it is asked once, and
// nodes where somebody watches are its visitors. It numbers what comes and keeps
// the history. It lives as long as it has visitors.
//
// The locks of a call that a source gets parts from, of the source, of the
// visitor's call, and of the topic at its end are taken in this order.
type source struct {
	hub     *Hub
	key     sourceKey
	events  bool
	counted bool   // the server counts by itself, and says when it begins
	to      string // its address
	params  json.RawMessage
	who     bool // it is what one session sees

	mu       sync.Mutex
	over     bool
	armed    bool // visitors are told what comes
	epoch    string
	offset   uint64
	last     *event // of state
	past     history
	visitors []*visitor
	up       exchange.Opening
	open     bool // up is set
	where    *where
}

// where is the address of a source of events whose server says of which address
// they are.
type where struct {
	message.Address

	only route.Pattern // if it is a pattern
}

// visitor is a node where somebody watches: this one, or another.
type visitor struct {
	hub  *Hub
	to   route.Sink
	seen *position // or nil

	// One of them is set.
	feed route.Feed // that it has joined, at an address
	at   string
	s    *source

	gone bool // guarded by s.mu
}

// caller is another node, as a Sink: what comes are parts of its request.
type caller struct{ res route.Responder }

// Part implements route.Sink. One that is too slow has its request failed, and
// comes again.
func (c *caller) Part(b route.Body) { _ = c.res.Part(b) }

// Done implements route.Sink.
func (c *caller) Done(err *message.Error) { _ = c.res.Fail(err) }

// newEpoch names a count that begins.
func newEpoch() string {
	var b [6]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(b[:])
}

// Visit implements exchange.Topics.
func (h *Hub) Visit(req *route.Request, res route.Responder) {
	o, err := parseOptions(req.Message.Body)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	info := req.Match().Info(req.Server).Topic
	if info == nil {
		_ = res.Fail(message.NewError(message.CodeUnimplemented, req.Address.String()+" cannot be watched", ""))
		return
	}
	a := req.Address
	a.Instance = "" // it is the server
	v := &visitor{hub: h, to: &caller{res}, seen: o.Recover}
	if err := h.visit(v, &view{req.Server, info, addressOf(a, req.Message.To), o.Params, req.Session()}); err != nil {
		_ = res.Fail(err)
		return
	}
	res.OnFinish(v)
}

// view is what a visitor wants to see: what a server of this node has at an
// address, as who it is if that matters.
type view struct {
	server route.Endpoint
	info   *route.Topic
	to     string
	params json.RawMessage
	who    *session.Session
}

// visit has a visitor see something.
func (h *Hub) visit(v *visitor, w *view) *message.Error {
	if w.info.Feed != nil {
		return v.join(w)
	}
	if !w.info.Personal {
		w.who = nil
	}
	key := sourceKey{w.server, keyOf(w.to, w.params, w.who)}
	for {
		s, made := h.source(key, w)
		if s == nil {
			return errClosed
		}
		v.s = s
		if !s.admit(v) {
			continue // it has just ended
		}
		if made {
			o := options{Params: w.params}
			s.opened(h.x.OpenAt(w.server, w.to, o.body(), w.who, s))
		}
		return nil
	}
}

// join has it see a feed.
func (v *visitor) join(w *view) *message.Error {
	a, err := message.ParseStrict(w.to)
	if err != nil {
		return message.AsError(err)
	}
	var seen route.Stamp
	if v.seen != nil {
		seen.Epoch, seen.Offset = v.seen.Epoch, v.seen.Offset
	}
	v.feed, v.at = w.info.Feed, w.to // it may leave before it was told everything
	if err := v.feed.Join(a, seen, v.to); err != nil {
		v.feed = nil
		return message.AsError(err)
	}
	return nil
}

var errClosed = message.NewError(message.CodeShuttingDown, "the node is stopping", "Watch at another node.")

// source returns the source of a key, and whether it was made now.
func (h *Hub) source(key sourceKey, w *view) (s *source, made bool) {
	info := w.info
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	if s = h.sources[key]; s != nil {
		s.mu.Lock()
		stays := s.conform(info)
		s.mu.Unlock()
		if stays {
			return s, false
		}
		// One that is over is forgotten soon; those who visit one of another kind come
		// here when that has ended.
		h.later(s.end)
	}
	s = &source{
		hub: h, key: key, events: info.Events, counted: info.Durable, to: w.to, params: w.params, who: info.Personal, epoch: newEpoch(), armed: !info.Events,
	}
	if info.Events {
		s.past.bound, s.past.mem = bounds(info.History), &h.metrics.memory
	}
	h.sources[key] = s
	return s, true
}

// admit takes a visitor in and gives it what it has missed. It reports whether
// the source is still there.
func (s *source) admit(v *visitor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.visitors = append(s.visitors, v)
	switch {
	case s.events && s.armed:
		s.tellPast(v)
	case s.last != nil:
		v.to.Part(s.last.part())
	}
	return true
}

// tellPast gives a visitor the events that it wants, and where it is then.
func (s *source) tellPast(v *visitor) {
	s.past.expire()
	first, from := 0, s.past.floor
	if r := v.seen; r != nil && r.Epoch == s.epoch {
		if after, whole := s.past.after(r.Offset); whole {
			first, from = after, r.Offset
		}
	}
	v.to.Part(route.Body{Stamp: &route.Stamp{Epoch: s.epoch, Offset: from, Topic: markFrom}})
	for r := range s.past.from(first) {
		e := event{record: *r, epoch: s.epoch}
		v.to.Part(e.part())
	}
	v.to.Part(route.Body{Stamp: &route.Stamp{Epoch: s.epoch, Offset: s.past.last, Topic: markArmed}})
}

// opened is told of the request at the server.
func (s *source) opened(up exchange.Opening) {
	s.mu.Lock()
	s.up, s.open = up, true
	if !s.counted {
		s.arm() // unless the server has said that it counts by itself
	}
	empty := s.over || len(s.visitors) == 0
	s.mu.Unlock()
	if empty { // its visitors have left meanwhile
		s.close()
	}
}

// Part implements route.Sink.
func (s *source) Part(b route.Body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.marked(&b) {
		return
	}
	e := eventOf(&b)
	if e.epoch == "" {
		to, watched := s.place(e.rest().to)
		if !watched {
			return
		}
		s.arm()
		s.offset++
		e.epoch, e.offset = s.epoch, s.offset
		if e.rest().to != to {
			e = e.atAddress(to)
		}
	} else {
		if s.events && s.epoch != e.epoch {
			s.past.begin(e.offset - 1)
		}
		s.epoch, s.offset = e.epoch, e.offset
	}
	if !s.events || len(e.body) > inData { // it is kept as it is
		e.stay()
	}
	if s.events {
		s.past.push(&e.record)
	} else {
		s.last = &e
	}
	if !s.armed {
		return
	}
	p := e.part()
	for _, v := range s.visitors {
		v.to.Part(p)
	}
}

// place checks what a server says of the address of an event. It returns what
// visitors are told, and reports whether that is watched here. s.mu is held.
func (s *source) place(to string) (told string, watched bool) {
	if to == "" || !s.events {
		return "", to == ""
	}
	if s.where == nil {
		s.where = new(where)
		s.where.Address, _ = message.ParseStrict(s.to)             // it was one that was routed
		s.where.only, _ = route.ParsePattern(s.where.Address.Path) // nothing matches one that is none
	}
	a, err := message.ParseStrict(to)
	if err != nil || a.Name != s.where.Name || a.Instance != "" || a.HasWildcard() {
		return "", false
	}
	if !s.where.HasWildcard() {
		return "", a.String() == s.where.String()
	}
	_, watched = s.where.only.Match(a.Path)
	return a.String(), watched
}

// marked takes what a server that numbers by itself says of its history. It
// reports whether b was that.
func (s *source) marked(b *route.Body) bool {
	if b.Stamp == nil || (b.Stamp.Topic != markFrom && b.Stamp.Topic != markArmed) {
		return false
	}
	if b.Stamp.Topic == markFrom {
		s.epoch = b.Stamp.Epoch
		s.past.begin(b.Stamp.Offset)
		return true
	}
	s.past.last = max(s.past.last, b.Stamp.Offset)
	s.arm()
	return true
}

// arm tells the visitors what there was, if nobody has; what comes they are told
// from now on. s.mu is held.
func (s *source) arm() {
	if s.armed || s.over {
		return
	}
	s.armed = true
	for _, v := range s.visitors {
		s.tellPast(v)
	}
}

var errEnded = message.NewError(message.CodeServiceDown, "the server of the topic has ended it", "It is asked again; watchers need to do nothing.")

// Done implements route.Sink: the server gives nothing more.
func (s *source) Done(err *message.Error) {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.past.begin(s.past.last)
	visitors := s.visitors
	s.visitors = nil
	for _, v := range visitors {
		v.gone = true
	}
	s.mu.Unlock()
	if over {
		return
	}
	if err == nil {
		err = errEnded
	}
	// The call's lock is held, and the visitors' topics open it anew.
	s.hub.later(func() {
		s.hub.forget(s)
		for _, v := range visitors {
			v.to.Done(err)
		}
	})
}

// Finished implements route.Finisher: nobody watches there any more. A part that
// is one too many ends the request, too, and then the lock is held.
func (v *visitor) Finished(route.Outcome) { v.hub.later(v.leave) }

// Close implements opened.
func (v *visitor) Close(*message.Error) { v.leave() }

func (v *visitor) leave() {
	if v.feed != nil {
		if a, err := message.ParseStrict(v.at); err == nil {
			v.feed.Leave(a, v.to)
		}
		return
	}
	s := v.s
	if s == nil { // it was never let in
		return
	}
	s.mu.Lock()
	if !v.gone {
		v.gone = true
		if i := slices.Index(s.visitors, v); i >= 0 {
			s.visitors = slices.Delete(s.visitors, i, i+1)
		}
	}
	empty := len(s.visitors) == 0 && s.open && !s.over
	s.mu.Unlock()
	if empty {
		s.close()
	}
}

var errUnwatched = &message.Error{Code: message.CodeCanceled, Message: "nobody watches any more"}

// close ends a source that nobody visits, unless somebody has come meanwhile.
func (s *source) close() {
	h := s.hub
	h.mu.Lock()
	s.mu.Lock()
	stays := len(s.visitors) > 0 && !s.over
	if !stays {
		s.over = true
		s.past.begin(s.past.last)
		if h.sources[s.key] == s {
			delete(h.sources, s.key)
		}
	}
	up := s.up
	s.mu.Unlock()
	h.mu.Unlock()
	if !stays {
		up.Close(errUnwatched)
	}
}

// end ends a source whatever its server has.
func (s *source) end() {
	s.mu.Lock()
	up, open, over := s.up, s.open, s.over
	s.mu.Unlock()
	switch {
	case over:
	case open:
		up.Close(errEnded)
	default: // closed as soon as it is opened
		s.Done(errEnded)
	}
}

func (h *Hub) forget(s *source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources[s.key] == s {
		delete(h.sources, s.key)
	}
}

var (
	_ route.Sink     = (*source)(nil)
	_ route.Finisher = (*visitor)(nil)
)
