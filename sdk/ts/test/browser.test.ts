// The bundle in a real browser, against the real program. Skipped where there is no Chromium.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Proxy, RealNode } from "./real-node.js";

const names = [process.env["CHROMIUM"], "chromium", "chromium-browser", "google-chrome"];
const chromium = names.find((n) => n && works(n));

function works(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const page = `<!doctype html><meta charset="utf-8"><script type="module">
import { bytes, connect, RopewalkError } from "/ropewalk.min.js";

async function run(path, options) {
  sessionStorage.clear();
  const out = {};
  const [rope, other] = [connect(path, options), connect(path, options)];
  await Promise.all([rope.ready(), other.ready()]);
  out.transport = rope.transport;
  out.call = await rope.call("echo:/", { text: "ä€" });
  out.bytes = [...await rope.call("echo:/", bytes(new Uint8Array([0, 10, 255]), "image/png"))];
  out.parts = 0;
  for await (const _ of rope.stream("echo:/parts?n=3", 1)) out.parts++;
  out.error = await rope.call("ecko:/").catch((e) => [e instanceof RopewalkError, e.code]);
  const message = new Promise((r) => rope.onMessage((m) => r(m.body)));
  await other.send(rope.address, "hello", { ack: true });
  out.message = await message;
  await other.serve("tab", { "/up": (s) => s.toUpperCase() }).ready;
  out.served = await rope.call("tab:/up", "abc");
  await Promise.all([rope.close(), other.close()]);
  out.state = rope.state;
  return out;
}

const out = {};
try {
  out.socket = await run("/socket", {});
  out.json = await run("/socket", { framing: "json" });
  out.blocked = await run(undefined, {});
  out.poll = await run("/", { transports: ["poll"] });
} catch (e) {
  out.failed = String(e) + e.stack;
}
await fetch("/result", { method: "POST", body: JSON.stringify(out) });
</script>`;

const node = new RealNode();
let proxy: Proxy;
let browser: ChildProcess | undefined;
let result: Promise<Record<string, unknown>>;
const profile = mkdtempSync(join(tmpdir(), "ropewalk-browser-"));

beforeAll(async () => {
  if (!chromium) return;
  await node.start();
  let found!: (r: Record<string, unknown>) => void;
  result = new Promise((r) => { found = r; });
  proxy = new Proxy(node, false, (req, res) => own(req, res, found));
  proxy.open = "/socket";
  const url = (await proxy.start()).replace("ws:", "http:");
  browser = spawn(chromium, ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--user-data-dir=${profile}`, url], { stdio: "ignore" });
}, 120_000);

function own(req: IncomingMessage, res: ServerResponse, found: (r: Record<string, unknown>) => void): boolean {
  if (req.url === "/" && req.method === "GET") res.setHeader("Content-Type", "text/html").end(page);
  else if (req.url === "/ropewalk.min.js") {
    res.setHeader("Content-Type", "text/javascript").end(readFileSync(new URL("../dist/ropewalk.min.js", import.meta.url)));
  } else if (req.url === "/result") {
    let text = "";
    req.on("data", (b: Buffer) => { text += b.toString(); }).on("end", () => found(JSON.parse(text) as Record<string, unknown>));
    res.end();
  } else return false;
  return true;
}

afterAll(async () => {
  if (browser && browser.exitCode === null) {
    const gone = new Promise((done) => browser!.once("exit", done));
    browser.kill("SIGKILL");
    await gone;
  }
  if (chromium) await proxy.stop();
  await node.end();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
});

it.skipIf(!chromium)("everything works in Chromium, by every transport", async () => {
  const all = {
    call: { text: "ä€" }, bytes: [0, 10, 255], parts: 3, error: [true, "no_service"], message: "hello", served: "ABC", state: "closed",
  };
  expect(await result).toEqual({
    socket: { ...all, transport: "websocket" },
    json: { ...all, transport: "websocket" },
    blocked: { ...all, transport: "stream" },
    poll: { ...all, transport: "poll" },
  });
}, 60_000);
