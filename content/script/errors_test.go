package script_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/message"
)

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
			if e.Hint == "" && tc.code != "source_down" { // which the host says
				t.Errorf("%s: %s: there is no hint", e.Code, e.Message)
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
