package file_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

// badNames are never served, at whatever place of a path.
var badNames = []string{
	"..", ".", ".git", ".env", ".ropewalk-x", "a\x00", "a\n", "\x7f", `a\b`, "C:", "a::$DATA", "a.", "a ", "a. .", "..a.",
	"%2e%2e", "%2E", "a%2fb", "a%5Cb", "%00", "%252e", "CON", "con", "Nul.txt", "aux.json", "COM1", "lpt9.x", "COM¹", "con .txt",
	"CONIN$", "\u200c.git", "\u200b", ".\u200cgit", "\xff", "a\xc0\xaf", strings.Repeat("a", 256),
}

var goodNames = []string{
	"a", "a.b.c", "a..b", "100%", "%41", "a b", "é", "日本", "com", "COM10", "console", "null.json", "-", "~", "a%2", "👩‍👧", "$DATA",
}

func TestNames(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	for _, name := range goodNames {
		for _, address := range []string{"/" + name, "/" + name + "-d/x/" + name} {
			if _, err := publish(t.Context(), p, address, "parents=true", "x"); err != nil {
				t.Errorf("%q: %v", address, err)
			}
			if c, err := get(t, p, request(address)); err != nil || string(c.Body) != "x" {
				t.Errorf("%q: %v", address, err)
			}
		}
	}
	put(t, dir, ".git/config", "secret")
	put(t, dir, ".env", "secret")
	for _, name := range badNames {
		for _, address := range []string{"/" + name, "/" + name + "/config", "/a-d/" + name, "/" + name + "/"} {
			_, err := get(t, p, request(address))
			fails(t, err, message.CodeNotFound, dir)
			_, err = publish(t.Context(), p, address, "parents=true", "{}")
			fails(t, err, message.CodeForbidden, dir)
		}
	}
	for _, path := range []string{"", "a", "/a/", "//a", "/a//b", "/" + strings.Repeat("a/", 64) + "a", "/" + strings.Repeat("aaaa/", 1000)} {
		_, err := get(t, p, &content.Request{Path: path})
		fails(t, err, message.CodeNotFound, dir)
	}
}

func link(t testing.TB, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Skip(err)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.Files(true)
	outside := t.TempDir()
	put(t, outside, "secret.txt", "secret")
	put(t, dir, "in/a.txt", "a")
	put(t, dir, "in/deep/b.txt", "b")
	put(t, dir, ".git/config", "secret")
	link(t, "in/a.txt", dir, "a.txt")
	link(t, "../in", dir, "in/deep/up")
	link(t, outside, dir, "out")
	link(t, filepath.Join(dir, "in"), dir, "absolute")
	link(t, "../"+filepath.Base(outside), dir, "updir")
	link(t, "in/../../x", dir, "sly.txt")
	link(t, "loop.txt", dir, "loop.txt")
	link(t, ".git/config", dir, "config.txt")
	link(t, "nowhere/../../"+filepath.Base(outside)+"/new.txt", dir, "dangling.txt")
	link(t, "in/new.txt", dir, "new.txt")
	link(t, "in/.new.txt", dir, "hidden.txt")
	link(t, "nowhere/.git/x.txt", dir, "unborn.txt")
	link(t, "in/a.sql", dir, "sql.txt")
	link(t, ".", dir, "here")
	for address, want := range map[string]string{
		"/a.txt": "a", "/in/deep/up/a.txt": "", "/here/in/a.txt": "a", "/here/here/a.txt": "a", "/in/deep/b.txt": "b",
	} {
		c, err := get(t, p, request(address))
		if want == "" {
			fails(t, err, message.CodeNotFound, dir)
		} else if err != nil || string(c.Body) != want {
			t.Errorf("%s: %s, %v", address, c.Body, err)
		}
	}
	for _, address := range []string{
		"/out/secret.txt", "/absolute/a.txt", "/updir/secret.txt", "/sly.txt", "/loop.txt", "/loop.txt/x", "/config.txt",
		"/dangling.txt", "/hidden.txt", "/unborn.txt", "/out/", "/absolute/", "/updir/", "/here/out/secret.txt",
	} {
		_, err := get(t, p, request(address))
		fails(t, err, message.CodeForbidden, dir)
		_, err = publish(t.Context(), p, address, "parents=true", "{}")
		fails(t, err, message.CodeForbidden, dir)
	}
	_, err := publish(t.Context(), p, "/sql.txt", "", "drop")
	fails(t, err, message.CodeForbidden, dir)
	if _, err := publish(t.Context(), p, "/new.txt", "", "1"); err != nil || text(t, dir, "in/new.txt") != "1" {
		t.Error("a link to a file that is not there yet:", err)
	}
	if found, _ := os.ReadDir(outside); len(found) != 1 || text(t, outside, "secret.txt") != "secret" {
		t.Errorf("there are %v outside", found)
	}
}

