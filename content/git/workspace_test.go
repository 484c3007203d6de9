package git_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func drafts(set *git.Settings) { set.Workspaces.Enabled = true }

func TestWorkspace(t *testing.T) {
	t.Parallel()
	s, o := open(t, drafts)
	publish(t, s.JSON(), "/a.json", `1`)
	publish(t, s.JSON(), "/b.json", `1`)
	branch, draft := watch(t, s.JSON(), "/a.json"), watch(t, s.JSON(), "/a.json?workspace=w")
	other := watch(t, s.JSON(), "/b.json?workspace=w")
	draft.sees("1") // it falls through
	publish(t, s.JSON(), "/a.json?workspace=w", `2`)
	draft.told(true)
	branch.told(false)
	draft.sees("2")
	branch.sees("1")
	publish(t, s.JSON(), "/b.json", `3`)
	other.told(true)
	other.sees("3")
	wants(t, s.JSON(), "/a.json?workspace=other", "1")

	var d git.Diff
	if err := ask(t, s, "/diff", `{"workspace":"w"}`, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Files) != 1 || d.Files[0].Path != "/a.json" || d.Files[0].Status != "modified" || !strings.Contains(d.Files[0].Patch, "\n-1\n+2\n") {
		t.Errorf("the difference is %+v", d)
	}
	var list []git.Workspace
	if err := ask(t, s, "/workspaces", ``, &list); err != nil || len(list) != 1 || list[0].Name != "w" || list[0].Behind != 1 || len(list[0].Changes) != 1 {
		t.Errorf("the workspaces are %+v, %v", list, err)
	}
	out := publish(t, s.Git(), "/merge", `{"workspace":"w","message":"Done"}`)
	branch.sees("2")
	if got := run(t, o.dir, "log", "-1", "--format=%s %an %H", "main"); got != "Done Alice A "+out["commit"].(string) {
		t.Errorf("the merge is %q", got)
	}
	if got := run(t, o.dir, "for-each-ref", "refs/ropewalk"); got != "" {
		t.Errorf("left: %s", got)
	}
	wants(t, s.JSON(), "/b.json", "3")
	_, err := tryPublish(s.Git(), "/merge", `{"workspace":"w"}`)
	fails(t, err, message.CodeNotFound)
	run(t, o.dir, "fsck", "--strict")

	t.Run("discard", func(t *testing.T) {
		publish(t, s.JSON(), "/a.json?workspace=w", `9`)
		publish(t, s.JSON(), "/new.json?workspace=w", `9`)
		publish(t, s.JSON(), "/b.json?workspace=w", ``)
		_, err := get(t, s.JSON(), "/b.json?workspace=w")
		fails(t, err, message.CodeNotFound)
		publish(t, s.Git(), "/discard", `{"workspace":"w"}`)
		draft.sees("2")
		wants(t, s.JSON(), "/b.json?workspace=w", "3")
	})
	t.Run("what the branch had once", func(t *testing.T) {
		publish(t, s.JSON(), "/c.json?workspace=w", `1`) // the workspace begins
		publish(t, s.JSON(), "/a.json", `5`)             // was 2
		publish(t, s.JSON(), "/a.json?workspace=w", `2`)
		wants(t, s.JSON(), "/a.json?workspace=w", "2")
		publish(t, s.Git(), "/merge", `{"workspace":"w"}`)
		wants(t, s.JSON(), "/a.json", "2")
		wants(t, s.JSON(), "/c.json", "1")
	})
}

func TestWorkspaceOwners(t *testing.T) {
	t.Parallel()
	s, o := open(t, drafts)
	publish(t, s.JSON(), "/a.json", `1`)
	publish(t, s.JSON(), "/a.json?workspace=w", `2`)
	for _, who := range []*session.Session{
		session.New("Alice", nil, nil), session.New("alice/w/..", nil, nil), session.New(strings.Repeat("é", 500), nil, nil),
		{Subject: "alice", Issuer: "https://elsewhere"},
	} {
		r := request("/a.json?workspace=w")
		r.Session = who
		if got, err := getBy(t, s.JSON(), r); err != nil || got != "1" {
			t.Errorf("%.20s sees %q, %v", who.Subject, got, err)
		}
		if _, err := s.JSON().(content.Publisher).Publish(context.Background(), r, content.Content{Body: []byte("3")}); err != nil {
			t.Errorf("%.20s: %v", who.Subject, err)
		}
	}
	wants(t, s.JSON(), "/a.json?workspace=w", "2")
	var secret string
	{
		r := request("/workspaces")
		r.Session = session.New("Alice", nil, nil)
		got, err := getBy(t, s.Git(), r)
		var list []git.Workspace
		if json.Unmarshal([]byte(got), &list); err != nil || len(list) != 1 {
			t.Fatal(got, err)
		}
		secret = list[0].Commit
	}
	// The drafts of others are not found by their hashes either.
	for _, revision := range []string{secret, secret[:7]} {
		fails(t, ask(t, s, "/show/a.json", `{"revision":"`+revision+`"}`, nil), message.CodeNotFound)
	}
	r := request("/a.json?workspace=w")
	r.Session = session.Anonymous()
	_, err := getBy(t, s.JSON(), r)
	fails(t, err, message.CodeUnauthenticated)
	for _, name := range []string{"..", "a/b", "A", "-x", ".lock", strings.Repeat("a", 65)} {
		_, err := get(t, s.JSON(), "/a.json?workspace="+name)
		fails(t, err, message.CodeInvalidInput)
	}
	run(t, o.dir, "fsck", "--strict")
	none, _ := open(t, nil)
	_, err = get(t, none.JSON(), "/a.json?workspace=w")
	fails(t, err, message.CodeInvalidInput)
}

