import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, createServer as createTCP, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inject } from "vitest";

/** The real program, running. */
export class RealNode {
  readonly #dir = mkdtempSync(join(tmpdir(), "ropewalk-sdk-"));
  #process: ChildProcess | undefined;
  #port = 0;
  /** Where other nodes join it; "" if none do. */
  cluster = "";

  /** With a configuration of its own, beside the service echo. By default everybody may do everything. */
  constructor(readonly config: object = { permissions: { preset: "dev" } }) {}

  /** Runs the program with the configuration, and returns what it prints. */
  run(...args: string[]): string {
    return execFileSync(inject("program"), [...args, "--config", join(this.#dir, "config.json")], { encoding: "utf8" }).trim();
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}/`;
  }

  get port(): number {
    return this.#port;
  }

  /** Starts it; on the same port as before if it ran before. */
  async start(): Promise<this> {
    const config = join(this.#dir, "config.json");
    writeFileSync(config, JSON.stringify({ services: { echo: { kind: "echo" } }, ...this.config }));
    const p = this.#process = spawn(inject("program"), ["serve", "--listen", `127.0.0.1:${this.#port}`, "--name", "test", "--config", config],
      { stdio: ["ignore", "pipe", "ignore"] });
    for await (const line of createInterface({ input: p.stdout! })) {
      const ready = /^ready test (http:\S+)(?: cluster (\S+))?$/.exec(line);
      if (!ready) continue;
      this.#port = Number(new URL(ready[1]!).port);
      this.cluster = ready[2] ?? "";
      return this;
    }
    throw new Error("the node ended before it was ready");
  }

  /** Ends it, with SIGTERM as one should, or at once. Resolves with its exit code. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    const p = this.#process!;
    const code = new Promise<number | null>((done) => p.once("exit", done));
    p.kill(signal);
    return code;
  }

  async end(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) await this.stop("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** What stands between a client and a node in some networks: lets HTTP through, but no WebSocket. */
export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /**
   * `holds`: answers are kept until they are complete, so that no stream comes through. `own` answers a request
   * instead of the node, if it likes.
   */
  constructor(readonly target: RealNode, holds = false, own?: (req: IncomingMessage, res: ServerResponse) => boolean) {
    this.#server = createServer((req, res) => {
      if (own?.(req, res)) return;
      const out = request({ port: target.port, host: "127.0.0.1", method: req.method, path: req.url, headers: req.headers }, (answer) => {
        if (!holds) {
          res.writeHead(answer.statusCode!, answer.headers);
          res.flushHeaders();
          answer.pipe(res);
          return;
        }
        const kept: Buffer[] = [];
        answer.on("data", (b: Buffer) => kept.push(b));
        answer.on("end", () => res.writeHead(answer.statusCode!, answer.headers).end(Buffer.concat(kept)));
        answer.on("error", () => res.destroy());
      });
      out.on("error", () => res.destroy());
      res.on("close", () => out.destroy());
      req.pipe(out);
    });
    this.#server.on("upgrade", (req, socket, head) => this.#upgrade(req, socket as Socket, head));
    this.#server.on("connection", (s) => {
      this.#sockets.add(s);
      s.on("close", () => this.#sockets.delete(s));
    });
  }

  /** Lets WebSocket through on this path. */
  open = "";

  #upgrade(req: IncomingMessage, near: Socket, head: Buffer): void {
    if (!this.open || req.url !== this.open) return void near.destroy();
    const far = connect(this.target.port, "127.0.0.1");
    const lines = [`GET ${req.url} HTTP/1.1`];
    for (let i = 0; i < req.rawHeaders.length; i += 2) lines.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}`);
    far.write(lines.join("\r\n") + "\r\n\r\n");
    far.write(head);
    near.pipe(far).pipe(near);
    for (const [a, b] of [[near, far], [far, near]] as const) a.on("error", () => b.destroy()).on("close", () => b.destroy());
  }

  async start(): Promise<string> {
    await new Promise<void>((up) => this.#server.listen(0, "127.0.0.1", up));
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    for (const s of this.#sockets) s.destroy();
    await new Promise((done) => this.#server.close(done));
  }
}

/** A wire that can be cut: passes bytes to a node until it is told to break. */
export class Wire {
  readonly #server;
  readonly #sockets = new Set<Socket>();

  constructor(target: RealNode) {
    this.#server = createTCP((near) => {
      const far = connect(target.port, "127.0.0.1");
      for (const [a, b] of [[near, far], [far, near]] as const) {
        this.#sockets.add(a);
        a.on("error", () => b.destroy());
        a.on("close", () => {
          this.#sockets.delete(a);
          b.destroy();
        });
        a.pipe(b);
      }
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((up) => this.#server.listen(0, "127.0.0.1", up));
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Breaks every connection, without a word. */
  cut(): void {
    for (const s of this.#sockets) s.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((done) => this.#server.close(done));
  }
}
