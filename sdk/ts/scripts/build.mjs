// Builds dist: modules and types by tsc, one minified module by esbuild. The output depends on the sources and the
// lock file only; it is committed, and a test builds it again and compares. An argument is another place for it.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = process.argv[2] ?? root + "dist";

rmSync(out, { recursive: true, force: true });
execFileSync(process.execPath, [root + "node_modules/typescript/bin/tsc", "-p", root + "tsconfig.json", "--outDir", out], { stdio: "inherit" });
await build({
  absWorkingDir: root,
  entryPoints: ["src/index.ts"],
  outfile: out + "/ropewalk.min.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  banner: { js: "/* @ropewalk/client, Apache-2.0 */" },
});
