package git_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// host is a remote: a bare repository behind HTTP, by the program that git has
// for this.
type host struct {
	*outside

	url      string
	password atomic.Pointer[string] // nil: everybody may
	down     atomic.Bool
}

func newHost(tb testing.TB) *host {
	tb.Helper()
	root := tb.TempDir()
	run(tb, root, "init", "--bare", "-b", "main", "site.git")
	dir := filepath.Join(root, "site.git")
	run(tb, dir, "config", "http.receivepack", "true")
	h := &host{outside: &outside{dir: dir, branch: "main"}}
	libexec := run(tb, root, "--exec-path")
	handler := &cgi.Handler{
		Path:   filepath.Join(libexec, "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "PATH=" + os.Getenv("PATH")},
		Stderr: io.Discard,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.down.Load() {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		if want := h.password.Load(); want != nil {
			if _, got, _ := r.BasicAuth(); got != *want {
				w.Header().Set("WWW-Authenticate", "Basic")
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
		}
		handler.ServeHTTP(w, r)
	}))
	tb.Cleanup(server.Close)
	h.url = server.URL + "/site.git"
	return h
}

// onlyIf skips a test where git has no program to serve HTTP.
func onlyIf(t *testing.T) {
	t.Helper()
	libexec := run(t, t.TempDir(), "--exec-path")
	if _, err := exec.LookPath(filepath.Join(libexec, "git-http-backend")); err != nil {
		t.Skip("no git-http-backend")
	}
}

func stateOf(tb testing.TB, s *git.Store) *git.RemoteState {
	tb.Helper()
	var status git.Status
	if err := ask(tb, s, "/status", ``, &status); err != nil {
		tb.Fatal(err)
	}
	return status.Remote
}

// reaches waits until the remote is in a state.
func reaches(t *testing.T, s *git.Store, ok func(*git.RemoteState) bool) {
	t.Helper()
	watch(t, s.Git(), "/status").until(func(string, error) bool { return ok(stateOf(t, s)) })
}

func TestPullAndPush(t *testing.T) {
	t.Parallel()
	onlyIf(t)
	for _, kind := range []string{"http", "directory"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.write(t, "a.json", "1")
			url := h.url
			if kind == "directory" {
				url = h.dir
			}
			s, o := open(t, func(set *git.Settings) { set.Remote = git.Remote{URL: url} })
			w := watch(t, s.JSON(), "/a.json")
			w.sees("1") // an empty repository is filled by itself
			h.write(t, "a.json", "2")
			publish(t, s.Git(), "/pull", `{}`)
			w.sees("2")
			publish(t, s.JSON(), "/b.json", "7")
			publish(t, s.Git(), "/push", ``)
			if got := run(t, h.dir, "show", "main:b.json"); got != "7" {
				t.Errorf("pushed %q", got)
			}
			// Both have gone on, in different files.
			h.write(t, "a.json", "3")
			publish(t, s.JSON(), "/b.json", "8")
			if state := stateOf(t, s); state.Ahead != 1 || state.State != "ok" {
				t.Errorf("the state is %+v", state)
			}
			publish(t, s.Git(), "/push", ``)
			w.sees("3")
			if a, b := run(t, h.dir, "rev-parse", "main"), run(t, o.dir, "rev-parse", "main"); a != b {
				t.Error("they are not the same")
			}
			run(t, h.dir, "fsck", "--strict")
			run(t, o.dir, "fsck", "--strict")
		})
	}
}

func TestRemoteConflict(t *testing.T) {
	t.Parallel()
	onlyIf(t)
	h := newHost(t)
	h.write(t, "a.json", "1")
	s, o := open(t, func(set *git.Settings) { set.Remote = git.Remote{URL: h.url} })
	w := watch(t, s.JSON(), "/a.json")
	w.sees("1")
	h.write(t, "a.json", "2")
	publish(t, s.JSON(), "/a.json", "3")
	there, here := run(t, h.dir, "rev-parse", "main"), run(t, o.dir, "rev-parse", "main")
	for _, verb := range []string{"/pull", "/push"} {
		_, err := tryPublish(s.Git(), verb, ``)
		e := fails(t, err, message.CodeConflict)
		if !strings.Contains(e.Message, "/a.json") || !strings.Contains(string(e.Details), `"text":"2"`) {
			t.Errorf("%s: %+v %s", verb, e, e.Details)
		}
	}
	state := stateOf(t, s)
	if state.State != "conflict" || len(state.Conflicts) != 1 || state.Ahead != 1 || state.Behind != 1 {
		t.Errorf("the state is %+v", state)
	}
	if run(t, h.dir, "rev-parse", "main") != there || run(t, o.dir, "rev-parse", "main") != here {
		t.Error("something was written nevertheless")
	}
	wants(t, s.JSON(), "/a.json", "3")
	publish(t, s.Git(), "/pull", `{"prefer":"theirs"}`)
	w.sees("2")
	publish(t, s.Git(), "/push", ``)
	if state := stateOf(t, s); state.State != "ok" || state.Ahead != 0 || state.Error != nil {
		t.Errorf("the state is %+v", state)
	}
}

