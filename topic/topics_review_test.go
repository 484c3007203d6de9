package topic

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// noter is a client that notes what it gets, and takes nothing while it is full.
type noter struct {
	full bool
	max  int
	got  []string
	s    *session.Session
}

func (c *noter) Update(m *message.Message, _ *exchange.Shared) error {
	switch {
	case c.max > 0 && len(m.Body) > c.max && !m.Fault:
		return message.NewError(message.CodeTooLarge, "too large", "")
	case c.full && m.Verb == message.VerbUpdate:
		return message.NewError(message.CodeOverloaded, "full", "")
	case m.Fault:
		c.got = append(c.got, "fault")
	case m.Verb == message.VerbUpdate:
		c.got = append(c.got, fmt.Sprintf("%s%d", m.Epoch, m.Offset))
	default:
		c.got = append(c.got, fmt.Sprintf("%s %s%d", m.Verb, m.Epoch, m.Offset))
	}
	return nil
}

func (c *noter) Relief() <-chan struct{}                 { return nil }
func (c *noter) Disconnect(string)                       {}
func (c *noter) MayWatch(message.Address) *message.Error { return nil }
func (c *noter) Closed() bool                            { return false }
func (c *noter) Session() *session.Session               { return c.s }

// answers notes how a request ends.
type answers struct {
	reply  *route.Body
	err    error
	failed func()
}

func (r *answers) Part(route.Body) error    { return nil }
func (r *answers) Reply(b route.Body) error { r.reply = &b; return nil }
func (r *answers) Fail(err error) error {
	r.err = err
	if r.failed != nil {
		r.failed()
	}
	return nil
}
func (r *answers) OnFinish(route.Finisher) {}

