package content_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// Gets of different contents are computed a few at a time, and watches beside them.
func TestGetsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{Workers: 2})
		defer w.end()
		var asks []*asked
		var releases []func()
		begun := func() (n int) {
			for i := range 8 {
				n += m.Gets(fmt.Sprintf("/%d", i))
			}
			return n
		}
		for i := range 8 {
			path := fmt.Sprintf("/%d", i)
			m.Set(path, "1")
			releases = append(releases, m.Hold(path))
			asks = append(asks, w.ask(t.Context(), message.VerbGet, "mem:"+path, ""))
		}
		synctest.Wait()
		if n := begun(); n != 2 {
			t.Errorf("%d are computed at once", n)
		}
		if got := w.do(message.VerbGet, "mem:/0", `{"params":[]}`); got != "invalid_input" {
			t.Error(got)
		}
		for _, release := range releases {
			release()
		}
		for _, a := range asks {
			if got := a.answer(); got != "1" {
				t.Error(got)
			}
		}
		if n := begun(); n != 8 {
			t.Errorf("%d were computed", n)
		}
	})
}
