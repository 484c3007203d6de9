package git_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// run runs the git program, which is an implementation that is not ours.
func run(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	out, err := try(dir, "", args...)
	if err != nil {
		tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func try(dir, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "git", args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Other", "GIT_AUTHOR_EMAIL=other@example.com", "GIT_COMMITTER_NAME=Other", "GIT_COMMITTER_EMAIL=other@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// outside is another process that commits to the branch of a repository.
type outside struct {
	dir    string
	branch string

	mu sync.Mutex
}

// commit makes files what they are to be; nil removes.
func (o *outside) commit(files map[string]*string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range 50 {
		err := o.try(files)
		if err == nil {
			return nil
		}
		if !strings.Contains(err.Error(), "lock") && !strings.Contains(err.Error(), "but expected") {
			return err
		}
	}
	return fmt.Errorf("the branch moves all the time")
}

func (o *outside) try(files map[string]*string) error {
	index := filepath.Join(o.dir, fmt.Sprintf("index.%p", o))
	defer os.Remove(index)
	with := func(input string, args ...string) (string, error) {
		cmd := exec.CommandContext(context.Background(), "git", args...)
		cmd.Dir, cmd.Stdin = o.dir, strings.NewReader(input)
		cmd.Env = append(os.Environ(), "GIT_INDEX_FILE="+index, "GIT_AUTHOR_NAME=Other", "GIT_AUTHOR_EMAIL=o@example.com",
			"GIT_COMMITTER_NAME=Other", "GIT_COMMITTER_EMAIL=o@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
		return strings.TrimSpace(string(out)), err
	}
	ref := "refs/heads/" + o.branch
	head, err := with("", "rev-parse", "-q", "--verify", ref)
	if err != nil {
		head = ""
	} else if _, err := with("", "read-tree", head); err != nil {
		return err
	}
	for path, text := range files {
		if text == nil {
			if _, err := with("0 "+strings.Repeat("0", 40)+"\t"+path+"\n", "update-index", "--index-info"); err != nil {
				return err
			}
			continue
		}
		hash, err := with(*text, "hash-object", "-w", "--stdin")
		if err != nil {
			return err
		}
		if _, err := with("", "update-index", "--add", "--replace", "--cacheinfo", "100644,"+hash+","+path); err != nil {
			return err
		}
	}
	tree, err := with("", "write-tree")
	if err != nil {
		return err
	}
	args := []string{"commit-tree", tree, "-m", "outside"}
	if head != "" {
		args = append(args, "-p", head)
	}
	commit, err := with("", args...)
	if err != nil {
		return err
	}
	old := head
	if old == "" {
		old = strings.Repeat("0", 40)
	}
	_, err = with("", "update-ref", ref, commit, old)
	return err
}

func (o *outside) write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := o.commit(map[string]*string{path: &text}); err != nil {
		tb.Fatal(err)
	}
}

// open opens a store in a directory of its own.
func open(tb testing.TB, change func(*git.Settings)) (*git.Store, *outside) {
	tb.Helper()
	set := git.Settings{Repository: filepath.Join(tb.TempDir(), "site.git")}
	if change != nil {
		change(&set)
	}
	return reopen(tb, set)
}

func reopen(tb testing.TB, set git.Settings) (*git.Store, *outside) {
	tb.Helper()
	s, err := git.New(set, git.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	branch := set.Branch
	if branch == "" {
		branch = "main"
	}
	return s, &outside{dir: set.Repository, branch: branch}
}

var alice = session.New("alice", session.Claims{"name": "Alice <A>", "email": "alice@example.com"}, nil)

// request is one of alice. A path may have a query; one with a slash at the end
// is a directory.
func request(address string) *content.Request {
	path, query, _ := strings.Cut(address, "?")
	r := &content.Request{Path: path, Query: query, Session: alice}
	if strings.HasSuffix(path, "/") {
		r.Dir = true
		if r.Path = strings.TrimSuffix(path, "/"); r.Path == "" {
			r.Path = "/"
		}
	}
	return r
}

func get(tb testing.TB, p content.Provider, address string) (string, error) {
	tb.Helper()
	return getBy(tb, p, request(address))
}

func getBy(tb testing.TB, p content.Provider, r *content.Request) (string, error) {
	tb.Helper()
	res, err := p.Open(context.Background(), r)
	if err != nil {
		return "", err
	}
	c, err := res.Get(context.Background())
	return string(c.Body), err
}

func wants(tb testing.TB, p content.Provider, address, want string) {
	tb.Helper()
	if got, err := get(tb, p, address); err != nil || got != want {
		tb.Fatalf("%s is %q, %v; want %q", address, got, err, want)
	}
}

func fails(tb testing.TB, err error, code message.Code) *message.Error {
	tb.Helper()
	if message.CodeOf(err) != code {
		tb.Fatalf("the error is %v, not one with code %s", err, code)
	}
	e := message.AsError(err)
	if e.Message == "" || e.Hint == "" {
		tb.Errorf("the error has no message or hint: %+v", e)
	}
	return e
}

// publish publishes JSON, or deletes for "".
func publish(tb testing.TB, p content.Provider, address, body string) map[string]any {
	tb.Helper()
	out, err := tryPublish(p, address, body)
	if err != nil {
		tb.Fatalf("publish to %s: %v", address, err)
	}
	return out
}

func tryPublish(p content.Provider, address, body string) (map[string]any, error) {
	var c content.Content
	if body != "" {
		c.Body = []byte(body)
	}
	got, err := p.(content.Publisher).Publish(context.Background(), request(address), c)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(got.Body, &out)
}

// ask calls git:.
func ask(tb testing.TB, s *git.Store, path, input string, out any) error {
	tb.Helper()
	c, err := s.Git().(content.Caller).Call(context.Background(), request(path), content.Content{Body: []byte(input)})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(c.Body, out); err != nil {
		tb.Fatal(err)
	}
	return nil
}

// watching is a resource that is watched.
type watching struct {
	tb   testing.TB
	res  content.Resource
	ring chan struct{}
	got  bool // what follows, since it was told
	body string
	err  error
}

func watch(tb testing.TB, p content.Provider, address string) *watching {
	tb.Helper()
	res, err := p.Open(context.Background(), request(address))
	if err != nil {
		tb.Fatal(err)
	}
	w := &watching{tb: tb, res: res, ring: make(chan struct{}, 1)}
	stop, err := res.Watch(func() {
		select {
		case w.ring <- struct{}{}:
		default:
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return w
}

// until waits until ok is true of the content, which it gets when it was told of a
// change, and only then.
func (w *watching) until(ok func(body string, err error) bool) {
	w.tb.Helper()
	late := time.After(20 * time.Second)
	for {
		if !w.got {
			c, err := w.res.Get(context.Background())
			w.got, w.body, w.err = true, string(c.Body), err
		}
		if ok(w.body, w.err) {
			return
		}
		select {
		case <-w.ring:
			w.got = false
		case <-late:
			w.tb.Fatalf("the content stays %.300q, %v", w.body, w.err)
		}
	}
}

func (w *watching) sees(want string) {
	w.tb.Helper()
	w.until(func(body string, err error) bool { return err == nil && body == want })
}

// told fails unless the watcher was told since it was last asked.
func (w *watching) told(want bool) {
	w.tb.Helper()
	select {
	case <-w.ring:
		w.got = false
		if !want {
			w.tb.Fatal("told of a change that is none")
		}
	default:
		if want {
			w.tb.Fatal("not told of a change")
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(t *testing.T, s *git.Store, o *outside) contenttest.Env{"json": jsonEnv, "file": fileEnv} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			features := contenttest.Features{Missing: true, Params: name == "file", Publish: true, Delete: true}
			contenttest.Run(t, features, func(t *testing.T) contenttest.Env {
				s, o := open(t, nil)
				return env(t, s, o)
			})
		})
	}
}

func jsonEnv(_ *testing.T, s *git.Store, o *outside) contenttest.Env {
	at := func(name string) *content.Request { return contenttest.Request("/app/" + name + ".json") }
	return contenttest.Env{
		Provider: s.JSON(), Request: at,
		Write: func(name string, n int) error {
			text := fmt.Sprintf("{\n  \"n\": %d\n}\n", n)
			return o.commit(map[string]*string{"app/" + name + ".json": &text})
		},
		Remove:  func(name string) error { return o.commit(map[string]*string{"app/" + name + ".json": nil}) },
		Content: func(n int) content.Content { return content.Content{Body: fmt.Appendf(nil, `{"n":%d}`, n)} },
		Publication: func(name string, n int) (*content.Request, content.Content) {
			return at(name), content.Content{Body: fmt.Appendf(nil, `{"n":%d}`, n)}
		},
		Deletion:  func(name string) (*content.Request, content.Content) { return at(name), content.Content{} },
		Forbidden: []*content.Request{contenttest.Request("/.git/config"), contenttest.Request("/app/../x.json"), contenttest.Request("/a\\b.json")},
	}
}

func fileEnv(_ *testing.T, s *git.Store, o *outside) contenttest.Env {
	at := func(name string) *content.Request { return contenttest.Request("/app/" + name + ".txt") }
	return contenttest.Env{
		Provider: s.Files(true), Request: at,
		Write: func(name string, n int) error {
			text := fmt.Sprint(n)
			return o.commit(map[string]*string{"app/" + name + ".txt": &text})
		},
		Remove: func(name string) error { return o.commit(map[string]*string{"app/" + name + ".txt": nil}) },
		Content: func(n int) content.Content {
			return content.Content{Body: fmt.Append(nil, n), ContentType: "text/plain; charset=utf-8"}
		},
		Filtered: func(name string) (a, b *content.Request) {
			a, b = at(name), at(name)
			b.Params = []byte(`{"encoding":"base64"}`)
			return a, b
		},
		Publication: func(name string, n int) (*content.Request, content.Content) {
			return at(name), content.Content{Body: fmt.Append(nil, n), ContentType: "text/plain"}
		},
		Deletion:  func(name string) (*content.Request, content.Content) { return at(name), content.Content{} },
		Forbidden: []*content.Request{contenttest.Request("/.gitattributes"), contenttest.Request("/%2e%2e/x")},
	}
}
