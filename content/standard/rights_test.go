package standard_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

// TestRightsToFiles publishes several files to a directory, by somebody who may
// not publish to all of them.
func TestRightsToFiles(t *testing.T) {
	t.Parallel()
	n := startNode(t, ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Permissions: policy.Config{Rules: []policy.Rule{
			{Verbs: []string{"publish"}, Addresses: []string{"file:/**", "git:/**"}},
			{Effect: "deny", Verbs: []string{"publish"}, Addresses: []string{"file:/shop/secret/**"}},
		}},
	}, standard.Settings{Git: git.Settings{Repository: filepath.Join(t.TempDir(), "site.git")}}, standard.Env{})
	conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String(), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for body, code := range map[string]message.Code{
		`{"files":[{"path":"a.txt","text":""},{"path":"b/c.txt","text":""}]}`:       "",
		`{"files":[{"path":"a.txt","text":"x"},{"path":"secret/c","text":""}]}`:     message.CodeForbidden,
		`{"files":[{"path":"a.txt","text":"x"},{"path":"b/c.sql","text":""}]}`:      message.CodeForbidden,
		`{"files":[{"path":"b.txt","text":"x"},{"path":"other.json","json":null}]}`: "",
	} {
		_, err := conn.Publish(t.Context(), "file:/shop/", json.RawMessage(body))
		if message.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", body, err, code)
		}
	}
	u, err := conn.Get(t.Context(), "file:/shop/a.txt")
	if err != nil || len(u.Body) != 0 {
		t.Errorf("a.txt is %+v, %v", u, err)
	}
}

// TestRightsToTheHistory has somebody who writes code, and somebody who does not,
// look at the history of code and pull from a remote.
func TestRightsToTheHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Sessions:  ropewalk.Sessions{Tokens: token.Config{Secret: "a secret of tokens that is long enough"}},
		Permissions: policy.Config{Preset: "read-only", Rules: []policy.Rule{
			{Verbs: []string{"publish", "call"}, Addresses: []string{"file:/**", "git:/**"}, When: "session.authenticated"},
			{Verbs: []string{"call"}, Addresses: []string{"node:/session/**"}},
			{Verbs: []string{"code"}, Addresses: []string{"file:/shop/**"}, When: "session.subject == 'ada'"},
		}},
	}
	remote := startNode(t, ropewalk.Config{}, standard.Settings{Git: git.Settings{Repository: filepath.Join(dir, "remote.git")}}, standard.Env{})
	write := func(path, text string) {
		t.Helper()
		if _, err := remote.Publish(t.Context(), "file:"+path, []byte(text), call.WithContentType("text/plain")); err != nil {
			t.Fatal(err)
		}
	}
	write("/shop/q.sql", "select 1")
	n := startNode(t, cfg, standard.Settings{Git: git.Settings{
		Repository: filepath.Join(dir, "site.git"), Remote: git.Remote{URL: filepath.Join(dir, "remote.git")},
	}}, standard.Env{})
	source := watch(t, n, "file:/shop/q.sql")
	source.until("select 1")
	codec, err := cfg.TokenCodec(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	as := func(subject string) *client.Client {
		t.Helper()
		now := time.Now()
		s := session.New(subject, nil, nil)
		s.Since, s.Expires = now, now.Add(time.Hour)
		tok, err := codec.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String(), client.WithToken(tok), client.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	ada, eve := as("ada"), as("eve")
	next := func(w *call.Watch) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		u, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(u.Body)
	}
	seen := map[bool]string{}
	for code, conn := range map[bool]*client.Client{true: ada, false: eve} {
		w := conn.Watch(t.Context(), "git:/diff")
		defer func() { _ = w.Close() }()
		seen[code] = next(w)
		called, err := conn.Call(t.Context(), "git:/diff", nil)
		if err != nil || string(called.Body) != seen[code] {
			t.Errorf("a call gets %v, %v; a watch %s", called, err, seen[code])
		}
		u, err := conn.Get(t.Context(), "git:/show/shop/q.sql")
		if !code && message.CodeOf(err) != message.CodeForbidden || code && (err != nil || !strings.Contains(string(u.Body), "select 1")) {
			t.Errorf("the source is %v, %v; may read it: %t", u, err, code)
		}
	}
	if !strings.Contains(seen[true], "+select 1") || strings.Contains(seen[false], "select 1") || !strings.Contains(seen[false], `"hidden":true`) {
		t.Errorf("the difference is %v", seen)
	}
	write("/shop/q.sql", "select 2")
	write("/shop/a.txt", "2")
	if _, err := eve.Publish(t.Context(), "git:/pull", nil); message.CodeOf(err) != message.CodeForbidden {
		t.Errorf("eve pulls code: %v", err)
	}
	if u, err := ada.Get(t.Context(), "file:/shop/a.txt"); message.CodeOf(err) != message.CodeNotFound {
		t.Errorf("a.txt is %v, %v", u, err)
	}
	if _, err := ada.Publish(t.Context(), "git:/pull", nil); err != nil {
		t.Error(err)
	}
	source.until("select 2") // a get has what those who watch have last
}
