package git_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// openWith opens a store with rights, and a bare repository that may be its remote.
func openWith(t *testing.T, opt git.Options, change func(set *git.Settings, remote string)) (s *git.Store, here, there *outside) {
	t.Helper()
	there = &outside{dir: filepath.Join(t.TempDir(), "remote.git"), branch: "main"}
	run(t, t.TempDir(), "init", "--bare", "-b", "main", there.dir)
	there.write(t, "a.json", "1")
	there.write(t, "old.sql", "select 1")
	set := git.Settings{Repository: filepath.Join(t.TempDir(), "site.git")}
	change(&set, there.dir)
	opt.Logger = slog.New(slog.DiscardHandler)
	s, err := git.New(set, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, &outside{dir: set.Repository, branch: "main"}, there
}

// noCode lets everybody publish, and nobody code.
func noCode(_ *session.Session, address string, code bool) error {
	if !code {
		return nil
	}
	return message.NewError(message.CodeForbidden, address+" needs code", "Ask somebody.")
}

// TestPullNeedsCode has somebody pull and push who may not write what is run.
func TestPullNeedsCode(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for name, files := range map[string]map[string]*string{
		"added":      {"b.json": text("2"), "x/new.JS": text("1")},
		"changed":    {"b.json": text("2"), "old.sql": text("select 2")},
		"removed":    {"b.json": text("2"), "old.sql": nil},
		"in the way": {"b.json": text("2"), "old.sql": nil, "old.sql/x": text("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, here, there := openWith(t, git.Options{Allow: noCode}, func(set *git.Settings, url string) { set.Remote.URL = url })
			watch(t, s.JSON(), "/a.json").sees("1")
			if err := there.commit(files); err != nil {
				t.Fatal(err)
			}
			refused := func() {
				t.Helper()
				was, theirs := run(t, here.dir, "rev-parse", "main"), run(t, there.dir, "rev-parse", "main")
				for _, c := range [][2]string{{"/pull", `{}`}, {"/pull", `{"prefer":"theirs"}`}, {"/push", ``}} {
					if c[0] == "/push" && !strings.Contains(run(t, here.dir, "log", "--format=%s", "main"), "ours.json") {
						continue // there is nothing to push
					}
					_, err := tryPublish(s.Git(), c[0], c[1])
					fails(t, err, message.CodeForbidden)
				}
				if run(t, here.dir, "rev-parse", "main") != was || run(t, there.dir, "rev-parse", "main") != theirs {
					t.Error("something was written nevertheless")
				}
				_, err := get(t, s.JSON(), "/b.json")
				fails(t, err, message.CodeNotFound)
			}
			refused()
			if state := stateOf(t, s); state.State != "ok" || state.Behind != 1 {
				t.Errorf("the remote is %+v", state)
			}
			publish(t, s.JSON(), "/ours.json", "1")
			refused()
		})
	}
}

// TestPullWithoutCode has the same somebody pull what is not run, and is told of
// no more than that.
func TestPullWithoutCode(t *testing.T) {
	t.Parallel()
	s, here, there := openWith(t, git.Options{Allow: noCode}, func(set *git.Settings, url string) { set.Remote.URL = url })
	w := watch(t, s.JSON(), "/a.json")
	w.sees("1")
	there.write(t, "a.json", "2")
	there.write(t, ".tool.js", "1") // is no content
	publish(t, s.Git(), "/pull", `{}`)
	w.sees("2")
	// The code is what it was already: somebody else has brought it.
	there.write(t, "new.sql", "select 3")
	here.write(t, "new.sql", "select 3")
	publish(t, s.Git(), "/pull", `{}`)
	publish(t, s.Git(), "/push", `{}`)
	if a, b := run(t, here.dir, "rev-parse", "main"), run(t, there.dir, "rev-parse", "main"); a != b {
		t.Error("they are not the same")
	}
}

// TestPullWithCode has those pull code who may.
func TestPullWithCode(t *testing.T) {
	t.Parallel()
	allow := func(who *session.Session, _ string, code bool) error {
		if who.Subject != "alice" || !code {
			return message.NewError(message.CodeForbidden, "no", "")
		}
		return nil
	}
	t.Run("by right", func(t *testing.T) {
		t.Parallel()
		s, _, there := openWith(t, git.Options{Allow: allow}, func(set *git.Settings, url string) { set.Remote.URL = url })
		watch(t, s.JSON(), "/a.json").sees("1")
		there.write(t, "new.sql", "select 3")
		r := request("/pull")
		r.Script = "/a.js"
		_, err := s.Git().(content.Publisher).Publish(t.Context(), r, content.Content{Body: []byte(`{}`)})
		fails(t, err, message.CodeForbidden) // scripts write no code
		publish(t, s.Git(), "/pull", `{}`)
		wants(t, s.Files(true), "/new.sql", "select 3")
	})
	t.Run("by the schedule", func(t *testing.T) {
		t.Parallel()
		s, _, there := openWith(t, git.Options{Allow: noCode}, func(set *git.Settings, url string) {
			set.Remote = git.Remote{URL: url, Pull: duration.Duration(time.Second)}
		})
		w := watch(t, s.Files(true), "/new.sql")
		there.write(t, "new.sql", "select 3")
		w.sees("select 3")
	})
	t.Run("nobody to ask", func(t *testing.T) {
		t.Parallel()
		s, _, there := openWith(t, git.Options{}, func(set *git.Settings, url string) { set.Remote.URL = url })
		watch(t, s.JSON(), "/a.json").sees("1")
		there.write(t, "new.sql", "select 3")
		_, err := tryPublish(s.Git(), "/pull", `{}`)
		fails(t, err, message.CodeForbidden)
	})
}

// TestMergeInTheWay merges a draft that has a file where the branch has got a
// directory with code since.
func TestMergeInTheWay(t *testing.T) {
	t.Parallel()
	s, here, _ := openWith(t, git.Options{Allow: noCode}, func(set *git.Settings, _ string) { set.Workspaces.Enabled = true })
	here.write(t, "a.json", "1")
	publish(t, s.Files(true), "/d?workspace=w", `{"base64":""}`)
	here.write(t, "d/x.sql", "select 1")
	_, err := tryPublish(s.Git(), "/merge", `{"workspace":"w","prefer":"theirs"}`)
	fails(t, err, message.CodeForbidden)
	wants(t, s.Files(true), "/d/x.sql", "select 1")
}

// readers lets alice read all but code, and tells of changes by hand.
type readers struct {
	mu      sync.Mutex
	code    bool
	changed func()
}

func (r *readers) MayRead(who *session.Session, a message.Address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return who.Subject == "alice" && (r.code || !content.IsCode(a.Path)) && (a.Name == "json") == strings.HasSuffix(a.Path, ".json")
}

func (r *readers) Watch(changed func()) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = changed
	return func() {}
}

