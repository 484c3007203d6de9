package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/message"
)

// host answers "echo" with its arguments, fails "fail", and waits in "wait".
type host struct {
	mu    sync.Mutex
	lines []string
}

func (h *host) Invoke(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	switch name {
	case "call":
		return args, nil
	case "publish":
		return nil, message.NewError(message.CodeForbidden, "not this", "Ask for it.")
	case "content.get":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return json.RawMessage("null"), nil
}

func (h *host) Log(level, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, level+" "+text)
}

var usual = engine.Limits{
	Memory: 64 << 20, Depth: 500, CPU: 10 * time.Second, Wall: 30 * time.Second,
	Output: 1 << 20, Calls: 100, Bytes: 1 << 20, Lines: 10,
}

// topic returns a job whose default export has a body.
func topic(body string) *engine.Job {
	return &engine.Job{
		Code:   engine.NewCode("(async (main) => { \"use strict\"; main({ default: async (params, ctx) => {"+body+"} }) })", false),
		Export: engine.ExportTopic, Limits: usual, Grants: []string{"call", "publish", "content", "db", "fetch"},
	}
}

// engines has f run with each kind of engine.
func engines(t *testing.T, f func(t *testing.T, e engine.Engine)) {
	t.Helper()
	for name, open := range map[string]func(testing.TB) engine.Engine{"pool": newPool, "workers": newWorkers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t))
		})
	}
}

func newWorkers(t testing.TB) engine.Engine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := engine.NewWorkers([]string{self}, []string{workerEnv + "=1"}, engine.Options{Places: 2, Queue: 100})
	t.Cleanup(e.Close)
	return e
}

