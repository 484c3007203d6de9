import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";

/** A process that a test started. */
export class Process {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #said = "";
  #look: (() => void)[] = [];

  constructor(args: string[], cwd: string) {
    const env = { ...process.env, NO_COLOR: "1" };
    this.#child = spawn(inject("program"), args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    const heard = (data: Buffer): void => {
      this.#said += data.toString();
      for (const look of this.#look) look();
    };
    this.#child.stdout?.on("data", heard);
    this.#child.stderr?.on("data", heard);
    this.#ended = new Promise((resolve) => this.#child.once("exit", () => {
      resolve();
      for (const look of this.#look) look();
    }));
  }

  /** Resolves with what the pattern found in what the process wrote. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(this.#said);
        if (found) resolve(found);
        else if (this.#child.exitCode !== null) reject(new Error(`it ended without saying ${pattern}: ${this.#said}`));
      };
      this.#look.push(look);
      look();
    });
  }

  /** Ends the process: SIGKILL is what a crash looks like. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }
}

/** "ropewalk dev" in a directory of its own, on a free port or, to come back, on a given one. */
export async function startNode(port = 0): Promise<{ node: Process; url: string; port: number }> {
  const dir = mkdtempSync(join(inject("scratch"), "project-"));
  const node = new Process(["dev", "--listen", `127.0.0.1:${port}`, "--pace", "60ms"], dir);
  const [, url = ""] = await node.says(/ready \S+ (http:\S+)/);
  return { node, url, port: Number(new URL(url).port) };
}

/** Another process that serves the same; resolves with its id when it does. */
export async function startServer(port: number): Promise<{ server: Process; id: string }> {
  const server = new Process(["hello", "--url", `ws://127.0.0.1:${port}`, "--pace", "60ms"], inject("scratch"));
  const [, id = ""] = await server.says(/connected to \S+ as (\w+);/);
  return { server, id };
}
