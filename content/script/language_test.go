package script_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/content/script"
)

// TestLanguage has scripts use what came to the language up to ES2023.
func TestLanguage(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{script.ModeInProcess, script.ModeProcess} {
		p, _ := provider(t, script.Settings{Mode: mode}, script.Host{}, map[string]string{
			"2023.js": `#!/usr/bin/env javascript
				const a = [3, 1, 2], key = Symbol("key"), weak = new WeakMap([[key, 7]]);
				export default () => [a.toSorted(), a.toReversed(), a.toSpliced(0, 1), a.with(0, 9), a, a.findLast((n) => n > 1), a.findLastIndex((n) => n > 1), weak.get(key)]`,
			"2022.js": `class A { #n = 1; static s = 2; static { A.t = 3 } get n() { return #n in this ? this.#n : 0 } }
				const e = new Error("a", { cause: "b" }), m = /(?<x>b)/d.exec("ab");
				export default () => [new A().n, A.s, A.t, [1, 2].at(-1), Object.hasOwn({ a: 1 }, "a"), e.cause, m.indices.groups.x]`,
			"2021.js": `let a = null; a ??= 1_000; let b = 0; b ||= 2; b &&= 3;
				export default async () => [a, b, "a-a".replaceAll("a", "b"), await Promise.any([Promise.reject(1), 4]), typeof WeakRef, 2n ** 64n + ""]`,
			"async.ts": `async function* count(n: number) { for (let i = 0; i < n; i++) yield await Promise.resolve(i) }
				export default async (p: { n?: number }) => { const out: number[] = []; for await (const i of count(p?.n ?? 3)) out.push(i); return { ...{ out }, settled: (await Promise.allSettled([Promise.reject(1)]))[0]!.status } satisfies object }`,
		})
		want(t, p, "/2023.js", `[[1,2,3],[2,1,3],[1,2],[9,1,2],[3,1,2],2,2,7]`)
		want(t, p, "/2022.js", `[1,2,3,2,true,"b",[1,2]]`)
		want(t, p, "/2021.js", `[1000,3,"b-b",4,"function","18446744073709551616"]`)
		want(t, p, "/async.ts", `{"out":[0,1,2],"settled":"rejected"}`)
	}
}
