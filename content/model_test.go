package content_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/message"
)

// model is what the contents of a few paths are, and who watches them. All
// contents are numbers that grow.
type model struct {
	t     *rapid.T
	w     *world
	m     *contenttest.Memory
	n     int
	now   map[string]string // content, or the code of the error
	fails map[string]string
	subs  []*subscriber
	held  map[string]func()
}

type subscriber struct {
	*asked

	path, params string
	from         int // the last number there was when it came, of its path
	gone         bool
}

var modelPaths = []string{"/a", "/b", "/c"}

func (m *model) path() string { return rapid.SampledFrom(modelPaths).Draw(m.t, "path") }

// there is what watchers of a path have to see in the end.
func (m *model) there(path string) string {
	if f := m.fails[path]; f != "" {
		return f
	}
	if c := m.now[path]; c != "" {
		return c
	}
	return "not_found"
}

func (m *model) last(path string) int {
	n, _ := strconv.Atoi(m.now[path])
	return n
}

func (m *model) subscribe() {
	s := &subscriber{path: m.path(), params: rapid.SampledFrom([]string{"", `{"params":{"x":1}}`, `{"params":{"x":2}}`}).Draw(m.t, "params")}
	s.from = m.last(s.path)
	s.asked = m.w.subscribe("mem:"+s.path, s.params)
	m.subs = append(m.subs, s)
}

func (m *model) unsubscribe() {
	if len(m.subs) == 0 {
		return
	}
	s := rapid.SampledFrom(m.subs).Draw(m.t, "who")
	s.gone = true
	s.cancel()
}

func (m *model) set(path string) string {
	m.n++
	m.now[path] = strconv.Itoa(m.n)
	return m.now[path]
}

func (m *model) publish() {
	path := m.path()
	body := m.set(path)
	r := m.w.ask(m.w.tb.Context(), message.VerbPublish, "mem:"+path, body)
	if rapid.Bool().Draw(m.t, "wait") {
		r.answer()
		if _, held := m.held[path]; !held {
			if got := m.w.do(message.VerbGet, "mem:"+path, ""); got != m.there(path) {
				m.t.Fatalf("a get after a publish gave %s, not %s", got, m.there(path))
			}
		}
		return
	}
	synctest.Wait() // the next change comes after it, so that the model knows which is the last
}

func (m *model) fail() {
	path, code := m.path(), rapid.SampledFrom([]message.Code{message.CodeSourceDown, message.CodeBadContent, ""}).Draw(m.t, "code")
	if code == "" {
		delete(m.fails, path)
		m.m.Fail(path, nil)
		return
	}
	m.fails[path] = string(code)
	m.m.Fail(path, message.NewError(code, "broken", ""))
}

func (m *model) hold() {
	path := m.path()
	if release, held := m.held[path]; held {
		delete(m.held, path)
		release()
		return
	}
	m.held[path] = m.m.Hold(path)
}

func (m *model) step() {
	switch rapid.IntRange(0, 11).Draw(m.t, "what") {
	case 0, 1, 2:
		m.subscribe()
	case 3:
		m.unsubscribe()
	case 4, 5:
		m.publish()
	case 6:
		path := m.path()
		m.m.Set(path, m.set(path))
	case 7:
		path := m.path()
		delete(m.now, path)
		m.m.Remove(path)
	case 8:
		m.fail()
	case 9:
		m.hold()
	case 10:
		m.m.Regroup(m.path())
	case 11:
		m.m.Touch(m.path())
	}
	if rapid.Bool().Draw(m.t, "settle") {
		synctest.Wait()
	}
}

// check looks at what each subscriber has got.
func (m *model) check() {
	for _, release := range m.held {
		release()
	}
	<-time.After(2 * lastRetry) // what waits for a retry has it
	synctest.Wait()
	keys := map[string]bool{}
	for i, s := range m.subs {
		all := s.all()
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			m.t.Fatalf("subscriber %d of %s got something twice in a row: %q", i, s.path, all)
		}
		seen, first := 0, true
		for _, part := range all {
			n, ok := s.number(part)
			if !ok {
				continue
			}
			// A content may come again after an error, but never an older one.
			if n < seen || first && n < s.from {
				m.t.Fatalf("subscriber %d of %s went back to %d: %q, from %d", i, s.path, n, all, s.from)
			}
			seen, first = n, false
		}
		if s.gone {
			continue
		}
		keys[s.path+s.params] = true
		if len(all) == 0 || s.strip(all[len(all)-1]) != m.there(s.path) {
			m.t.Fatalf("subscriber %d of %s %s has %q at the end, not %s", i, s.path, s.params, all, m.there(s.path))
		}
	}
	if n := m.m.Watched(); n != len(keys) {
		m.t.Fatalf("%d are watched, not %d", n, len(keys))
	}
	for _, s := range m.subs {
		s.cancel()
	}
	synctest.Wait()
	if n := m.m.Watched(); n != 0 {
		m.t.Fatalf("%d are watched by nobody", n)
	}
}

// strip returns the content that parameters are wrapped around.
func (s *subscriber) strip(part string) string {
	part = strings.TrimPrefix(part, `{"content":`)
	part, _, _ = strings.Cut(part, ",")
	return part
}

func (s *subscriber) number(part string) (int, bool) {
	n, err := strconv.Atoi(s.strip(part))
	return n, err == nil
}

const lastRetry = 45 * time.Second // with its jitter

// bubbled hides from rapid that it could ask for the deadline of the test, which
// a bubble does not have.
type bubbled struct{ *testing.T }

func TestModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(rt *rapid.T) {
			o := content.Options{Workers: rapid.IntRange(1, 3).Draw(rt, "workers")}
			if rapid.Bool().Draw(rt, "slow") {
				o.Interval = time.Second
			}
			o.Timeout = 10 * time.Hour // what is held does not fail
			w, mem := inMemory(t, o)
			defer w.end()
			m := &model{t: rt, w: w, m: mem, now: map[string]string{}, fails: map[string]string{}, held: map[string]func(){}}
			defer func() {
				for _, release := range maps.All(m.held) {
					release()
				}
			}()
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				m.step()
			}
			m.check()
		})
	})
}
