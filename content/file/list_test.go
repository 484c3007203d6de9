package file_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

// outline writes a listing as one line.
func outline(t testing.TB, body []byte) string {
	t.Helper()
	type node struct {
		Name, Path, Type, Base64, Modified string
		Size                               *int64
		Children                           *[]node
	}
	var show func(n node) string
	show = func(n node) string {
		s := n.Name
		if n.Size != nil {
			s += fmt.Sprintf("=%d", *n.Size)
			if _, err := time.Parse(time.RFC3339Nano, n.Modified); err != nil {
				t.Error(err)
			}
		}
		if n.Base64 != "" {
			s += ":" + n.Base64
		}
		if (n.Type == "dir") != strings.HasSuffix(n.Path, "/") || !strings.Contains(n.Path, n.Name) {
			t.Errorf("%+v", n)
		}
		if n.Children == nil {
			return s
		}
		var list []string
		for _, c := range *n.Children {
			list = append(list, show(c))
		}
		return s + "(" + strings.Join(list, " ") + ")"
	}
	var n node
	if err := json.Unmarshal(body, &n); err != nil {
		t.Fatal(err)
	}
	return show(n)
}

func TestListing(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{Hidden: []string{"*.BAK"}})
	for _, name := range []string{"b/2.txt", "b/1.json", "b/c/d/3", "a.txt", ".git/x", "b/.env", "b/c/x.bak", "Z", "b/aux.txt"} {
		put(t, dir, name, "12")
	}
	link(t, "..", dir, "b/up")
	link(t, "c", dir, "b/e")
	link(t, "/etc", dir, "b/out")
	link(t, "2.txt", dir, "b/l.txt")
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ address, params, want string }{
		{"/", ``, "(Z=2 a.txt=2 b(1.json=2 2.txt=2 c(d(3=2)) e(d(3=2)) l.txt=2 up) empty())"},
		{"/", `{"depth":1}`, "(Z=2 a.txt=2 b empty)"},
		{"/", `{"depth":2}`, "(Z=2 a.txt=2 b(1.json=2 2.txt=2 c e l.txt=2 up) empty())"},
		{"/b/c/", ``, "c(d(3=2))"},
		{"/b/c/", `{"content":true}`, "c(d(3=2:MTI=))"},
		{"/b/", `{"depth":1,"hidden":["c","l.txt"],"other":1}`, "b(1.json=2 2.txt=2 e up)"},
		{"/b/", `{"hidden":["3"]}`, "b(1.json=2 2.txt=2 c(d()) e(d()) l.txt=2 up(Z=2 a.txt=2 b empty()))"},
	} {
		for i, p := range []content.Provider{tr.Files(true), tr.JSON()} {
			r := request(c.address)
			if c.params != "" {
				r.Params = []byte(c.params)
			}
			got, err := get(t, p, r)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if i == 1 {
				want = strings.ReplaceAll(want, ":MTI=", "") // what is no JSON
			}
			if o := outline(t, got.Body); o != want {
				t.Errorf("%s %s is\n%s, want\n%s", c.address, c.params, o, want)
			}
		}
	}
	for address, code := range map[string]message.Code{"/no/": message.CodeNotFound, "/a.txt/": message.CodeNotFound} {
		_, err := get(t, tr.Files(true), request(address))
		fails(t, err, code, dir)
	}
	for _, params := range []string{`{"depth":-1}`, `{"depth":"x"}`, `{"hidden":"x"}`, `[]`} {
		r := request("/")
		r.Params = []byte(params)
		_, err := get(t, tr.Files(true), r)
		fails(t, err, message.CodeInvalidInput, dir)
	}
}

func TestListingHasLimits(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{MaxEntries: 5, MaxFile: 100_000})
	p := tr.Files(true)
	for n := range 5 {
		put(t, dir, fmt.Sprintf("d/f%d", n), "x")
	}
	if _, err := get(t, p, request("/d/")); err != nil {
		t.Fatal(err)
	}
	w := watch(t, p, request("/"))
	_, err := w.res.Get(t.Context())
	fails(t, err, message.CodeLimitExceeded, dir)
	if err := os.Remove(filepath.Join(dir, "d/f0")); err != nil {
		t.Fatal(err)
	}
	w.until(t, "fewer", func(_ content.Content, err error) bool { return err == nil })
	put(t, dir, "d/f1", strings.Repeat("x", 60_000))
	put(t, dir, "d/f2", strings.Repeat("x", 60_000))
	r := request("/d/")
	r.Params = []byte(`{"content":true}`)
	_, err = get(t, p, r)
	fails(t, err, message.CodeTooLarge, dir)
}

func TestListingIsLive(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	w := watch(t, p, request("/app/"))
	w.misses(t, message.CodeNotFound)
	see := func(want string) {
		t.Helper()
		w.until(t, want, func(c content.Content, err error) bool { return err == nil && outline(t, c.Body) == want })
	}
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	see("app()")
	put(t, dir, "app/a/b/c.txt", "1")
	see("app(a(b(c.txt=1)))")
	put(t, dir, "app/a/b/c.txt", "12")
	see("app(a(b(c.txt=2)))")
	if _, err := publish(t.Context(), p, "/app/x/y.txt", "parents=true", "1"); err != nil {
		t.Fatal(err)
	}
	if c, err := w.res.Get(t.Context()); err != nil || outline(t, c.Body) != "app(a(b(c.txt=2)) x(y.txt=1))" {
		t.Errorf("%s, %v", c.Body, err)
	}
	if err := os.Rename(filepath.Join(dir, "app/a/b"), filepath.Join(dir, "app/x/b")); err != nil {
		t.Fatal(err)
	}
	see("app(a() x(b(c.txt=2) y.txt=1))")
	put(t, dir, "app/x/b/c.txt", "123")
	see("app(a() x(b(c.txt=3) y.txt=1))")
	if err := os.RemoveAll(filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	w.misses(t, message.CodeNotFound)
	put(t, dir, "app/z", "")
	see("app(z=0)")
}
