// What is committed in dist and api is what the sources give.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const fresh = mkdtempSync(join(tmpdir(), "ropewalk-dist-"));
afterAll(() => rmSync(fresh, { recursive: true, force: true }));

const read = (dir: string, file: string): string => readFileSync(join(dir, file), "utf8");
const list = (dir: string): string[] => readdirSync(dir).sort();

it("dist is up to date; else: npm run build", () => {
  execFileSync(process.execPath, [root + "scripts/build.mjs", fresh]);
  expect(list(root + "dist")).toEqual(list(fresh));
  for (const f of list(fresh)) expect(read(root + "dist", f) === read(fresh, f), f).toBe(true);
}, 60_000);

it("api is up to date; else: npm run api, and look at what changes for users", () => {
  execFileSync(process.execPath, [root + "scripts/api.mjs"]);
}, 60_000);

it("the client weighs at most 19.4 kB", () => {
  expect(gzipSync(read(root + "dist", "ropewalk.min.js"), { level: 9 }).length).toBeLessThanOrEqual(19_400);
});

it("the client needs nothing, and the hooks only React", () => {
  expect(JSON.parse(read(root, "package.json"))).not.toHaveProperty("dependencies");
  for (const f of list(root + "dist").filter((name) => name.endsWith(".js"))) {
    const imports = [...read(root + "dist", f).matchAll(/^(?:import|export)[^"();=]* from "([^"]+)"/gm)].map((m) => m[1]!);
    expect(imports.filter((i) => !i.startsWith("./")), f).toEqual(f === "react.js" ? ["react"] : []);
  }
});

it("the bundle and the modules offer the same", async () => {
  const [bundle, modules] = await Promise.all(["ropewalk.min.js", "index.js"].map((f) => import(`${root}dist/${f}`) as Promise<object>));
  expect(Object.keys(bundle!).sort()).toEqual(["At", "RopewalkError", "bytes", "connect"]);
  expect(Object.keys(modules!).sort()).toEqual(Object.keys(bundle!).sort());
});
