package topic

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// states is a log of state topics.
func states() *Log { return NewLog("s", route.Pattern{}, route.Topic{}, nil) }

func put(l *Log, to, body, epoch string) bool {
	e := &event{epoch: l.epoch}
	if body != "" {
		e.body = []byte(body)
	}
	return l.append([]byte(to), e, []byte(epoch))
}

// heard are the parts that somebody who comes to a log gets.
type heard struct{ parts []route.Body }

func (h *heard) Part(b route.Body) { h.parts = append(h.parts, b) }
func (*heard) Done(*message.Error) {}

func visit(l *Log, to string) *heard {
	h := new(heard)
	a, err := message.ParseStrict(to)
	if err == nil {
		err = l.Join(a, route.Stamp{}, h)
	}
	if err != nil {
		panic(err)
	}
	return h
}

// A node that gives a new owner the content of the one before does not bring back
// what was deleted meanwhile, nor what a third owner is asked for.
func TestSeedOfContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before func(l *Log)
		epoch  func(l *Log) string
		want   bool
	}{
		{"ok", func(*Log) {}, func(l *Log) string { return seed + l.epoch }, true},
		{"published", func(l *Log) { put(l, "s:/x", "new", "") }, func(l *Log) string { return seed + l.epoch }, false},
		{"deleted", func(l *Log) { put(l, "s:/x", "", "") }, func(l *Log) string { return seed + l.epoch }, false},
		{"published and deleted", func(l *Log) { put(l, "s:/x", "new", ""); put(l, "s:/x", "", "") }, func(l *Log) string { return seed + l.epoch }, false},
		{"for another owner", func(*Log) {}, func(*Log) string { return seed + "other" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := states()
			c.before(l)
			if got := put(l, "s:/x", "old", c.epoch(l)); got != c.want {
				t.Errorf("taken %t, want %t", got, c.want)
			}
			if n := l.rings.n; !c.want && c.name == "for another owner" && n > 0 {
				t.Errorf("%d addresses are remembered for nothing", n)
			}
		})
	}
}

// Who comes to an owner where a content was deleted is told that, and not that
// there never was one: else it would give it what it has.
func TestVisitorAfterDeletion(t *testing.T) {
	t.Parallel()
	l := states()
	if p := visit(l, "s:/x").parts; len(p) != 1 || p[0].Stamp.Topic != markEmpty {
		t.Errorf("never published: %+v", p)
	}
	put(l, "s:/y", "", "")
	if p := visit(l, "s:/y").parts; len(p) != 1 || !p[0].Fault || p[0].Stamp.Topic == markEmpty {
		t.Errorf("deleted: %+v", p)
	}
	put(l, "s:/y", "again", "")
	put(l, "s:/z", "", "")
	if p := visit(l, "s:/y").parts; len(p) != 1 || string(p[0].Bytes) != "again" {
		t.Errorf("published again: %+v", p)
	}
	if l.graves.n != 1 || l.recent.n != 1 {
		t.Errorf("%d deleted, %d published", l.graves.n, l.recent.n)
	}
}

// Addresses whose content was deleted are forgotten in the end, and do not push
// out what is published.
func TestDeletedAreForgotten(t *testing.T) {
	t.Parallel()
	l := states()
	put(l, "s:/kept", "x", "")
	for i := range maxGraves + 100 {
		to := "s:/" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		put(l, to, "x", "")
		put(l, to, "", "")
	}
	if got := l.graves.n; got != maxGraves || l.rings.n != maxGraves+1 || l.recent.n != 1 {
		t.Errorf("%d deleted, %d addresses, %d published", got, l.rings.n, l.recent.n)
	}
}

// The content of an owner that was lost for long is there again with the next one,
// for those who watch, those who come, and the owner.
func TestContentOutlivesLongLoss(t *testing.T) {
	t.Parallel()
	c := new(noter)
	top, _ := watchedBy(t, c, route.Topic{})
	say(top, "a", 1, "", "x")
	for range patience + 1 {
		top.lose(message.NewError(message.CodeServiceLost, "lost", ""), 0)
	}
	say(top, "b", 0, markEmpty, "{}")
	if got := strings.Join(c.got, " "); got != "a1 fault a1" {
		t.Error(got)
	}
	res := new(answers)
	top.enter(&entrant{v: &viewer{hub: top.hub, client: new(noter), gone: make(chan struct{})}, res: res})
	if res.reply == nil || string(res.reply.Bytes) != "x" {
		t.Errorf("who comes gets %+v", res.reply)
	}
	say(top, "b", 1, markEmpty, "{}")
	if got := strings.Join(c.got, " "); got != "a1 fault a1 fault" {
		t.Error("deleted:", got)
	}
}