// logged returns an engine with workers, and what tells their pids.
func logged(t *testing.T, idle time.Duration) (engine.Engine, <-chan int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	started := make(pids, 10)
	e := engine.NewWorkers([]string{self}, []string{workerEnv + "=1"}, engine.Options{
		Places: 2, Idle: idle, Logger: slog.New(slog.NewTextHandler(started, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(e.Close)
	return e, started
}

// TestIdleWorkers has workers end that nobody uses, and others be started then.
func TestIdleWorkers(t *testing.T) {
	t.Parallel()
	e, started := logged(t, time.Millisecond)
	for range 3 {
		if got, err := e.Run(t.Context(), topic("return 1"), &host{}); err != nil || string(got) != "1" {
			t.Fatalf("%s, %v", got, err)
		}
		pid := <-started
		for syscall.Kill(pid, 0) == nil {
			runtime.Gosched()
		}
	}
}

// TestKilledWorkers has somebody kill workers while they are idle.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	e, started := logged(t, time.Hour)
	for range 3 {
		if got, err := e.Run(t.Context(), topic("return 1"), &host{}); err != nil || string(got) != "1" {
			t.Fatalf("%s, %v", got, err)
		}
		if err := syscall.Kill(<-started, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// pids are those of the workers that a log tells of.
type pids chan int

func (p pids) Write(line []byte) (int, error) {
	var pid int
	if _, rest, ok := strings.Cut(string(line), " pid="); ok {
		if _, err := fmt.Sscan(rest, &pid); err != nil {
			return 0, err
		}
		p <- pid
	}
	return len(line), nil
}

func newPool(t testing.TB) engine.Engine {
	t.Helper()
	e := engine.NewPool(engine.Options{Places: 2, Queue: 100})
	t.Cleanup(e.Close)
	return e
}

func TestResult(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		for _, tc := range []struct{ name, body, want string }{
			{"ok", `return { a: 1, b: [true, null, "x"] }`, `{"a":1,"b":[true,null,"x"]}`},
			{"nothing", ``, `null`},
			{"await", `const a = await Promise.all([1, Promise.resolve(2)]); return a`, `[1,2]`},
			{"host", `return await call("math:/add", { a: 1 })`, `["math:/add",{"a":1}]`},
			{"host error", `try { await publish("x:/y", 1) } catch (e) { return [e.name, e.code, e.message, e.hint] }`, `["HostError","forbidden","not this","Ask for it."]`},
			{"not awaited", `call("a:/b", 1); return 1`, `1`},
			{"generators", `async function* g() { yield 1; yield 2 } const out = []; for await (const x of g()) out.push(x); return out`, `[1,2]`},
			{"crypto", `return [crypto.sha256(""), crypto.hmac("k", "v").length, crypto.randomUUID().length, crypto.getRandomValues(new Uint8Array(8)).length]`,
				`["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",64,36,8]`},
			{"base64", `return [btoa("a"), btoa("ab"), btoa("abc"), atob("YWJj"), atob("YQ==")]`, `["YQ==","YWI=","YWJj","abc","a"]`},
			{"text", `return [[...new TextEncoder().encode("aä€😀")], new TextDecoder().decode(new TextEncoder().encode("aä€😀")), new TextDecoder().decode(new Uint8Array([255, 0x61, 0xe2, 0x82]))]`,
				`[[97,195,164,226,130,172,240,159,152,128],"aä€😀","` + "\ufffda\ufffd" + `"]`},
			{"clone", `const a = { d: new Date(0), m: new Map([[1, { x: 1 }]]) }; a.self = a; const b = structuredClone(a); return [b !== a, b.self === b, b.d.getTime(), b.m.get(1).x]`, `[true,true,0,1]`},
			{"url", `const u = new URL("../x?a=1&b=%20c#h", "https://Example.org:443/p/q/r"); u.searchParams.append("n", "é"); return [u.href, u.host, u.searchParams.get("b")]`,
				`["https://example.org/p/x?a=1&b=+c&n=%C3%A9#h","example.org"," c"]`},
			{"no way out", `return [typeof __host, typeof std, typeof os, typeof require, typeof process, typeof setTimeout, typeof Deno]`,
				`["undefined","undefined","undefined","undefined","undefined","undefined","undefined"]`},
			{"function constructor", `return Function("return typeof __host + typeof globalThis.process")()`, `"undefinedundefined"`},
			{"import", `try { await import("fs"); return "in" } catch (e) { return "out" }`, `"out"`},
			{"import of a file", `try { await import("/etc/passwd"); return "in" } catch (e) { return "out" }`, `"out"`},
			{"prototypes", `Object.prototype.toJSON = () => 1; Array.prototype.map = null; Promise.prototype.then.call(Promise.resolve(), () => 0); JSON.stringify = null; return "x"`, `"x"`},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				got, err := e.Run(t.Context(), topic(tc.body), &host{})
				if err != nil {
					t.Fatalf("%+v", err)
				}
				if string(got) != tc.want {
					t.Fatalf("got  %s\nwant %s", got, tc.want)
				}
			})
		}
	})
}

func TestClassic(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		for _, tc := range []struct{ name, code, want string }{
			{"ok", `var f = JSON.parse(filter); JSON.stringify({ n: f.n + 1 })`, `{"n":3}`},
			{"object", `({ a: 1 })`, `{"a":1}`},
			{"null", `null`, `{}`},
			{"empty", `""`, `""`},
			{"number", `1 + 1`, `2`},
			{"sloppy", `x = 5; print = function (t) { java.lang.System.out.println(t) }; print("hello"); content + username + x`, `5`},
			{"promise", `Promise.resolve("7")`, `7`},
			{"db", `db.executeQuery("select 1", "")`, `null`},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				got, err := e.Run(t.Context(), &engine.Job{
					Code: engine.NewCode(tc.code, true), Export: engine.ExportTopic, Input: []byte(`{"n":2}`), Limits: usual, Grants: []string{"db"},
				}, &host{})
				if err != nil || string(got) != tc.want {
					t.Fatalf("got %s, %v; want %s", got, err, tc.want)
				}
			})
		}
	})
}

