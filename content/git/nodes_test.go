package git_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
)

// TestTwoNodes has two stores and the git program write to one repository at the
// same time: no commit is lost, and all see all.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site.git")
	a, o := reopen(t, git.Settings{Repository: dir, Workspaces: git.Workspaces{Enabled: true}})
	b, _ := reopen(t, git.Settings{Repository: dir, Workspaces: git.Workspaces{Enabled: true}})
	publish(t, a.JSON(), "/start.json", "0")
	const rounds = 10
	var watches []*watching
	for _, s := range []*git.Store{a, b} {
		for _, who := range []string{"a", "b", "o", "d?workspace=w"} {
			name, query, _ := strings.Cut(who, "?")
			address := "/" + name + ".json"
			if query != "" {
				address += "?" + query
			}
			watches = append(watches, watch(t, s.JSON(), address))
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range rounds {
			publish(t, a.JSON(), "/a.json", fmt.Sprint(n+1))
		}
	})
	wg.Go(func() {
		for n := range rounds {
			publish(t, b.JSON(), "/b.json", fmt.Sprint(n+1))
			publish(t, b.JSON(), "/d.json?workspace=w", fmt.Sprint(n+1))
		}
	})
	wg.Go(func() {
		for n := range rounds {
			text := fmt.Sprint(n + 1)
			if err := o.commit(map[string]*string{"o.json": &text}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	for _, w := range watches {
		w.sees(fmt.Sprint(rounds))
	}
	if got := run(t, o.dir, "rev-list", "--count", "main"); got != fmt.Sprint(3*rounds+1) {
		t.Errorf("there are %s commits", got)
	}
	run(t, dir, "fsck", "--strict")
}

const crashing = "ROPEWALK_TEST_GIT_CRASH"

// TestCrash kills a process that commits all the time, again and again.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site.git")
	s, err := git.New(git.Settings{Repository: dir}, git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s.JSON(), "/x.json", "0")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashing$")
		cmd.Env = append(os.Environ(), crashing+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it commits
			t.Fatal(err)
		}
		timer := time.After(time.Duration(5+7*round) * time.Millisecond)
		<-timer
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it was not killed")
		}
		// The lock is as a crash leaves it; somebody looks, and removes it.
		lock := filepath.Join(dir, "refs", "heads", "main.lock")
		if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		run(t, dir, "fsck", "--strict", "--full")
		s, _ := reopen(t, git.Settings{Repository: dir})
		if got, err := get(t, s.JSON(), "/x.json"); err != nil || got == "" {
			t.Fatalf("after the crash: %q, %v", got, err)
		}
		publish(t, s.JSON(), "/y.json", fmt.Sprint(round))
	}
}

// TestCrashing is the process that is killed.
func TestCrashing(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(crashing)
	if dir == "" {
		t.Skip("it is started by TestCrash")
	}
	s, err := git.New(git.Settings{Repository: dir}, git.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1_000_000 {
		publish(t, s.JSON(), "/x.json", fmt.Sprintf("[%d,%d]", os.Getpid(), n))
		fmt.Print(".")
	}
}

func TestStaleLock(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	publish(t, s.JSON(), "/a.json", "1")
	lock := filepath.Join(o.dir, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.JSON().(content.Publisher).Publish(ctx, request("/a.json"), content.Content{Body: []byte("2")})
	fails(t, err, message.CodeDeadlineExceeded)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	publish(t, s.JSON(), "/a.json", "3")
	wants(t, s.JSON(), "/a.json", "3")
}

// TestModel compares what a store shows with a model, whoever writes.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "git") //nolint:usetesting // one for each case
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := git.New(git.Settings{Repository: filepath.Join(dir, "r"), Workspaces: git.Workspaces{Enabled: true}}, git.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m := &model{store: s, o: &outside{dir: filepath.Join(dir, "r"), branch: "main"}, branch: map[string]string{}}
		m.publish(t, "start", "0", "")
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) { m.publish(t, path.Draw(t, "path"), text.Draw(t, "text"), "") },
			"draft":   func(t *rapid.T) { m.publish(t, path.Draw(t, "path"), text.Draw(t, "text"), "w") },
			"delete": func(t *rapid.T) {
				m.delete(t, path.Draw(t, "path"), rapid.SampledFrom([]string{"", "w"}).Draw(t, "workspace"))
			},
			"outside": func(t *rapid.T) { m.outside(t, path.Draw(t, "path"), text.Draw(t, "text")) },
			"merge":   m.merge,
			"discard": m.discard,
			"":        m.check,
		})
	})
}

var (
	path = rapid.SampledFrom([]string{"a", "b", "d/a", "d/e/b"})
	text = rapid.SampledFrom([]string{"1", "2", "3"})
)

// model is what is expected: the branch, and the drafts over it.
type model struct {
	store  *git.Store
	o      *outside
	branch map[string]string
	base   map[string]string // the branch when the workspace began; nil: there is none
	drawn  map[string]string // the workspace as it is in its commit
}

// shown is what the workspace shows.
func (m *model) shown() map[string]string {
	out := maps.Clone(m.branch)
	for p := range all(m.base, m.drawn) {
		if m.base[p] != m.drawn[p] {
			set(out, p, m.drawn[p])
		}
	}
	return out
}

