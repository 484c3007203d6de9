package file_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

func TestContentTypes(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	for name, want := range map[string]string{
		"a.txt": "text/plain; charset=utf-8", "a.HTML": "text/html; charset=utf-8", "a.json": "application/json",
		"a.svg": "image/svg+xml", "a.PNG": "image/png", "a": "application/octet-stream", "a.exe": "application/octet-stream",
	} {
		put(t, dir, name, "x")
		if c, err := get(t, p, request("/"+name)); err != nil || c.ContentType != want || string(c.Body) != "x" {
			t.Errorf("%s: %q, %v", name, c.ContentType, err)
		}
	}
	put(t, dir, "latin.txt", "\xe4")
	if c, err := get(t, p, request("/latin.txt")); err != nil || c.ContentType != "text/plain" {
		t.Errorf("Latin-1: %q, %v", c.ContentType, err)
	}
	put(t, dir, "empty.txt", "")
	if c, err := get(t, p, request("/empty.txt")); err != nil || c.Body == nil || len(c.Body) != 0 {
		t.Errorf("empty: %v, %v", c, err)
	}
	r := request("/a.txt")
	r.Params = []byte(`{"encoding":"base64","other":1}`)
	if c, err := get(t, p, r); err != nil || string(c.Body) != `{"base64":"eA=="}` || c.ContentType != "" {
		t.Errorf("base64: %s, %v", c.Body, err)
	}
	for _, params := range []string{`{"encoding":"hex"}`, `{"encoding":1}`, `[]`} {
		r.Params = []byte(params)
		_, err := get(t, p, r)
		fails(t, err, message.CodeInvalidInput, dir)
	}
}

func TestPublishFiles(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{MaxFile: 100})
	p := tr.Files(true)
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct{ address, query, body, answer, name, text string }{
		{"/a.bin", "", `{"base64":"` + b64([]byte("\x00\xff")) + `"}`, `{"path":"/a.bin","created":true}`, "a.bin", "\x00\xff"},
		{"/a.bin", "", "raw", `{"path":"/a.bin"}`, "a.bin", "raw"},
		{"/a.json", "", `{"base64":"x","other":1}`, `{"path":"/a.json","created":true}`, "a.json", `{"base64":"x","other":1}`},
		{"/a.json", "", `{"no json`, `{"path":"/a.json"}`, "a.json", `{"no json`},
		{"/a.json", "noOverwrite=true", `1`, `{"path":"/a(1).json","created":true}`, "a(1).json", `1`},
		{"/a.json", "", `{"base64":"Mg==","noOverwrite":true}`, `{"path":"/a(2).json","created":true}`, "a(2).json", `2`},
		{"/new.txt", "noOverwrite=true", `1`, `{"path":"/new.txt","created":true}`, "new.txt", `1`},
		{"/x/y/z.txt", "parents=true", `1`, `{"path":"/x/y/z.txt","created":true}`, "x/y/z.txt", `1`},
		{"/u/v.txt", "", `{"base64":"Mg==","parents":true}`, `{"path":"/u/v.txt","created":true}`, "u/v.txt", `2`},
		{"/empty", "", `{"base64":""}`, `{"path":"/empty","created":true}`, "empty", ``},
		{"/100%.txt", "", `1`, `{"path":"/100%.txt","created":true}`, "100%.txt", `1`},
	} {
		got, err := publish(t.Context(), p, c.address, c.query, c.body)
		if err != nil || string(got.Body) != c.answer {
			t.Fatalf("%s %s: %s, %v", c.address, c.body, got.Body, err)
		}
		if text(t, dir, c.name) != c.text {
			t.Errorf("%s %s: %q", c.address, c.body, text(t, dir, c.name))
		}
	}
	for _, c := range []struct {
		address, query, body string
		code                 message.Code
	}{
		{"/a.bin", "", `{"base64":"?"}`, message.CodeInvalidInput},
		{"/a.bin", "", `{"base64":"","parents":1}`, message.CodeInvalidInput},
		{"/a.bin", "noOverwrite=1", `1`, message.CodeInvalidInput},
		{"/a.bin", "a=%zz", `1`, message.CodeInvalidInput},
		{"/no/dir.txt", "", `1`, message.CodeNotFound},
		{"/a.bin/x", "", `1`, message.CodeNotFound},
		{"/x", "", `1`, message.CodeConflict},
		{"/a.bin", "", strings.Repeat("x", 101), message.CodeTooLarge},
		{"/.env", "", `1`, message.CodeForbidden},
		{"/x/.git/config", "parents=true", `1`, message.CodeForbidden},
		{"/", "", `{}`, message.CodeInvalidInput},
		{"/x/", "", `{"a":1}`, message.CodeInvalidInput},
	} {
		_, err := publish(t.Context(), p, c.address, c.query, c.body)
		if message.CodeOf(err) != c.code {
			t.Errorf("%s %s: %v", c.address, c.body, err)
			continue
		}
		fails(t, err, c.code, dir)
	}
	leftovers(t, dir)
}

