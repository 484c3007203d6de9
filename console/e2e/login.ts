import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect as dial, type AddressInfo, type Socket } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BrowserContext, CDPSession, Locator, Page, WebSocket } from "playwright-core";
import { inject } from "vitest";
import { connect, type Rope, type RopewalkError } from "../../sdk/ts/dist/index.js";
import { Process } from "./process";

const root = fileURLToPath(new URL("../..", import.meta.url));
const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** One of the notes. */
export const note = "The night watch has the key.";
/** The password of all users here. */
export const password = "correct horse battery";

/** The page of examples/login, and behind the same origin a node: what a reverse proxy does. */
export interface Site {
  url: string;
  /** Leads connections to the node at this port from now on. */
  lead(port: number): void;
  /** Cuts all connections, as a network does. */
  cut(): void;
  close(): void;
}

/** Serves the page at a free port. */
export async function startSite(): Promise<Site> {
  let node = 0;
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? "/", "http://localhost").pathname.replace(/\/$/, "/index.html");
    const dir = name === "/ropewalk.min.js" ? "sdk/ts/dist" : "examples/login/page";
    try {
      const file = readFileSync(join(root, dir, name));
      response.setHeader("Content-Type", types[extname(name)] ?? "text/plain").end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.on("upgrade", (request, client: Socket, head) => {
    const up = dial(node, "127.0.0.1", () => {
      const { rawHeaders: raw } = request;
      const lines = raw.flatMap((name, i) => i % 2 ? [] : [`${name}: ${raw[i + 1]}`]);
      up.write([`${request.method} ${request.url} HTTP/1.1`, ...lines, "", ""].join("\r\n"));
      up.write(head);
      up.pipe(client).pipe(up);
    });
    for (const s of [up, client]) {
      sockets.add(s);
      s.on("error", () => s.destroy()).on("close", () => {
        sockets.delete(s);
        up.destroy();
        client.destroy();
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`, // by name: passkeys belong to a domain
    lead: (port) => { node = port; },
    cut: () => { for (const s of sockets) s.destroy(); },
    close: () => {
      for (const s of sockets) s.destroy();
      server.close();
      server.closeAllConnections();
    },
  };
}

/** What a node with a log-in is started with. */
export interface LoginOptions {
  name: string;
  /** The origins of the page. */
  origins: string[];
  /** The file of the user table. */
  users: string;
  /** Field "mesh" of the configuration, without the secret. */
  mesh?: { cluster: string; join?: string[]; store?: string | undefined };
  /** Field "sessions" of the configuration. */
  sessions?: object;
}

/** A node with a log-in, as its operator sees it. */
export interface LoginNode {
  node: Process;
  port: number;
  /** Adds a user with the password of all. */
  add(user: string, claims?: object): void;
}

/** The rules of examples/login, and who may serve the notes. */
const rules = [
  { name: "everybody may log in", verbs: ["call"], addresses: ["login:/**", "node:/session/**"] },
  { name: "users may be promoted", verbs: ["call"], addresses: ["notes:/promote"], when: "session.authenticated" },
  { name: "editors read", verbs: ["call"], addresses: ["notes:/read", "notes:/watch"], when: "claims.role == 'editor'" },
  { name: "clerks serve notes", verbs: ["serve", "session"], addresses: ["notes:/**"], when: "claims.role == 'clerk'" },
];

/** "ropewalk serve" with a configuration that has a user table. */
export async function startLogin({ name, origins, users, mesh, sessions }: LoginOptions): Promise<LoginNode> {
  const dir = mkdtempSync(join(inject("scratch"), "login-"));
  const file = join(dir, "ropewalk.jsonc");
  writeFileSync(file, JSON.stringify({
    name,
    listeners: { main: { address: "127.0.0.1:0", advertise: "none" } }, // browsers come by the site
    mesh: mesh && { ...mesh, secret: "only the nodes of this test know it" },
    sessions,
    login: {
      users: { driver: "sqlite", dsn: users, create: true },
      passkeys: { id: "localhost", name: "Ropewalk", origins, key: "only the nodes of this test know that" },
    },
    permissions: { preset: "closed", rules },
  }));
  const node = new Process(["serve", "--config", file], dir);
  const [, url = ""] = await node.says(/ready \S+ (http:\S+)/);
  return {
    node, port: Number(new URL(url).port),
    add: (user, claims = {}) => {
      const args = ["login", "user", "add", user, "--public", JSON.stringify(claims), "--config", file];
      execFileSync(inject("program"), args, { input: password + "\n" });
    },
  };
}

/** Two nodes of one mesh. Sessions are in tokens, or the nodes keep them together. */
export async function startTwo(form: "token" | "server", options: Omit<LoginOptions, "name">): Promise<[LoginNode, LoginNode]> {
  const [a, b] = await Promise.all([freeAddress(), freeAddress()]) as [string, string];
  const start = (name: string, cluster: string, other: string): Promise<LoginNode> => {
    const store = form === "server" ? mkdtempSync(join(inject("scratch"), "store-")) : undefined;
    return startLogin({ ...options, name, mesh: { cluster, join: [other], store }, sessions: { form } });
  };
  return Promise.all([start("pier", a, b), start("quay", b, a)]);
}

/** HOST:PORT where nobody listens. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return `127.0.0.1:${port}`;
}

/** Another process that logs in and serves the notes: what examples/login does in Go. */
export async function serveNotes(port: number, user: string): Promise<Rope> {
  const rope = connect(`ws://127.0.0.1:${port}`);
  rope.on("error", () => {}); // that it may not serve any more is what a test wants
  await logIn(rope, user);
  await rope.serve("notes", {
    "/read": () => ["The rope is 300 fathoms long.", note],
    "/watch": async function* (_, { signal }) {
      yield note;
      await new Promise((done) => signal.addEventListener("abort", done));
    },
    "/promote": (_, ctx) => ctx.changeSession({ set: { role: "editor" } }),
  }).ready;
  return rope;
}

/** Logs in. Nodes that have just started need a moment until they keep sessions together, and say so. */
async function logIn(rope: Rope, user: string): Promise<void> {
  for (;;) {
    try {
      await rope.call("login:/password", { user, password });
      return;
    } catch (err) {
      if ((err as RopewalkError).code !== "service_down") throw err;
      await new Promise((again) => setTimeout(again, 100));
    }
  }
}

/** Another process that logs in and watches the notes, until it may not; `code` is the error that tells it. */
export async function watchNotes(port: number, user: string): Promise<{ code: Promise<string> }> {
  const rope = connect(`ws://127.0.0.1:${port}`);
  await logIn(rope, user);
  const parts = rope.stream("notes:/watch", undefined, { timeout: 60_000 })[Symbol.asyncIterator]();
  await parts.next();
  const code = parts.next().then(() => "", (err: RopewalkError) => err.code).finally(() => void rope.close());
  return { code };
}

/** A tab with the page, and an authenticator that says yes to everything. */
export class Tab {
  /** What a person does not see: connections, and errors of scripts. */
  readonly sockets: WebSocket[] = [];
  readonly errors: string[] = [];

  private constructor(readonly page: Page, readonly devtools: CDPSession) {
    page.on("websocket", (s) => this.sockets.push(s));
    page.on("pageerror", (e) => this.errors.push(String(e)));
    page.on("console", (m) => {
      if (m.type() === "error" && !/WebSocket connection to|the connection went away/.test(m.text())) this.errors.push(m.text());
    });
  }

  /** Opens the page and waits until it is connected. */
  static async open(browser: BrowserContext, url: string): Promise<Tab> {
    const page = await browser.newPage();
    const tab = new Tab(page, await browser.newCDPSession(page));
    await tab.devtools.send("WebAuthn.enable");
    await tab.devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    await page.goto(url);
    await tab.says("#line", /^Connected to/);
    return tab;
  }

  /** Resolves when an element shows a text. */
  says(selector: string, want: string | RegExp): Promise<void> {
    return this.at(selector, want).waitFor();
  }

  at(selector: string, hasText: string | RegExp): Locator {
    return this.page.locator(selector).filter({ hasText }).first();
  }

  async logIn(user: string, secret = password): Promise<void> {
    await this.page.fill("#user", user);
    await this.page.fill("#password", secret);
    await this.page.click("#login .primary");
  }

  /** Asks for the notes, and resolves with what comes of it: them, or an error. */
  async read(): Promise<string> {
    await this.page.click("#read");
    const found = this.page.locator("#notes:not(:empty), #problem:not(:empty)");
    await found.waitFor();
    return found.innerText();
  }

  /** The connection, as the page shows it: another one has another id. */
  connection(): Promise<string> {
    return this.page.innerText("#line");
  }
}
