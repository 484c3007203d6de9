package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
)

const guardedConfig = `{
	"listeners": {"main": {"address": "127.0.0.1:0"}},
	"services": {"echo": {"kind": "echo"}},
	"sessions": {"tokens": {"secret": "a secret that is long enough for all that comes"}},
	"permissions": {"rules": [
		{"effect": "deny", "verbs": ["call"], "addresses": ["echo:/**"], "when": "!(has(claims.role) && claims.role == 'editor')"},
		{"verbs": ["admin"], "addresses": ["node:/**"], "when": "session.subject == 'chief'"},
	]},
}`

// guardedNode starts a node with sessions and rules; it returns its URL and its
// configuration file.
func guardedNode(t *testing.T) (url, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "ropewalk.jsonc")
	if err := os.WriteFile(file, []byte(guardedConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg standard.Config
	if _, err := (config.Source{Path: file}).Read(&cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	n, err := ropewalk.New(cfg.Node())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return "ws://" + n.Addrs()["main"].String(), file
}

func newToken(t *testing.T, file, subject string, more ...string) string {
	t.Helper()
	o := try(t, nil, "", append([]string{"token", "new", "--config", file, "--subject", subject}, more...)...)
	wantCode(t, o, exitOK)
	return strings.TrimSpace(o.out)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	url, file := guardedNode(t)
	anna := newToken(t, file, "anna", "--claim", "role=editor", "--claim", `teams=["a"]`, "--secret-claim", "pin=1234", "--lifetime", "8h")

	o := try(t, nil, "", "token", "show", anna)
	wantCode(t, o, exitOK)
	for _, text := range []string{"anna", "editor", `["a"]`, "there are secret claims", "false: it was not verified"} {
		wantText(t, o.out, text)
	}
	if strings.Contains(o.out, "1234") || strings.Contains(o.out, anna) {
		t.Error(o.out)
	}
	environment := append(os.Environ(), append(at(url), "ROPEWALK_TOKEN="+anna)...)
	process := func(args ...string) string {
		c := exec.CommandContext(t.Context(), binary, args...)
		c.Env = environment
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	wantText(t, process("token", "check", "--config", file), "true: it is good")
	wantText(t, process("token", "check", "--config", file), "pin (values are not shown)")
	o = try(t, nil, "", "token", "check", anna[:len(anna)-8]+"AAAAAAAA", "--config", file, "--json")
	wantCode(t, o, exitFailed)
	wantText(t, o.out, `"verified":false`)
	wantText(t, o.err, "unauthenticated")

	// As the node sees it, by each of the ways to give it.
	tokenFile := filepath.Join(t.TempDir(), "anna.token")
	if err := os.WriteFile(tokenFile, []byte(anna+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantText(t, ask(t, url, "", "call", "echo:/", "1").out, `"code":"unauthenticated"`)
	wantCode(t, ask(t, url, "", "call", "echo:/", "1", "--token", anna), exitOK)
	wantCode(t, ask(t, url, "", "call", "echo:/", "1", "--token-file", tokenFile), exitOK)
	wantText(t, process("call", "echo:/", "1"), `"body":1`)
	o = ask(t, url, "", "call", "echo:/", "1", "--token", "forged")
	wantCode(t, o, exitConnect)
	wantText(t, o.err, "(unauthenticated)")
	wantCode(t, ask(t, url, "", "call", "echo:/", "1", "--token-file", tokenFile+".not"), exitUsage)

	var made struct{ Token, Session, Expires string }
	o = try(t, nil, "", "token", "new", "--config", file, "--subject", "bob", "--json")
	if err := json.Unmarshal([]byte(o.out), &made); err != nil || made.Token == "" || made.Session == "" || made.Expires == "" {
		t.Fatal(o, err)
	}
}

func TestTokenUsage(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.jsonc")
	if err := os.WriteFile(none, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	keyed := filepath.Join(t.TempDir(), "keyed.jsonc")
	if err := os.WriteFile(keyed, []byte(`{"mesh": {"cluster": "none"}, "sessions": {"tokens": {"secret": "`+strings.Repeat("a secret of the tests", 2)+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"token", "new"},
		{"token", "new", "--subject", "anna", "--config", none}, // no keys
		{"token", "new", "--subject", "", "--config", none},
		{"token", "new", "--subject", "anna", "--lifetime", "-1s", "--config", none},
		{"token", "new", "--subject", "anna", "--lifetime", "13h", "--config", keyed},
		{"token", "show"},
		{"token", "check", "--file", none + ".not"},
		{"sessions", "revoke"},
		{"sessions", "revoke", "x", "--everyone"},
	} {
		wantCode(t, try(t, nil, "", args...), exitUsage)
	}
	wantCode(t, try(t, nil, "", "token", "show", "nonsense"), exitOK)
	wantCode(t, try(t, nil, "", "token", "new", "--subject", "anna", "--config", keyed), exitOK)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	url, file := guardedNode(t)
	anna, chief := newToken(t, file, "anna", "--claim", "role=editor"), newToken(t, file, "chief")
	as := func(token string, args ...string) outcome { return ask(t, url, "", append(args, "--token", token)...) }

	wantText(t, ask(t, url, "", "sessions", "who").out, "nobody")
	o := as(anna, "sessions", "who")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `{"role":"editor"}`)
	o = as(anna, "sessions", "list")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(forbidden)")
	o = as(chief, "sessions", "list", "--all")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "chief")
	if o = as(chief, "sessions", "list", "--subject", "anna", "--json"); strings.Contains(o.out, "chief") || !json.Valid([]byte(o.out)) {
		t.Error(o.out)
	}
	var who struct{ Session struct{ ID string } }
	if err := json.Unmarshal([]byte(as(anna, "sessions", "who", "--json").out), &who); err != nil || who.Session.ID == "" {
		t.Fatal(err)
	}
	wantCode(t, as(anna, "sessions", "revoke", who.Session.ID), exitFailed)
	wantCode(t, as(chief, "sessions", "revoke", who.Session.ID, "--reason", "stolen"), exitOK)
	o = as(anna, "sessions", "who")
	wantCode(t, o, exitConnect)
	wantText(t, o.err, "stolen")
	wantCode(t, as(chief, "sessions", "revoke", "--subject", "bob"), exitOK)
}