// leftovers fails the test if there is a temporary file.
func leftovers(t testing.TB, dir string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(path), ".ropewalk-") {
			t.Errorf("%s is left", path)
		}
		return nil
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	remove := func(address string) (content.Content, error) {
		return p.(content.Publisher).Publish(t.Context(), request(address), content.Content{})
	}
	put(t, dir, "d/a.txt", "1")
	if err := os.Symlink("a.txt", filepath.Join(dir, "d/link.txt")); err != nil {
		t.Fatal(err)
	}
	_, err := remove("/d/b.txt")
	if e := fails(t, err, message.CodeNotFound, dir); e.Hint != "Did you mean /d/a.txt?" {
		t.Error(e.Hint)
	}
	_, err = remove("/d")
	fails(t, err, message.CodeInvalidInput, dir)
	_, err = remove("/d/")
	fails(t, err, message.CodeConflict, dir)
	_, err = remove("/d/a.txt/")
	fails(t, err, message.CodeNotFound, dir)
	for _, address := range []string{"/d/link.txt", "/d/a.txt", "/d/"} {
		if c, err := remove(address); err != nil || string(c.Body) != `{"path":"`+address+`","deleted":true}` {
			t.Fatal(string(c.Body), err)
		}
	}
	if c, err := publish(t.Context(), p, "/d/", "", `{}`); err != nil || string(c.Body) != `{"path":"/d/","created":true}` {
		t.Fatal(string(c.Body), err)
	}
	if c, err := publish(t.Context(), p, "/d/", "", `{}`); err != nil || string(c.Body) != `{"path":"/d/"}` {
		t.Fatal(string(c.Body), err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{ReadOnly: true})
	put(t, dir, "a.json", "1")
	for _, p := range []content.Provider{tr.JSON(), tr.Files(true)} {
		_, err := publish(t.Context(), p, "/a.json", "", "2")
		fails(t, err, message.CodeForbidden, dir)
		_, err = p.(content.Publisher).Publish(t.Context(), request("/a.json"), content.Content{})
		fails(t, err, message.CodeForbidden, dir)
	}
	if text(t, dir, "a.json") != "1" {
		t.Error("it was written")
	}
}

func TestModeIsKept(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "a.json", "1")
	for _, mode := range []fs.FileMode{0o600, 0o664, 0o755} {
		if err := os.Chmod(filepath.Join(dir, "a.json"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := publish(t.Context(), tr.JSON(), "/a.json", "", "2"); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, "a.json")); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the mode is %v, %v, want %v", info.Mode(), err, mode)
		}
	}
}

