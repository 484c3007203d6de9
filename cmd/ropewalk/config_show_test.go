package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigShow(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.jsonc")
	if err := os.WriteFile(file, []byte(`{"name": "shop", "limits": {"frame": 4096}, "mesh": {"secret": "planted-planted-planted"},
"middleware": [{"stage": "call", "kind": "secret", "settings": {"secrets": ["planted"]}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"ROPEWALK_LIMITS_CALLS=7"}
	o := try(t, env, "", "config", "show", "--config", file, "--log-level", "debug")
	wantCode(t, o, exitOK)
	for _, want := range [][3]string{
		{"name", `"shop"`, file + ":1:10"},
		{"limits.frame", "4096", file + ":1:38"},
		{"limits.calls", "7", "ROPEWALK_LIMITS_CALLS"},
		{"limits.ping", "25s", "default"},
		{"log.level", `"debug"`, "--log-level"},
		{"mesh.secret", "set, not shown", file + ":1:64"},
		{"listeners.main.address", `"127.0.0.1:7420"`, "default"},
		{"middleware[0].settings.secrets", "set, not shown", file},
		{"trace.headers", "–", "default"},
	} {
		found := false
		for line := range strings.Lines(o.out) {
			words := strings.Fields(line)
			found = found || len(words) > 2 && words[0] == want[0] && strings.Contains(line, "  "+want[1]+"  ") && strings.Contains(line, want[2])
		}
		if !found {
			t.Errorf("there is no line %v in\n%s", want, o.out)
		}
	}
	if strings.Contains(o.out, "planted") {
		t.Errorf("a secret is shown:\n%s", o.out)
	}
	o = try(t, env, "", "config", "show", "limits", "--given", "--json", "--config", file)
	wantCode(t, o, exitOK)
	var list []setting
	if err := json.Unmarshal([]byte(o.out), &list); err != nil || len(list) != 2 || list[0].Path != "limits.frame" || list[1].Origin != "ROPEWALK_LIMITS_CALLS" {
		t.Errorf("%v: %s", err, o.out)
	}
	wantCode(t, try(t, nil, "", "config", "show", "limit.frame"), exitUsage)
	wantCode(t, try(t, nil, "", "config", "show", "middleware"), exitOK)
	for _, args := range [][]string{{"config", "show", file}, {"config", "show", "my.jsonc"}} { // as "config check" is told
		if o := try(t, nil, "", args...); o.code != exitUsage || !strings.Contains(o.err, "--config "+args[2]) {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

func TestConfigShowsConditionsAsTheyAre(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.jsonc")
	const when = "has(claims.a) && claims.a < 3 && claims.b > 'x'"
	if err := os.WriteFile(file, []byte(`{"permissions": {"rules": [{"verbs": ["call"], "addresses": ["a:/**"], "when": "`+when+`"}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "show", "permissions", "--config", file}, {"config", "check", file}} {
		if o := try(t, nil, "", args...); o.code != exitOK || !strings.Contains(o.out, `"`+when+`"`) {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

func TestConfigCheckShowsNoSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.jsonc")
	if err := os.WriteFile(file, []byte(`{"trace": {"headers": {"Authorization": "Bearer planted"}},
"mesh": {"nats": ["nats://me:planted@127.0.0.1:1"], "secret": "planted-planted-planted"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", file}, {"config", "check", "--json", file}, {"config", "show", "--config", file}} {
		o := try(t, []string{"ROPEWALK_TRACE_HEADERS={\"X-Key\":\"planted\"}"}, "", args...)
		wantCode(t, o, exitOK)
		if strings.Contains(o.out+o.err, "planted") {
			t.Errorf("%v shows a secret:\n%s\n%s", args, o.out, o.err)
		}
	}
}
