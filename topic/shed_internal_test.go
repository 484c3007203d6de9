package topic

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/route"
)

// What topics keep of the history of a log is forgotten with it, not when the next
// event comes: that may be never.
func TestFormsAreForgottenWithTheHistory(t *testing.T) {
	t.Parallel()
	l, top := logged(t, route.History{Count: 100})
	m := &top.hub.metrics.memory
	for range 10 {
		put(l, "e:/x", string(make([]byte, 100)), "")
	}
	list := make([]taker, 2*sharers)
	for i := range list {
		enters(t, l, top, &list[i], 0)
	}
	if n := len(top.forms.list); n != 10 {
		t.Fatalf("%d forms are kept", n)
	}
	m.limit, m.soon = 1, func(f func()) { f() }
	m.add(1)
	m.add(-1)
	m.limit = 0
	if used := m.used.Load(); used != 0 || top.forms.list != nil {
		t.Errorf("%d bytes of nothing, %d forms", used, len(top.forms.list))
	}
	late := new(noter)
	enters(t, l, top, late, 0)
	put(l, "e:/x", "x", "")
	if got := fmt.Sprint(late.got); got != "["+l.epoch+"11]" {
		t.Error(got)
	}
}

// The memory of a history whose events became too old can be had, too.
func TestMemoryOfOldEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, soon := bounded(t, 10<<10)
		l := NewLog("e", route.Pattern{}, route.Topic{Events: true, History: route.History{Age: duration.Duration(time.Second)}}, h.metrics)
		m := &h.metrics.memory
		for i := range 10 {
			put(l, fmt.Sprint("e:/", i), string(make([]byte, 400)), "")
		}
		time.Sleep(2 * time.Second)
		for i := range 10 {
			visit(l, fmt.Sprint("e:/", i))
		}
		if m.used.Load() == 0 {
			t.Fatal("there is nothing to be forgotten")
		}
		m.limit = 1
		m.add(1)
		m.add(-1)
		soon()
		if used := m.used.Load(); used != 0 {
			t.Errorf("%d bytes of nothing", used)
		}
	})
}
