package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// store is a host of named values, each of which can be watched.
type store struct {
	mu       sync.Mutex
	values   map[string]string
	watchers map[string]map[int]func()
	next     int
	calls    []string
	who      []string
}

func (s *store) set(address, value string) {
	s.mu.Lock()
	s.values[address] = value
	var tell []func()
	for _, f := range s.watchers[address] {
		tell = append(tell, f)
	}
	s.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

func (s *store) watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.watchers {
		n += len(w)
	}
	return n
}

// dependency is on a value of a store.
type dependency struct {
	s             *store
	address, read string
}

func (d dependency) Key() string { return d.address }

func (d dependency) Watch(changed func()) func() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.next++
	n := d.s.next
	if d.s.watchers[d.address] == nil {
		d.s.watchers[d.address] = map[int]func(){}
	}
	d.s.watchers[d.address][n] = changed
	if d.s.values[d.address] != d.read {
		changed()
	}
	return func() {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		delete(d.s.watchers[d.address], n)
	}
}

func newStore() *store {
	return &store{values: map[string]string{}, watchers: map[string]map[int]func(){}}
}

func (s *store) host() script.Host {
	return script.Host{
		Get: func(_ context.Context, _ script.Origin, address string, _ json.RawMessage) (content.Content, script.Dependency, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			v, ok := s.values[address]
			d := dependency{s, address, v}
			if !ok {
				return content.Content{}, d, content.NotFound(address, "")
			}
			return content.Content{Body: []byte(v)}, d, nil
		},
		Publish: func(_ context.Context, _ script.Origin, address string, c content.Content) (content.Content, error) {
			s.set(address, string(c.Body))
			return content.Content{}, nil
		},
		Call: func(_ context.Context, o script.Origin, address string, body json.RawMessage) (content.Content, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls = append(s.calls, address+" "+string(body))
			s.who = append(s.who, o.Session.Subject)
			if strings.HasSuffix(address, "/down") {
				return content.Content{}, message.NewError(message.CodeSourceDown, "it is away", "")
			}
			return content.Content{Body: []byte(`{"sum":3}`)}, nil
		},
	}
}

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