func TestWorkspaceClaim(t *testing.T) {
	t.Parallel()
	s, _ := open(t, func(set *git.Settings) { set.Workspaces = git.Workspaces{Enabled: true, Claim: "ws", Max: 1} })
	publish(t, s.JSON(), "/a.json", `1`)
	r := request("/a.json")
	r.Session = session.New("alice", nil, session.Claims{"ws": "dev"})
	if _, err := s.JSON().(content.Publisher).Publish(context.Background(), r, content.Content{Body: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	wants(t, s.JSON(), "/a.json", "1")
	wants(t, s.JSON(), "/a.json?workspace=dev", "2")
	_, err := tryPublish(s.JSON(), "/a.json?workspace=second", "3")
	fails(t, err, message.CodeLimitExceeded)
}

func TestConflict(t *testing.T) {
	t.Parallel()
	s, o := open(t, drafts)
	publish(t, s.JSON(), "/a.json", `{"x":1}`)
	text := "one\ntwo\nthree\nfour\nfive\nsix\n"
	o.write(t, "t.txt", text)
	raw := func(address, text string) {
		t.Helper()
		_, err := s.Files(true).(content.Publisher).Publish(t.Context(), request(address), content.Content{Body: []byte(text), ContentType: "text/plain"})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(t, s.JSON(), "/a.json?workspace=w", `{"x":2}`)
	raw("/t.txt?workspace=w", strings.Replace(text, "one", "ONE", 1))
	publish(t, s.JSON(), "/a.json", `{"x":3}`)
	raw("/t.txt", strings.Replace(text, "six", "SIX", 1))
	before := run(t, o.dir, "for-each-ref")
	_, err := tryPublish(s.Git(), "/merge", `{"workspace":"w"}`)
	e := fails(t, err, message.CodeConflict)
	var details struct{ Conflicts []git.Clash }
	if err := json.Unmarshal(e.Details, &details); err != nil {
		t.Fatal(err)
	}
	if len(details.Conflicts) != 1 || details.Conflicts[0].Path != "/a.json" || !strings.Contains(*details.Conflicts[0].Ours.Text, "3") ||
		!strings.Contains(*details.Conflicts[0].Theirs.Text, "2") {
		t.Errorf("the conflicts are %s", e.Details)
	}
	if after := run(t, o.dir, "for-each-ref"); after != before {
		t.Error("something was written nevertheless")
	}
	var list []git.Workspace
	if err := ask(t, s, "/workspaces", ``, &list); err != nil || !list[0].Changes[0].Conflict {
		t.Errorf("the workspaces are %+v, %v", list, err)
	}
	publish(t, s.Git(), "/merge", `{"workspace":"w","prefer":"theirs"}`)
	wants(t, s.JSON(), "/a.json", `{"x":2}`)
	wants(t, s.Files(true), "/t.txt", "ONE\ntwo\nthree\nfour\nfive\nSIX\n")
	run(t, o.dir, "fsck", "--strict")
}

func TestConflictOfNames(t *testing.T) {
	t.Parallel()
	s, _ := open(t, drafts)
	publish(t, s.JSON(), "/z.json", `1`)
	publish(t, s.JSON(), "/x/a.json?workspace=w", `1`)
	publish(t, s.Files(true), "/x", `{"base64":"AA=="}`)
	wants(t, s.JSON(), "/x/a.json?workspace=w", "1")
	_, err := tryPublish(s.Git(), "/merge", `{"workspace":"w"}`)
	fails(t, err, message.CodeConflict)
	publish(t, s.Git(), "/merge", `{"workspace":"w","prefer":"ours"}`)
	_, err = get(t, s.JSON(), "/x/a.json")
	fails(t, err, message.CodeNotFound)
	wants(t, s.Files(false), "/x", `{"base64":"AA=="}`)
}
