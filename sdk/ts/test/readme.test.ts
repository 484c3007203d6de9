// The programs in README.md are what they claim to be: TypeScript that fits the types.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

it("README.md compiles", () => {
  const blocks = [...readFileSync(root + "README.md", "utf8").matchAll(/^( *)```tsx?\n([\s\S]*?)^ *```/gm)].map((m) => m[2]!);
  expect(blocks.length).toBeGreaterThan(4);
  // Later pieces go on from the first one, unless they begin with imports of their own.
  const files = new Map(blocks.map((code, i) => [
    `${root}test/readme-${i}.tsx`, (/^ *import /.test(code) ? "" : blocks[0]!.replaceAll(/^(?!import|const rope).*$/gm, "")) + code,
  ]));
  const host = ts.createCompilerHost({});
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (f) => files.has(f) || fileExists(f);
  host.readFile = (f) => files.get(f) ?? readFile(f);
  host.getSourceFile = (f, v) => (files.has(f) ? ts.createSourceFile(f, files.get(f)!, v) : getSourceFile.call(host, f, v));
  const program = ts.createProgram([...files.keys()], {
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, jsx: ts.JsxEmit.ReactJSX,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.asynciterable.d.ts"], types: [], strict: true, skipLibCheck: true, noEmit: true,
    paths: { "@ropewalk/client": [root + "src/index.ts"], "@ropewalk/client/react": [root + "src/react.ts"], "@ropewalk/client/broker": [root + "src/broker.ts"] },
  }, host);
  const problems = [...files.keys()].flatMap((f) => {
    const source = program.getSourceFile(f)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  });
  expect(problems.map((d) => `${d.file?.fileName} ${ts.flattenDiagnosticMessageText(d.messageText, "\n")}`)).toEqual([]);
}, 60_000);
