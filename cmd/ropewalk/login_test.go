package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/login"
)

func TestLoginHash(t *testing.T) {
	t.Parallel()
	o := try(t, nil, "correct horse\nmore", "login", "hash")
	wantCode(t, o, exitOK)
	h, err := login.ParseHash(strings.TrimSpace(o.out))
	if err != nil || !h.Matches("correct horse") {
		t.Errorf("it prints %q: %v", o.out, err)
	}
	o = try(t, []string{"ROPEWALK_LOGIN_PASSWORDS_MEMORY=64", "ROPEWALK_LOGIN_PASSWORDS_MIN=20"}, "correct horse", "login", "hash")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "the password is too short")
	o = try(t, []string{"ROPEWALK_LOGIN_PASSWORDS_MEMORY=64"}, "correct horse\r\n", "login", "hash", "--json")
	var out struct {
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal([]byte(o.out), &out); err != nil {
		t.Fatal(err)
	}
	if h, err := login.ParseHash(out.Hash); err != nil || !h.Matches("correct horse") || h.Params.Memory != 64 {
		t.Errorf("it prints %q: %v", o.out, err)
	}
}

func TestLoginUser(t *testing.T) {
	t.Parallel()
	env := []string{"ROPEWALK_LOGIN_PASSWORDS_MEMORY=64", "ROPEWALK_LOGIN_USERS_DSN=" + filepath.Join(t.TempDir(), "users.db")}
	file := rulesFile(t, `{"login": {"users": {"driver": "sqlite", "create": true}}}`)
	user := func(stdin string, args ...string) outcome {
		return try(t, env, stdin, append([]string{"login", "user"}, append(args, "--config", file)...)...)
	}
	o := user("correct horse\n", "add", "anna", "--public", `{"role":"editor"}`, "--secret", `{"shard":7}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "added anna, id ")
	wantCode(t, user("correct horse\n", "add", "anna"), exitFailed)
	wantCode(t, user("", "add", "cleo"), exitUsage)
	wantCode(t, user("short", "add", "cleo"), exitFailed)
	wantCode(t, user("correct horse\n", "add", "cleo", "--public", "[]"), exitUsage)
	wantCode(t, user("", "add", "ben", "--no-password"), exitOK)
	o = user("", "disable", "ben", "--url", "ws://127.0.0.1:1")
	wantCode(t, o, exitOK)
	wantText(t, o.err, "no node was reached at ws://127.0.0.1:1", "ropewalk sessions revoke --subject ")
	if o = user("", "disable", "ben", "--keep-sessions"); o.code != exitOK || o.err != "" {
		t.Error(o)
	}
	o = user("", "list")
	wantText(t, o.out, "NAME  ID", "active    {\"name\":\"anna\",\"role\":\"editor\"}", "disabled  {\"name\":\"ben\"}")
	if strings.Contains(o.out, "argon2") || strings.Contains(o.out, "shard") {
		t.Errorf("the list shows secrets: %s", o.out)
	}
	wantCode(t, user("", "enable", "ben"), exitOK)
	o = user("another horse\n", "passwd", "ben", "--json", "--url", "ws://127.0.0.1:1")
	wantText(t, o.out, `{"done":"changed","user":"ben"}`)
	wantText(t, user("", "list", "--json").out, `"name":"ben"`)
	o = user("", "disable", "nobody")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "there is no user of this name", "ropewalk login user list")
}

func TestLoginConfig(t *testing.T) {
	t.Parallel()
	o := try(t, nil, "", "login", "user", "list")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "no user table")
	o = try(t, nil, "", "login", "user", "list", "--config", rulesFile(t, `{
		"login": {"users": {"driver": "mysql"}}}`))
	wantCode(t, o, exitUsage)
	wantText(t, o.err, `shop.jsonc:2:`, `login.users.driver: "mysql" is neither sqlite nor postgres`, "login.users.dsn")
}

// Whose password is set anew, or who is disabled, is not logged in any more.
func TestLoginChangesEndSessions(t *testing.T) {
	t.Parallel()
	url, file := guardedNode(t)
	env := []string{"ROPEWALK_LOGIN_PASSWORDS_MEMORY=64", "ROPEWALK_LOGIN_USERS_DSN=" + filepath.Join(t.TempDir(), "users.db")}
	table := rulesFile(t, `{"login": {"users": {"driver": "sqlite", "create": true}}}`)
	user := func(stdin string, args ...string) outcome {
		return try(t, env, stdin, append([]string{"login", "user"}, append(args, "--config", table)...)...)
	}
	o := user("correct horse\n", "add", "anna", "--json")
	wantCode(t, o, exitOK)
	var added struct{ ID string }
	if err := json.Unmarshal([]byte(o.out), &added); err != nil || added.ID == "" {
		t.Fatal(o, err)
	}
	chief := newToken(t, file, "chief")
	for _, args := range [][]string{{"passwd", "anna"}, {"disable", "anna"}} {
		anna := newToken(t, file, added.ID)
		who := func() outcome { return ask(t, url, "", "sessions", "who", "--token", anna) }
		wantCode(t, who(), exitOK)
		o := user("another horse\n", append(args, "--url", url)...)
		wantCode(t, o, exitFailed)
		wantText(t, o.err, "(unauthenticated)", "the sessions of the user were not ended", "ropewalk sessions revoke --subject "+added.ID)
		wantCode(t, user("another horse\n", append(args, "--keep-sessions")...), exitOK)
		wantCode(t, who(), exitOK)
		o = user("another horse\n", append(args, "--url", url, "--token", chief)...)
		wantCode(t, o, exitOK)
		wantCode(t, who(), exitConnect)
	}
}

// TestServeLogInIsAudited has a node of a configuration say who logged in and who
// could not, without what they said for it.
func TestServeLogInIsAudited(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"ROPEWALK_LOGIN_PASSWORDS_MEMORY=64"}
	file := filepath.Join(dir, "ropewalk.jsonc")
	if err := os.WriteFile(file, []byte(`{"audit": {"file": "audit.jsonl"}, "login": {"users": {"driver": "sqlite", "dsn": "users.db", "create": true}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, try(t, env, "correct horse\n", "login", "user", "add", "anna", "--config", file), exitOK)
	p := launch(t, dir, env, "serve", "--listen", "127.0.0.1:0", "--config", file)
	url := p.serveURL()
	wantCode(t, ask(t, url, "", "call", "login:/password", `{"user":"anna","password":"planted horse"}`), exitFailed)
	wantCode(t, ask(t, url, "", "call", "login:/password", `{"user":"anna","password":"correct horse"}`), exitOK)
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	o := try(t, nil, "", "audit", "show", filepath.Join(dir, "audit.jsonl"), "--kind", "login")
	wantText(t, o.out, "refused", "wrong password", "done", "from 127.0.0.1")
	if strings.Contains(o.out, "horse") {
		t.Errorf("a password is shown: %s", o.out)
	}
}
