package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckContent(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.jsonc")
	text := `{"content": {
  "root": "a", "applications": {"shop": "b"},
  "schemes": ["json", "ftp", "git"],
  "watches": -1,
  "files": {"maxFile": -1},
  "query": {"databases": {"main": {"driver": "dbase"}}, "shared": ["/**"]},
  "script": {"mode": "thread", "schedules": "there", "grants": [{"query": ["main"]}]},
  "web": {"allow": [{"url": "ftp://x"}]},
}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", file}, {"serve", "--config", file}} {
		o := try(t, nil, "", args...)
		wantCode(t, o, exitUsage)
		wantText(t, o.err,
			`bad.jsonc:2:11: content.root: there are applications, too`,
			`bad.jsonc:3:23: content.schemes[1]: "ftp" is none of json, file, query`,
			`bad.jsonc:3:30: content.schemes[2]: there are no settings for git`, `Set git.repository.`,
			`bad.jsonc:4:14: content.watches: -1 is negative`,
			`bad.jsonc:5:24: content.files.maxFile: must not be negative`,
			`bad.jsonc:6:46: content.query.databases.main.driver: there is no driver "dbase"`,
			`content.query.shared[0]: this is everything`,
			`bad.jsonc:7:22: content.script.mode: "thread" is none`,
			`content.script.schedules: "there" is none of one, everywhere, none`,
			`content.script.grants[0].paths: say for which scripts it is`,
			`content.web.allow[0].url: `,
		)
	}
	o := try(t, nil, "", "config", "show", "content.web", "--config", file)
	if strings.Contains(o.out, "Bearer") {
		t.Error(o.out)
	}
}

func TestContentSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.jsonc")
	text := `{"content": {
  "query": {"applications": {"shop": "shop"}, "databases": {"main": {"driver": "postgres", "url": "postgres://u:hush1@127.0.0.1/x"}}},
  "web": {"allow": [{"url": "https://example.com", "headers": {"X-Key": "hush2"}}]},
  "git": {"repository": "r", "remote": {"url": "https://example.com/r", "password": "hush3"}},
}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := try(t, []string{"ROPEWALK_CONTENT_QUERY_DATABASES_MAIN_READ_URL=postgres://r:hush4@127.0.0.1/x"}, "", "config", "show", "content", "--given", "--config", file)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "content.query.databases.main.readURL", "ROPEWALK_CONTENT_QUERY_DATABASES_MAIN_READ_URL", "content.git.remote.password", "content.web.allow[0].headers")
	if strings.Contains(o.out, "hush") {
		t.Errorf("a secret is shown:\n%s", o.out)
	}
}

func TestServeContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "score.json", `{"home": 1}`)
	put(t, dir, "board/one.sql", "select 1 as n")
	put(t, dir, "sum.ts", "export default (p: {a: number, b: number}) => p.a + p.b")
	file := filepath.Join(t.TempDir(), "c.jsonc")
	if err := os.WriteFile(file, []byte(`{"permissions": {"preset": "dev"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, t.TempDir(), nil, "serve", "--listen", "127.0.0.1:0", "--config", file, "--content", dir, "--watch")
	url := p.serveURL()
	for address, want := range map[string]string{
		"json:/score.json": `{"home":1}`, "query:/board/one.sql": `[{"n":1}]`, "file:/sum.ts": "export default",
	} {
		o := ask(t, url, "", "get", address)
		wantCode(t, o, exitOK)
		wantText(t, o.out, want)
	}
	o := ask(t, url, "", "get", "script:/sum.ts", "--params", `{"a":2,"b":3}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "5")
	o = ask(t, url, "", "get", "json:/missing.json")
	if o.code == exitOK || !strings.Contains(o.err, "not_found") || strings.Contains(o.err, dir) {
		t.Errorf("what is not there: %+v", o)
	}

	if err := os.WriteFile(file, []byte(`{"permissions": {"preset": "dev"}, "content": {"watches": 10, "web": {"allow": [{"url": "https://example.com"}]}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.errs.with(`restart="[content.watches content.web.allow]"`)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("the exit code is %d\n%s", code, p.errs.all.String())
	}
}

func TestServeContentRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "shop/prices.json", "{}")
	for name, tt := range map[string]struct{ config, want string }{
		"files":  {`{"content": {"files": {"root": "nowhere"}}}`, "c.jsonc:1:32: content.files.root: "},
		"root":   {`{"content": {"root": "nowhere"}}`, "c.jsonc:1:22: content.root: there is no directory "},
		"a file": {`{"content": {"applications": {"a": "../shop/prices.json"}}}`, "content.applications.a: "},
		"twice":  {`{"content": {"root": "../shop"}, "topics": {"json:/**": {"presence": true}}}`, "c.jsonc:1:44: topics.json:/**: json: is served by content already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			put(t, dir, name+"/c.jsonc", tt.config)
			for _, args := range [][]string{{"config", "check"}, {"serve", "--listen", "127.0.0.1:0", "--config"}} {
				o := try(t, nil, "", append(args, filepath.Join(dir, name, "c.jsonc"))...)
				if o.code != exitUsage || !strings.Contains(o.err, tt.want) {
					t.Errorf("%v: %+v", args, o)
				}
			}
		})
	}
	o := try(t, nil, "", "serve", "--listen", "127.0.0.1:0", "--content", filepath.Join(dir, "nowhere"))
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "--content: content.root: there is no directory ")
}

func TestDevServesTheContentThatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "ropewalk.jsonc", `{"mesh": {"cluster": "none"}}`)
	put(t, dir, "content/shop/make.sql", "create table if not exists t (n integer); insert into t values (:n);")
	put(t, dir, "content/shop/all.js", `export default async () => (await db.query("select n from t")).length`)
	p := launch(t, dir, nil, "dev", "--listen", "127.0.0.1:0", "--json")
	var ready readyInfo
	if err := json.Unmarshal([]byte(p.out.line("")), &ready); err != nil {
		t.Fatal(err)
	}
	url := "ws" + strings.TrimPrefix(ready.URL, "http")
	o := ask(t, url, "", "publish", "query:/shop/make.sql", `{"n":1}`)
	wantCode(t, o, exitOK)
	o = ask(t, url, "", "get", "script:/shop/all.js")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "1")
	if _, err := os.Stat(filepath.Join(dir, "content", ".ropewalk", "main.db")); err != nil {
		t.Error(err)
	}
}