func all(of ...map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, m := range of {
		for p := range m {
			out[p] = true
		}
	}
	return out
}

func set(m map[string]string, p, text string) {
	if text == "" {
		delete(m, p)
	} else {
		m[p] = text
	}
}

func address(p, workspace string) string {
	if workspace != "" {
		workspace = "?workspace=" + workspace
	}
	return "/" + p + ".json" + workspace
}

func (m *model) publish(t *rapid.T, p, text, workspace string) {
	_, err := tryPublish(m.store.JSON(), address(p, workspace), text)
	m.wrote(t, p, text, workspace, err)
}

func (m *model) wrote(t *rapid.T, p, text, workspace string, err error) {
	if workspace == "" {
		if err != nil {
			t.Fatal(err)
		}
		set(m.branch, p, text)
		return
	}
	if m.base == nil {
		if m.branch[p] == text { // nothing to write
			return
		}
		m.base, m.drawn = maps.Clone(m.branch), maps.Clone(m.branch)
	}
	if m.base[p] == text && m.branch[p] != text {
		// It would be no change, so the workspace begins anew, if it can.
		for q := range all(m.base, m.drawn, m.branch) {
			if m.base[q] != m.drawn[q] && m.base[q] != m.branch[q] && m.drawn[q] != m.branch[q] {
				if message.CodeOf(err) != message.CodeConflict {
					t.Fatalf("publish %s to %s: %v", text, p, err)
				}
				return
			}
		}
		m.drawn, m.base = m.shown(), maps.Clone(m.branch)
	}
	if err != nil {
		t.Fatal(err)
	}
	set(m.drawn, p, text)
}

func (m *model) delete(t *rapid.T, p, workspace string) {
	shown := m.branch
	if workspace != "" {
		shown = m.shown()
	}
	_, err := tryPublish(m.store.JSON(), address(p, workspace), "")
	if shown[p] == "" {
		if message.CodeOf(err) != message.CodeNotFound {
			t.Fatalf("delete of nothing: %v", err)
		}
		return
	}
	m.wrote(t, p, "", workspace, err)
}

func (m *model) outside(t *rapid.T, p, text string) {
	line := text + "\n"
	if err := m.o.commit(map[string]*string{p + ".json": &line}); err != nil {
		t.Fatal(err)
	}
	set(m.branch, p, text)
}

func (m *model) merge(t *rapid.T) {
	_, err := tryPublish(m.store.Git(), "/merge", `{"workspace":"w"}`)
	if m.base == nil {
		if message.CodeOf(err) != message.CodeNotFound {
			t.Fatalf("merge of nothing: %v", err)
		}
		return
	}
	for p := range all(m.base, m.drawn, m.branch) {
		if m.base[p] != m.drawn[p] && m.base[p] != m.branch[p] && m.drawn[p] != m.branch[p] {
			if message.CodeOf(err) != message.CodeConflict {
				t.Fatalf("merge with a conflict: %v", err)
			}
			return
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	m.branch, m.base, m.drawn = m.shown(), nil, nil
}

func (m *model) discard(t *rapid.T) {
	_, err := tryPublish(m.store.Git(), "/discard", `{"workspace":"w"}`)
	if (m.base == nil) != (message.CodeOf(err) == message.CodeNotFound) {
		t.Fatalf("discard: %v", err)
	}
	m.base, m.drawn = nil, nil
}

func (m *model) check(t *rapid.T) {
	for workspace, want := range map[string]map[string]string{"": m.branch, "w": m.shown()} {
		for _, p := range []string{"a", "b", "d/a", "d/e/b"} {
			res, err := m.store.JSON().Open(context.Background(), request(address(p, workspace)))
			if err != nil {
				t.Fatal(err)
			}
			c, err := res.Get(context.Background())
			if got := string(c.Body); got != want[p] || (err != nil) != (want[p] == "") {
				t.Fatalf("%s in %q is %q, %v; want %q", p, workspace, got, err, want[p])
			}
		}
	}
}

// TestBrokenRepository takes the objects away, and gives them back.
func TestBrokenRepository(t *testing.T) {
	t.Parallel()
	first, o := open(t, nil)
	publish(t, first.JSON(), "/a.json", "1")
	s, _ := reopen(t, git.Settings{Repository: o.dir})
	wants(t, s.JSON(), "/a.json", "1")
	w := watch(t, s.JSON(), "/a.json")
	objects := filepath.Join(o.dir, "objects")
	if err := os.Rename(objects, objects+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := get(t, s.JSON(), "/a.json")
	if e := fails(t, err, message.CodeSourceDown); strings.Contains(e.Error()+e.Hint, o.dir) {
		t.Errorf("the error tells a path: %v", e)
	}
	if _, err := git.New(git.Settings{Repository: o.dir}, git.Options{}); message.CodeOf(err) != message.CodeInvalidInput {
		t.Errorf("a repository without objects: %v", err)
	}
	if err := os.Rename(objects+".away", objects); err != nil {
		t.Fatal(err)
	}
	w.sees("1")
	o.write(t, "a.json", "9")
	w.sees("9")
}
