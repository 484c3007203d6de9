package standard_test

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/policy"
)

// shown are the paths of the files of which a listing has the content, and how
// many files it has.
func shown(t *testing.T, body []byte) (paths string, files int) {
	t.Helper()
	type entry struct {
		Path, Type string
		Base64     *string
		Children   []entry
	}
	var top entry
	if err := json.Unmarshal(body, &top); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	var list []string
	var walk func(e entry)
	walk = func(e entry) {
		if e.Type == "file" {
			files++
		}
		if e.Base64 != nil {
			list = append(list, e.Path)
		}
		for _, c := range e.Children {
			walk(c)
		}
	}
	walk(top)
	return strings.Join(list, " "), files
}

// TestListingsShowWhatMayBeRead lists files of which some are for others, and has
// the rules change while the listing is watched.
func TestListingsShowWhatMayBeRead(t *testing.T) {
	t.Parallel()
	rules := policy.Config{Preset: "read-only", Rules: []policy.Rule{
		{Verbs: []string{"publish", "code"}, Addresses: []string{"file:/open/**"}},
		{Effect: "deny", Verbs: []string{"watch"}, Addresses: []string{"*:/secret/**"}},
	}}
	texts := map[string]string{"a.txt": "1", "a.json": "2", "q.sql": "select 1", "S.JS": "3", "secret/b.txt": "4", "secret/b.json": "5", "open/x.ts": "6"}
	for name, set := range map[string]func(dir string) standard.Settings{
		"file": func(dir string) standard.Settings { return standard.Settings{Files: file.Settings{Root: dir}} },
		"git": func(dir string) standard.Settings {
			return standard.Settings{Git: git.Settings{Repository: filepath.Join(dir, ".site.git")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, ropewalk.Config{
				Permissions: rules, Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
			}, set(t.TempDir()), standard.Env{})
			for _, path := range slices.Sorted(maps.Keys(texts)) {
				if name == "git" {
					if _, err := n.Publish(t.Context(), "file:/"+path, []byte(texts[path]), call.WithContentType("text/plain")); err != nil {
						t.Fatal(path, err)
					}
					continue
				}
				if _, err := n.Publish(t.Context(), "file:/"+path+"?parents=true", []byte(texts[path]), call.WithContentType("text/plain")); err != nil {
					t.Fatal(path, err)
				}
			}
			conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			params := call.WithParams(json.RawMessage(`{"content":true}`))
			for address, want := range map[string]string{"file:/": "/a.json /a.txt /open/x.ts", "json:/": "/a.json", "file:/secret/": ""} {
				u, err := conn.Get(t.Context(), address, params)
				if address == "file:/secret/" {
					if err == nil {
						t.Errorf("%s is listed", address)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, files := shown(t, u.Body); got != want || files != len(texts) {
					t.Errorf("%s shows %q of %d files", address, got, files)
				}
			}
			w := conn.Watch(t.Context(), "file:/", params)
			defer func() { _ = w.Close() }()
			until := func(want string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				for got := "?"; got != want; {
					u, err := w.Next(ctx)
					if err != nil {
						t.Fatalf("%v; the last was %s", err, got)
					}
					got, _ = shown(t, u.Body)
				}
			}
			until("/a.json /a.txt /open/x.ts")
			if err := n.SetPermissions(policy.Config{Preset: "admin"}); err != nil {
				t.Fatal(err)
			}
			until("/S.JS /a.json /a.txt /open/x.ts /q.sql /secret/b.json /secret/b.txt")
			if err := n.SetPermissions(rules); err != nil {
				t.Fatal(err)
			}
			until("/a.json /a.txt /open/x.ts")
		})
	}
}
