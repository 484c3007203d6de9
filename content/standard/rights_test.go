package standard_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
)

// TestRightsToFiles publishes several files to a directory, by somebody who may
// not publish to all of them.
func TestRightsToFiles(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	n, err := ropewalk.New(ropewalk.Config{
		Name: "test", Logger: quiet,
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Permissions: policy.Config{Rules: []policy.Rule{
			{Verbs: []string{"publish"}, Addresses: []string{"file:/**", "git:/**"}},
			{Effect: "deny", Verbs: []string{"publish"}, Addresses: []string{"file:/shop/secret/**"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := standard.New(standard.Settings{Git: git.Settings{Repository: filepath.Join(t.TempDir(), "site.git")}},
		standard.Env{Logger: quiet, Registry: n.Registry(), Node: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range c.Services() {
		if err := n.ServeOwn(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String(), client.WithLogger(quiet))
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
