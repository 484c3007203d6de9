package middleware

import (
	"container/list"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// store is the answers that are kept, and those that are on their way.
type store struct {
	most, room, answer int // entries, bytes, bytes of one
	lost               func(reason string, n int)

	mu     sync.Mutex
	byKey  map[digest]*cached
	byPath map[string]map[*cached]struct{}
	used   list.List // of *cached that have landed, the one used last at the front
	bytes  int
}

func newStore(most, room, answer int) *store {
	return &store{
		most: most, room: room, answer: answer, lost: func(string, int) {},
		byKey: make(map[digest]*cached), byPath: make(map[string]map[*cached]struct{}),
	}
}

// get returns the answer of a key, nil if there is none.
func (s *store) get(id digest, now time.Time) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh(id, now)
}

// fresh is called with s.mu held. It forgets an answer that is too old.
func (s *store) fresh(id digest, now time.Time) *record {
	e := s.byKey[id]
	switch {
	case e == nil || e.rec == nil:
		return nil
	case now.Before(e.until):
		s.used.MoveToFront(e.at)
		return e.rec
	}
	s.remove(e)
	s.lost("old", 1)
	return nil
}

// put keeps an answer in the place of one that was there.
func (s *store) put(id digest, rec *record, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byKey[id]; old != nil {
		s.remove(old)
	}
	e := &cached{id: id}
	s.byKey[id] = e
	s.land(e, rec, until)
}

// find returns the answer of a key, or the flight that brings it; mine if that
// was made now and is to be begun.
func (s *store) find(id digest, now time.Time, create func() *cached) (rec *record, f *flight, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec := s.fresh(id, now); rec != nil {
		return rec, nil, false
	}
	if e := s.byKey[id]; e != nil {
		return nil, e.flight, false
	}
	e := create()
	s.byKey[id] = e
	same := s.byPath[e.path]
	if same == nil {
		same = make(map[*cached]struct{})
		s.byPath[e.path] = same
	}
	same[e] = struct{}{}
	return nil, e.flight, true
}

// keep keeps an answer that has landed, unless it is too large or out of date
// by now.
func (s *store) keep(e *cached, rec *record, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.gone {
		s.land(e, rec, until)
	}
}

// land is called with s.mu held.
func (s *store) land(e *cached, rec *record, until time.Time) {
	if rec.size > s.answer || rec.size > s.room {
		s.remove(e)
		return
	}
	e.rec, e.until, e.size = rec, until, rec.size+recordCost+len(e.path)
	e.flight = nil // which holds the requests of those who waited
	e.at = s.used.PushFront(e)
	s.bytes += e.size
	n := 0
	for ; s.used.Len() > s.most || s.bytes > s.room; n++ {
		oldest, _ := s.used.Back().Value.(*cached)
		s.remove(oldest)
	}
	s.lost("full", n)
}

// drop forgets what is not worth keeping.
func (s *store) drop(e *cached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(e)
}

// remove is called with s.mu held.
func (s *store) remove(e *cached) {
	if e.gone {
		return
	}
	e.gone = true
	delete(s.byKey, e.id)
	same := s.byPath[e.path]
	if delete(same, e); len(same) == 0 {
		delete(s.byPath, e.path)
	}
	if e.at != nil {
		s.used.Remove(e.at)
		s.bytes -= e.size
	}
}

// size is how many answers are kept, and how many bytes they take.
func (s *store) size() (entries, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.Len(), s.bytes
}

// invalidate forgets the answers of addresses, also those on their way: they
// are for those who wait for them now, and for nobody else.
func (s *store) invalidate(targets []target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range targets {
		if t.path != "" {
			n += s.removeAll(t.path)
			continue
		}
		for path := range s.byPath {
			if name, rest, _ := strings.Cut(path, ":"); t.matches(name, rest) {
				n += s.removeAll(path)
			}
		}
	}
	s.lost("invalid", n)
}

func (s *store) removeAll(path string) (n int) {
	for e := range s.byPath[path] {
		s.remove(e)
		n++
	}
	return n
}

// target is an address, or a pattern of some: "name:/path".
type target struct {
	name    string // "*" is any
	pattern route.Pattern
	path    string // "name:/path" if it is one address; else ""
}

func parseTarget(text string) (target, error) {
	name, rest, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, "@/?") {
		return target{}, message.NewError(message.CodeBadAddress, "no address is \""+text+"\"", "")
	}
	p, err := route.ParsePattern(rest)
	if err != nil {
		return target{}, err
	}
	t := target{name: name, pattern: p}
	if name != "*" && !strings.ContainsAny(rest, "*{") {
		t.path = name + ":" + bare(rest)
	}
	return t, nil
}

// bare is a path as the store knows it.
func bare(path string) string {
	if len(path) > 1 {
		return strings.TrimSuffix(path, "/")
	}
	return path
}

func (t target) matches(name, path string) bool {
	if t.name != "*" && t.name != name {
		return false
	}
	_, ok := t.pattern.Match(path)
	return ok
}

// concrete puts the values of a call's parameters in the place of those of the
// same name.
func concrete(targets []target, params route.Params) []target {
	if params.Len() == 0 {
		return targets
	}
	out := make([]target, len(targets))
	for i, t := range targets {
		if out[i] = t; t.path != "" {
			continue
		}
		text := t.pattern.String()
		for name, value := range params.All() {
			if name != "**" && !strings.ContainsAny(value, "{}*") {
				text = strings.ReplaceAll(text, "{"+name+"}", value)
			}
		}
		if made, err := parseTarget(t.name + ":" + text); err == nil {
			out[i] = made
		}
	}
	return out
}
