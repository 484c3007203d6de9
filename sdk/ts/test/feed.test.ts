import { afterEach, describe, expect, it } from "vitest";
import { At, RopewalkError, type WatchContext } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

async function served(conn: Conn): Promise<Wire> {
  const m = await conn.take("serve");
  conn.reply(m);
  return m;
}

const ask = (conn: Conn, vrb: string, mid: string, to: string, more: Wire = {}): void => conn.send({ vrb, to, mid, frm: "n1@node:/", ...more });
const to = (mid: string) => (m: Wire): boolean => m.rmid === mid;

/** A source of contents that the test pushes. */
class Source {
  runs: { params: Record<string, unknown>; ctx: WatchContext; push: (v: unknown) => void; fail: (err: unknown) => void; end: () => void }[] = [];
  ended = 0;

  readonly watch = async function* (this: Source, params: Record<string, unknown>, ctx: WatchContext): AsyncGenerator<unknown> {
    const waiting: (() => unknown)[] = [];
    let wake = (): void => {};
    const add = (f: () => unknown): void => { waiting.push(f); wake(); };
    const stop = Symbol("stop");
    this.runs.push({ params, ctx, push: (v) => add(() => v), fail: (err) => add(() => { throw err; }), end: () => add(() => stop) });
    ctx.signal.addEventListener("abort", () => wake());
    try {
      while (!ctx.signal.aborted) {
        const next = waiting.shift();
        if (!next) {
          await new Promise<void>((r) => { wake = r; });
          continue;
        }
        const v = next();
        if (v === stop) return;
        yield v;
      }
    } finally {
      this.ended++;
    }
  }.bind(this);
}

