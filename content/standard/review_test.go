package standard_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
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
