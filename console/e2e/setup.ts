import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The program, built from this tree. */
    program: string;
    /** A directory for what the tests leave behind. */
    scratch: string;
  }
}

/** Builds the program once for all tests. */
export default function setup(project: TestProject): () => void {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const scratch = mkdtempSync(join(tmpdir(), "ropewalk-console-"));
  const program = join(scratch, "ropewalk");
  execFileSync("go", ["build", "-o", program, "./cmd/ropewalk"], { cwd: root, stdio: "inherit" });
  project.provide("program", program);
  project.provide("scratch", scratch);
  return () => rmSync(scratch, { recursive: true, force: true });
}