func (r *readers) allow() {
	r.mu.Lock()
	r.code = true
	changed := r.changed
	r.mu.Unlock()
	changed()
}

// TestHistoryShowsWhatMayBeRead looks at the sources of what is run by way of the
// history.
func TestHistoryShowsWhatMayBeRead(t *testing.T) {
	t.Parallel()
	rules := &readers{}
	s, here, _ := openWith(t, git.Options{Rights: rules}, func(set *git.Settings, _ string) { set.Workspaces.Enabled = true })
	secret, plain := "select 'secret'", "7"
	if err := here.commit(map[string]*string{"q.sql": &secret, "a.json": &plain, "b.txt": &plain}); err != nil {
		t.Fatal(err)
	}
	both := func(path string) (called, got string, err error) {
		var out json.RawMessage
		err = ask(t, s, path, `{}`, &out)
		got, again := get(t, s.Git(), path)
		if message.CodeOf(err) != message.CodeOf(again) {
			t.Errorf("%s: a call gets %v, a get %v", path, err, again)
		}
		return string(out), got, err
	}
	const hidden = `{"path":"/q.sql","status":"added","hidden":true}`
	for _, path := range []string{"/diff", "/diff/q.sql"} {
		called, got, err := both(path)
		if err != nil || called != got || !strings.Contains(got, hidden) || path == "/diff" && strings.Count(got, "+7") != 2 {
			t.Errorf("%s is %s and %s, %v", path, called, got, err)
		}
	}
	_, _, err := both("/show/q.sql")
	fails(t, err, message.CodeForbidden)
	for _, path := range []string{"/show/a.json", "/show/b.txt"} {
		if _, got, err := both(path); err != nil || !strings.Contains(got, `"text":"7"`) {
			t.Errorf("%s is %s, %v", path, got, err)
		}
	}
	other := request("/diff")
	other.Session = session.New("eve", nil, nil)
	theirs, err := s.Git().Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := theirs.Get(t.Context()); err != nil || strings.Contains(string(c.Body), "+7") {
		t.Errorf("another sees %s, %v", c.Body, err)
	}
	if mine := watch(t, s.Git(), "/diff"); mine.res.Key() == theirs.Key() {
		t.Error("what they see is taken for the same")
	}

	w := watch(t, s.Git(), "/diff/q.sql")
	w.until(func(body string, err error) bool { return err == nil && strings.Contains(body, hidden) })
	rules.allow()
	w.told(true)
	w.until(func(body string, err error) bool { return err == nil && strings.Contains(body, "+select 'secret'") })
	if _, got, err := both("/show/q.sql"); err != nil || !strings.Contains(got, secret) {
		t.Errorf("the source is %s, %v", got, err)
	}
}

// TestConflictShowsWhatMayBeRead has a pull tell of a conflict in code.
func TestConflictShowsWhatMayBeRead(t *testing.T) {
	t.Parallel()
	rules := &readers{}
	s, here, there := openWith(t, git.Options{Rights: rules}, func(set *git.Settings, url string) { set.Remote.URL = url })
	watch(t, s.JSON(), "/a.json").sees("1")
	for i, o := range []*outside{here, there} {
		o.write(t, "old.sql", fmt.Sprintf("select %d", i+7))
		o.write(t, "a.json", fmt.Sprint(i+7))
	}
	conflicts := func() string {
		t.Helper()
		_, err := s.Git().(content.Publisher).Publish(context.Background(), request("/pull"), content.Content{Body: []byte(`{}`)})
		return string(fails(t, err, message.CodeConflict).Details)
	}
	if got := conflicts(); !strings.Contains(got, `{"path":"/old.sql","ours":{"size":8},"theirs":{"size":8}}`) || !strings.Contains(got, `"text":"7"`) {
		t.Errorf("the conflicts are %s", got)
	}
	rules.code = true
	if got := conflicts(); !strings.Contains(got, `select 8`) {
		t.Errorf("the conflicts are %s", got)
	}
}
