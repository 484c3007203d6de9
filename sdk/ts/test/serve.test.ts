import { afterEach, describe, expect, it } from "vitest";
import { bytes, RopewalkError, type Context } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { reached, start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

const serveBody = { version: "1.2.0", description: "d", metadata: { a: 1 } };

async function acknowledge(conn: Conn, verb: string, n: number): Promise<Wire[]> {
  const all: Wire[] = [];
  for (let i = 0; i < n; i++) {
    const m = await conn.take(verb);
    conn.reply(m);
    all.push(m);
  }
  return all;
}

function ask(conn: Conn, mid: string, to: string, more: Wire = {}): void {
  conn.send({ vrb: "call", to, frm: "c9@client:/", mid, ...more });
}

const answerTo = (mid: string) => (m: Wire): boolean => m.rmid === mid;

describe("serve", () => {
  it("tells the node of every path and answers", async () => {
    const { rope, conn } = await start();
    const svc = rope.serve("text", {
      "/up": (s: string) => s.toUpperCase(),
      "/{lang}/length": { handler: async (s: string, ctx) => ({ n: s.length, lang: ctx.params["lang"] }), in: { type: "string" }, description: "its length" },
    }, serveBody);
    const [up, length] = await acknowledge(conn, "serve", 2);
    expect(up).toMatchObject({ to: "text:/up", bdy: serveBody });
    expect(length).toMatchObject({ to: "text:/{lang}/length", bdy: { version: "1.2.0", description: "its length", in: { type: "string" } } });
    await svc.ready;
    ask(conn, "1", "text:/up", { bdy: "abc" });
    expect(await conn.take(answerTo("1"))).toEqual({ vrb: "reply", rmid: "1", bdy: "ABC" });
    ask(conn, "2", "text:/de/length", { bdy: "abc" });
    expect((await conn.take(answerTo("2"))).bdy).toEqual({ n: 3, lang: "de" });
  });

  it("gives the handler what the message says", async () => {
    const { rope, conn } = await start();
    let ctx: Context | undefined;
    rope.serve("orders", { "/v1/{id}": (_, c) => { ctx = c; } });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "c1@orders:[get]/v1/7?q=1&r=%20", { hdr: { traceparent: "00" }, typ: "t", tmo: 5 });
    expect(await conn.take("reply")).toEqual({ vrb: "reply", rmid: "1" });
    expect(ctx).toMatchObject({
      from: "c9@client:/", to: "c1@orders:[get]/v1/7?q=1&r=%20", method: "get", path: "/v1/7", query: "q=1&r=%20",
      params: { id: "7" }, headers: { traceparent: "00" }, type: "t",
    });
    expect(ctx!.deadline! - Date.now()).toBeGreaterThan(4000);
  });

  it("takes and gives bytes", async () => {
    const { rope, conn } = await start();
    rope.serve("img", { "/turn": (b: Uint8Array) => bytes(b.toReversed(), "image/png") });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "img:/turn", { cty: "image/gif", bdy: new Uint8Array([1, 2]) });
    expect(await conn.take("reply")).toMatchObject({ cty: "image/png", bdy: new Uint8Array([2, 1]) });
  });

  it("streams what a generator yields, and what send sends", async () => {
    const { rope, conn } = await start();
    rope.serve("report", {
      "/gen": async function* (n: number) {
        for (let i = 1; i <= n; i++) yield { step: i };
        return "end";
      },
      "/send": async (_, ctx) => {
        await ctx.send(1);
        await ctx.send(2);
        return 3;
      },
    });
    await acknowledge(conn, "serve", 2);
    ask(conn, "1", "report:/gen", { bdy: 2 });
    const got = [await conn.take(answerTo("1")), await conn.take(answerTo("1")), await conn.take(answerTo("1"))];
    expect(got.map((m) => [m.vrb, m.bdy])).toEqual([["part", { step: 1 }], ["part", { step: 2 }], ["reply", "end"]]);
    ask(conn, "2", "report:/send");
    const sent = [await conn.take(answerTo("2")), await conn.take(answerTo("2")), await conn.take(answerTo("2"))];
    expect(sent.map((m) => [m.vrb, m.bdy])).toEqual([["part", 1], ["part", 2], ["reply", 3]]);
  });

  it("answers with the error that the handler throws", async () => {
    const { rope, conn, errors } = await start();
    rope.serve("x", {
      "/known": () => { throw new RopewalkError("conflict", "no", { hint: "h", path: "/a", details: [1], retryable: true, retryAfter: 500 }); },
      "/bug": () => { throw new Error("secret"); },
      "/late": async function* () { yield 1; throw new RopewalkError("not_found", "gone"); },
      "/huge": () => 1n,
    });
    await acknowledge(conn, "serve", 4);
    ask(conn, "1", "x:/known");
    expect(await conn.take(answerTo("1"))).toEqual({
      vrb: "error", rmid: "1",
      bdy: { code: "conflict", message: "no", hint: "h", path: "/a", details: [1], retryable: true, retryAfter: 0.5 },
    });
    ask(conn, "2", "x:/bug");
    expect((await conn.take(answerTo("2"))).bdy).toEqual({ code: "internal", message: "the service failed" });
    expect(errors.at(-1)).toMatchObject({ code: "internal", path: "x:/bug", cause: new Error("secret") });
    ask(conn, "3", "x:/late");
    expect((await conn.take(answerTo("3"))).vrb).toBe("part");
    expect((await conn.take(answerTo("3"))).bdy).toMatchObject({ code: "not_found" });
    ask(conn, "4", "x:/huge");
    expect((await conn.take(answerTo("4"))).bdy).toMatchObject({ code: "invalid_input" });
    ask(conn, "5", "x:/nowhere");
    expect((await conn.take(answerTo("5"))).bdy).toMatchObject({ code: "not_found" });
  });

  it("answers a body that is not JSON, and a reply that is too large, with an error", async () => {
    const { rope, conn } = await start({ limits: { frame: 500 } });
    rope.serve("x", { "/": (n: number) => "a".repeat(n) });
    await acknowledge(conn, "serve", 1);
    conn.raw('{"vrb":"call","mid":"1","to":"x:/","frm":"c@client:/"}\n{');
    expect((await conn.take(answerTo("1"))).bdy).toMatchObject({ code: "bad_message" });
    ask(conn, "2", "x:/", { bdy: 1000 });
    expect((await conn.take(answerTo("2"))).bdy).toMatchObject({ code: "too_large" });
  });

  it("aborts the signal when the caller cancels, and stops the generator", async () => {
    const { rope, conn } = await start();
    let stopped!: (v: string) => void;
    const end = new Promise<string>((r) => { stopped = r; });
    const aborted = new Promise<unknown>((r) => {
      rope.serve("x", {
        "/gen": async function* (_, ctx) {
          ctx.signal.addEventListener("abort", () => r(ctx.signal.reason));
          try {
            for (let i = 0; ; i++) {
              yield i;
              await turn();
            }
          } finally {
            stopped("stopped");
          }
        },
      });
    });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/gen");
    await conn.take("part");
    conn.send({ vrb: "cancel", rmid: "1" });
    expect(await aborted).toMatchObject({ code: "canceled" });
    expect(await end).toBe("stopped");
  });

  it("aborts when the caller's time is over, even if the handler does not look", async () => {
    const { rope, conn } = await start();
    rope.serve("x", { "/": () => new Promise(() => {}) });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/", { tmo: 0.02 });
    expect((await conn.take(answerTo("1"))).bdy).toMatchObject({ code: "deadline_exceeded" });
  });

  it("refuses more calls than it may run at once", async () => {
    const { rope, conn } = await start();
    let go!: (v: number) => void;
    rope.serve("x", { "/": () => new Promise((r) => { go = r; }) }, { concurrency: 1 });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/");
    ask(conn, "2", "x:/");
    expect((await conn.take(answerTo("2"))).bdy).toMatchObject({ code: "overloaded", retryable: true });
    go(7);
    expect((await conn.take(answerTo("1"))).bdy).toBe(7);
  });

  it("takes sends to its paths, and answers none of them", async () => {
    const { rope, conn } = await start();
    const got: unknown[] = [];
    rope.serve("log", { "/line": (line, ctx) => { got.push([line, ctx.deadline]); return "nobody reads this"; } });
    await acknowledge(conn, "serve", 1);
    conn.send({ vrb: "send", to: "log:/line", frm: "c9@client:/", mid: "1", bdy: "hello" });
    await expect.poll(() => got).toEqual([["hello", undefined]]);
    ask(conn, "2", "log:/line", { bdy: "x" });
    expect((await conn.take("reply")).rmid).toBe("2");
  });

  it("tells when the node refuses", async () => {
    const { rope, conn, errors } = await start();
    const svc = rope.serve("x", { "/": () => 1 });
    const m = await conn.take("serve");
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "forbidden", message: "you may not" } });
    await expect(svc.ready).rejects.toMatchObject({ code: "forbidden" });
    expect(errors).toMatchObject([{ code: "forbidden" }]);
  });

  it("serves again after a reconnect, before anything else is sent", async () => {
    const { node, rope, conn } = await start();
    const svc = rope.serve("x", { "/": () => 1, "/a": () => 2 });
    await acknowledge(conn, "serve", 2);
    await svc.ready;
    const offline = reached(rope, "waiting");
    conn.kill();
    await offline;
    rope.call("y:/").catch(() => {});
    const next = await node.conn();
    const order = [await next.take(() => true), await next.take(() => true), await next.take(() => true)];
    expect(order.map((m) => [m.vrb, m.to])).toEqual([["serve", "x:/"], ["serve", "x:/a"], ["call", "y:/"]]);
  });

  it("aborts what runs when the connection drops, and answers nobody on the next", async () => {
    const { node, rope, conn } = await start();
    const reason = new Promise<unknown>((r) => {
      rope.serve("x", { "/": (_, ctx) => new Promise((done) => ctx.signal.addEventListener("abort", () => { r(ctx.signal.reason); done(1); })) });
    });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/");
    const call = rope.call("y:/"); // so that the other has arrived
    conn.reply(await conn.take("call"));
    await call;
    conn.kill();
    expect(await reason).toMatchObject({ code: "connection_lost" });
    const next = await node.conn();
    await next.take("serve");
    await turn();
    expect(next.got).toEqual([]);
  });

  it("stop: takes its paths back, waits for what runs, and leaves other services alone", async () => {
    const { rope, conn } = await start();
    let go!: (v: number) => void;
    const svc = rope.serve("x", { "/a": () => new Promise((r) => { go = r; }), "/b": () => 1 });
    rope.serve("y", { "/": () => 2 });
    await acknowledge(conn, "serve", 3);
    ask(conn, "1", "x:/a");
    ask(conn, "2", "x:/b");
    await conn.take(answerTo("2"));
    let over = false;
    const stopped = svc.stop().then(() => { over = true; });
    expect((await acknowledge(conn, "unserve", 2)).map((m) => m.to)).toEqual(["x:/a", "x:/b"]);
    await turn();
    expect(over).toBe(false);
    go(5);
    expect((await conn.take(answerTo("1"))).bdy).toBe(5);
    await stopped;
    ask(conn, "3", "x:/b");
    expect((await conn.take(answerTo("3"))).bdy).toMatchObject({ code: "not_found" });
    ask(conn, "4", "y:/");
    expect((await conn.take(answerTo("4"))).bdy).toBe(2);
  });

  it("stop: answers shutting_down for what takes too long", async () => {
    const { rope, conn } = await start();
    const svc = rope.serve("x", { "/": () => new Promise(() => {}) });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/");
    const call = rope.call("y:/");
    conn.reply(await conn.take("call"));
    await call;
    const stopped = svc.stop({ timeout: 20 });
    await acknowledge(conn, "unserve", 1);
    expect((await conn.take(answerTo("1"))).bdy).toMatchObject({ code: "shutting_down" });
    await stopped;
  });

  it("close: drains, answers, and then says bye", async () => {
    const { rope, conn } = await start();
    let go!: (v: number) => void;
    rope.serve("x", { "/": () => new Promise((r) => { go = r; }) });
    await acknowledge(conn, "serve", 1);
    ask(conn, "1", "x:/");
    const call = rope.call("y:/");
    conn.reply(await conn.take("call"));
    await call;
    const closed = rope.close();
    await conn.take("drain");
    expect(rope.state).toBe("closing");
    go(9);
    expect((await conn.take(answerTo("1"))).bdy).toBe(9);
    expect(await conn.closed).toEqual({ code: 1000, reason: "bye" });
    await closed;
    expect(rope.state).toBe("closed");
  });
});
