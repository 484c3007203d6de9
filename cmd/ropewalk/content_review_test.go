package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestConfigurationIsNoContent serves the directory that the configuration lies in.
func TestConfigurationIsNoContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "score.json", `{"home": 1}`)
	text := `{"permissions": {"preset": "dev"}, "content": {"root": ".", "pages": "."}}`
	file := filepath.Join(dir, "site.jsonc")
	put(t, dir, "site.jsonc", text)
	p := launch(t, dir, nil, "serve", "--listen", "127.0.0.1:0", "--config", "site.jsonc")
	url := p.serveURL()
	wantCode(t, ask(t, url, "", "get", "json:/score.json"), exitOK)
	for _, args := range [][]string{{"get", "json:/site.jsonc"}, {"get", "file:/site.jsonc"}, {"publish", "json:/site.jsonc", "{}"}, {"publish", "file:/site.jsonc", "--delete"}} {
		if o := ask(t, url, "", args...); o.code == exitOK {
			t.Errorf("%v: %s", args, o.out)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != text {
		t.Errorf("it is %s (%v)", b, err)
	}
	if o := ask(t, url, "", "ls", "file:/"); strings.Contains(o.out, "site.jsonc") {
		t.Error(o.out)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("the exit code is %d\n%s", code, p.errs.all.String())
	}
}

// TestCallsOfContentsNeedTheRightToWatch: a call of a file is a get by another name.
func TestCallsOfContentsNeedTheRightToWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "open.json", `{"x": 1}`)
	put(t, dir, "secret/s.json", `{"x": 2}`)
	file := filepath.Join(t.TempDir(), "c.jsonc")
	text := `{"permissions": {"rules": [{"name": "no", "effect": "deny", "verbs": ["watch"], "addresses": ["json:/secret/**", "file:/secret/**"]}]}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, t.TempDir(), nil, "serve", "--listen", "127.0.0.1:0", "--config", file, "--content", dir)
	url := p.serveURL()
	wantText(t, ask(t, url, "", "call", "json:/open.json").out, `{"x":1}`)
	for _, args := range [][]string{{"get", "json:/secret/s.json"}, {"call", "json:/secret/s.json"}, {"gather", "json:/secret/s.json"}, {"call", "*:/secret/s.json"}} {
		if o := ask(t, url, "", args...); o.code == exitOK || strings.Contains(o.out, `"x":2`) {
			t.Errorf("%v: %s", args, o.out)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("the exit code is %d\n%s", code, p.errs.all.String())
	}
}
