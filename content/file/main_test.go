package file_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree returns a tree over a new directory, and the directory.
func tree(t testing.TB, set file.Settings) (*file.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	set.Root = dir
	return open(t, set), dir
}

func open(t testing.TB, set file.Settings) *file.Tree {
	t.Helper()
	set.Logger = slog.New(slog.DiscardHandler)
	tr, err := file.New(set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func text(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// request returns a request for an address without its scheme.
func request(address string) *content.Request {
	r := contenttest.Request(address)
	if n := len(address); n > 1 && address[n-1] == '/' {
		r.Path = address[:n-1]
		r.Dir = true
	} else if address == "/" {
		r.Dir = true
	}
	return r
}

func get(t testing.TB, p content.Provider, r *content.Request) (content.Content, error) {
	t.Helper()
	res, err := p.Open(t.Context(), r)
	if err != nil {
		return content.Content{}, err
	}
	return res.Get(t.Context())
}

func publish(ctx context.Context, p content.Provider, address, query, body string) (content.Content, error) {
	r := request(address)
	r.Query = query
	return p.(content.Publisher).Publish(ctx, r, content.Content{Body: []byte(body)})
}

// fails checks the code of an error, and that it is one that people can read
// and that tells nothing of the server.
func fails(t testing.TB, err error, code message.Code, dir string) *message.Error {
	t.Helper()
	if message.CodeOf(err) != code {
		t.Fatalf("the error is %v, want the code %s", err, code)
	}
	e := message.AsError(err)
	sent := string(message.AppendError(nil, e))
	if e.Message == "" || e.Hint == "" || dir != "" && strings.Contains(sent, dir) {
		t.Errorf("the error is %s", sent)
	}
	if len(e.Details) > 0 && !json.Valid(e.Details) {
		t.Errorf("the details are no JSON: %s", e.Details)
	}
	return e
}

// watcher counts changes, and has what it got since the last that it was told of.
type watcher struct {
	res   content.Resource
	ring  chan struct{}
	count atomic.Int64
	stop  func()
	got   bool
	last  content.Content
	err   error
}

func watch(t testing.TB, p content.Provider, r *content.Request) *watcher {
	t.Helper()
	res, err := p.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{res: res, ring: make(chan struct{}, 1)}
	w.stop, err = res.Watch(func() {
		w.count.Add(1)
		select {
		case w.ring <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stop() })
	return w
}

// until gets the content whenever it was told of a change, and only then, until ok.
func (w *watcher) until(t testing.TB, what string, ok func(content.Content, error) bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		if !w.got {
			w.last, w.err = w.res.Get(t.Context())
			w.got = true
		}
		if ok(w.last, w.err) {
			return
		}
		select {
		case <-w.ring:
			w.got = false
		case <-late:
			t.Fatalf("%s: not seen; the last is %.300s, %v", what, w.last.Body, w.err)
		}
	}
}

func (w *watcher) sees(t testing.TB, body string) {
	t.Helper()
	w.until(t, body, func(c content.Content, err error) bool { return err == nil && string(c.Body) == body })
}

func (w *watcher) misses(t testing.TB, code message.Code) {
	t.Helper()
	w.until(t, string(code), func(_ content.Content, err error) bool { return message.CodeOf(err) == code })
}

// drain waits until nothing was told for a while.
func (w *watcher) drain() {
	for {
		select {
		case <-w.ring:
			w.got = false
		case <-time.After(150 * time.Millisecond):
			return
		}
	}
}
