import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { ConnectOptions, TransportKind, WebSocketLike } from "../src/index.js";
import type { FakeOptions } from "./fake-node.js";
import { client, start, startNode, stopAll } from "./setup.js";

afterEach(async () => {
  await stopAll();
  vi.unstubAllGlobals();
});

const ways: [string, FakeOptions, ConnectOptions, TransportKind][] = [
  ["WebSocket", {}, {}, "websocket"],
  ["WebSocket with JSON frames", {}, { framing: "json" }, "websocket"],
  ["HTTP stream, because WebSocket is blocked", { websocket: false }, {}, "stream"],
  ["HTTP stream, because there is no WebSocket here", {}, { WebSocket: undefined }, "stream"],
  ["HTTP stream with JSON frames", { websocket: false }, { framing: "json" }, "stream"],
  ["long-polling, because streams are held back", { websocket: false, stream: false }, { connectTimeout: 100 }, "poll"],
  ["long-polling, because it is the only one asked for", {}, { transports: ["poll"] }, "poll"],
];

describe.each(ways)("by %s", (_, node, options, kind) => {
  it("calls go there and parts, replies and bytes come back", async () => {
    const { rope, node: n } = await start(node, options);
    expect(rope.transport).toBe(kind);
    const conn = n.conns.at(-1)!;
    const parts: unknown[] = [];
    const call = rope.call("x:/", { text: "ä\n€" }, { onPart: (p) => parts.push(p) });
    const m = await conn.take("call");
    expect(m.bdy).toEqual({ text: "ä\n€" });
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 2 });
    conn.reply(m, "€".repeat(100_000));
    expect(await call).toBe("€".repeat(100_000));
    expect(parts).toEqual([1, 2]);
    const raw = rope.call("x:/", new Uint8Array([0, 10, 200]));
    const b = await conn.take("call");
    expect(b.cty).toBe("application/octet-stream");
    const json = options.framing === "json";
    expect(b.bdy).toEqual(json ? "AArI" : new Uint8Array([0, 10, 200]));
    conn.reply(b, b.bdy, { cty: b.cty! });
    expect(await raw).toEqual(new Uint8Array([0, 10, 200]));
  });

  it("many messages arrive once and in order, both ways", async () => {
    const { rope, node: n } = await start(node, options);
    const conn = n.conns.at(-1)!;
    const got: unknown[] = [];
    rope.onMessage((m) => got.push(m.body));
    const sent = Array.from({ length: 200 }, (_, i) => rope.send("x:/", i));
    for (let i = 0; i < 200; i++) conn.send({ vrb: "send", to: "me", bdy: i });
    for (let i = 0; i < 200; i++) expect((await conn.take("send")).bdy).toBe(i);
    await Promise.all(sent);
    await expect.poll(() => got).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it("close tells the node", async () => {
    const { rope, node: n } = await start(node, options);
    const conn = n.conns.at(-1)!;
    void rope.send("x:/", "last");
    await rope.close();
    expect((await conn.take("send")).bdy).toBe("last");
    await conn.closed;
  });

  it("comes back when the connection breaks", async () => {
    const { rope, node: n } = await start(node, options);
    const conn = n.conns.at(-1)!;
    const call = rope.call("x:/");
    await conn.take("call");
    conn.kill();
    await expect(call).rejects.toMatchObject({ code: "connection_lost" });
    await rope.ready();
    expect(rope.id).toBe(n.conns.at(-1)!.id);
    expect(rope.transport).toBe(kind);
  });
});

describe("HTTP", () => {
  it.each<TransportKind>(["stream", "poll"])("%s: a POST whose answer is lost is sent again and counts once", async (kind) => {
    const { node, rope, conn } = await start({}, { transports: [kind] });
    node.lose = "send";
    await rope.send("x:/", 1);
    await rope.send("x:/", 2);
    await conn.take((m) => m.bdy === 2);
    expect(conn.got.map((m) => m.bdy)).toEqual([1]);
    expect(node.lose).toBeUndefined();
  });

  it("poll: a batch that is lost is asked for again and comes once", async () => {
    const { node, rope, conn } = await start({}, { transports: ["poll"] });
    const got: unknown[] = [];
    rope.onMessage((m) => got.push(m.body));
    node.lose = "poll";
    for (let i = 0; i < 3; i++) conn.send({ vrb: "send", to: "me", bdy: i });
    await expect.poll(() => got).toEqual([0, 1, 2]);
    expect(node.lose).toBeUndefined();
  });

  it("a connection that the node has forgotten is made anew", async () => {
    const { node, rope, conn } = await start({}, { transports: ["poll"] });
    const call = rope.call("x:/");
    await conn.take("call");
    (conn as unknown as { over: boolean }).over = true;
    conn.send({ vrb: "send", to: "me" }); // ends the poll
    await expect(call).rejects.toMatchObject({ code: "connection_lost", message: "closed" });
    await rope.ready();
    expect(node.conns.length).toBe(2);
  });

  it.each([[401, "unauthenticated"], [403, "forbidden"]])("%i means: do not come back", async (status, code) => {
    const node = await startNode();
    node.intercept = (_, res) => !!res.writeHead(status).end();
    const { rope } = client(node.url, { transports: ["stream", "poll"] });
    await expect(rope.call("x:/")).rejects.toMatchObject({ code });
    expect(rope.state).toBe("closed");
    expect(node.requests).toEqual(["open"]);
  });

  it("the node's own words for a refusal are kept, and when to come back", async () => {
    const node = await startNode();
    node.intercept = (_, res) => {
      node.intercept = undefined;
      res.writeHead(429).end(JSON.stringify({ code: "rate_limited", message: "too many", retryAfter: 0.05 }));
      return true;
    };
    const { rope, errors } = client(node.url, { transports: ["poll"], backoff: { base: 0 } });
    const t0 = Date.now();
    await rope.ready();
    expect(Date.now() - t0).toBeGreaterThanOrEqual(45);
    expect(errors).toMatchObject([{ code: "rate_limited", retryAfter: 50 }]);
  });

  it("a batch that is none ends the connection", async () => {
    const { node, rope, conn, errors } = await start({}, { transports: ["stream"] });
    (conn as unknown as { stream: { write(s: string): void } }).stream.write("nonsense\n");
    await node.conn();
    await rope.ready();
    expect(errors).toMatchObject([{ code: "connection_lost" }]);
  });

  it("an empty frame keeps alive and is nothing else", async () => {
    const { rope, conn, errors } = await start({}, { transports: ["stream"] });
    conn.raw("");
    const call = rope.call("x:/");
    conn.reply(await conn.take("call"), 1);
    expect(await call).toBe(1);
    expect(errors).toEqual([]);
  });
});

