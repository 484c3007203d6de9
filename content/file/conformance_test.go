package file_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// shape is a scheme with what its contents look like.
type shape struct {
	name     string
	provider func(*file.Tree) content.Provider
	path     string // of a name
	text     func(n int) string
	content  func(n int) content.Content
	publish  func(n int) content.Content
	params   bool
}

func number(n int) content.Content { return content.Content{Body: []byte(strconv.Itoa(n))} }

func encoded(n int) content.Content {
	return content.Content{Body: fmt.Appendf(nil, `{"base64":%q}`, base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(n))))}
}

func shapes() []shape {
	plain := func(n int) content.Content {
		return content.Content{Body: []byte(strconv.Itoa(n)), ContentType: "text/plain; charset=utf-8"}
	}
	return []shape{
		{"json", (*file.Tree).JSON, "/app/%s.json", strconv.Itoa, number, number, false},
		{
			"jsonc", (*file.Tree).JSON, "/app/%s.jsonc", func(n int) string { return fmt.Sprintf("// a number\n%d // so it is", n) },
			number, number, false,
		},
		{
			"raw", func(t *file.Tree) content.Provider { return t.Files(true) }, "/app/deep/%s.txt", strconv.Itoa,
			plain, plain, true,
		},
		{
			"base64", func(t *file.Tree) content.Provider { return t.Files(false) }, "/app/%s.png", strconv.Itoa,
			encoded, encoded, true,
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		for name, poll := range map[string]duration.Duration{"": 0, "/polled": duration.Duration(20 * time.Millisecond)} {
			t.Run(s.name+name, func(t *testing.T) {
				t.Parallel()
				features := contenttest.Features{Missing: true, Params: s.params, Publish: true, Delete: true}
				if poll > 0 {
					features.Invalidations = 5
				}
				contenttest.Run(t, features, func(t *testing.T) contenttest.Env { return s.env(t, poll) })
			})
		}
	}
}

func (s shape) env(t *testing.T, poll duration.Duration) contenttest.Env {
	tr, dir := tree(t, file.Settings{Poll: poll})
	at := func(name string) string { return filepath.Join(dir, fmt.Sprintf(s.path, name)) }
	if err := os.MkdirAll(filepath.Dir(at("x")), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".git/config", ".env", "x.txt/.secret", "app/.git/config"} {
		put(t, dir, name, "[core] secret")
	}
	outside := t.TempDir()
	put(t, outside, "secret.json", "[core] secret")
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	req := func(name string) *content.Request { return contenttest.Request(fmt.Sprintf(s.path, name)) }
	env := contenttest.Env{
		Provider: s.provider(tr),
		Request:  req,
		Write:    func(name string, n int) error { return os.WriteFile(at(name), []byte(s.text(n)), 0o600) },
		Remove:   func(name string) error { return os.Remove(at(name)) },
		Content:  s.content,
		Publication: func(name string, n int) (*content.Request, content.Content) {
			return req(name), s.publish(n)
		},
		Deletion: func(name string) (*content.Request, content.Content) { return req(name), content.Content{} },
	}
	if s.params {
		env.Filtered = func(name string) (a, b *content.Request) {
			a, b = req(name), req(name)
			a.Params, b.Params = []byte(`{"encoding":"base64"}`), []byte(`{"encoding":"raw"}`)
			return a, b
		}
	}
	for _, path := range []string{
		"/.env", "/.git/config", "/app/.git/config", "/out/secret.json", "/app/../.env", "/app/%2e%2e/.env",
		"/CON.json", "/app/aux.json", "/app/a.json::$DATA", "/app/a.json.", "/app/a.json ", `/app\a.json`, "/app/%2fa.json",
	} {
		env.Forbidden = append(env.Forbidden, contenttest.Request(path))
	}
	return env
}

func TestListingConformance(t *testing.T) {
	t.Parallel()
	contenttest.Run(t, contenttest.Features{Missing: true, Params: true}, func(t *testing.T) contenttest.Env {
		tr, dir := tree(t, file.Settings{})
		// The content is the number of files in the directory with the name.
		files := func(name string) string { return filepath.Join(dir, "app", name) }
		env := contenttest.Env{
			Provider: tr.Files(true),
			Request:  func(name string) *content.Request { return request("/app/" + name + "/") },
			Remove:   func(name string) error { return os.RemoveAll(files(name)) },
			Write: func(name string, n int) error {
				tmp := filepath.Join(dir, fmt.Sprintf(".new-%s-%d-%d", name, n, time.Now().UnixNano()))
				if err := os.MkdirAll(tmp, 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(tmp, fmt.Sprintf("f%d", n)), nil, 0o600); err != nil {
					return err
				}
				if err := os.Chtimes(filepath.Join(tmp, fmt.Sprintf("f%d", n)), time.Unix(7, 0), time.Unix(7, 0)); err != nil {
					return err
				}
				if err := os.MkdirAll(filepath.Join(dir, "app"), 0o755); err != nil {
					return err
				}
				if err := os.Rename(files(name), tmp+"-old"); err != nil && !os.IsNotExist(err) {
					return err
				}
				return os.Rename(tmp, files(name))
			},
		}
		env.Content = func(n int) content.Content {
			return content.Content{Body: fmt.Appendf(nil, `f%d`, n), ContentType: "test"}
		}
		env.Provider = namesOnly{env.Provider}
		env.Filtered = func(name string) (a, b *content.Request) {
			a, b = env.Request(name), env.Request(name)
			a.Params = []byte(`{"hidden":["f1"]}`)
			return a, b
		}
		return env
	})
}

// namesOnly turns listings into the names of their files.
type namesOnly struct{ content.Provider }

type nameList struct{ content.Resource }

func (p namesOnly) Open(ctx context.Context, r *content.Request) (content.Resource, error) {
	res, err := p.Provider.Open(ctx, r)
	return nameList{res}, err
}

func (r nameList) Get(ctx context.Context) (content.Content, error) {
	c, err := r.Resource.Get(ctx)
	if err != nil {
		return c, err
	}
	var l struct {
		Children []struct {
			Name string `json:"name"`
		} `json:"children"`
	}
	if err := json.Unmarshal(c.Body, &l); err != nil {
		return c, err
	}
	names := []byte{}
	for _, e := range l.Children {
		names = append(names, e.Name...)
	}
	return content.Content{Body: names, ContentType: "test"}, nil
}

func (p namesOnly) Close() error { return p.Provider.(content.Closer).Close() }
