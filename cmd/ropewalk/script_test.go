package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScriptRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "sum.ts")
	text := `import { add } from "./add.ts";
export default async (params: { a: number }) => { log.info("adds"); return { sum: add(params.a, 2) }; };
export async function call(body: number) { return body * 2; }`
	db := filepath.Join(dir, "db.ts")
	for name, text := range map[string]string{file: text, db: `export default () => db.query("select 1")`, filepath.Join(dir, "add.ts"): "export const add = (a: number, b: number) => a + b;"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args         []string
		out, problem string
		code         int
	}{
		{args: []string{"script", "run", file, "-p", "a=40"}, out: `{"sum":42}`, problem: "adds"},
		{args: []string{"script", "run", file, "--export", "call", "--body", "21"}, out: "42"},
		{args: []string{"--json", "script", "run", file, "-p", "a=1"}, out: `"result":{"sum":3}`},
		{args: []string{"script", "run", file, "--export", "publish", "--body", "1"}, problem: "unimplemented", code: 1},
		{args: []string{"script", "run", file, "--export", "call", "--body", "{"}, problem: "no JSON", code: 2},
		{args: []string{"script", "run", file, "--body", "1"}, problem: "--export call", code: 2},
		{args: []string{"script", "run", db}, problem: `try it at a node with "ropewalk get`, code: 1},
		{args: []string{"script", "run", filepath.Join(dir, "none.ts")}, problem: "error: there is no file " + filepath.Join(dir, "none.ts"), code: 2},
		{args: []string{"script", "run", dir}, problem: "is a directory, not a file", code: 2},
		{args: []string{"script", "types"}, out: "declare"},
	} {
		r := try(t, nil, "", c.args...)
		if r.code != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.problem) {
			t.Errorf("%q: %d\n%s\n%s", c.args, r.code, r.out, r.err)
		}
	}
}