describe("the choice of transport", () => {
  it("what worked is tried first the next time", async () => {
    const { node, rope, conn } = await start({ websocket: false });
    expect(node.requests).toEqual(["websocket", "open", "stream"]);
    node.requests.length = 0;
    conn.kill();
    await node.conn();
    await rope.ready();
    expect(node.requests.filter((r) => r !== "close")).toEqual(["open", "stream"]);
  });

  it("a node that is down is not taken for a blocked WebSocket", async () => {
    const { node, rope } = await start();
    const { port } = node;
    const waits: unknown[] = [];
    rope.on("state", (s) => s === "waiting" && waits.push(s));
    await node.stop();
    await expect.poll(() => waits.length).toBeGreaterThanOrEqual(2);
    const again = await startNode({ port });
    await again.conn();
    await rope.ready();
    expect(rope.transport).toBe("websocket");
    expect(again.requests[0]).toBe("websocket");
  });

  it("one that stopped working is given up after three tries", async () => {
    const { node, rope, conn } = await start();
    node.options.websocket = false;
    node.requests.length = 0;
    conn.kill();
    await node.conn();
    await rope.ready();
    expect(rope.transport).toBe("stream");
    expect(node.requests).toEqual(["websocket", "websocket", "websocket", "websocket", "open", "stream"]);
  });

  it("where nothing listens HTTP is tried once a round, not twice", async () => {
    const tried: string[] = [];
    const { rope } = client("http://127.0.0.1:1/", {
      fetch: (url) => {
        tried.push(new URL(String(url)).pathname);
        return Promise.reject(new TypeError("fetch failed"));
      },
      backoff: { base: 1e6, max: 1e6 },
    });
    await expect.poll(() => rope.state).toBe("waiting");
    expect(tried).toEqual(["/ropewalk/v1/open"]);
  });

  it("outlives the page in the tab's storage, for each host", async () => {
    const kept = new Map<string, string>();
    vi.stubGlobal("sessionStorage", { getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => kept.set(k, v) });
    const { node } = await start({ websocket: false });
    node.requests.length = 0;
    const { rope } = client(node.url);
    await rope.ready();
    expect(rope.transport).toBe("stream");
    expect(node.requests).toEqual(["open", "stream"]);
    kept.set([...kept.keys()][0]!, "{broken");
    await client(node.url).rope.ready();
    kept.set([...kept.keys()][0]!, '{"kind":"pigeon","at":1}');
    await client(node.url).rope.ready();
  });

  it("nothing that works here is an error that says so", async () => {
    const { rope } = client("http://127.0.0.1:1/", { transports: ["websocket"], WebSocket: undefined });
    await expect(rope.call("x:/")).rejects.toMatchObject({ code: "not_ready" });
  });

  it.each([
    ["ws://h:1/a?b", "ws://h:1/a?b", "http://h:1/ropewalk/v1/open?framing=split"],
    ["wss://h/a", "wss://h/a", "https://h/ropewalk/v1/open?framing=split"],
    ["http://h:1", "ws://h:1/", "http://h:1/ropewalk/v1/open?framing=split"],
    ["https://h/x/", "wss://h/x/", "https://h/ropewalk/v1/open?framing=split"],
  ])("%s goes to %s and %s", async (url, socket, http) => {
    const seen: string[] = [];
    class Refusing {
      constructor(u: string) {
        seen.push(u);
        throw new Error("no");
      }
    }
    const { rope } = client(url, {
      WebSocket: Refusing as unknown as WebSocketLike,
      fetch: (u) => {
        seen.push(String(u));
        return Promise.reject(new TypeError("no"));
      },
      backoff: { base: 1e6, max: 1e6 },
    });
    await expect.poll(() => rope.state).toBe("waiting");
    expect(seen).toEqual([socket, http]);
  });
});

it("messages wait here, not in the socket, when the network is slow", async () => {
  const { rope, conn } = await start({}, { queue: 10, WebSocket: WebSocket as unknown as WebSocketLike });
  const ws = (conn as unknown as { ws: WebSocket }).ws;
  ws.pause();
  const big = "a".repeat(900_000);
  const sent: Promise<unknown>[] = [];
  for (let i = 0; i < 100; i++) sent.push(rope.send("x:/", big).then(() => "sent", (e: { code: string }) => e.code));
  const early = await Promise.all(sent.slice(-50));
  expect(early).toContain("overloaded");
  ws.resume();
  const all = await Promise.all(sent);
  const n = all.filter((x) => x === "sent").length;
  for (let i = 0; i < n; i++) await conn.take("send");
  expect(n).toBeGreaterThan(10);
});
