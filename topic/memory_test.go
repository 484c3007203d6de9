package topic

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/route"
)

// bounded is a hub whose histories may take so much, and what it has to do soon.
func bounded(t *testing.T, limit int) (h *Hub, soon func()) {
	t.Helper()
	h = quietHub(t)
	m := &h.metrics.memory
	m.limit = int64(limit)
	var later []func()
	m.soon = func(f func()) { later = append(later, f) }
	return h, func() {
		for _, f := range later {
			f()
		}
		later = nil
	}
}

// Of what is published to many addresses the oldest is forgotten, and who comes
// back for it is told that it has missed something.
func TestHistoriesAreBoundedTogether(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	h, soon := bounded(t, limit)
	l := NewLog("e", route.Pattern{}, route.Topic{Events: true}, h.metrics)
	body := make([]byte, 1000)
	for i := range 1000 {
		to := fmt.Sprintf("e:/%d", i)
		put(l, to, string(body), "")
		put(l, "e:/often", string(body[:1]), "")
		soon()
		if used := h.metrics.memory.used.Load(); used > limit {
			t.Fatalf("%d bytes are kept", used)
		}
	}
	if l.rings.n > limit/1000 || l.rings.at([]byte("e:/0")) != nil || l.rings.at([]byte("e:/999")) == nil || l.rings.at([]byte("e:/often")) == nil {
		t.Errorf("%d addresses are remembered", l.rings.n)
	}
	if testutil.ToFloat64(h.metrics.forgotten) < 900 {
		t.Errorf("%v were forgotten", testutil.ToFloat64(h.metrics.forgotten))
	}
	if p := visit(l, "e:/0").parts; p[0].Stamp.Topic != markFrom || p[0].Stamp.Offset < 1 {
		t.Errorf("all of it is said to be there: %+v", p[0].Stamp)
	}
	for r := range l.rings.all() {
		l.forget(r)
	}
	if used := h.metrics.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of nothing", used)
	}
}

// A content that somebody watches is not forgotten; topics and sources forget
// their histories, too, and give back what they counted.
func TestWhatIsForgotten(t *testing.T) {
	t.Parallel()
	h, soon := bounded(t, 10<<10)
	l := NewLog("s", route.Pattern{}, route.Topic{}, h.metrics)
	for _, to := range []string{"s:/watched", "s:/alone"} {
		put(l, to, string(make([]byte, 1000)), "")
	}
	visit(l, "s:/watched")
	c := new(noter)
	top := newTopic(h, "k", "prices:/x", 1, &route.Topic{Events: true})
	h.topics["k"] = top
	top.state = live
	w, err := (&viewer{hub: h, client: c, gone: make(chan struct{})}).watching(top)
	if err != nil {
		t.Fatal(err)
	}
	w.at, top.watchers = 0, []*watch{w}
	src, _ := h.source(sourceKey{what: "src"}, &view{info: &route.Topic{Events: true}, to: "prices:/x"})
	src.past.push(&record{body: make([]byte, 1000), offset: 1})
	say(top, "a", 0, markFrom, "")
	say(top, "a", 0, markArmed, "")
	say(top, "a", 1, "", string(make([]byte, 1000)))
	c.full = true
	say(top, "a", 2, "", string(make([]byte, 1000)))
	put(l, "s:/large", string(make([]byte, 8<<10)), "")
	soon()
	if l.rings.at([]byte("s:/watched")) == nil || l.rings.at([]byte("s:/watched")).past.len() != 1 || l.rings.at([]byte("s:/alone")) != nil {
		t.Error("the content that is watched is gone, or the other one is not")
	}
	if top.past.len() > 0 || src.past.len() > 0 {
		t.Errorf("%d events of a topic, %d of a source", top.past.len(), src.past.len())
	}
	c.full = false
	top.catchUp(w)
	if got := fmt.Sprint(c.got); got != "[a1 gap a2]" {
		t.Error(got)
	}
	before := h.metrics.memory.used.Load()
	say(top, "a", 3, "", string(make([]byte, 1000)))
	src.past.push(&record{body: make([]byte, 1000), offset: 2})
	src.Done(nil)
	top.end(errClosed)
	if used := h.metrics.memory.used.Load(); used != before {
		t.Errorf("%d bytes of nothing", used-before)
	}
}
