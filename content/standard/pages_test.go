package standard_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/standard"
)

func TestPages(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "score.html"), "<title>score</title>")
	write(filepath.Join(dir, "board", "index.html"), "<title>board</title>")
	write(filepath.Join(dir, "bare", "x.txt"), "x")
	write(filepath.Join(dir, ".env"), "s3cret")
	write(filepath.Join(dir, ".git", "config"), "s3cret")
	write(filepath.Join(outside, "secret.txt"), "s3cret")
	if err := os.Symlink(filepath.Join(outside, "secret.txt"), filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	otherwise := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("otherwise")) })
	h, err := standard.Pages(dir, otherwise)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"/score.html": "<title>score</title>", "/board/": "<title>board</title>", "/ropewalk.js": "connect",
		"/": "otherwise", "/bare/": "otherwise", "/none.html": "otherwise", "/.env": "otherwise", "/.git/config": "otherwise",
		"/link.txt": "otherwise", "/../secret.txt": "otherwise", "/%2e%2e/secret.txt": "otherwise", "/bare/../.env": "otherwise",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		r.URL.Path = at
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if body := w.Body.String(); !strings.Contains(body, want) || strings.Contains(body, "s3cret") {
			t.Errorf("%s: %d %.60s, want %s", at, w.Code, body, want)
		}
	}
	if _, err := standard.Pages(filepath.Join(dir, "nothing"), nil); err == nil || !strings.Contains(err.Error(), "pages") {
		t.Error(err)
	}
}
