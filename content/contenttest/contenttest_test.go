package contenttest_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	contenttest.Run(t, contenttest.Features{Missing: true, Params: true, Publish: true, Delete: true}, memory)
}

func TestMemoryUnwatchable(t *testing.T) {
	t.Parallel()
	contenttest.Run(t, contenttest.Features{Blind: true, Missing: true, Params: true}, func(t *testing.T) contenttest.Env {
		t.Helper()
		e := memory(t)
		if m, ok := e.Provider.(*contenttest.Memory); ok {
			m.Unwatchable()
		}
		return e
	})
}

func memory(t *testing.T) contenttest.Env {
	t.Helper()
	m := contenttest.NewMemory()
	path := func(name string) string { return "/" + name }
	body := func(n int) string { return fmt.Sprintf(`{"n":%d}`, n) }
	request := func(name string) *content.Request { return contenttest.Request(path(name)) }
	return contenttest.Env{
		Provider: m,
		Request:  request,
		Write:    func(name string, n int) error { m.Set(path(name), body(n)); return nil },
		Remove:   func(name string) error { m.Remove(path(name)); return nil },
		Content:  func(n int) content.Content { return content.Content{Body: []byte(body(n))} },
		Filtered: func(name string) (a, b *content.Request) {
			a, b = request(name), request(name)
			a.Params, b.Params = json.RawMessage(`{"x":1}`), json.RawMessage(`{"x":2}`)
			return a, b
		},
		Publication: func(name string, n int) (*content.Request, content.Content) {
			return request(name), content.Content{Body: []byte(body(n))}
		},
		Deletion: func(name string) (*content.Request, content.Content) {
			return request(name), content.Content{}
		},
	}
}