func quietHub(t *testing.T) *Hub {
	t.Helper()
	h := New(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	t.Cleanup(h.Close)
	return h
}

// watchedBy is a live topic that one client watches.
func watchedBy(t *testing.T, c client, info route.Topic) (*topic, *watch) {
	t.Helper()
	h := quietHub(t)
	top := newTopic(h, "k", "prices:/x", 1, &info)
	h.topics["k"] = top
	top.state = live
	w, err := (&viewer{hub: h, client: c, gone: make(chan struct{})}).watching(top)
	if err != nil {
		t.Fatal(err)
	}
	w.at, top.watchers = 0, []*watch{w}
	return top, w
}

func say(top *topic, epoch string, offset uint64, mark, body string) {
	b := route.Body{Stamp: &route.Stamp{Epoch: epoch, Offset: offset, Topic: mark}, Fault: mark == markEmpty}
	if body != "" {
		b.Bytes = []byte(body)
	}
	top.part(b, 0)
}

// Whoever was behind when the topic moved is told that it has missed something.
func TestReviewSlowWatcherOfMovedTopic(t *testing.T) {
	t.Parallel()
	c := new(noter)
	top, w := watchedBy(t, c, route.Topic{Events: true})
	say(top, "a", 0, markFrom, "")
	say(top, "a", 0, markArmed, "")
	say(top, "a", 1, "", "x")
	c.full = true
	say(top, "a", 2, "", "x")
	top.moving = true
	say(top, "b", 0, markFrom, "")
	for i := range uint64(3) {
		say(top, "b", i+1, "", "x")
	}
	c.full = false
	if !top.catchUp(w) {
		t.Fatal("it is still behind")
	}
	if got := strings.Join(c.got, " "); got != "a1 gap b0 b1 b2 b3" {
		t.Error(got)
	}
}

// Offsets of an owner before say nothing of those of the one now.
func TestReviewOffsetsOfMovedTopic(t *testing.T) {
	t.Parallel()
	c := new(noter)
	top, w := watchedBy(t, c, route.Topic{Events: true})
	say(top, "a", 0, markFrom, "")
	say(top, "a", 0, markArmed, "")
	say(top, "a", 1, "", "x")
	say(top, "a", 2, "", "x")
	top.moving = true
	say(top, "b", 0, markFrom, "")
	c.full = true
	for i := range uint64(3) {
		say(top, "b", i+1, "", "x")
	}
	c.full = false
	top.catchUp(w)
	if got := strings.Join(c.got, " "); got != "a1 a2 b1 b2 b3" {
		t.Error(got)
	}
}

// A slow watcher is told, later, that a content is too large for it.
func TestReviewTooLargeForSlowWatcher(t *testing.T) {
	t.Parallel()
	c := &noter{full: true, max: 1}
	top, w := watchedBy(t, full(c), route.Topic{})
	say(top, "a", 1, "", "large")
	if len(c.got) > 0 || !w.behind {
		t.Fatal(c.got, w.behind)
	}
	c.full = false
	top.catchUp(w)
	if got := strings.Join(c.got, " "); got != "fault" {
		t.Error(got)
	}
}

// fuller takes no faults either while it is full.
type fuller struct{ *noter }

func full(c *noter) client { return fuller{c} }

func (c fuller) Update(m *message.Message, s *exchange.Shared) error {
	if c.full && m.Fault {
		return message.NewError(message.CodeOverloaded, "full", "")
	}
	return c.noter.Update(m, s)
}

// Who has become somebody else while a subscribe waited does not see what the one
// before may.
func TestReviewSessionChangesWhileSubscribeWaits(t *testing.T) {
	t.Parallel()
	anna, bert := &session.Session{ID: "1", Subject: "anna"}, &session.Session{ID: "2", Subject: "bert"}
	h := quietHub(t)
	key := keyOf("my:/x", nil, anna)
	top := newTopic(h, key, "my:/x", 1, &route.Topic{Personal: true})
	top.who = anna
	h.topics[key] = top
	c, res := &noter{s: anna}, new(answers)
	top.enter(&entrant{v: &viewer{hub: h, client: c, gone: make(chan struct{})}, res: res})
	c.s = bert
	say(top, "a", 1, "", "secret of anna")
	if res.reply != nil || message.CodeOf(res.err) != message.CodeRevoked {
		t.Errorf("%+v, %v", res.reply, res.err)
	}
}

// Two guests are two, though nothing else is known of them.
func TestReviewGuestsAreNotTheSame(t *testing.T) {
	t.Parallel()
	if keyOf("my:/x", nil, &session.Session{ID: "1"}) == keyOf("my:/x", nil, &session.Session{ID: "2"}) {
		t.Error("they see the same")
	}
}

// A content that was deleted stays deleted, also after the topic has moved.
func TestReviewDeletedAfterMove(t *testing.T) {
	t.Parallel()
	c := new(noter)
	top, _ := watchedBy(t, c, route.Topic{})
	say(top, "a", 1, "", "x")
	say(top, "b", 0, markEmpty, "{}") // is given what there was
	say(top, "b", 1, "", "x")
	say(top, "b", 2, markEmpty, "{}")
	if got := strings.Join(c.got, " "); got != "a1 fault" {
		t.Error(got)
	}
}

// A subscribe that comes while those before are refused is not forgotten.
func TestReviewEnterWhileRefused(t *testing.T) {
	t.Parallel()
	h := quietHub(t)
	top := newTopic(h, "k", "my:/x", 1, &route.Topic{})
	h.topics["k"] = top
	v := &viewer{hub: h, client: new(noter), gone: make(chan struct{})}
	entered := false
	first := &answers{failed: func() { entered = top.enter(&entrant{v: v, res: new(answers)}) }}
	top.enter(&entrant{v: v, res: first})
	top.lose(message.NewError(message.CodeNotFound, "no", ""), 0)
	h.mu.Lock()
	_, again := h.lost[top]
	h.mu.Unlock()
	if !entered || !again {
		t.Errorf("entered %t, asked again %t", entered, again)
	}
}

// A watch from inside that ends while it waits leaves nothing.
func TestReviewInsiderLeavesWhileItWaits(t *testing.T) {
	t.Parallel()
	h := New(Config{})
	top := newTopic(h, "k", "my:/x", 1, &route.Topic{})
	h.topics["k"] = top
	c := &insider{hub: h}
	e := &entrant{v: h.viewer(c), res: c}
	top.enter(e)
	c.leave()
	h.lane.Wait(t.Context()) //nolint:errcheck // it has no end
	if len(h.topics)+len(h.viewers)+len(top.waiting) > 0 {
		t.Errorf("%d topics, %d viewers, %d waiting", len(h.topics), len(h.viewers), len(top.waiting))
	}
}

// What is only watched does not push out what was published.
func TestReviewWatchersDoNotPushContentsOut(t *testing.T) {
	t.Parallel()
	l := NewLog("s", route.Pattern{}, route.Topic{}, nil)
	put(l, "s:/kept", "x", "")
	for i := range maxLogTopics + 1 {
		visit(l, fmt.Sprintf("s:/%d", i))
	}
	if r := l.rings.at([]byte("s:/kept")); r == nil || r.past.len() != 1 {
		t.Error("the content is gone")
	}
}

// The parameters of one connection take a bounded place.
func TestReviewParametersAreBounded(t *testing.T) {
	t.Parallel()
	h := quietHub(t)
	v := &viewer{hub: h, client: new(noter), gone: make(chan struct{})}
	big := []byte(`{"a":"` + strings.Repeat("x", 60<<10) + `"}`)
	for i := range uint64(1000) {
		top := newTopic(h, "k", "my:/x", i, &route.Topic{})
		top.params = big
		if _, err := v.watching(top); err != nil {
			if e := new(message.Error); !errors.As(err, &e) || e.Code != message.CodeTooManyTopics {
				t.Error(err)
			}
			v.drop(v.watches[0])
			if _, err := v.watching(top); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("60 MB are taken")
}
