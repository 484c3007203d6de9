package standard_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
)

// nested starts a node whose scripts call and get each other.
func nested(t *testing.T, mode string) *ropewalk.Node {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "add.js", `export const call = (n) => n + 1`)
	write(t, dir, "more.js", `export default ({ n }) => n + 1`)
	write(t, dir, "next.js", `export default () => content.get("script:/more.js", { n: 1 })`)
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
	n := startNode(t, ropewalk.Config{
		Listeners:   map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Permissions: policy.Config{Preset: "dev"},
	}, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{Mode: mode, Workers: 1, Limits: script.Limits{CPU: duration.Duration(patience), Wall: duration.Duration(patience)},
		Grants: []script.Grant{{Paths: []string{"/**"}, Exec: []string{"main"}, Call: []string{"script:/**"}, Get: []string{"script:/**"}}},
	}}}, standard.Env{})
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

// TestNestedMany has more scripts that wait for another one than calls of a service
// run at a time.
func TestNestedMany(t *testing.T) {
	t.Parallel()
	n := nested(t, script.ModeInProcess)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for i := range content.DefaultConcurrency + 100 {
		all.Go(func() {
			if a, err := n.Call(ctx, "script:/calls.js", i); err != nil || string(a.Body) != strconv.Itoa(i+1) {
				t.Errorf("call %d: got %+v, %v", i, a, err)
			}
		})
	}
	all.Wait()
}

// TestNestedGets has more contents that wait for another one than are computed at a
// time.
func TestNestedGets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "common.js", `export default ({ n }) => n`)
	many := 8 * max(16, 4*runtime.GOMAXPROCS(0))
	for i := range many {
		write(t, dir, fmt.Sprintf("%d.js", i), fmt.Sprintf(`export default () => content.get("script:/common.js", { n: %d })`, i))
	}
	limits := script.Limits{CPU: duration.Duration(patience), Wall: duration.Duration(patience)}
	n := start(t, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{
		Limits: limits, Grants: []script.Grant{{Paths: []string{"/**"}, Get: []string{"script:/**"}}},
	}}})
	ctx, cancel := context.WithTimeout(t.Context(), patience-patience/10)
	defer cancel()
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if u, err := n.Get(ctx, fmt.Sprintf("script:/%d.js", i)); err != nil || string(u.Body) != strconv.Itoa(i) {
				t.Errorf("%d: got %+v, %v", i, u, err)
			}
		})
	}
	all.Wait()
}

// TestLevelOfAClient has a client say that scripts wait for it. Nobody believes it:
// what is got is computed once for all who get it at the same time.
func TestLevelOfAClient(t *testing.T) {
	t.Parallel()
	n := nested(t, script.ModeInProcess)
	conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String(), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, level := range []string{strconv.Itoa(engine.MaxLevel), strconv.Itoa(engine.MaxLevel + 1)} {
		header := call.WithHeader(content.LevelHeader, level)
		if a, err := conn.Call(t.Context(), "script:/calls.js", 1, header); err != nil || string(a.Body) != "2" {
			t.Errorf("called at level %s: got %+v, %v", level, a, err)
		}
		if u, err := conn.Get(t.Context(), "script:/next.js", header); err != nil || string(u.Body) != "2" {
			t.Errorf("got at level %s: got %+v, %v", level, u, err)
		}
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
