package script_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/script"
)

// number is a script whose content is n, with what the parameters add.
func number(n int) string {
	return fmt.Sprintf("export default (params: { add?: number }) => params.add ? { n: %d, add: params.add } : { n: %d }\n", n, n)
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := write(dir, name, text); err != nil {
		t.Fatal(err)
	}
}

func write(dir, name, text string) error {
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{script.ModeInProcess, script.ModeProcess} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			contenttest.Run(t, contenttest.Features{Missing: true, Params: true}, func(t *testing.T) contenttest.Env {
				dir := t.TempDir()
				p, err := script.New(script.Settings{Root: dir, Mode: mode}, script.Host{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				with := func(name, params string) *content.Request {
					r := *contenttest.Request("/" + name + ".ts")
					r.Params = json.RawMessage(params)
					return &r
				}
				return contenttest.Env{
					Provider: p,
					Request:  func(name string) *content.Request { return contenttest.Request("/" + name + ".ts") },
					Write:    func(name string, n int) error { return write(dir, name+".ts", number(n)) },
					Remove:   func(name string) error { return os.Remove(filepath.Join(dir, name+".ts")) },
					Content:  func(n int) content.Content { return content.Content{Body: fmt.Appendf(nil, `{"n":%d}`, n)} },
					Filtered: func(name string) (a, b *content.Request) { return with(name, `{"add":1}`), with(name, `{"add":2}`) },
				}
			})
		})
	}
}
