// Writes down what the package offers: api/*.api.txt, one file an entry point, from the built types, in order of name
// and without comments. A change there is a change that users see. With --write it writes; else it compares.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
const entries = ["index", "react", "broker"];

/** The report of each entry point, by its name. */
export function reports() {
  const program = ts.createProgram(entries.map((e) => `${root}dist/${e}.d.ts`), {
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.asynciterable.d.ts"], types: [], strict: true,
  });
  // Only in our own files: what stripInternal took away must not be missed.
  const ours = program.getSourceFiles().filter((f) => f.fileName.startsWith(root + "dist/"));
  const problems = ours.flatMap((f) => program.getSemanticDiagnostics(f));
  if (problems.length) {
    throw new Error(ts.formatDiagnostics(problems, {
      getCurrentDirectory: () => root, getCanonicalFileName: (f) => f, getNewLine: () => "\n",
    }));
  }
  return Object.fromEntries(entries.map((e) => [e, report(program, `${root}dist/${e}.d.ts`)]));
}

function report(program, file) {
  const checker = program.getTypeChecker();
  const printer = ts.createPrinter({ removeComments: true, newLine: ts.NewLineKind.LineFeed });
  const module = checker.getSymbolAtLocation(program.getSourceFile(file));
  const out = checker.getExportsOfModule(module).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    return symbol.declarations.map((d) => {
      const statement = ts.isVariableDeclaration(d) ? d.parent.parent : d;
      const text = printer.printNode(ts.EmitHint.Unspecified, statement, statement.getSourceFile());
      return { name: exported.name, text: text.replace(/^ *(#private;|private .*)\n/gm, "") };
    });
  });
  return out.sort((a, b) => (a.name < b.name ? -1 : 1)).map((d) => d.text + "\n").join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(root + "api", { recursive: true });
  for (const [name, text] of Object.entries(reports())) {
    const file = `${root}api/${name}.api.txt`;
    if (process.argv.includes("--write")) writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text) {
      console.error(`${file} differs from what the package offers: run npm run api and look at the difference`);
      process.exitCode = 1;
    }
  }
}
