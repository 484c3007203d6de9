// Builds the real program once for all tests. ROPEWALK names one that is built already.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    program: string;
  }
}

export default function setup(project: TestProject): () => void {
  const dir = mkdtempSync(join(tmpdir(), "ropewalk-sdk-"));
  const program = process.env["ROPEWALK"] ?? join(dir, "ropewalk");
  if (!process.env["ROPEWALK"]) {
    execFileSync("go", ["build", "-o", program, "./cmd/ropewalk"], { cwd: new URL("../../../", import.meta.url), stdio: "inherit" });
  }
  project.provide("program", program);
  return () => rmSync(dir, { recursive: true, force: true });
}
