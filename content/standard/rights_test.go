package standard_test

import (
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
