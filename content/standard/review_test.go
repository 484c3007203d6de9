package standard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
)

// TestScriptsWriteNoCode shows that the grant to publish is not the right to
// write what is run: a script may let others say what it writes where.
func TestScriptsWriteNoCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "save.js", `export async function call(b) { return publish(b.to, b.text) }`)
	n := start(t, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{
		Grants: []script.Grant{{Paths: []string{"/**"}, Publish: []string{"file:/**", "json:/**"}}},
	}}})
	save := func(to string) error {
		_, err := n.Call(t.Context(), "script:/save.js", map[string]string{"to": to, "text": "export default () => 1"})
		return err
	}
	for _, to := range []string{"file:/evil.js", "file:/evil.SQL", "file:/a/evil.ts?parents=true", "file:/evil.mjs?noOverwrite=true", "file://evil.js"} {
		if err := save(to); err == nil {
			t.Errorf("a script wrote %s", to)
		}
	}
	if err := save("file:/notes.txt"); err != nil {
		t.Error(err)
	}
	if _, err := n.Get(t.Context(), "file:/evil.js"); message.CodeOf(err) != message.CodeNotFound {
		t.Errorf("evil.js is there: %v", err)
	}
}

// TestScriptsWriteNoCodeByGit shows the same where several files are written at
// once, which the address does not name.
func TestScriptsWriteNoCodeByGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "save.js", `export async function call(b) { return publish(b.to, b.body) }`)
	n := startNode(t, ropewalk.Config{Permissions: policy.Config{Preset: "dev"}}, standard.Settings{
		Git: git.Settings{Repository: filepath.Join(t.TempDir(), "site.git")},
		Script: standard.Script{Settings: script.Settings{
			Root: dir, Grants: []script.Grant{{Paths: []string{"/**"}, Publish: []string{"file:/", "file:/**", "git:/**"}}},
		}},
	}, standard.Env{})
	save := func(to, body string) error {
		_, err := n.Call(t.Context(), "script:/save.js", map[string]any{"to": to, "body": json.RawMessage(body)})
		return err
	}
	if _, err := n.Publish(t.Context(), "file:/old.js", json.RawMessage(`1`)); err != nil {
		t.Fatal(err)
	}
	var log struct{ Commits []struct{ Commit string } }
	u, err := n.Get(t.Context(), "git:/log")
	if err != nil || json.Unmarshal(u.Body, &log) != nil || len(log.Commits) == 0 {
		t.Fatalf("%s, %v", u.Body, err)
	}
	if _, err := n.Publish(t.Context(), "file:/old.js", nil); err != nil {
		t.Fatal(err)
	}
	revision := `{"revision":"` + log.Commits[0].Commit + `"}`
	for _, c := range []struct{ to, body string }{
		{"file:/", `{"files":[{"path":"a.txt","text":""},{"path":"evil.js","text":"export default 1"}]}`},
		{"file:/a/?message=x", `{"files":[{"path":"evil.SQL","text":"select 1"}]}`},
		{"git:/restore/old.js", revision},
		{"git:/restore", revision},
	} {
		if err := save(c.to, c.body); err == nil || !strings.Contains(err.Error(), " is code") {
			t.Errorf("a script wrote %s %s: %v", c.to, c.body, err)
		}
	}
	if err := save("file:/", `{"files":[{"path":"a.txt","text":"x"}]}`); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"evil.js", "a/evil.SQL", "old.js"} {
		if _, err := n.Get(t.Context(), "file:/"+path); message.CodeOf(err) != message.CodeNotFound {
			t.Errorf("%s is there: %v", path, err)
		}
	}
}

// TestWhatTheNodeLivesOnIsNoContent has the configuration and a database lie among
// the contents.
func TestWhatTheNodeLivesOnIsNoContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "site[1].jsonc", `{"permissions":{}}`)
	write(t, dir, "a/shop.txt", "x")
	write(t, dir, "a/make.sql", "create table t (n)")
	n := startWith(t, standard.Settings{Root: dir, Query: standard.Query{Settings: query.Settings{
		Databases: map[string]query.Database{"main": {File: filepath.Join(dir, "shop.db")}},
	}}}, standard.Env{Config: filepath.Join(dir, "site[1].jsonc")})
	if _, err := n.Publish(t.Context(), "query:/a/make.sql", struct{}{}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"json:/site[1].jsonc", "file:/site[1].jsonc", "file:/shop.db", "file:/shop.db-wal"} {
		if _, err := n.Get(t.Context(), address); err == nil {
			t.Errorf("%s is served", address)
		}
		if _, err := n.Publish(t.Context(), address, map[string]int{"a": 1}); err == nil {
			t.Errorf("%s can be written", address)
		}
	}
	if u, err := n.Get(t.Context(), "file:/"); err != nil || strings.Contains(string(u.Body), "site") || strings.Contains(string(u.Body), "shop.db") {
		t.Errorf("the listing is %s (%v)", u.Body, err)
	}
	if _, err := n.Get(t.Context(), "file:/a/shop.txt"); err != nil {
		t.Error(err)
	}

	pages, err := standard.Pages(dir, nil, filepath.Join(dir, "site[1].jsonc"), filepath.Join(dir, "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/site%5B1%5D.jsonc": http.StatusNotFound, "/shop.db": http.StatusNotFound, "/a/shop.txt": http.StatusOK} {
		rec := httptest.NewRecorder()
		pages.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if rec.Code != want {
			t.Errorf("the page %s: %d", path, rec.Code)
		}
	}
}

// TestScriptsFindNoConfiguration has a script import what the node lives on, which
// lies beside it.
func TestScriptsFindNoConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "site.json", `{"secret":1}`)
	write(t, dir, "data.json", `{"home":1}`)
	write(t, dir, "good.js", `import d from "./data.json"; export default d`)
	write(t, dir, "evil.js", `import c from "./site.json"; export default c`)
	for name, s := range map[string]standard.Settings{
		"root":    {Root: dir},
		"scripts": {Script: standard.Script{Settings: script.Settings{Root: dir}}},
		"apps":    {Script: standard.Script{Settings: script.Settings{Applications: map[string]string{"app": dir}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startWith(t, s, standard.Env{Config: filepath.Join(dir, "site.json")})
			at := "script:/"
			if name == "apps" {
				at = "script:/app/"
			}
			if u, err := n.Get(t.Context(), at+"good.js"); err != nil || string(u.Body) != `{"home":1}` {
				t.Errorf("got %+v, %v", u, err)
			}
			if u, err := n.Get(t.Context(), at+"evil.js"); message.CodeOf(err) != message.CodeBadContent {
				t.Errorf("got %+v, %v", u, err)
			}
		})
	}
}
