// Against the real program.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { RopewalkError, type ConnectOptions, type Rope, type TransportKind, type WebSocketLike } from "../src/index.js";
import { Proxy, RealNode, Wire } from "./real-node.js";
import { client, reached, stopAll } from "./setup.js";

const node = new RealNode();
const proxy = new Proxy(node);
const holding = new Proxy(node, true);
const urls = { direct: "", proxy: "", holding: "" };

beforeAll(async () => {
  await node.start();
  urls.direct = node.url;
  urls.proxy = await proxy.start();
  urls.holding = await holding.start();
}, 120_000);

afterEach(stopAll);

afterAll(async () => {
  await proxy.stop();
  await holding.stop();
  await node.end();
});

const ways: [string, keyof typeof urls, ConnectOptions, TransportKind][] = [
  ["WebSocket", "direct", {}, "websocket"],
  ["WebSocket, JSON frames", "direct", { framing: "json" }, "websocket"],
  ["HTTP stream, where there is no WebSocket", "direct", { WebSocket: undefined }, "stream"],
  ["HTTP stream, through a proxy that blocks WebSocket", "proxy", {}, "stream"],
  ["long-polling", "direct", { transports: ["poll"], framing: "json" }, "poll"],
  ["long-polling, through a proxy that holds streams back", "holding", { connectTimeout: 500 }, "poll"],
];

describe.each(ways)("by %s", (_, where, options, kind) => {
  async function open(more: ConnectOptions = {}): Promise<Rope> {
    const { rope } = client(urls[where], { ...options, ...more });
    await rope.ready();
    expect(rope.transport).toBe(kind);
    return rope;
  }

  it("calls", async () => {
    const rope = await open();
    expect(rope.node.name).toBe("test");
    expect(await rope.call("echo:/", { text: "ä\n€", n: [1, null] })).toEqual({ text: "ä\n€", n: [1, null] });
    expect(await rope.call("echo:/")).toBeUndefined();
    expect(await rope.call("echo:/", null)).toBeNull();
    const raw = Uint8Array.from({ length: 70_000 }, (_, i) => i & 255);
    const back = await rope.call<Uint8Array>("echo:/", raw);
    expect(Buffer.compare(back, raw)).toBe(0);
    const many = await Promise.all(Array.from({ length: 500 }, (_, i) => rope.call("echo:/", i)));
    expect(many).toEqual(many.map((_, i) => i));
  });

  it("streams", async () => {
    const rope = await open();
    const stream = rope.stream("echo:/parts?n=3", "x");
    const parts: unknown[] = [];
    for await (const p of stream) parts.push(p);
    expect(parts.length).toBe(3);
    expect(await stream.reply).toBe("x");
  });

  it("gets errors with a hint", async () => {
    const rope = await open();
    await expect(rope.call("ecko:/")).rejects.toMatchObject({ code: "no_service", remote: true, hint: expect.stringMatching(/./) });
    await expect(rope.call("not an address")).rejects.toMatchObject({ code: "bad_address" });
    await expect(rope.send("nobody@client:/", 1, { ack: true })).rejects.toMatchObject({ code: "no_client" });
    await expect(rope.call("echo:/", "a".repeat(2 << 20))).rejects.toMatchObject({ code: "too_large" });
  });

  it("sends to another client and is answered", async () => {
    const [a, b] = [await open(), await open()];
    const answer = new Promise<unknown>((r) => a.onMessage((m) => r([m.from, m.body])));
    b.onMessage((m) => void b.send(m.from, { got: m.body }));
    await a.send(b.address, "hello", { ack: true });
    expect(await answer).toEqual([b.address, { got: "hello" }]);
  });

  it("serves, with parts, errors, and an end to what is canceled", async () => {
    const [server, rope] = [await open(), await open()];
    let ended!: (e: unknown) => void;
    const end = new Promise<unknown>((r) => { ended = r; });
    const svc = server.serve("work", {
      "/up/{lang}": (s: string, ctx) => `${s.toUpperCase()} ${ctx.params["lang"]} ${ctx.query} ${ctx.headers["h"]}`,
      "/count": async function* (n: number) {
        for (let i = 1; i <= n; i++) yield { step: i };
        return "counted";
      },
      "/fail": () => { throw new RopewalkError("conflict", "not now", { hint: "later", retryable: true, retryAfter: 1000 }); },
      "/ever": async function* (_, ctx) {
        ctx.signal.addEventListener("abort", () => ended(ctx.signal.reason));
        yield 1;
        await new Promise(() => {});
      },
      "/typed": { handler: () => 1, in: { type: "object", required: ["n"], properties: { n: { type: "integer" } } } },
    }, { version: "1.2.0" });
    await svc.ready;
    expect(await rope.call("work:/up/de?q=1", "abc", { headers: { h: "v" } })).toBe("ABC de q=1 v");
    const counted: unknown[] = [];
    const stream = rope.stream("work:/count", 3);
    for await (const p of stream) counted.push(p);
    expect([counted, await stream.reply]).toEqual([[{ step: 1 }, { step: 2 }, { step: 3 }], "counted"]);
    await expect(rope.call("work:/fail")).rejects.toMatchObject({ code: "conflict", hint: "later", retryable: true, retryAfter: 1000, remote: true });
    expect(await rope.call("node:/schema/work/typed")).toMatchObject({ route: "work:/typed", version: "1.2.0", in: { required: ["n"] } });
    for await (const _ of rope.stream("work:/ever")) break;
    expect(await end).toMatchObject({ code: "canceled" });
    await svc.stop();
    await expect(rope.call("work:/count", 1)).rejects.toMatchObject({ code: expect.stringMatching(/service_down|no_service/) });
  });

  it("gathers from several servers", async () => {
    const [s1, s2, rope] = [await open(), await open(), await open()];
    await s1.serve("math", { "/d/mul": ({ a, b }: { a: number; b: number }) => a * b, "/d/bad": () => { throw new Error("x"); } }).ready;
    await s2.serve("math", { "/d/mul": ({ a, b }: { a: number; b: number }) => a * b }).ready;
    s1.on("error", () => {});
    const seen: string[] = [];
    const got = await rope.gather<number>("math:/d/*", { a: 2, b: 5 }, { onAnswer: (a) => seen.push(a.server) });
    expect(got.servers).toBe(3);
    expect(got.values).toEqual([10, 10]);
    expect(seen.length).toBe(3);
    expect(new Set(got.answers.map((a) => a.server))).toEqual(new Set([s1.id, s2.id]));
    expect(got.answers.filter((a) => a.error).map((a) => a.error!.code)).toEqual(["internal"]);
    await expect(rope.gather("math:/d/bad", {}, { quorum: 1 })).rejects.toMatchObject({ code: "no_quorum" });
  });

  it("ends a gather at its deadline with the answers that there are", async () => {
    const [s1, s2, rope] = [await open(), await open(), await open()];
    await s1.serve("some", { "/": () => 1 }).ready;
    await s2.serve("some", { "/": () => new Promise(() => {}) }).ready;
    const got = await rope.gather<number>("some:/", 1, { timeout: 300 });
    expect(got.values).toEqual([1]);
    // The other server gives up at the same moment, and its word of that may come in time.
    expect([...got.missing, ...got.answers.filter((a) => a.error?.code === "deadline_exceeded")]).toMatchObject([{ server: s2.id }]);
  });

  it("ends calls that wait for a server that goes away", async () => {
    const [server, rope] = [await open(), await open()];
    await server.serve("slow", { "/": () => new Promise(() => {}) }).ready;
    const call = rope.call("slow:/");
    await expect.poll(async () => (await rope.call<{ id: string; answering: number }[]>("node:/clients")).find((c) => c.id === server.id)?.answering).toBe(1);
    const t0 = Date.now();
    server.reconnect();
    await expect(call).rejects.toMatchObject({ code: "service_lost" });
    expect(Date.now() - t0).toBeLessThan(3000);
  });
});

