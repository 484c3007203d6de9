package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/route"
)

// gitNode starts a node that serves a Git repository; it returns its URL and a
// token of somebody.
func gitNode(t *testing.T) (url, token string) {
	t.Helper()
	_, file := guardedNode(t)
	var cfg standard.Config
	if _, err := (config.Source{Path: file}).Read(&cfg); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	cfg.Logger, cfg.Allow = quiet, ropewalk.AllowAll
	n, err := ropewalk.New(cfg.Node())
	if err != nil {
		t.Fatal(err)
	}
	store, err := git.New(git.Settings{
		Repository: filepath.Join(t.TempDir(), "site.git"), Workspaces: git.Workspaces{Enabled: true},
	}, git.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	o := content.Options{Logger: quiet, Borrowed: true, Topic: route.Topic{Personal: true}}
	services := []*content.Service{
		content.NewService("json", store.JSON(), o), content.NewService("file", store.Files(true), o), content.NewService("git", store.Git(), o),
	}
	startServing(t, n, n.ServeOwn, services, store.Close)
	return "ws://" + n.Addrs()["main"].String(), newToken(t, file, "anna", "--claim", "name=Anna")
}

func TestContent(t *testing.T) {
	t.Parallel()
	url, token := gitNode(t)
	ok := func(args ...string) string {
		t.Helper()
		o := ask(t, url, "", append(args, "--token", token)...)
		wantCode(t, o, exitOK)
		return o.out
	}
	wantText(t, ok("content", "log"), "there are no commits")
	wantText(t, ok("content", "status"), "branch main", "has no commit yet")
	ok("publish", "json:/shop/prices.json", `{"rope":3}`)
	ok("publish", "json:/shop/prices.json?message=More", `{"rope":4}`)
	list := ok("content", "log", "json:/shop/prices.json", "-n", "1")
	wantText(t, list, "COMMIT", "Anna", "More", "for more: --skip 1")
	first := strings.Fields(strings.Split(ok("content", "log", "--skip", "1"), "\n")[1])[0]
	wantText(t, ok("content", "diff", "shop"), "-  \"rope\": 3\n+  \"rope\": 4\n")
	wantText(t, ok("content", "show", "shop/prices.json", first), `"rope": 3`)
	wantText(t, ok("content", "restore", "shop/prices.json", first), "restored shop/prices.json; commit ")
	wantText(t, ok("get", "json:/shop/prices.json"), `{"rope":3}`)
	wantText(t, ok("content", "restore", "/", first), "nothing to do")

	dir := t.TempDir()
	put(t, dir, "a.txt", "A")
	put(t, dir, "img/b.bin", "\x00\xff")
	put(t, dir, "img/.hidden", "no")
	wantText(t, ok("content", "publish", "file:/shop", filepath.Join(dir, "a.txt"), filepath.Join(dir, "img"), "--delete", "prices.json", "-m", "All"),
		"published 3 files; commit ")
	wantText(t, ok("ls", "file:/shop", "--depth", "0"), "a.txt", "b.bin")
	if text := ok("ls", "file:/shop", "--depth", "0"); strings.Contains(text, "hidden") || strings.Contains(text, "prices") {
		t.Error(text)
	}
	if got := ok("get", "file:/shop/img/b.bin"); got != "\x00\xff" {
		t.Errorf("got %q", got)
	}

	ok("publish", "json:/a.json?workspace=w", "1")
	wantText(t, ok("content", "workspaces"), "1 file changed, 0 in conflict")
	wantText(t, ok("content", "status", "-w", "w"), "workspace w")
	wantText(t, ok("content", "diff", "-w", "w"), "+1")
	wantText(t, ok("content", "discard", "w"), "discarded w")
	wantText(t, ok("content", "workspaces"), "there are no workspaces")
	ok("publish", "json:/a.json?workspace=w", "1")
	ok("publish", "json:/a.json", "2")
	o := ask(t, url, "", "content", "merge", "w", "--token", token)
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(conflict)", "/a.json", "--prefer theirs")
	wantText(t, ok("content", "merge", "w", "--prefer", "theirs", "--json"), `"changed":true`)
	wantText(t, ok("get", "json:/a.json"), "1")
	for _, verb := range []string{"pull", "push"} {
		o := ask(t, url, "", "content", verb)
		wantCode(t, o, exitFailed)
		wantText(t, o.err, "there is no remote", "remote.url")
	}
}

func TestContentUsage(t *testing.T) {
	t.Parallel()
	_, url, dir := contentNode(t, "127.0.0.1:0")
	o := ask(t, url, "", "content", "log")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "no contents in a Git repository", "repository")
	o = ask(t, url, "", "content", "publish", "file:/shop/", filepath.Join(dir, "shop"))
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "Only contents in Git take several files at once")
	for _, args := range [][]string{
		{"content"}, {"content", "show"}, {"content", "publish", "file:/x"}, {"content", "publish", "x", "y"},
		{"content", "publish", "file:/x", filepath.Join(dir, "nothing")}, {"content", "merge", "w", "--prefer", "mine"},
	} {
		wantCode(t, ask(t, url, "", args...), exitUsage)
	}
	if err := os.Truncate(filepath.Join(dir, "shop", "prices.json"), maxInput+1); err != nil {
		t.Fatal(err)
	}
	o = ask(t, url, "", "content", "publish", "file:/x", dir)
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "64 MiB")
}