// TestErrors looks at what authors and watchers of a broken script get.
func TestErrors(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.js")
	if err := os.WriteFile(secret, []byte("export default 'secret'"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, dir := provider(t, script.Settings{Grants: all}, newStore().host(), map[string]string{
		"syntax.js":     "export default () => {\n  let = ;\n}",
		"syntax2.ts":    "import { x } from \"./lib/broken.ts\"\nexport default x",
		"lib/broken.ts": "export const x: = 1",
		"classic.js":    "var a = 1;\nvar b = ;",
		"throws.ts":     "interface A { a: number }\n\nfunction deep(a: A): never {\n  throw new TypeError(`boo ${a.a}`)\n}\nexport default () => deep({ a: 1 })",
		"far.ts":        "import { deep } from \"./lib/deep.ts\"\nexport default () => deep()",
		"lib/deep.ts":   "// a comment\ntype X = string\nexport const deep = (): X => {\n  const o: any = null\n  return o.x\n}",
		"classic2.js":   "var x = 1;\n  missing();",
		"out.js":        `import x from "../../../../etc/passwd"; export default x`,
		"out2.js":       `import x from "/etc/passwd"; export default x`,
		"out3.js":       `import x from "fs"; export default x`,
		"out4.js":       `import x from "./link.js"; export default x`,
		"out5.js":       `import x from "./.git/config.js"; export default x`,
		"out6.js":       `export default async () => { const n = "fs"; return await import(n) }`,
		"out7.js":       `import x from "https://example.org/x.js"; export default x`,
		"out8.js":       `import x from "./a\0b.js"; export default x`,
		"out9.js":       `import x from "data:text/javascript,export default 1"; export default x`,
		"none.js":       `export const x = 1`,
		"coded.js":      `export default () => { throw new ScriptError("not_found", "no such flight", { hint: "Look.", details: { id: 1 } }) }`,
		"forged.js":     `export default () => { throw new ScriptError("revoked", "x") }`,
		"down.js":       `export default async () => call("a:/down")`,
		"toplevel.js":   "export default 1\n\nthrow new Error('early')",
		"loop.js":       "export default () => {\n  for (;;);\n}",
		"caught.js":     `export default async () => { try { await call("a:/down") } catch (e) { throw new Error("so sad", { cause: e }) } }`,
	})
	if err := os.Symlink(secret, filepath.Join(dir, "link.js")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, code, text, details string }{
		{"/syntax.js", "bad_content", "/syntax.js:2:", `"file":"/syntax.js","line":2`},
		{"/syntax2.ts", "bad_content", "/lib/broken.ts:1:17", `"file":"/lib/broken.ts","line":1,"column":17`},
		{"/classic.js", "bad_content", "/classic.js:2:9", `"line":2`},
		{"/throws.ts", "script_failed", "/throws.ts:4:", `"file":"/throws.ts","line":4`},
		{"/far.ts", "script_failed", "/lib/deep.ts:5:", `"file":"/far.ts","line":2`},
		{"/classic2.js", "script_failed", "/classic2.js:2:", `"line":2`},
		{"/toplevel.js", "script_failed", "/toplevel.js:3:", `"line":3`},
		{"/out.js", "bad_content", "leads out", ""},
		{"/out2.js", "bad_content", "only files below", ""},
		{"/out3.js", "bad_content", "only files below", ""},
		{"/out4.js", "bad_content", "there is no file /link.js", ""},
		{"/out5.js", "bad_content", "leads out", ""},
		{"/out6.js", "script_failed", "", ""},
		{"/out7.js", "bad_content", "only files below", ""},
		{"/out8.js", "bad_content", "", ""},
		{"/out9.js", "bad_content", "only files below", ""},
		{"/link.js", "not_found", "", ""},
		{"/none.js", "unimplemented", `no export "default"`, ""},
		{"/coded.js", "not_found", "no such flight", `{"id":1}`},
		{"/forged.js", "script_failed", "x", `"code":"revoked"`},
		{"/down.js", "source_down", "it is away", `"file":"/down.js","line":1`},
		{"/caught.js", "script_failed", "so sad", ""},
		{"/missing.js", "not_found", "", ""},
		{"/lib", "not_found", "", ""},
		{"/../x.js", "not_found", "", ""},
		{"/.git/x.js", "not_found", "", ""},
		{"/a%2fb.js", "not_found", "", ""},
		{"/loop.js", "limit_exceeded", "computed for longer than 1s", `"limit":"cpu"`},
	} {
		t.Run(tc.path[1:], func(t *testing.T) {
			t.Parallel()
			body, err := get(t, p, tc.path, nil, "")
			e, ok := errors.AsType[*message.Error](err)
			if !ok {
				t.Fatalf("got %s, %v", body, err)
			}
			if string(e.Code) != tc.code || !strings.Contains(e.Message, tc.text) || !strings.Contains(string(e.Details), tc.details) {
				t.Fatalf("got %s, %q, %s; want %+v", e.Code, e.Message, e.Details, tc)
			}
			told := string(message.AppendError(nil, e))
			for _, bad := range []string{dir, secret, "goroutine", "quickjs", "prelude", "__ropewalk", "script:/"} {
				if strings.Contains(told, bad) {
					t.Errorf("it tells %q: %s", bad, told)
				}
			}
		})
	}
}

// TestGranted has one script try everything, with and without grants.
func TestGranted(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
		case "/binary":
			_, _ = w.Write([]byte{0xff, 0x00, 0x61})
		default:
			w.Header().Set("X-Got", r.Method+" "+r.Header.Get("X-Ask"))
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte(`{"ok":true}`))
		}
	}))
	t.Cleanup(srv.Close)
	s := newStore()
	s.set("store:/a", `{"v":1}`)
	host := s.host()
	host.Fetch = srv.Client()
	t.Cleanup(srv.Client().CloseIdleConnections)
	addr := strings.TrimPrefix(srv.URL, "http://")
	try := func(code string) string {
		return `export default async (params, ctx) => { try { ` + code + ` } catch (e) { return [e.name, e.code ?? e.message] } }`
	}
	files := map[string]string{
		"may/call.js":      try(`return await call("math:/add", [1, 2])`),
		"may/ctx.js":       try(`return (await ctx.call("math:/add", [1, 2])).sum`),
		"may/get.js":       try(`return (await content.get("store:/a", {})).v`),
		"may/nothing.js":   try(`return await content.get("store:/none")`),
		"may/publish.js":   try(`await publish("store:/b", { x: 1 }); return await content.get("store:/b")`),
		"may/fetch.js":     try(`const r = await fetch("` + srv.URL + `/x", { method: "post", headers: { "X-Ask": "me" }, body: "b" }); return [r.status, r.ok, r.headers.get("x-got"), await r.json()]`),
		"may/binary.js":    try(`return [...await (await fetch("` + srv.URL + `/binary")).bytes()]`),
		"may/redirect.js":  try(`await fetch("` + srv.URL + `/away")`),
		"may/elsewhere.js": try(`await fetch("http://localhost:1/")`),
		"may/file.js":      try(`await fetch("file:///etc/passwd")`),
		"may/header.js":    try(`await fetch("` + srv.URL + `/x", { headers: { Host: "x" } })`),
		"may/inject.js":    try(`await fetch("` + srv.URL + `/x", { headers: { "X-A": "b\r\nX-C: d" } })`),
		"may/session.js":   try(`return [session.subject, session.claims.role ?? null]`),
		"may/other.js":     try(`await call("secret:/x")`),
		"may/instance.js":  try(`await call("node7@math:/add")`),
		"may/wild.js":      try(`await call("math:/*")`),
		"not/call.js":      try(`return typeof call + typeof publish + typeof content + typeof db + typeof fetch + typeof session`),
		"not/forged.js":    try(`return Object.getOwnPropertyNames(globalThis).filter((n) => /host|ropewalk/i.test(n))`),
	}
	p, _ := provider(t, script.Settings{Grants: []script.Grant{{
		Paths: []string{"/may/**"}, Call: []string{"math:/**"}, Publish: []string{"store:/b"}, Get: []string{"store:/**"}, Fetch: []string{addr}, Session: "public",
	}}}, host, files)
	for path, body := range map[string]string{
		"/may/call.js": `{"sum":3}`, "/may/ctx.js": `3`, "/may/get.js": `1`, "/may/nothing.js": `["HostError","not_found"]`, "/may/publish.js": `{"x":1}`,
		"/may/fetch.js": `[418,false,"POST me",{"ok":true}]`, "/may/binary.js": `[255,0,97]`,
		"/may/redirect.js": `["HostError","forbidden"]`, "/may/elsewhere.js": `["HostError","forbidden"]`, "/may/file.js": `["HostError","forbidden"]`,
		"/may/header.js": `["HostError","invalid_input"]`, "/may/inject.js": `["HostError","source_down"]`,
		"/may/session.js": `["",null]`, "/may/other.js": `["HostError","forbidden"]`, "/may/instance.js": `["HostError","forbidden"]`, "/may/wild.js": `["HostError","forbidden"]`,
		"/not/call.js": `"undefinedundefinedundefinedundefinedundefinedundefined"`, "/not/forged.js": `[]`,
	} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			want(t, p, path, body)
		})
	}
}