describe("when it drops", () => {
  it("a cut wire: idempotent calls, what waits, and services survive", async () => {
    const wire = new Wire(node);
    const url = await wire.start();
    const [server, other] = [client(url).rope, client(node.url).rope];
    let runs = 0;
    let first!: () => void;
    const started = new Promise<void>((r) => { first = r; });
    await other.serve("once", { "/": () => (++runs === 1 ? new Promise(() => first()) : "done") }).ready;
    await server.serve("back", { "/": () => "here" }).ready;
    const call = server.call("once:/", 1, { idempotent: true });
    await started;
    const offline = reached(server, "waiting");
    wire.cut();
    await offline;
    const waited = server.call("echo:/", "waited");
    expect(await waited).toBe("waited");
    expect(await call).toBe("done");
    await expect.poll(() => other.call("back:/").catch((e: RopewalkError) => e.code)).toBe("here");
    await server.close();
    await wire.stop();
  });

  it("a node that is killed and started again, and one that stops in order", async () => {
    const mine = await new RealNode().start();
    try {
      const { rope } = client(mine.url);
      await rope.serve("back", { "/": () => "here" }).ready;
      await mine.stop("SIGKILL");
      await expect.poll(() => rope.state).not.toBe("connected");
      const waits = rope.call("back:/");
      await mine.start();
      expect(await waits).toBe("here");
      const { rope: polling } = client(mine.url, { transports: ["poll"] });
      await polling.ready();
      // In order: what is in flight is answered, and then all are told to come back.
      let go!: (v: string) => void;
      const slow = rope.serve("slow", { "/": () => new Promise((r) => { go = r; }) });
      await slow.ready;
      const inFlight = polling.call("slow:/");
      await expect.poll(() => typeof go).toBe("function");
      const ended = mine.stop("SIGTERM");
      setTimeout(() => go("finished"), 50);
      expect(await inFlight).toBe("finished");
      expect(await ended).toBe(0);
      await mine.start();
      expect(await rope.call("back:/")).toBe("here");
    } finally {
      await mine.end();
    }
  });
});

it("refuses what a node refuses: a sub-protocol that it does not know", async () => {
  class Odd extends WebSocket {
    constructor(url: string) {
      super(url, ["ropewalk.v9.odd"]);
    }
  }
  const { rope, errors } = client(node.url, { transports: ["websocket"], WebSocket: Odd as unknown as WebSocketLike });
  await expect.poll(() => errors.length).toBeGreaterThan(0);
  expect(rope.state).not.toBe("connected");
});
