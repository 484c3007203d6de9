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

/** What a test starts a node with. */
interface NodeOptions {
  /** Where clients connect; 0 is a free port. */
  port?: number;
  /** HOST:PORT of a node to join. */
  join?: string;
}

/** "ropewalk dev" in a directory of its own. `cluster` is where other nodes join it. */
export async function startNode({ port = 0, join: at }: NodeOptions = {}): Promise<{ node: Process; url: string; port: number; cluster: string }> {
  const dir = mkdtempSync(join(inject("scratch"), "project-"));
  const args = ["dev", "--listen", `127.0.0.1:${port}`, "--cluster", "127.0.0.1:0", "--pace", "60ms"];
  const node = new Process(at ? [...args, "--join", at] : args, dir);
  const [, url = ""] = await node.says(/ready \S+ (http:\S+)/);
  const [, cluster = ""] = await node.says(/serve --join (\S+)/);
  return { node, url, port: Number(new URL(url).port), cluster };
}

/** "ropewalk serve --join": a node without a page and without services. */
export async function startJoined(name: string, at: string): Promise<{ node: Process; port: number; cluster: string }> {
  const node = new Process(["serve", "--preset", "dev", "--name", name, "--listen", "127.0.0.1:0", "--join", at], inject("scratch"));
  const [, url = "", cluster = ""] = await node.says(/ready \S+ (http:\S+) cluster (\S+)/);
  return { node, port: Number(new URL(url).port), cluster };
}

/** Another process that serves the same; resolves with its id when it does. */
export async function startServer(port: number): Promise<{ server: Process; id: string }> {
  const server = new Process(["hello", "--url", `ws://127.0.0.1:${port}`, "--pace", "60ms"], inject("scratch"));
  const [, id = ""] = await server.says(/connected to \S+ as (\w+);/);
  return { server, id };
}

/** A call from the command line. */
export async function call(port: number, address: string, body: string): Promise<void> {
  const caller = new Process(["call", "--url", `ws://127.0.0.1:${port}`, address, body], inject("scratch"));
  await caller.says(/"type":"reply"/);
}