// An owner that did not take the content is given it again.
func TestSeedIsRepeated(t *testing.T) {
	t.Parallel()
	c := new(noter)
	top, _ := watchedBy(t, c, route.Topic{})
	h := top.hub
	lost := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		_, again := h.lost[top]
		delete(h.lost, top)
		return again
	}
	say(top, "a", 1, "", "x")
	busy, no := message.NewError(message.CodeOverloaded, "busy", ""), message.NewError(message.CodeForbidden, "no", "")
	for i, try := range []struct {
		owner string
		why   *message.Error
		again bool
	}{
		{"b", busy, true}, {"b", busy, true}, {"b", busy, true}, {"b", no, true}, {"b", nil, false},
		{"c", no, true}, {"c", no, true}, {"c", no, false},
	} {
		say(top, try.owner, 0, markEmpty, "{}")
		top.seeded(try.why, 0)
		if again := lost(); again != try.again {
			t.Errorf("%d: asked again: %t", i, again)
		}
	}
	if got := strings.Join(c.got, " "); got != "a1" {
		t.Error(got)
	}
}

// Who was told that a content is too large has not seen it, and gets it when it
// comes again with more room.
func TestTooLargeIsNotSeen(t *testing.T) {
	t.Parallel()
	c := &positions{noter: noter{max: 1}}
	top, _ := watchedBy(t, c, route.Topic{})
	say(top, "a", 1, "", "large")
	res := new(answers)
	top.enter(&entrant{
		v: &viewer{hub: top.hub, client: new(noter), gone: make(chan struct{})}, res: res, opts: options{Recover: &c.last},
	})
	if res.reply == nil || string(res.reply.Bytes) != "large" {
		t.Errorf("recovered from %+v: %+v", c.last, res.reply)
	}
}

// positions notes where the last update stands.
type positions struct {
	noter
	last position
}

func (p *positions) Update(m *message.Message, s *exchange.Shared) error {
	err := p.noter.Update(m, s)
	if err == nil {
		p.last = position{string(m.Epoch), m.Offset}
	}
	return err
}

// A source whose server has ended it is not waited for.
func TestVisitAfterServerHasEnded(t *testing.T) {
	t.Parallel()
	h := quietHub(t)
	key := sourceKey{what: "s:/x"}
	old, _ := h.source(key, &view{info: &route.Topic{}, to: "s:/x"})
	old.mu.Lock()
	old.over = true // as Done does, before it is forgotten
	old.mu.Unlock()
	s, made := h.source(key, &view{info: &route.Topic{}, to: "s:/x"})
	if s == old || !made {
		t.Fatal("it is the one that is over")
	}
	h.forget(old)
	if h.sources[key] != s {
		t.Error("the new one is forgotten with the old one")
	}
	h.forget(s)
}

// A server names only addresses that are watched at it.
func TestPlacesOfEvents(t *testing.T) {
	t.Parallel()
	h := quietHub(t)
	for _, c := range []struct {
		watched, to, want string
		ok                bool
	}{
		{"s:/**", "", "", true},
		{"s:/**", "s:/a/b", "s:/a/b", true},
		{"s:/*", "s:/a/b", "", false},
		{"s:/a", "s:/a", "", true},
		{"s:/a", "s:/b", "", false},
		{"s:/**", "other:/a", "", false},
		{"s:/**", "x@s:/a", "", false},
		{"s:/**", "s:/*", "", false},
		{"s:/**", "none", "", false},
	} {
		s, _ := h.source(sourceKey{what: c.watched + c.to}, &view{info: &route.Topic{Events: true}, to: c.watched})
		if to, ok := s.place(c.to); ok != c.ok || ok && to != c.want {
			t.Errorf("%s at %s: %t, %q", c.to, c.watched, ok, to)
		}
	}
	s, _ := h.source(sourceKey{what: "state"}, &view{info: &route.Topic{}, to: "s:/a"})
	if _, ok := s.place("s:/a"); ok {
		t.Error("a content is of the address that is watched")
	}
}
