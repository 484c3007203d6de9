package git_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	out := publish(t, s.JSON(), "/shop/prices.json?message=New+prices", `{"b":2,"a":[1,2.50]}`)
	if out["created"] != true || out["changed"] != true || out["path"] != "/shop/prices.json" {
		t.Errorf("the answer is %v", out)
	}
	if got := run(t, o.dir, "log", "--format=%an|%ae|%cn|%s|%H", "main"); got != "Alice A|alice@example.com|Ropewalk|New prices|"+out["commit"].(string) {
		t.Errorf("the commit is %q", got)
	}
	if got := run(t, o.dir, "show", "main:shop/prices.json"); got != "{\n  \"b\": 2,\n  \"a\": [\n    1,\n    2.50\n  ]\n}" {
		t.Errorf("the file is %s", got)
	}
	run(t, o.dir, "fsck", "--strict", "--full")
	wants(t, s.JSON(), "/shop/prices.json", `{"b":2,"a":[1,2.50]}`)

	t.Run("the same again is no commit", func(t *testing.T) {
		again := publish(t, s.JSON(), "/shop/prices.json", `{"b":2,"a":[1,2.50]}`)
		if again["changed"] != false || again["commit"] != out["commit"] {
			t.Errorf("the answer is %v", again)
		}
	})
	t.Run("delete", func(t *testing.T) {
		publish(t, s.JSON(), "/shop/gone.json", `1`)
		publish(t, s.JSON(), "/shop/gone.json", ``)
		_, err := get(t, s.JSON(), "/shop/gone.json")
		fails(t, err, message.CodeNotFound)
		_, err = tryPublish(s.JSON(), "/shop/gone.json", ``)
		fails(t, err, message.CodeNotFound)
		if got := run(t, o.dir, "log", "-1", "--format=%s", "main"); got != "Delete shop/gone.json" {
			t.Errorf("the message is %q", got)
		}
	})
	t.Run("name is kept", func(t *testing.T) {
		body := `{"base64":"aGk=","noOverwrite":true}`
		publish(t, s.Files(true), "/up/a.txt", body)
		if out := publish(t, s.Files(true), "/up/a.txt", body); out["path"] != "/up/a(1).txt" {
			t.Errorf("the answer is %v", out)
		}
		wants(t, s.Files(true), "/up/a(1).txt", "hi")
		wants(t, s.Files(false), "/up/a.txt", `{"base64":"aGk="}`)
	})
	t.Run("comments stay", func(t *testing.T) {
		const next = `{"a":5,"b":[1],"c":null}`
		for address, body := range map[string]string{"/c.jsonc": next, "/": `{"files":[{"path":"c.jsonc","json":` + next + `}]}`} {
			o.write(t, "c.jsonc", "// top\n{\n  // one\n  \"a\": 1,\n  \"b\": [1], // two\n}\n")
			publish(t, s.JSON(), address, body)
			text, err := get(t, s.Files(true), "/c.jsonc")
			if err != nil || !strings.Contains(text, "// top") || !strings.Contains(text, "// one") || !strings.Contains(text, "// two") {
				t.Errorf("published to %s the file is %s, %v", address, text, err)
			}
			wants(t, s.JSON(), "/c.jsonc", next)
		}
	})
}