describe("a watched route", () => {
  it("is announced with what it is", async () => {
    const { rope, conn } = await start();
    const svc = rope.serve("stock", { "/hi": () => "hi" }, { version: "1.0.0" })
      .watch("/ticker/{symbol}", new Source().watch, { description: "prices", personal: true, publish: () => 1 })
      .watch("/log", new Source().watch, { events: true, slow: "drop", history: { count: 10, bytes: 1000, age: 90_000 }, presence: true, publisher: true });
    const all = [await served(conn), await served(conn), await served(conn)];
    await svc.ready;
    expect(all.map((m) => [m.to, m.bdy])).toEqual([
      ["stock:/hi", { version: "1.0.0" }],
      ["stock:/ticker/{symbol}", { version: "1.0.0", description: "prices", topic: { personal: true } }],
      ["stock:/log", { version: "1.0.0", topic: { events: true, slow: "drop", history: { count: 10, bytes: 1000, age: "90000ms" }, presence: true, publisher: true } }],
    ]);
  });

  it("is announced again on the next connection, and offered before there is one", async () => {
    const { node, rope, conn } = await start();
    rope.serve("stock", { "/a": { watch: new Source().watch } });
    await served(conn);
    conn.kill();
    const next = await node.conn();
    expect(await served(next)).toMatchObject({ to: "stock:/a", bdy: { topic: {} } });
  });

  it("is run once for all who watch the same, and told when nobody does any more", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("stock", {}).watch("/ticker/{symbol}", s.watch);
    await served(conn);
    ask(conn, "subscribe", "1", "stock:/ticker/ABC?q", { bdy: { params: { step: 5, symbol: "no" } } });
    await expect.poll(() => s.runs.length).toBe(1);
    const [run] = s.runs;
    expect(run!.params).toEqual({ step: 5, symbol: "ABC" });
    expect(run!.ctx).toMatchObject({ to: "stock:/ticker/ABC?q", path: "/ticker/ABC", query: "q", session: undefined });
    run!.push(1);
    expect(await conn.take(to("1"))).toEqual({ vrb: "part", rmid: "1", bdy: 1 });
    ask(conn, "subscribe", "2", "stock:/ticker/ABC?q", { bdy: { params: { step: 5, symbol: "no" } } });
    expect(await conn.take(to("2"))).toEqual({ vrb: "part", rmid: "2", bdy: 1 }); // the last content, at once
    ask(conn, "get", "3", "stock:/ticker/ABC?q", { bdy: { params: { step: 5, symbol: "no" } } });
    expect(await conn.take(to("3"))).toEqual({ vrb: "reply", rmid: "3", bdy: 1 });
    ask(conn, "subscribe", "4", "stock:/ticker/XYZ");
    await expect.poll(() => s.runs.length).toBe(2);
    expect(s.runs[1]!.params).toEqual({ symbol: "XYZ" });
    conn.send({ vrb: "cancel", rmid: "1" });
    ask(conn, "get", "c", "stock:/nowhere");
    await conn.take(to("c")); // so it has had the cancel
    run!.push(new RopewalkError("source_down", "no prices"));
    run!.push(undefined);
    expect(await conn.take(to("2"))).toEqual({ vrb: "part", rmid: "2", flt: true, bdy: { code: "source_down", message: "no prices" } });
    expect(await conn.take(to("2"))).toEqual({ vrb: "part", rmid: "2", bdy: null });
    expect(conn.got.filter(to("1"))).toEqual([]);
    expect(run!.ctx.signal.aborted).toBe(false);
    conn.send({ vrb: "cancel", rmid: "2" });
    await expect.poll(() => s.ended).toBe(1);
    expect(run!.ctx.signal.aborted).toBe(true);
    ask(conn, "subscribe", "5", "stock:/ticker/ABC?q");
    await expect.poll(() => s.runs.length).toBe(3);
  });

  it("keeps its last content when the handler has ended", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    s.runs[0]!.push("last");
    s.runs[0]!.end();
    await expect.poll(() => s.ended).toBe(1);
    ask(conn, "subscribe", "2", "x:/");
    expect((await conn.take(to("2"))).bdy).toBe("last");
    expect(s.runs.length).toBe(1);
  });

  it("ends with the error that the handler throws; the next watch runs it anew", async () => {
    const { rope, conn, errors } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    ask(conn, "get", "2", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    s.runs[0]!.fail(new Error("secret"));
    for (const mid of ["1", "2"]) {
      expect(await conn.take(to(mid))).toEqual({ vrb: "error", rmid: mid, bdy: { code: "internal", message: "the service failed" } });
    }
    expect(errors).toMatchObject([{ code: "internal", path: "x:/" }]);
    ask(conn, "subscribe", "3", "x:/");
    await expect.poll(() => s.runs.length).toBe(2);
    s.runs[1]!.fail(new RopewalkError("not_found", "no"));
    expect((await conn.take(to("3"))).bdy).toMatchObject({ code: "not_found" });
    expect(errors.length).toBe(1);
  });

  it("a get without a watch runs it for one content", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch);
    await served(conn);
    ask(conn, "get", "1", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    s.runs[0]!.push(new RopewalkError("bad_content", "no"));
    expect(await conn.take(to("1"))).toEqual({ vrb: "error", rmid: "1", bdy: { code: "bad_content", message: "no" } });
    await expect.poll(() => s.ended).toBe(1);
  });

  it("events are not kept for who comes later, and there is nothing to get", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch, { events: true });
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    s.runs[0]!.push("a");
    await conn.take(to("1"));
    ask(conn, "subscribe", "2", "x:/");
    await turn();
    s.runs[0]!.push("b");
    expect((await conn.take(to("2"))).bdy).toBe("b");
    ask(conn, "get", "3", "x:/");
    expect((await conn.take(to("3"))).bdy).toMatchObject({ code: "unimplemented" });
  });

  it("events say of which address they are, for who watches a pattern", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/{room}", s.watch, { events: true }).watch("/state/{room}", s.watch);
    await served(conn);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/*");
    await expect.poll(() => s.runs.length).toBe(1);
    expect(s.runs[0]!.params).toEqual({ room: "*" });
    s.runs[0]!.push(new At("/a", { n: 1 }));
    expect(await conn.take(to("1"))).toMatchObject({ vrb: "part", to: "x:/a", bdy: { n: 1 } });
    s.runs[0]!.push("of all");
    const all = await conn.take(to("1"));
    expect([all.bdy, all.to]).toEqual(["of all", undefined]);
    ask(conn, "subscribe", "2", "x:/state/**");
    expect((await conn.take(to("2"))).bdy).toMatchObject({ code: "bad_address" });
  });

  it("a personal one is run for each session", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch, { personal: true });
    await served(conn);
    ask(conn, "subscribe", "1", "x:/", { ses: { id: "s1", subject: "anna" } });
    ask(conn, "subscribe", "2", "x:/", { ses: { id: "s2", subject: "berta" } });
    ask(conn, "subscribe", "3", "x:/", { ses: { id: "s1", subject: "anna" } });
    await expect.poll(() => s.runs.map((r) => r.ctx.session?.subject)).toEqual(["anna", "berta"]);
  });

  it("takes what is published, and calls if it has a handler", async () => {
    const { rope, conn } = await start();
    const put: unknown[] = [];
    rope.serve("x", {}).watch("/", new Source().watch, { publish: (content, ctx) => { put.push([content, ctx.from]); return "ok"; }, handler: () => "called" })
      .watch("/read", new Source().watch);
    await served(conn);
    await served(conn);
    ask(conn, "publish", "1", "x:/", { bdy: { a: 1 } });
    expect(await conn.take(to("1"))).toEqual({ vrb: "reply", rmid: "1", bdy: "ok" });
    ask(conn, "publish", "2", "x:/");
    await conn.take(to("2"));
    expect(put).toEqual([[{ a: 1 }, "n1@node:/"], [undefined, "n1@node:/"]]);
    ask(conn, "call", "3", "x:/");
    expect((await conn.take(to("3"))).bdy).toBe("called");
    ask(conn, "publish", "4", "x:/read", { bdy: 1 });
    expect((await conn.take(to("4"))).bdy).toMatchObject({ code: "unimplemented", message: "x:/read cannot be published to" });
    ask(conn, "call", "5", "x:/read");
    expect((await conn.take(to("5"))).bdy).toMatchObject({ code: "unimplemented", message: "x:/read cannot be called" });
    conn.send({ vrb: "send", to: "x:/read", bdy: 1 });
  });

  it("a route that is only called cannot be watched", async () => {
    const { rope, conn } = await start();
    rope.serve("x", { "/": () => 1 });
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    expect((await conn.take(to("1"))).bdy).toMatchObject({ code: "unimplemented" });
    ask(conn, "get", "2", "x:/nowhere");
    expect((await conn.take(to("2"))).bdy).toMatchObject({ code: "not_found" });
  });

  it("a connection that is gone watches nothing", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    rope.serve("x", {}).watch("/", s.watch);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    conn.kill();
    await expect.poll(() => s.ended).toBe(1);
  });

  it("stops with its service", async () => {
    const { rope, conn } = await start();
    const s = new Source();
    const svc = rope.serve("x", {}).watch("/", s.watch);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/");
    await expect.poll(() => s.runs.length).toBe(1);
    const stopped = svc.stop();
    conn.reply(await conn.take("unserve"));
    expect((await conn.take(to("1"))).bdy).toMatchObject({ code: "shutting_down", retryable: true });
    await stopped;
    expect(s.ended).toBe(1);
  });

  it("bounds how much is watched", async () => {
    const { rope, conn } = await start();
    rope.serve("x", {}, { topics: 1 }).watch("/{n}", new Source().watch);
    await served(conn);
    ask(conn, "subscribe", "1", "x:/1");
    ask(conn, "subscribe", "2", "x:/2");
    expect((await conn.take(to("2"))).bdy).toMatchObject({ code: "overloaded" });
  });
});
