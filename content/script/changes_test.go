package script_test

import (
	"os"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/message"
)

// TestChanges watches a script and changes, one after the other, all that it
// depends on.
func TestChanges(t *testing.T) {
	t.Parallel()
	s := newStore()
	s.set("store:/a", "1")
	p, dir := provider(t, script.Settings{Grants: all}, s.host(), map[string]string{
		"a.ts":     `import { f } from "./lib.ts"; export default async () => f(await content.get("store:/a"))`,
		"lib.ts":   `export const f = (n: number) => [n, "one"]`,
		"other.ts": `export default 1`,
	})
	res, err := p.Open(t.Context(), contenttest.Request("/a.ts"))
	if err != nil {
		t.Fatal(err)
	}
	rang, stop := rings(t, res, 100)
	until := func(what, body string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			c, err := res.Get(t.Context())
			got := string(c.Body)
			if err != nil {
				got = string(message.CodeOf(err))
			}
			if got == body {
				return
			}
			select {
			case <-rang:
			case <-deadline:
				t.Fatalf("%s: still %s, want %s", what, got, body)
			}
		}
	}
	until("first", `[1,"one"]`)
	s.set("store:/a", "2")
	until("what it read", `[2,"one"]`)
	put(t, dir, "lib.ts", `export const f = (n: number) => [n, "two"]`)
	until("an import", `[2,"two"]`)
	put(t, dir, "a.ts", `import { g } from "./new"; export default () => g`)
	until("an import that is missing", "bad_content")
	put(t, dir, "new.ts", `export const g = 5`)
	until("an import that came", "5")
	if n := s.watched(); n != 0 {
		t.Errorf("%d values are watched that are not read any more", n)
	}
	put(t, dir, "a.ts", `export default async () => content.get("store:/b")`)
	until("something that is not there", "script_failed")
	s.set("store:/b", "7")
	until("something that came", "7")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	until("a directory that is gone", "not_found")
	put(t, dir, "a.ts", `export default 8`)
	until("a directory that is back", "8")
	stop()
	if n := s.watched(); n != 0 {
		t.Errorf("%d values are watched after the end", n)
	}
}