func TestConcurrentCopiesGetDifferentNames(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	const many = 20
	var wg sync.WaitGroup
	for n := range many {
		wg.Go(func() {
			if _, err := publish(t.Context(), p, "/a.txt", "noOverwrite=true", fmt.Sprint(n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var got []string
	found, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range found {
		got = append(got, text(t, "", f))
	}
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != many || len(found) != many {
		t.Errorf("there are %v in %v", got, found)
	}
}

// A publish that waits for another one of the same path ends with its context.
func TestPublishWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	tr, _ := tree(t, file.Settings{})
	p := tr.Files(true)
	if _, err := publish(t.Context(), p, "/a.txt", "", "0"); err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	w := watch(t, p, request("/a.txt"))
	w.stop()
	res, err := p.Open(t.Context(), request("/a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	once := sync.OnceFunc(func() { close(entered); <-leave })
	stop, err := res.Watch(once)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := publish(t.Context(), p, "/a.txt", "", "1")
		done <- err
	}()
	<-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := publish(ended, p, "/a.txt", "", "2"); !errors.Is(err, context.Canceled) {
		t.Errorf("the second publish: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{MaxFile: 10})
	put(t, dir, "fits.txt", strings.Repeat("x", 10))
	put(t, dir, "large.txt", strings.Repeat("x", 11))
	put(t, dir, "large.json", strings.Repeat(" ", 11)+"1")
	if _, err := get(t, tr.Files(true), request("/fits.txt")); err != nil {
		t.Error(err)
	}
	_, err := get(t, tr.Files(true), request("/large.txt"))
	fails(t, err, message.CodeTooLarge, dir)
	_, err = get(t, tr.JSON(), request("/large.json"))
	fails(t, err, message.CodeTooLarge, dir)
}

func TestHints(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{Hidden: []string{"secret*"}})
	put(t, dir, "shop/prices.json", "1")
	put(t, dir, "shop/secrets.json", "1")
	p := tr.JSON()
	for address, hint := range map[string]string{
		"/shop/price.json":   "Did you mean /shop/prices.json?",
		"/shop/PRICES.json":  "Did you mean /shop/prices.json?",
		"/shp/prices.json":   "Did you mean /shop/prices.json?",
		"/shop/secret1.json": "This path is never served: it has a name that the settings of the server hide.",
		"/shop/secres.json":  "Publish to it, or put a file there, and watchers get it.",
		"/shop":              "Under json: there are only files that end in .json or .jsonc; use file: in place of json:.",
	} {
		_, err := get(t, p, request(address))
		if e := fails(t, err, message.CodeNotFound, dir); e.Hint != hint {
			t.Errorf("%s: %s", address, e.Hint)
		}
	}
	_, err := get(t, tr.Files(true), request("/shop"))
	fails(t, err, message.CodeNotFound, dir)
}

func TestApplications(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	put(t, a, "x.json", "1")
	put(t, b, "x.json", "2")
	tr := open(t, file.Settings{Applications: map[string]string{"shop": a, "news": b}})
	p := tr.JSON()
	for address, want := range map[string]string{"/shop/x.json": "1", "/news/x.json": "2"} {
		if c, err := get(t, p, request(address)); err != nil || string(c.Body) != want {
			t.Errorf("%s: %s, %v", address, c.Body, err)
		}
	}
	_, err := get(t, p, request("/shops/x.json"))
	if e := fails(t, err, message.CodeNotFound, a); e.Hint != "Did you mean /shop/x.json?" {
		t.Error(e.Hint)
	}
	_, err = get(t, p, request("/x.json"))
	fails(t, err, message.CodeNotFound, a)
	_, err = publish(t.Context(), p, "/other/x.json", "parents=true", "1")
	fails(t, err, message.CodeForbidden, a)
	all := watch(t, p, request("/"))
	if c, err := all.res.Get(t.Context()); err != nil || !strings.Contains(string(c.Body), `"path":"/news/x.json"`) {
		t.Errorf("%s, %v", c.Body, err)
	}
	put(t, b, "y.json", "3")
	all.until(t, "y.json", func(c content.Content, err error) bool {
		return err == nil && strings.Contains(string(c.Body), `"path":"/news/y.json"`)
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "f", "")
	for field, set := range map[string]file.Settings{
		"root:":             {},
		"root: there":       {Root: dir, Applications: map[string]string{"a": dir}},
		"root: stat":        {Root: dir + "/no"},
		"root: ":            {Root: dir + "/f"},
		"applications..git": {Applications: map[string]string{".git": dir}},
		"applications.a/b":  {Applications: map[string]string{"a/b": dir}},
		"applications.a":    {Applications: map[string]string{"a": ""}},
		"maxFile":           {Root: dir, MaxFile: -1},
		"maxEntries":        {Root: dir, MaxEntries: -1},
		"hidden[1]":         {Root: dir, Hidden: []string{"a", "["}},
		"poll":              {Root: dir, Poll: -1},
	} {
		if _, err := file.New(set); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestProvidersCloseTheTree(t *testing.T) {
	t.Parallel()
	tr, _ := tree(t, file.Settings{})
	a, b := tr.JSON(), tr.Files(true)
	watchable := func() bool {
		res, err := b.Open(t.Context(), contenttest.Request("/a.txt"))
		if err != nil {
			t.Fatal(err)
		}
		stop, err := res.Watch(func() {})
		if err != nil {
			fails(t, err, message.CodeShuttingDown, "")
			return false
		}
		stop()
		return true
	}
	for range 2 {
		if err := a.(content.Closer).Close(); err != nil || !watchable() {
			t.Fatal("closing one provider closed the tree", err)
		}
	}
	if err := b.(content.Closer).Close(); err != nil || watchable() {
		t.Fatal("the tree is still open", err)
	}
}