// TestLimits has scripts that want too much: each ends soon, with the limit that
// it ran into.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range bombs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engines(t, func(t *testing.T, e engine.Engine) {
				job := topic(tc.body)
				job.Limits.CPU, job.Limits.Wall, job.Limits.Memory = 200*time.Millisecond, 10*time.Second, 16<<20
				job.Limits.Output, job.Limits.Bytes = 64<<10, 64<<10
				if !strings.Contains(tc.limit, "cpu") {
					job.Limits.CPU = 5 * time.Second // machines are slow at times
				}
				if tc.limit == "wall" {
					job.Limits.Wall = time.Second
				}
				begun := time.Now()
				_, err := e.Run(t.Context(), job, &host{})
				f, ok := errors.AsType[*engine.Failure](err)
				if !ok || f.Kind != engine.Limit || !strings.Contains(tc.limit, f.Limit) {
					t.Fatalf("got %+v", err)
				}
				if took := time.Since(begun); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if got, err := e.Run(t.Context(), topic("return 1"), &host{}); err != nil || string(got) != "1" {
					t.Errorf("the next run: %s, %v", got, err)
				}
			})
		})
	}
}

var bombs = map[string]struct{ body, limit string }{
	"loop":           {`for (;;);`, "cpu"},
	"caught loop":    {`for (;;) { try { for (;;); } catch {} finally { continue } }`, "cpu"},
	"promise loop":   {`for (;;) await 1`, "cpu"},
	"promise chain":  {`const f = () => Promise.resolve().then(f); await f()`, "cpu memory"},
	"many promises":  {`const f = () => { Promise.resolve().then(f); Promise.resolve().then(f) }; f(); await new Promise(() => {})`, "cpu memory"},
	"waits":          {`await content.get("x:/y")`, "wall"},
	"recursion":      {`const f = (n) => f(n + 1) + 1; f(0)`, "depth"},
	"json recursion": {`let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a`, "depth memory cpu"},
	"push":           {`const a = []; for (;;) a.push("x" + a.length)`, "memory cpu"},
	"string":         {`let s = "x"; for (;;) s += s`, "memory cpu"},
	"repeat":         {`return "x".repeat(2 ** 29)`, "memory"},
	"typed array":    {`return new Uint8Array(2 ** 30).length`, "memory"},
	"fill":           {`return new Array(3e8).fill(0).length`, "memory cpu"},
	"regexp":         {`return /^(a+)+$/.test("a".repeat(40) + "b")`, "cpu"},
	"look-ahead":     {`return /^(?=(a+)+$)x/.test("a".repeat(40) + "b")`, "cpu"},
	"output":         {`return "x".repeat(100 << 10)`, "output"},
	"host calls":     {`for (let i = 0; i < 200; i++) await call("a:/b", i)`, "calls wall"},
	"caught calls":   {`for (;;) { try { await call("a:/b") } catch {} }`, "calls wall"},
	"bytes":          {`await call("a:/b", "x".repeat(100 << 10))`, "bytes"},
	"getter":         {`return { get x() { for (;;); } }`, "cpu"},
	"toJSON":         {`return { toJSON() { for (;;); } }`, "cpu"},
	"thrown getter":  {`throw { get message() { for (;;); } , toJSON() { for (;;); } }`, "cpu"},
	"proxy":          {`return new Proxy({}, { ownKeys() { for (;;); } })`, "cpu"},
	"code":           {`return Function("for(;;);")()`, "cpu"},
	"then":           {`return { then(r) { for (;;); } }`, "cpu"},
	"iterator":       {`const [...a] = { *[Symbol.iterator]() { for (;;) yield 1 } }`, "cpu memory"},
	"date, big":      {`let n = 3n; for (;;) n = n * n`, "memory cpu"},
	"sort":           {`[3, 2, 1].sort(() => { for (;;); })`, "cpu"},
	"join":           {`return new Array(2e7).join("").length`, "cpu memory"},
	"search":         {`"a".repeat(1e5).indexOf("a".repeat(2e3) + "b"); for (;;);`, "cpu"},
	"error stack":    {`const f = () => { try { f() } finally { f() } }; f()`, "cpu depth"},
}

