package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

func move(t testing.TB, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

// Editors write a new file and put it in the place of the old one, or put the
// old one aside first.
func TestEditors(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "a.json", "1")
	w := watch(t, tr.JSON(), request("/a.json"))
	w.sees(t, "1")
	for _, n := range []string{"2", "3"} {
		put(t, dir, "a.json.tmp", n)
		move(t, dir, "a.json.tmp", "a.json")
		w.sees(t, n)
	}
	move(t, dir, "a.json", "a.json~")
	put(t, dir, "a.json", "4")
	w.sees(t, "4")
	put(t, dir, "a.json", "5")
	w.sees(t, "5")
}

func TestDirectoriesComeAndGo(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	w := watch(t, tr.JSON(), request("/a/b/c/x.json"))
	w.misses(t, message.CodeNotFound)
	for _, n := range []string{"1", "2"} {
		put(t, dir, "a/b/c/x.json", n)
		w.sees(t, n)
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		w.misses(t, message.CodeNotFound)
	}
	// Another directory takes the place, and the old one goes on elsewhere.
	put(t, dir, "a/b/c/x.json", "3")
	w.sees(t, "3")
	put(t, dir, "new/c/x.json", "4")
	move(t, dir, "a/b", "old")
	move(t, dir, "new", "a/b")
	w.sees(t, "4")
	put(t, dir, "old/c/x.json", "5")
	put(t, dir, "a/b/c/x.json", "6")
	w.sees(t, "6")
	// A file in place of a directory.
	move(t, dir, "a", "gone")
	put(t, dir, "a", "")
	w.misses(t, message.CodeNotFound)
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	move(t, dir, "gone", "a")
	w.sees(t, "6")
}

func TestLinksAreFollowed(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "v1/x.json", "1")
	put(t, dir, "v2/x.json", "2")
	link(t, "v1", dir, "now")
	link(t, "now/x.json", dir, "x.json")
	w := watch(t, tr.JSON(), request("/x.json"))
	w.sees(t, "1")
	put(t, dir, "v1/x.json", "3")
	w.sees(t, "3")
	link(t, "v2", dir, "next")
	w.drain()
	move(t, dir, "next", "now")
	<-w.ring // its way is found anew
	w.got = false
	w.sees(t, "2")
	put(t, dir, "v2/x.json", "4")
	w.sees(t, "4")
	before := w.count.Load()
	if _, err := publish(t.Context(), tr.JSON(), "/v2/x.json", "", "5"); err != nil {
		t.Fatal(err)
	}
	if c, err := w.res.Get(t.Context()); err != nil || string(c.Body) != "5" || w.count.Load() == before {
		t.Errorf("%s, %v: who watches through a link is not told of a publish", c.Body, err)
	}
}

// The directory that is served is a link that is set to another one, as when a
// new version is put in place, or is removed and made again.
func TestRootIsReplaced(t *testing.T) {
	t.Parallel()
	for name, poll := range map[string]time.Duration{"told": 0, "polled": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			put(t, base, "v1/x.json", "1")
			put(t, base, "v2/x.json", "2")
			link(t, "v1", base, "now")
			tr := open(t, file.Settings{Root: filepath.Join(base, "now"), Poll: duration.Duration(poll)})
			w := watch(t, tr.JSON(), request("/x.json"))
			w.sees(t, "1")
			link(t, "v2", base, "next")
			move(t, base, "next", "now")
			w.sees(t, "2")
			if err := os.Remove(filepath.Join(base, "now")); err != nil {
				t.Fatal(err)
			}
			w.misses(t, message.CodeSourceDown)
			put(t, base, "now/x.json", "3")
			w.sees(t, "3")
			if err := os.RemoveAll(filepath.Join(base, "now")); err != nil {
				t.Fatal(err)
			}
			w.misses(t, message.CodeSourceDown)
			put(t, base, "now/x.json", "4")
			w.sees(t, "4")
		})
	}
}

// What one watcher does not look at does not disturb it.
func TestOthersAreNotTold(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "d/a.json", "1")
	put(t, dir, "d/b.json", "1")
	a, b := watch(t, tr.JSON(), request("/d/a.json")), watch(t, tr.JSON(), request("/d/b.json"))
	for n := range 20 {
		put(t, dir, "d/b.json", string(rune('0'+n%10))+"1")
		put(t, dir, "d/c.json", "1")
	}
	b.sees(t, "91")
	if n := a.count.Load(); n != 0 {
		t.Errorf("told of %d changes of other files", n)
	}
}

// The directory that is served lies behind a link that is set to another one, and
// that by way of a second link.
func TestWayToTheRootIsReplaced(t *testing.T) {
	t.Parallel()
	for name, poll := range map[string]time.Duration{"told": 0, "polled": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			for _, v := range []string{"1", "2", "3"} {
				put(t, base, "v"+v+"/content/x.json", v)
			}
			link(t, "v1", base, "latest")
			link(t, filepath.Join(base, "latest"), base, "now")
			tr := open(t, file.Settings{Root: filepath.Join(base, "now", "content"), Poll: duration.Duration(poll)})
			w := watch(t, tr.JSON(), request("/x.json"))
			w.sees(t, "1")
			link(t, "v2", base, "next")
			move(t, base, "next", "now")
			w.sees(t, "2")
			if _, err := publish(t.Context(), tr.JSON(), "/x.json", "", "20"); err != nil {
				t.Fatal(err)
			}
			w.sees(t, "20")
			link(t, filepath.Join(base, "latest"), base, "next")
			move(t, base, "next", "now")
			w.sees(t, "1")
			link(t, "v3", base, "next")
			move(t, base, "next", "latest")
			w.sees(t, "3")
		})
	}
}
