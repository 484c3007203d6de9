package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/session"
)

// TestListingUnderJSONShowsOnlyJSON: who may watch json: gets no sources by way of
// a listing, which file: may keep for others.
func TestListingUnderJSONShowsOnlyJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": "{}", "q.sql": "select 1", "s.js": "1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := file.New(file.Settings{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	for p, shown := range map[content.Provider]int{tree.JSON(): 1, tree.Files(true): 3} {
		res, err := p.Open(t.Context(), &content.Request{Path: "/", Dir: true, Params: []byte(`{"content":true}`), Session: session.Anonymous()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := res.Get(t.Context())
		if n := strings.Count(string(c.Body), `"base64":`); err != nil || n != shown || strings.Count(string(c.Body), `"name":`) != 4 {
			t.Errorf("%d files are shown: %s (%v)", n, c.Body, err)
		}
	}
}