func TestFailures(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		for _, tc := range []struct{ name, body, want string }{
			{"thrown", `throw new TypeError("boo")`, "thrown TypeError boo"},
			{"text", `throw "boo"`, "thrown  boo"},
			{"undefined", `throw undefined`, "thrown  undefined"},
			{"coded", `throw new ScriptError("not_found", "no such flight", { hint: "Look again.", details: { id: 1 } })`, `thrown ScriptError no such flight not_found Look again. {"id":1}`},
			{"host", `await publish("a:/b", 1)`, "thrown HostError not this forbidden Ask for it."},
			{"no JSON", `return () => 1`, "thrown TypeError a function is no JSON, so it cannot be the result"},
			{"text of a limit", `throw new Error("out of memory")`, "thrown Error out of memory"},
			{"coded text of a limit", `throw new ScriptError("conflict", "stack overflow in the shop")`, "thrown ScriptError stack overflow in the shop conflict"},
			{"cycle", `const a = {}; a.a = a; return a`, "thrown TypeError circular reference"},
			{"big integer", `return 1n`, "thrown TypeError Do not know how to serialize a BigInt"},
			{"nobody", `await new Promise(() => {})`, "thrown  the script waits for a promise that nobody will keep"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				_, err := e.Run(t.Context(), topic(tc.body), &host{})
				f, ok := errors.AsType[*engine.Failure](err)
				if !ok {
					t.Fatalf("%v", err)
				}
				got := strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s %s", f.Kind, f.Name, f.Message, f.Code, f.Hint, f.Details))
				if got != tc.want {
					t.Fatalf("got  %s\nwant %s", got, tc.want)
				}
			})
		}
	})
}

// TestLongFailures has errors with texts that nobody wants to read.
func TestLongFailures(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		const long = `"x".repeat(1e6)`
		classic := topic("")
		classic.Code = engine.NewCode("throw new Error("+long+")", true)
		for name, job := range map[string]*engine.Job{
			"name":    topic(`const e = new Error("x"); e.name = ` + long + `; throw e`),
			"message": topic(`throw new Error(` + long + `)`),
			"code":    topic(`throw new ScriptError(` + long + `, "x", { hint: ` + long + ` })`),
			"classic": classic,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, err := e.Run(t.Context(), job, &host{})
				f, ok := errors.AsType[*engine.Failure](err)
				if !ok {
					t.Fatalf("%v", err)
				}
				if n := len(f.Name) + len(f.Message) + len(f.Code) + len(f.Hint) + len(f.Stack); n > 16<<10 {
					t.Errorf("it has %d bytes", n)
				}
			})
		}
	})
}

// TestApart has runs that leave something behind: nobody finds it.
func TestApart(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got, err := e.Run(t.Context(), topic(`
				const seen = [globalThis.left, Object.prototype.left, Array.prototype.left];
				globalThis.left = Object.prototype.left = Array.prototype.left = 1;
				return seen`), &host{})
				if err != nil || string(got) != `[null,null,null]` {
					t.Errorf("got %s, %v", got, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		h := &host{}
		_, err := e.Run(t.Context(), topic(`log.info("a", 1, { b: 2 }); console.error(new Error("c")); for (let i = 0; i < 100; i++) log.warn(i)`), h)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.lines) != 11 || h.lines[0] != `info a 1 {"b":2}` || h.lines[1] != "error Error: c" || !strings.Contains(h.lines[10], "dropped") {
			t.Fatalf("got %q", h.lines)
		}
	})
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := e.Run(ctx, topic(`for (;;);`), &host{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}
