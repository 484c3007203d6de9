package file

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// scene is a tree with a/x.json and b/x.json, which say 1.
func scene(t *testing.T, set Settings) (tr *Tree, write func(name, text string)) {
	t.Helper()
	dir := t.TempDir()
	write = func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(name+"/x.json", "1")
	}
	set.Root, set.Logger = dir, slog.New(slog.DiscardHandler)
	tr, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr, write
}

// follow watches a file and returns a function that waits until it is as it
// should be, looking only when it was told.
func follow(t *testing.T, tr *Tree, path string) (sees func(string)) {
	t.Helper()
	res, err := tr.JSON().Open(t.Context(), &content.Request{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ring := make(chan struct{}, 1)
	stop, err := res.Watch(func() {
		select {
		case ring <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c, err := res.Get(t.Context())
	return func(want string) {
		t.Helper()
		late := time.After(20 * time.Second)
		for err != nil || string(c.Body) != want {
			select {
			case <-ring:
				c, err = res.Get(t.Context())
			case <-late:
				t.Fatalf("%s is not seen: %s, %v", want, c.Body, err)
			}
		}
	}
}

// Of some directories the system does not tell: they are polled, and only they.
func TestSomeDirectoriesAreBlind(t *testing.T) {
	t.Parallel()
	tr, write := scene(t, Settings{})
	tr.watcher.far = func(dir string) bool { return filepath.Base(dir) == "b" }
	tr.watcher.poll = 10 * time.Millisecond
	a, b := follow(t, tr, "/a/x.json"), follow(t, tr, "/b/x.json")
	for _, n := range []string{"2", "3"} {
		write("a/x.json", n)
		write("b/x.json", n)
		a(n)
		b(n)
	}
	tr.watcher.mu.Lock()
	defer tr.watcher.mu.Unlock()
	if tr.watcher.polled != 1 {
		t.Errorf("%d are polled", tr.watcher.polled)
	}
}

// When the system says that it lost events, everything is looked at anew, and
// watched as before.
func TestOverflow(t *testing.T) {
	t.Parallel()
	tr, write := scene(t, Settings{})
	a := follow(t, tr, "/a/x.json")
	a("1")
	w := tr.watcher
	w.mu.Lock()
	for path := range w.dirs {
		if err := w.fs.Remove(path); err != nil {
			t.Error(err)
		}
	}
	faults := w.fs.Errors
	w.mu.Unlock()
	write("a/x.json", "2") // nobody is told
	faults <- fsnotify.ErrEventOverflow
	a("2")
	write("a/x.json", "3")
	a("3")
}

// What is not watched any more costs nothing.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, poll := range []time.Duration{0, time.Hour} {
		tr, _ := scene(t, Settings{Poll: duration.Duration(poll)})
		for _, r := range []content.Request{{Path: "/a/x.json"}, {Path: "/no/x.json"}, {Path: "/", Dir: true}} {
			res, err := tr.Files(true).Open(t.Context(), &r)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				stop, err := res.Watch(func() {})
				if err != nil {
					t.Fatal(err)
				}
				stop()
				stop()
			}
		}
		w := tr.watcher
		w.mu.Lock()
		if len(w.dirs)+len(w.watches)+len(w.due)+w.polled > 0 || w.fs != nil && len(w.fs.WatchList()) > 0 {
			t.Errorf("there are %d directories, %d watches, %d due, %d polled", len(w.dirs), len(w.watches), len(w.due), w.polled)
		}
		w.mu.Unlock()
		if len(tr.locks.held) > 0 {
			t.Error("there are locks")
		}
	}
}
