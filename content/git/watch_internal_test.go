package git

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/session"
)

// count returns how many directories the system is asked about.
func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.armed)
}

// Workspaces that nobody watches any more cost nothing.
func TestWorkspacesAreForgotten(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{Workspaces: Workspaces{Enabled: true}})
	write(t, s, "/a.txt", "1")
	var stops []func()
	for n := range 20 {
		who := session.New(fmt.Sprintf("user-%d", n), nil, nil)
		r := &content.Request{Path: "/a.txt", Query: "workspace=w", Session: who}
		if _, err := s.Files(true).(content.Publisher).Publish(t.Context(), r, content.Content{Body: []byte("2")}); err != nil {
			t.Fatal(err)
		}
		res, err := s.Files(true).Open(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		stop, err := res.Watch(func() {})
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	if n := s.watch.count(); n < 20 {
		t.Errorf("%d directories are watched", n)
	}
	for _, stop := range stops {
		stop()
	}
	// The git directory, refs, refs/heads, refs/ropewalk and what is in that.
	if n, told := s.watch.count(), len(s.watch.fs.WatchList()); n > 5 || told != n {
		t.Errorf("%d directories are watched still, %d of them by the system", n, told)
	}
}

// lines counts the lines of a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// What lasts is logged once, not each time that somebody looks.
func TestLogIsNotFlooded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site.git")
	var log lines
	s, err := New(Settings{Repository: dir}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	write(t, s, "/a.txt", "1")
	res, err := s.Files(true).Open(t.Context(), &content.Request{Path: "/a.txt", Session: session.Anonymous()})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := res.Watch(func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := os.WriteFile(filepath.Join(dir, "refs", "ropewalk"), nil, 0o600); err != nil { // no directory
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "refs", "heads", "main"), []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.watch.check(t.Context())
	}
	for _, text := range []string{"does not tell changes", "cannot be read"} {
		if n := log.count(text); n != 1 {
			t.Errorf("%q is logged %d times", text, n)
		}
	}
}
