package content_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{Timeout: time.Second})
		defer w.end()
		m.Set("/a", "1")
		release := m.Hold("/a")
		s := w.subscribe("mem:/a", "")
		began := time.Now()
		s.sees("limit_exceeded")
		if took := time.Since(began); took != time.Second {
			t.Errorf("after %v", took)
		}
		release()
		m.Touch("/a")
		s.sees("limit_exceeded", "1")
	})
}

func TestInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{Interval: time.Second})
		defer w.end()
		m.Set("/a", "0")
		s := w.subscribe("mem:/a", "")
		synctest.Wait()
		for i := range 30 { // 3 s
			m.Set("/a", fmt.Sprint(i+1))
			<-time.After(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := m.Gets("/a"); n < 3 || n > 4 {
			t.Errorf("computed %d times in 3 s", n)
		}
		m.Set("/a", "99")
		if got := w.do(message.VerbGet, "mem:/a", ""); got != "99" { // who asks does not wait
			t.Error(got)
		}
		<-time.After(2 * time.Second)
		s.sees("99")
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Fail("/a", message.NewError(message.CodeSourceDown, "down", ""))
		m.Fail("/b", message.NewError(message.CodeBadContent, "broken", ""))
		a, b := w.subscribe("mem:/a", ""), w.subscribe("mem:/b", "")
		<-time.After(time.Hour)
		if n := m.Gets("/b"); n != 1 {
			t.Errorf("what does not get better by itself was computed %d times", n)
		}
		if n := m.Gets("/a"); n < 80 || n > 180 {
			t.Errorf("what is down was computed %d times in an hour", n)
		}
		m.Set("/a", "1") // still down, but it is tried at once
		before := m.Gets("/a")
		m.Touch("/a")
		synctest.Wait()
		if m.Gets("/a") == before {
			t.Error("it is not tried when it changes")
		}
		m.Fail("/a", nil)
		a.sees("source_down", "1")
		b.sees("bad_content")
		if all := a.all(); len(all) != 2 {
			t.Error(all)
		}
	})
}

func TestUnwatchable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Unwatchable()
		m.Set("/a", "1")
		s := w.subscribe("mem:/a", "")
		s.sees("1")
		m.Set("/a", "2")
		synctest.Wait()
		s.sees("1")
		w.subscribe("mem:/a", "").sees("2") // who comes new sees what is there now
		s.sees("1", "2")
		m.Set("/a", "3")
		if got := w.do(message.VerbGet, "mem:/a", ""); got != "3" {
			t.Error(got)
		}
		if !strings.Contains(w.log.String(), "not noticed") {
			t.Error(w.log.String())
		}
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Set("/a", "1")
		a, b := w.subscribe("mem:/a", ""), w.subscribe("mem:/a", "")
		synctest.Wait()
		for range 2 * 8 {
			m.Regroup("/a")
			synctest.Wait()
		}
		m.Set("/a", "2")
		synctest.Wait()
		for _, s := range []*asked{a, b} {
			if all := s.all(); !slices.Equal(all, []string{"1", "2"}) {
				t.Error(all)
			}
		}
		if n := m.Watched(); n != 1 {
			t.Errorf("%d are watched", n)
		}
	})
}

func TestReopenForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var opens atomic.Int64
		w := serve(t, own{func(*content.Request) (content.Resource, error) {
			opens.Add(1)
			return ownResource{key: "k", get: func(context.Context) (content.Content, error) { return content.Content{}, content.ErrReopen }}, nil
		}}, content.Options{})
		defer w.end()
		if got := w.do(message.VerbGet, "mem:/a", ""); got != "internal" {
			t.Error(got)
		}
		opens.Store(0)
		s := w.subscribe("mem:/a", "")
		<-time.After(time.Hour)
		if n := opens.Load(); n > 200 {
			t.Errorf("opened %d times in an hour", n)
		}
		s.cancel()
	})
}
