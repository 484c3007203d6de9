package script_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// all grants everything to all scripts.
var all = []script.Grant{{
	Paths: []string{"/**"}, Call: []string{"*:/**"}, Publish: []string{"store:/**"}, Get: []string{"store:/**"}, Session: script.SessionPublic,
}}

func provider(t testing.TB, s script.Settings, h script.Host, files map[string]string) (*script.Provider, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, dir, name, text)
	}
	s.Root = dir
	p, err := script.New(s, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dir
}

func get(t testing.TB, p *script.Provider, path string, s *session.Session, params string) (string, error) {
	t.Helper()
	r := &content.Request{Path: path, Session: s}
	if s == nil {
		r.Session = session.Anonymous()
	}
	if params != "" {
		r.Params = json.RawMessage(params)
	}
	res, err := p.Open(t.Context(), r)
	if err != nil {
		return "", err
	}
	c, err := res.Get(t.Context())
	return string(c.Body), err
}

func want(t testing.TB, p *script.Provider, path, body string) {
	t.Helper()
	if got, err := get(t, p, path, nil, ""); err != nil || got != body {
		t.Fatalf("%s is %s, %v; want %s", path, got, err, body)
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	p, _ := provider(t, script.Settings{}, script.Host{}, map[string]string{
		"constant.js":     `export default { a: 1 }`,
		"types.ts":        "type P = { n?: number }\nenum E { A = 7 }\nexport default async function (params: P): Promise<unknown> { return [params.n as number, E.A] }",
		"imports.ts":      `import { f } from "./lib/f.js"; import data from "./lib/data.json"; import * as g from "./lib/g"; export default () => f(data.n) + g.x`,
		"lib/f.ts":        `export const f = (n: number) => n * 2`,
		"lib/g.js":        `export const x = 0.5`,
		"lib/data.json":   `{ "n": 21 }`,
		"cycle.js":        `import { b } from "./cycle2.js"; export const a = 1; export default () => b()`,
		"cycle2.js":       `import { a } from "./cycle.js"; export const b = () => a + 1`,
		"self.js":         `import * as me from "./self.js"; export const a = 5; export default () => me.a`,
		"await.js":        `const x = await Promise.resolve(9); export default () => x`,
		"dynamic.js":      `export default async () => (await import("./lib/g.js")).x`,
		"classic.js":      `var f = JSON.parse(filter); JSON.stringify({ got: f.n })`,
		"classic.ts":      `const n: number = 4; n + 1`,
		"meta.js":         `export default () => typeof import.meta.url`,
		"context.js":      `export default (p, ctx) => ctx.path`,
		"commented.js":    "/* once\nexport default 1 */\n// import x\n5",
		"strict.js":       `export default () => { "use strict"; try { undeclared = 1 } catch (e) { return e.name } }`,
		"names/a b-c_.js": `export default 1`,
	})
	for path, body := range map[string]string{
		"/constant.js": `{"a":1}`, "/types.ts": `[null,7]`, "/imports.ts": `42.5`, "/cycle.js": `2`, "/self.js": `5`, "/await.js": `9`, "/dynamic.js": `0.5`,
		"/classic.js": `{}`, "/classic.ts": `5`, "/meta.js": `"undefined"`, "/context.js": `"/context.js"`, "/commented.js": `5`, "/strict.js": `"ReferenceError"`,
		"/names/a b-c_.js": `1`,
	} {
		want(t, p, path, body)
	}
	if got, err := get(t, p, "/types.ts", nil, `{"n":3}`); err != nil || got != `[3,7]` {
		t.Errorf("with parameters: %s, %v", got, err)
	}
}

func TestHandlers(t *testing.T) {
	t.Parallel()
	s := newStore()
	p, _ := provider(t, script.Settings{Grants: all}, s.host(), map[string]string{
		"h.ts": `
			export default async () => (await content.get("store:/x")) ?? 0
			export async function call(body, ctx) { return { sum: body.a + body.b, by: ctx.session.subject, path: ctx.path } }
			export async function publish(body, ctx) { await ctx.publish("store:/x", ctx.deleted ? "gone" : body); return { ok: true } }`,
		"classic.js":  `var c = JSON.parse(content); JSON.stringify(c.bad ? { error: { title: "No", detail: "not so" } } : { republishTopic: "javascript:/h.ts", twice: c.n * 2, filter: filter, who: username })`,
		"topic.js":    `export default 1`,
		"forwards.js": `export const call = async (body, ctx) => ctx.call("math:/add", body)`,
	})
	ann := session.New("ann", nil, nil)
	req := func(path string) *content.Request { return &content.Request{Path: path, Session: ann} }
	call := func(path, body string) (string, error) {
		c, err := p.Call(t.Context(), req(path), content.Content{Body: []byte(body)})
		return string(c.Body), err
	}
	if got, err := call("/h.ts", `{"a":1,"b":2}`); err != nil || got != `{"sum":3,"by":"ann","path":"/h.ts"}` {
		t.Errorf("call: %s, %v", got, err)
	}
	if got, err := call("/classic.js", `{"n":4}`); err != nil || got != `{"republishTopic":"javascript:/h.ts","twice":8,"filter":"","who":"ann"}` {
		t.Errorf("classic call: %s, %v", got, err)
	}
	if _, err := call("/classic.js", `{"bad":1}`); message.CodeOf(err) != message.CodeScriptFailed || !strings.Contains(err.Error(), "No: not so") {
		t.Errorf("classic error: %v", err)
	}
	if _, err := call("/topic.js", `{}`); message.CodeOf(err) != message.CodeUnimplemented {
		t.Errorf("a script that answers no calls: %v", err)
	}
	if _, err := call("/topic.js", `{`); message.CodeOf(err) != message.CodeInvalidInput {
		t.Errorf("a body that is no JSON: %v", err)
	}
	if got, err := call("/forwards.js", `[1]`); err != nil || got != `{"sum":3}` {
		t.Errorf("forwards: %s, %v", got, err)
	}
	if s.who[0] != "" {
		t.Errorf("a script that does not look at the session calls as %q", s.who[0])
	}
	res, err := p.Open(t.Context(), req("/h.ts"))
	if err != nil {
		t.Fatal(err)
	}
	rang := 0
	stop, err := res.Watch(func() { rang++ })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c, err := p.Publish(t.Context(), req("/h.ts"), content.Content{Body: []byte(`{"v":1}`)})
	if err != nil || string(c.Body) != `{"ok":true}` || s.values["store:/x"] != `{"v":1}` || rang == 0 {
		t.Errorf("publish: %s, %v, %v, told %d times", c.Body, err, s.values, rang)
	}
	if _, err := p.Publish(t.Context(), req("/h.ts"), content.Content{}); err != nil || s.values["store:/x"] != `"gone"` {
		t.Errorf("delete: %v, %v", err, s.values)
	}
}

// TestScheduled has a script run on its schedule, once at a time.
func TestScheduled(t *testing.T) {
	t.Parallel()
	s := newStore()
	p, dir := provider(t, script.Settings{Grants: all}, s.host(), map[string]string{
		"a.js": "export const schedule = 'every 1s'\nexport async function tick(ctx) { await call('count:/up', ctx.path) }",
		"b.js": "export const schedule = 'sometimes'\nexport async function tick() { await call('never:/x') }",
		"c.js": "/*\nexport const schedule = 'every 1s'\n*/\nexport async function tick() { await call('never:/x') }",
	})
	ran := make(chan error, 100)
	var mine atomic.Bool
	asked := make(chan struct{}, 100)
	other := script.NewScheduler(p, script.SchedulerOptions{
		Mine: func() bool { asked <- struct{}{}; return mine.Load() },
		Ran:  func(string, string, time.Duration, error) { t.Error("it has run where it is not to") },
	})
	<-asked
	<-asked
	other.Close()
	mine.Store(true)
	sched := script.NewScheduler(p, script.SchedulerOptions{
		Rescan: 50 * time.Millisecond,
		Mine:   mine.Load,
		Ran:    func(_, _ string, _ time.Duration, err error) { ran <- err },
	})
	defer sched.Close()
	for range 2 {
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, "a.js", "export const schedule = 'every 1s'\nexport async function tick(ctx) { throw new Error('x') }")
	for err := range ran {
		if message.CodeOf(err) == message.CodeScriptFailed {
			break
		}
	}
	sched.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c != `count:/up "/a.js"` {
			t.Errorf("called: %s", c)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "a.ts", `import "./b"; export const schedule = "@daily"; export default (p) => { log.info("hello", p); return p.n }`)
	put(t, dir, "b.ts", ``)
	var lines []string
	ran, err := script.RunOnce(t.Context(), script.Settings{}, script.Host{}, filepath.Join(dir, "a.ts"), script.Once{
		Input: []byte(`{"n":1}`), Log: func(level, text string) { lines = append(lines, level+" "+text) },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(ran.Result) != "1" || ran.Schedule != "@daily" || fmt.Sprint(ran.Files) != "[/a.ts /b.ts]" || fmt.Sprint(lines) != `[info hello {"n":1}]` {
		t.Fatalf("got %s, %+v, %q", ran.Result, ran, lines)
	}
}

func TestApplications(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	put(t, a, "x.js", `import y from "./y.js"; export default y`)
	put(t, a, "y.js", `export default 1`)
	put(t, b, "x.js", `import y from "../a/y.js"; export default y`)
	p, err := script.New(script.Settings{Applications: map[string]string{"a": a, "b": b}}, script.Host{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want(t, p, "/a/x.js", "1")
	if _, err := get(t, p, "/b/x.js", nil, ""); message.CodeOf(err) != message.CodeBadContent {
		t.Errorf("import from another application: %v", err)
	}
	if _, err := get(t, p, "/a", nil, ""); message.CodeOf(err) != message.CodeNotFound {
		t.Errorf("an application is no script: %v", err)
	}
}