func TestPersonal(t *testing.T) {
	t.Parallel()
	p, dir := provider(t, script.Settings{Grants: []script.Grant{
		{Paths: []string{"/public/**"}, Session: script.SessionPublic}, {Paths: []string{"/secret/**"}, Session: script.SessionSecret},
	}}, script.Host{}, map[string]string{
		"public/a.js": `export default () => [session.subject, session.claims]`,
		"secret/a.js": `export default () => [session.subject, session.claims]`,
		"public/b.js": `export default () => typeof globalThis[["ses", "sion"].join("")]`,
		"none/a.js":   `export default () => typeof session`,
		"public/c.js": `username`,
	})
	ann := session.New("ann", session.Claims{"team": "red"}, session.Claims{"salary": 7.0})
	bob := session.New("bob", nil, nil)
	for path, body := range map[string]string{
		"/public/a.js": `["ann",{"team":"red"}]`, "/secret/a.js": `["ann",{"salary":7,"team":"red"}]`, "/public/b.js": `"undefined"`, "/none/a.js": `"undefined"`,
	} {
		if got, err := get(t, p, path, ann, ""); err != nil || got != body {
			t.Errorf("%s is %s, %v; want %s", path, got, err, body)
		}
	}
	key := func(path string, s *session.Session) string {
		res, err := p.Open(t.Context(), &content.Request{Path: path, Session: s})
		if err != nil {
			t.Fatal(err)
		}
		return res.Key()
	}
	for path, differ := range map[string]bool{"/public/a.js": true, "/secret/a.js": true, "/public/b.js": false, "/none/a.js": false, "/public/c.js": true} {
		if got := key(path, ann) != key(path, bob); got != differ {
			t.Errorf("%s: the keys differ: %v", path, got)
		}
	}
	if again := session.New("ann", session.Claims{"team": "red"}, session.Claims{"salary": 8.0}); key("/public/a.js", ann) != key("/public/a.js", again) {
		t.Error("a key tells more than the script may know")
	}
	// A script that begins to look at the session is opened anew.
	res, err := p.Open(t.Context(), &content.Request{Path: "/public/b.js", Session: ann})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "public/b.js", `export default () => session.subject`)
	if _, err := res.Get(t.Context()); !errors.Is(err, content.ErrReopen) {
		t.Fatalf("got %v", err)
	}
}

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
	rang := make(chan struct{}, 100)
	stop, err := res.Watch(func() {
		select {
		case rang <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
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
		"a.js":       "export const schedule = 'every 1s'\nexport async function tick(ctx) { await call('count:/up', ctx.path) }",
		"b.js":       "export const schedule = 'sometimes'\nexport async function tick() { await call('never:/x') }",
		"c.js":       "/*\nexport const schedule = 'every 1s'\n*/\nexport async function tick() { await call('never:/x') }",
		"notmine.js": "export const schedule = 'every 1s'\nexport async function tick() { await call('never:/x') }",
	})
	ran := make(chan error, 100)
	sched := script.NewScheduler(p, script.SchedulerOptions{
		Rescan: 50 * time.Millisecond,
		Mine:   func(path string) bool { return path != "/notmine.js" },
		Ran:    func(_ string, _ time.Duration, err error) { ran <- err },
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

func TestSettings(t *testing.T) {
	t.Parallel()
	for field, s := range map[string]script.Settings{
		"root":              {},
		"root: there":       {Root: "a", Applications: map[string]string{"b": "c"}},
		"applications.a/b":  {Applications: map[string]string{"a/b": "c"}},
		"mode":              {Root: ".", Mode: "fast"},
		"workers":           {Root: ".", Workers: -1},
		"timezone":          {Root: ".", Timezone: "Mars/North"},
		"limits.memory":     {Root: ".", Limits: script.Limits{Memory: 1}},
		"limits.cpu":        {Root: ".", Limits: script.Limits{CPU: duration.Duration(-1)}},
		"grants[0].paths":   {Root: ".", Grants: []script.Grant{{}}},
		"grants[1].call":    {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}}, {Paths: []string{"/**"}, Call: []string{"x"}}}},
		"grants[0].fetch":   {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}, Fetch: []string{"http://x"}}}},
		"grants[0].session": {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}, Session: "all"}}},
	} {
		if _, err := script.New(s, script.Host{}, nil); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
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
