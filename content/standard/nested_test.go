package standard_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// nested starts a node whose scripts call and get each other.
func nested(t *testing.T, mode string) *ropewalk.Node {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "add.js", `export const call = (n) => n + 1`)
	write(t, dir, "more.js", `export default ({ n }) => n + 1`)
	write(t, dir, "calls.js", `export const call = (n, ctx) => ctx.call("script:/add.js", n)`)
	write(t, dir, "gets.js", `export const call = (n, ctx) => ctx.content.get("script:/more.js", { n })`)
	write(t, dir, "state.js", `export default async () => (await db.query("SELECT count(*) AS n FROM t"))[0].n`)
	write(t, dir, "writes.js", `export const call = async (n, ctx) => {
		await db.exec("INSERT INTO t (n) VALUES (:n)", { n });
		return (await ctx.content.get("script:/state.js")) > 0;
	}`)
	write(t, dir, "q/make.sql", `CREATE TABLE t (n INTEGER)`)
	write(t, dir, "self.js", `export const call = (n, ctx) => ctx.call("script:/self.js", n + 1)`)
	write(t, dir, "ever.js", `export default ({ n }) => content.get("script:/ever.js", { n: n + 1 })`)
	n := start(t, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{Mode: mode, Workers: 1, Limits: script.Limits{CPU: duration.Duration(patience), Wall: duration.Duration(patience)},
		Grants: []script.Grant{{Paths: []string{"/**"}, Exec: []string{"main"}, Call: []string{"script:/**"}, Get: []string{"script:/**"}}},
	}}})
	if _, err := n.Publish(t.Context(), "query:/q/make.sql", map[string]any{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNested has many scripts that wait for another one: none of them keeps it
// from being run.
func TestNested(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{script.ModeInProcess, script.ModeProcess} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := nested(t, mode)
			for _, name := range []string{"calls.js", "gets.js", "writes.js"} {
				var all sync.WaitGroup
				for i := range 20 {
					all.Go(func() {
						want := strconv.Itoa(i + 1)
						if name == "writes.js" {
							want = "true"
						}
						if a, err := n.Call(t.Context(), "script:/"+name, i); err != nil || string(a.Body) != want {
							t.Errorf("%s: got %+v, %v; want %s", name, a, err, want)
						}
					})
				}
				all.Wait()
			}
		})
	}
}

// TestSelf has scripts that wait for themselves end soon, and say why.
func TestSelf(t *testing.T) {
	t.Parallel()
	n := nested(t, script.ModeInProcess)
	_, called := n.Call(t.Context(), "script:/self.js", 1)
	_, got := n.Get(t.Context(), "script:/ever.js", call.WithParams(map[string]int{"n": 1}))
	for _, err := range []error{called, got} {
		if e := message.AsError(err); e == nil || !strings.Contains(e.Message, "wait for each other") {
			t.Errorf("got %v", err)
		}
	}
}
