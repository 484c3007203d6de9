package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// follower does what the runner does: it gets the content once, and again only
// when it is told.
type follower struct {
	name string
	*watcher

	other content.Resource // not watched: what it gets is told to nobody
	last  string
}

func (f *follower) get(t testing.TB) { f.last = result(t, f.res) }

func result(t testing.TB, res content.Resource) string {
	c, err := res.Get(t.Context())
	if err != nil {
		return string(message.CodeOf(err))
	}
	return string(c.Body)
}

// settled waits until the follower has what there is.
func (f *follower) settled(t testing.TB, fail func(string, ...any)) {
	late := time.After(5 * time.Second)
	for {
		want := result(t, f.other)
		if f.last == want {
			return
		}
		select {
		case <-f.ring:
			f.get(t)
		case <-late:
			fail("%s has\n%s\nand there is\n%s", f.name, f.last, want)
			return
		}
	}
}

var (
	propFiles = []string{"a/x.json", "a/b/x.json", "b/x.json", "x.json", "l/x.json", "k.json"}
	propDirs  = []string{"a", "b", "a/b", "c", "l"}
)

// step does one random thing to the directory, mostly as another program would.
// What cannot be done at the moment is not.
func step(t *rapid.T, p content.Publisher, dir string, n int) {
	at := func(name string) string { return filepath.Join(dir, name) }
	name := rapid.SampledFrom(propFiles).Draw(t, "file")
	from, to := rapid.SampledFrom(propDirs).Draw(t, "dir"), rapid.SampledFrom(propDirs).Draw(t, "to")
	text := []byte(fmt.Sprint(n))
	switch rapid.SampledFrom([]string{"write", "replace", "remove", "mkdir", "rmdir", "move", "link", "publish", "delete"}).Draw(t, "op") {
	case "write":
		_ = os.WriteFile(at(name), text, 0o600)
	case "replace":
		_ = os.WriteFile(at(".new"), text, 0o600)
		_ = os.Rename(at(".new"), at(name))
	case "remove":
		_ = os.Remove(at(name))
	case "mkdir":
		_ = os.MkdirAll(at(from), 0o755)
	case "rmdir":
		_ = os.RemoveAll(at(from))
	case "move":
		_ = os.Rename(at(from), at(to))
	case "link":
		if _, err := os.Readlink(at("l")); err == nil || os.Remove(at("l")) == nil || os.IsNotExist(err) {
			_ = os.Remove(at("l"))
			_ = os.Symlink(from, at("l"))
		}
		_ = os.Remove(at("k.json"))
		_ = os.Symlink(name, at("k.json"))
	case "publish", "delete":
		r, c := request("/"+name), content.Content{}
		r.Query = "parents=true"
		if n%3 > 0 {
			c.Body = text
		}
		_, _ = p.Publish(t.Context(), r, c)
	}
}

func TestProperty(t *testing.T) {
	t.Parallel()
	for name, poll := range map[string]time.Duration{"told": 0, "polled": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				dir := t.TempDir()
				tr := open(t, file.Settings{Root: dir, Poll: duration.Duration(poll)})
				defer tr.Close()
				p := tr.JSON()
				var all []*follower
				add := func(address string) {
					f := &follower{name: address, watcher: watch(t, p, request(address))}
					f.other, _ = p.Open(t.Context(), request(address))
					f.get(t)
					all = append(all, f)
				}
				for _, name := range propFiles {
					add("/" + name)
				}
				add("/")
				add("/a/")
				for n := range rapid.IntRange(1, 40).Draw(rt, "steps") {
					step(rt, p.(content.Publisher), dir, n)
					f := all[n%len(all)]
					if rapid.IntRange(0, 9).Draw(rt, "settle") == 0 {
						f.settled(t, rt.Fatalf)
					}
					if rapid.IntRange(0, 9).Draw(rt, "again") == 0 {
						f.stop()
						f.watcher = watch(t, p, request(f.name))
						f.get(t)
					}
				}
				for _, f := range all {
					f.settled(t, rt.Fatalf)
				}
			})
		})
	}
}