func TestPublishMany(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	publish(t, s.JSON(), "/app/old.json", `1`)
	w, other := watch(t, s.JSON(), "/app/a.json"), watch(t, s.JSON(), "/app2/a.json")
	publish(t, s.Files(true), "/app/", `{"message":"Two","files":[{"path":"a.json","json":{"x":1}},{"path":"d/b.txt","text":"hi\n"},
		{"path":"c.bin","base64":"AAE="},{"path":"old.json","delete":true}]}`)
	w.told(true)
	other.told(false)
	if got := run(t, o.dir, "ls-tree", "-r", "--name-only", "main"); got != "app/a.json\napp/c.bin\napp/d/b.txt" {
		t.Errorf("the tree is %s", got)
	}
	if got := run(t, o.dir, "log", "--format=%s", "main"); got != "Two\nAdd app/old.json" {
		t.Errorf("the log is %s", got)
	}
	before := run(t, o.dir, "rev-parse", "main")
	for body, code := range map[string]message.Code{
		``:                         message.CodeInvalidInput,
		`[]`:                       message.CodeInvalidInput,
		`{"files":[]}`:             message.CodeInvalidInput,
		`{"files":[{"path":"a"}]}`: message.CodeInvalidInput,
		`{"files":[{"path":"a","text":"","delete":true}]}`:                     message.CodeInvalidInput,
		`{"files":[{"path":"/a","text":""}]}`:                                  message.CodeInvalidInput,
		`{"files":[{"path":"../a","text":""}]}`:                                message.CodeNotFound,
		`{"files":[{"path":"x","text":"1"},{"path":"x","text":"2"}]}`:          message.CodeInvalidInput,
		`{"files":[{"path":"x","text":"1"},{"path":"x/y","text":"2"}]}`:        message.CodeInvalidInput,
		`{"files":[{"path":"x","text":"1"},{"path":"a.json/y","text":"2"}]}`:   message.CodeConflict,
		`{"files":[{"path":"x","text":"1"},{"path":"nothing","delete":true}]}`: message.CodeNotFound,
		`{"files":[{"path":"x","text":"1"},{"path":"run.sql","text":"2"}]}`:    message.CodeForbidden,
		`{"files":[{"path":"x.json","json":{"a":1,"a":2}}]}`:                   message.CodeInvalidInput,
	} {
		_, err := tryPublish(s.Files(true), "/app/", body)
		if message.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", body, err, code)
		}
	}
	for body, code := range map[string]message.Code{
		`{"files":[{"path":"x.txt","text":""}]}`:              message.CodeNotFound,
		`{"files":[{"path":"x.txt","delete":true}]}`:          message.CodeNotFound,
		`{"files":[{"path":"x.json","text":"{"}]}`:            message.CodeInvalidInput,
		`{"files":[{"path":"x.json","base64":"/w=="}]}`:       message.CodeInvalidInput,
		`{"files":[{"path":"x.json","json":1},{"path":"a"}]}`: message.CodeInvalidInput,
	} {
		_, err := tryPublish(s.JSON(), "/app/", body)
		if message.CodeOf(err) != code {
			t.Errorf("json: %s: %v, want %s", body, err, code)
		}
	}
	if got := run(t, o.dir, "rev-parse", "main"); got != before {
		t.Error("something was written nevertheless")
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	var asked []string
	s, err := git.New(git.Settings{Repository: filepath.Join(t.TempDir(), "r"), Workspaces: git.Workspaces{Enabled: true}}, git.Options{
		Allow: func(who *session.Session, address string, code bool) error {
			asked = append(asked, fmt.Sprintf("%s %s %t", who.Subject, address, code))
			if strings.Contains(address, "secret") {
				return message.NewError(message.CodeForbidden, "no", "")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := publish(t, s.Files(true), "/app/", `{"files":[{"path":"a.sql","text":"select 1"},{"path":"b","text":""}]}`)
	if want := []string{"alice file:/app/a.sql true", "alice file:/app/b false"}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	_, err = tryPublish(s.Files(true), "/app/", `{"files":[{"path":"secret/b","text":""},{"path":"c","text":""}]}`)
	fails(t, err, message.CodeForbidden)
	_, err = get(t, s.Files(true), "/app/c")
	fails(t, err, message.CodeNotFound)

	// What is drafted, or was there once, is asked about again.
	asked = nil
	publish(t, s.JSON(), "/app/d.json?workspace=w", "1")
	publish(t, s.Git(), "/merge", `{"workspace":"w"}`)
	publish(t, s.JSON(), "/app/secret.json?workspace=w", "1")
	_, err = tryPublish(s.Git(), "/merge", `{"workspace":"w"}`)
	fails(t, err, message.CodeForbidden)
	old := publish(t, s.Files(true), "/app/a.sql", ``)
	publish(t, s.Git(), "/restore/app/a.sql", `{"revision":"`+first["commit"].(string)+`"}`)
	publish(t, s.Git(), "/restore", `{"revision":"`+old["commit"].(string)+`"}`)
	if want := []string{
		"alice json:/app/d.json false", "alice json:/app/secret.json false", "alice file:/app/secret.json false", "alice file:/app/a.sql true", "alice file:/app/a.sql true",
	}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s, o := open(t, func(set *git.Settings) { set.MaxFile, set.MaxEntries = 100, 3 })
	link, err := try(o.dir, "../../etc/passwd", "hash-object", "-w", "--stdin")
	if err != nil {
		t.Fatal(err)
	}
	text, err := try(o.dir, strings.Repeat("x", 200), "hash-object", "-w", "--stdin")
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.Repeat("1", 40)
	tree, err := try(o.dir, fmt.Sprintf("100644 blob %s\t.env\n100644 blob %s\tbig.txt\n120000 blob %s\tlink.txt\n160000 commit %s\tmodule\n",
		text, text, link, mod), "mktree", "--missing")
	if err != nil {
		t.Fatal(tree, err)
	}
	commit := run(t, o.dir, "commit-tree", tree, "-m", "odd")
	run(t, o.dir, "update-ref", "refs/heads/main", commit)
	for address, code := range map[string]message.Code{
		"/link.txt": message.CodeNotFound, "/module/x": message.CodeNotFound, "/.env": message.CodeNotFound,
		"/big.txt": message.CodeTooLarge, "/module/": message.CodeNotFound, "/Big.txt": message.CodeNotFound,
	} {
		_, err := get(t, s.Files(true), address)
		fails(t, err, code)
	}
	if _, err := get(t, s.Files(true), "/Big.txt"); !strings.Contains(message.AsError(err).Hint, "big.txt") {
		t.Errorf("the hint is %q", message.AsError(err).Hint)
	}
	wants(t, s.Files(true), "/", `{"name":"","path":"/","type":"dir","children":[{"name":"big.txt","path":"/big.txt","type":"file","size":200}]}`)
	for address, code := range map[string]message.Code{
		"/link.txt": message.CodeConflict, "/module": message.CodeConflict, "/module/x": message.CodeConflict,
		"/.env": message.CodeForbidden, "/big.txt/x": message.CodeConflict, "/a/../b": message.CodeForbidden,
	} {
		_, err := tryPublish(s.Files(true), address, `{"base64":"AA=="}`)
		fails(t, err, code)
	}
	_, err = tryPublish(s.Files(true), "/x", `{"base64":"`+strings.Repeat("AAAA", 50)+`"}`)
	fails(t, err, message.CodeTooLarge)
	_, err = tryPublish(s.JSON(), "/x.json", `{"a":1,"a":2}`)
	fails(t, err, message.CodeInvalidInput)
	publish(t, s.Files(true), "/d/a", `{"base64":"AA=="}`)
	publish(t, s.Files(true), "/d/b", `{"base64":"AA=="}`)
	publish(t, s.Files(true), "/b", `{"base64":"AA=="}`)
	_, err = get(t, s.Files(true), "/")
	fails(t, err, message.CodeLimitExceeded)
	_, err = tryPublish(s.Files(true), "/d", `{"base64":"AA=="}`)
	fails(t, err, message.CodeConflict)
	if got := run(t, o.dir, "cat-file", "-t", "main:link.txt"); got != "blob" {
		t.Error("what is not shown was lost")
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	for text, at := range map[string]string{
		"{\n \"a\": }": "line 2, column 7", "": "line 1, column 1", "{\"a\":1,\n\"a\":2}": "line 2, column 1", "{\"é\":\xff}": "line 1",
	} {
		o.write(t, "x.json", text)
		_, err := get(t, s.JSON(), "/x.json")
		if e := fails(t, err, message.CodeBadContent); !strings.Contains(e.Message, at) {
			t.Errorf("%q: %s; want %s", text, e.Message, at)
		}
	}
	o.write(t, "x.jsonc", "{ // c\n a }")
	_, err := get(t, s.JSON(), "/x.jsonc")
	if e := fails(t, err, message.CodeBadContent); !strings.Contains(e.Message, "line 2, column 2") {
		t.Error(e.Message)
	}
	o.write(t, "x.jsonc", strings.Repeat("[", 1_000_000))
	_, err = get(t, s.JSON(), "/x.jsonc")
	fails(t, err, message.CodeBadContent)
}

func TestListing(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	wants(t, s.Files(true), "/", `{"name":"","path":"/","type":"dir","children":[]}`)
	o.write(t, "app/b/c.txt", "hi")
	w := watch(t, s.Files(true), "/app/")
	w.sees(`{"name":"app","path":"/app/","type":"dir","children":[{"name":"b","path":"/app/b/","type":"dir","children":[` +
		`{"name":"c.txt","path":"/app/b/c.txt","type":"file","size":2}]}]}`)
	o.write(t, "app/a.txt", "")
	w.sees(`{"name":"app","path":"/app/","type":"dir","children":[{"name":"a.txt","path":"/app/a.txt","type":"file","size":0},` +
		`{"name":"b","path":"/app/b/","type":"dir","children":[{"name":"c.txt","path":"/app/b/c.txt","type":"file","size":2}]}]}`)
	r := request("/app/")
	r.Params = json.RawMessage(`{"content":true,"depth":1,"hidden":["b"]}`)
	got, err := getBy(t, s.Files(true), r)
	if want := `{"name":"app","path":"/app/","type":"dir","children":[{"name":"a.txt","path":"/app/a.txt","type":"file","size":0,"base64":""}]}`; got != want || err != nil {
		t.Errorf("the listing is %s, %v", got, err)
	}
	if got, err := getBy(t, s.JSON(), r); strings.Contains(got, "base64") || err != nil { // it is no JSON
		t.Errorf("under json: the listing is %s, %v", got, err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir, "init", "-b", "main", "tree")
	run(t, dir, "init", "--object-format=sha256", "sha256")
	run(t, dir, "init", "--bare", "shallow")
	if err := os.WriteFile(filepath.Join(dir, "shallow", "shallow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	for field, set := range map[string]git.Settings{
		"repository":          {},
		"repository 1":        {Repository: filepath.Join(dir, "file")},
		"repository 2":        {Repository: dir},
		"repository 3":        {Repository: filepath.Join(dir, "sha256")},
		"repository 4":        {Repository: filepath.Join(dir, "shallow")},
		"branch":              {Repository: filepath.Join(dir, "tree")},
		"branch 1":            {Repository: good, Branch: "a..b"},
		"maxFile":             {Repository: good, MaxFile: -1},
		"workspaces.claim":    {Repository: good, Workspaces: git.Workspaces{Claim: "ws"}},
		"remote.url":          {Repository: good, Remote: git.Remote{Push: true}},
		"remote.url 1":        {Repository: good, Remote: git.Remote{URL: "https://me:secret@example.com/x"}},
		"remote.url 2":        {Repository: good, Remote: git.Remote{URL: "ext::sh -c x://"}},
		"remote.url 3":        {Repository: good, Remote: git.Remote{URL: "https://me:sec%ret@example.com/x"}},
		"remote.pull":         {Repository: good, Remote: git.Remote{URL: dir, Pull: 1}},
		"remote.passwordFile": {Repository: good, Remote: git.Remote{URL: dir, Password: "a", PasswordFile: "b"}},
	} {
		s, err := git.New(set, git.Options{})
		if err == nil {
			s.Close()
		}
		want, _, _ := strings.Cut(field, " ")
		e := message.AsError(err)
		if e == nil || e.Code != message.CodeInvalidInput || e.Path != want || !strings.HasPrefix(e.Message, want) {
			t.Errorf("%s: %v", field, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), dir)) {
			t.Errorf("%s: the error tells too much: %v", field, err)
		}
	}
	run(t, filepath.Join(dir, "tree"), "symbolic-ref", "HEAD", "refs/heads/other")
	s, _ := reopen(t, git.Settings{Repository: filepath.Join(dir, "tree")})
	publish(t, s.JSON(), "/a.json", `1`)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s, o := open(t, func(set *git.Settings) { set.ReadOnly = true })
	o.write(t, "a.json", "1")
	wants(t, s.JSON(), "/a.json", "1")
	_, err := tryPublish(s.JSON(), "/a.json", "2")
	fails(t, err, message.CodeForbidden)
	_, err = tryPublish(s.Git(), "/restore", `{"revision":"main"}`)
	fails(t, err, message.CodeForbidden)
}

func TestAnonymousAuthor(t *testing.T) {
	t.Parallel()
	s, o := open(t, func(set *git.Settings) { set.Author.Name = "Site\n<x>" })
	r := request("/a.json")
	r.Session = session.Anonymous()
	if _, err := s.JSON().(content.Publisher).Publish(context.Background(), r, content.Content{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	r.Session = session.New("eve\nauthor x <y> 1 +0000@", session.Claims{"name": 7.0}, nil)
	if _, err := s.JSON().(content.Publisher).Publish(context.Background(), r, content.Content{Body: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, o.dir, "log", "--format=%an <%ae>", "main"); got != "eveauthor x y 1 +0000@ <eveauthor x y 1 +0000@>\nSitex <ropewalk@localhost>" {
		t.Errorf("the authors are %q", got)
	}
	run(t, o.dir, "fsck", "--strict")
}