func TestRemoteRefuses(t *testing.T) {
	t.Parallel()
	onlyIf(t)
	h := newHost(t)
	h.write(t, "a.json", "1")
	secret := "s3cr3t-0f-the-remote"
	h.password.Store(&secret)
	file := filepath.Join(t.TempDir(), "password")
	wrong := "wr0ng-s3cr3t"
	if err := os.WriteFile(file, []byte(wrong+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logged syncBuffer
	s, err := git.New(git.Settings{
		Repository: filepath.Join(t.TempDir(), "r"),
		Remote:     git.Remote{URL: h.url, PasswordFile: file, Push: true, Pull: duration.Duration(time.Second)},
	}, git.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = tryPublish(s.Git(), "/pull", ``)
	e := fails(t, err, message.CodeSourceDown)
	if !strings.Contains(e.Message, "credentials") {
		t.Errorf("the error is %+v", e)
	}
	_, err = get(t, s.JSON(), "/a.json")
	fails(t, err, message.CodeSourceDown) // nothing is known yet: that is not "not found"
	_, err = tryPublish(s.JSON(), "/a.json", "0")
	fails(t, err, message.CodeSourceDown) // nor is it known what to write it on
	reaches(t, s, func(r *git.RemoteState) bool { return r.State == "down" && r.Error.Code == message.CodeSourceDown })
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := watch(t, s.JSON(), "/a.json")
	w.sees("1") // tried again by itself
	h.down.Store(true)
	publish(t, s.JSON(), "/a.json", "2") // which needs no remote
	reaches(t, s, func(r *git.RemoteState) bool { return r.State == "down" && r.Ahead == 1 })
	wants(t, s.JSON(), "/a.json", "2")
	h.down.Store(false)
	reaches(t, s, func(r *git.RemoteState) bool { return r.State == "ok" && r.Ahead == 0 })
	if got := run(t, h.dir, "show", "main:a.json"); got != "2" {
		t.Errorf("pushed %q", got)
	}
	// It takes commits from nobody any more.
	hook := filepath.Join(h.dir, "hooks", "pre-receive")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho "+secret+" >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	publish(t, s.JSON(), "/a.json", "3")
	_, err = tryPublish(s.Git(), "/push", ``)
	fails(t, err, message.CodeSourceDown)
	var status any
	if err := ask(t, s, "/status", ``, &status); err != nil {
		t.Fatal(err)
	}
	text, _ := get(t, s.Git(), "/status")
	if all := text + logged.String() + err.Error(); strings.Contains(all, secret) || strings.Contains(all, wrong) {
		t.Errorf("a secret is told: %s", all)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestNodesWithARemote has two nodes with repositories of their own push to one
// remote at the same time.
func TestNodesWithARemote(t *testing.T) {
	t.Parallel()
	onlyIf(t)
	h := newHost(t)
	h.write(t, "start.json", "0")
	start := func() (*git.Store, *outside) {
		return open(t, func(set *git.Settings) {
			set.Remote = git.Remote{URL: h.url, Push: true, Pull: duration.Duration(time.Second)}
		})
	}
	a, _ := start()
	b, _ := start()
	watch(t, a.JSON(), "/start.json").sees("0")
	watch(t, b.JSON(), "/start.json").sees("0")
	inA, inB := watch(t, a.JSON(), "/b.json"), watch(t, b.JSON(), "/a.json")
	var wg sync.WaitGroup
	for n := range 5 {
		wg.Go(func() { publish(t, a.JSON(), "/a.json", string(rune('0'+n))) })
		wg.Go(func() { publish(t, b.JSON(), "/b.json", string(rune('0'+n))) })
		wg.Wait()
	}
	inA.sees("4")
	inB.sees("4")
	run(t, h.dir, "fsck", "--strict")
}
