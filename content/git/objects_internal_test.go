package git

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// inside opens a store whose fields a test looks at.
func inside(t *testing.T, set Settings) *Store {
	t.Helper()
	if set.Repository == "" {
		set.Repository = filepath.Join(t.TempDir(), "site.git")
	}
	s, err := New(set, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func write(t *testing.T, s *Store, path, body string) {
	t.Helper()
	r := &content.Request{Path: path, Dir: path == "/", Session: session.New("alice", nil, nil)}
	if _, err := s.Files(true).(content.Publisher).Publish(t.Context(), r, content.Content{Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// Each publish to a directory makes a new tree as large as the directory: what is
// remembered of them is bounded by what is in them.
func TestTreesAreForgotten(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	s.objects.room = 1000
	files := make([]string, 300)
	for n := range files {
		files[n] = fmt.Sprintf(`{"path":"d/f%d.txt","text":""}`, n)
	}
	write(t, s, "/", `{"files":[`+strings.Join(files, ",")+`]}`)
	for n := range 20 {
		write(t, s, "/d/f7.txt", fmt.Sprint(n))
		s.objects.mu.Lock()
		sum, counted := 0, s.objects.kept
		for _, entries := range s.objects.trees {
			sum += len(entries)
		}
		s.objects.mu.Unlock()
		if sum > 1000 || sum != counted {
			t.Fatalf("after %d commits %d entries are remembered, %d are counted", n+1, sum, counted)
		}
	}
}

// Who asks for what is not there does not have all indexes read again, but what
// another process has packed anew is found.
func TestIndexesAreKept(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	write(t, s, "/a.txt", "1")
	o := s.objects
	o.mu.Lock()
	o.opened = o.opened.Add(time.Hour) // the packs are old
	was := o.storage
	o.mu.Unlock()
	ask := func(revision string) error {
		r := &content.Request{Path: "/show/a.txt", Params: fmt.Appendf(nil, `{"revision":%q}`, revision), Session: session.Anonymous()}
		res, err := s.Git().Open(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = res.Get(t.Context())
		return err
	}
	for _, revision := range []string{"deadbeef", "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"} {
		if err := ask(revision); message.CodeOf(err) != message.CodeNotFound {
			t.Errorf("%s: the error is %v", revision, err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storage != was {
		t.Error("the indexes were read again")
	}
}

// The git program puts a pack into place before its index, and removes it after that,
// and may be killed between.
func TestPackWithoutIndex(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	dir := s.refs.dir
	packsOf(t, s, 2)
	if err := os.WriteFile(filepath.Join(dir, "objects", "pack", "pack-"+strings.Repeat("1", 40)+".pack"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	reads(t, s, "/a.txt", "1 2")
	fresh := inside(t, Settings{Repository: dir})
	reads(t, fresh, "/a.txt", "1 2")
	c := newCompactor(s.objects)
	c.loose, c.packs, c.age = 0, 1, 0
	write(t, s, "/a.txt", "x")
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	reads(t, s, "/a.txt", "x")
}

// Objects that are in another repository are not served, and it is said why.
func TestAlternates(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	s := inside(t, Settings{Repository: filepath.Join(base, "a.git")})
	write(t, s, "/a.txt", "1")
	program(t, base, "clone", "-q", "--bare", "--shared", "a.git", "b.git")
	set := Settings{Repository: filepath.Join(base, "b.git")}
	if _, err := New(set, Options{}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("the error is %v", err)
	}
	program(t, set.Repository, "repack", "-q", "-a", "-d")
	if err := os.Remove(filepath.Join(set.Repository, "objects", "info", "alternates")); err != nil {
		t.Fatal(err)
	}
	reads(t, inside(t, set), "/a.txt", "1")
}