func TestSpecialFilesNeverBlock(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.json"), 0o600); err != nil {
		t.Skip(err)
	}
	if l, err := net.Listen("unix", filepath.Join(dir, "s.json")); err == nil {
		defer l.Close()
	}
	_ = syscall.Mknod(filepath.Join(dir, "zero.json"), syscall.S_IFCHR|0o600, 1<<8|5)
	link(t, "fifo.json", dir, "link.json")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, name := range []string{"/fifo.json", "/s.json", "/zero.json", "/link.json"} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				continue
			}
			for _, p := range []content.Provider{tr.JSON(), tr.Files(true)} {
				_, err := get(t, p, request(name))
				fails(t, err, message.CodeForbidden, dir)
				_, err = publish(t.Context(), p, name, "", "1")
				fails(t, err, message.CodeForbidden, dir)
				_, err = get(t, p, request(name+"/"))
				if err == nil {
					t.Errorf("%s/ is listed", name)
				}
			}
		}
		if c, err := get(t, tr.Files(true), request("/")); err != nil || strings.Contains(string(c.Body), "json") {
			t.Errorf("the listing is %s, %v", c.Body, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a pipe, socket or device blocks")
	}
}

func TestPermissionOfTheSystem(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("who runs this may read everything")
	}
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "a.json", "1")
	if err := os.Chmod(filepath.Join(dir, "a.json"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := get(t, tr.JSON(), request("/a.json"))
	fails(t, err, message.CodeForbidden, dir)
}

// FuzzPath gives the tree paths of any kind. Whatever is read is below the root
// and visible, and whatever is written is, too: outside and in the hidden
// directory nothing changes.
func FuzzPath(f *testing.F) {
	for _, name := range append(badNames, goodNames...) {
		f.Add("/"+name+"/x.json", false)
	}
	for _, path := range []string{
		"/a.json", "/in/a.json", "/out/secret.json", "/in/../../outside/secret.json", "/", "/in", "/here/in/../out/secret.json",
		"//etc/passwd", "/up/outside/secret.json", "/abs/a.json", "/.git/config.json", "/git/config.json", "/fifo",
	} {
		f.Add(path, true)
	}
	base := f.TempDir()
	dir, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
	put(f, outside, "secret.json", `"secret"`)
	put(f, dir, ".git/config.json", `"secret"`)
	put(f, dir, "in/a.json", `"fine"`)
	put(f, dir, "a.json", `"fine"`)
	for name, target := range map[string]string{
		"out": "../outside", "up": "..", "abs": outside, "git": ".git", "here": ".", "in/back": "../..", "in/far": "../../outside/secret.json",
	} {
		link(f, target, dir, name)
	}
	_ = syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600)
	tr := open(f, file.Settings{Root: dir, Hidden: []string{"hidden*"}})
	put(f, dir, "hidden.json", `"secret"`)
	providers := []content.Provider{tr.JSON(), tr.Files(true)}
	f.Fuzz(func(t *testing.T, path string, isDir bool) {
		if len(path) > 300 {
			return
		}
		for _, p := range providers {
			r := request("/x")
			r.Path, r.Dir = path, isDir
			c, err := get(t, p, r)
			if strings.Contains(string(c.Body), "secret") {
				t.Fatalf("%q reads %s", path, c.Body)
			}
			checked(t, err, base)
			body := content.Content{Body: []byte(`"written"`)}
			if isDir {
				body.Body = []byte("{}")
			}
			r.Query = "parents=true"
			if c, err = p.(content.Publisher).Publish(t.Context(), r, body); err == nil {
				landed(t, p, r, c, dir)
			}
			checked(t, err, base)
		}
		for name, want := range map[string]string{"outside/secret.json": `"secret"`, "root/.git/config.json": `"secret"`, "root/hidden.json": `"secret"`} {
			if text(t, base, name) != want {
				t.Fatalf("%q changed %s", path, name)
			}
		}
		for place, n := range map[string]int{base: 2, outside: 1, filepath.Join(dir, ".git"): 1} {
			if found, err := os.ReadDir(place); err != nil || len(found) != n {
				t.Fatalf("%q left %v in %s, %v", path, found, place, err)
			}
		}
	})
}

// landed checks that what was published is below the root by a way that the
// system itself knows, and removes it.
func landed(t *testing.T, p content.Provider, r *content.Request, answer content.Content, dir string) {
	t.Helper()
	found, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(r.Path)))
	if err != nil {
		t.Fatalf("%q was published and is not there: %v", r.Path, err)
	}
	root, _ := filepath.EvalSymlinks(dir)
	if !strings.HasPrefix(found, root+"/") || strings.Contains(found[len(root):], "/.") {
		t.Fatalf("%q was written to %s", r.Path, found)
	}
	var out struct{ Created bool }
	if err := json.Unmarshal(answer.Body, &out); err != nil {
		t.Fatal(err)
	}
	if out.Created {
		if _, err := p.(content.Publisher).Publish(t.Context(), r, content.Content{}); err != nil {
			t.Fatalf("%q: %v", r.Path, err)
		}
	}
}

// checked fails the test if an error tells where the tree is, or has no code.
func checked(t *testing.T, err error, base string) {
	t.Helper()
	if err == nil {
		return
	}
	e := message.AsError(err)
	if sent := string(message.AppendError(nil, e)); e.Code == message.CodeInternal || strings.Contains(sent, base) || !json.Valid([]byte(sent)) {
		t.Fatalf("the error is %s", sent)
	}
}
