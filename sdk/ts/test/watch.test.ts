import { afterEach, describe, expect, it, vi } from "vitest";
import { RopewalkError, type Gap, type Update } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { client, reached, start, startNode, stopAll, turn } from "./setup.js";

afterEach(stopAll);

const score = "json:/demo/score.json";

/** Answers the next subscribe with a content. */
async function arm(conn: Conn, bdy: unknown, more: Wire = {}): Promise<Wire> {
  const m = await conn.take("subscribe");
  conn.reply(m, bdy, { tpc: "t1", epo: "e", off: 1, ...more });
  return m;
}

function update(conn: Conn, off: number, bdy: unknown, more: Wire = {}): void {
  conn.send({ vrb: "update", tpc: "t1", off, bdy, ...more });
}

const patchOf = (v: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(v));
const contents = (all: Update[]): unknown[] => all.map((u) => u.content);

async function until(fits: () => boolean): Promise<void> {
  await expect.poll(fits).toBe(true);
}

describe("watch", () => {
  it("tells the content, and each that it becomes", async () => {
    const { rope, conn } = await start();
    const got: Update<string>[] = [];
    const w = rope.watch<string>(score, { params: { half: 2 } }, (u) => got.push(u));
    expect(w.address).toBe(score);
    expect(w.live).toBe(false);
    const m = await arm(conn, "0 : 0");
    expect(m).toMatchObject({ to: score, bdy: { params: { half: 2 } } });
    await w.ready;
    expect(w.live).toBe(true);
    update(conn, 2, "1 : 0", { pub: { client: "c9", subject: "anna" } });
    update(conn, 1, "0 : 0 again"); // it has had that
    update(conn, 7, null, { epo: "e2" });
    await until(() => got.length === 3);
    const common = { address: score, gap: false, optimistic: false };
    expect(got).toEqual([
      { ...common, content: "0 : 0", epoch: "e", offset: 1, publisher: undefined },
      { ...common, content: "1 : 0", epoch: "e", offset: 2, publisher: { client: "c9", subject: "anna" } },
      { ...common, content: null, epoch: "e2", offset: 7, publisher: undefined },
    ]);
    expect(w.current).toBe(got[2]);
    w.close();
    w.close();
    const bye = await conn.take("unsubscribe");
    expect(bye).toMatchObject({ tpc: "t1", mid: expect.any(String) });
    update(conn, 8, "late");
    await turn();
    expect(got.length).toBe(3);
    expect(w.live).toBe(false);
  });

  it("is shared by all who watch the same with the same parameters, and a new one gets the last content at once", async () => {
    const { rope, conn } = await start();
    const a: unknown[] = [];
    const b: unknown[] = [];
    const first = rope.watch(score, { params: { x: 1, y: { b: 1, a: [1] } }, delta: true }, (u) => a.push(u.content));
    const m = await arm(conn, 1);
    expect(m.bdy).toEqual({ params: { x: 1, y: { b: 1, a: [1] } }, delta: ["merge", "patch", "rows"] });
    await first.ready;
    const second = rope.watch(score, { params: { y: { a: [1], b: 1 }, x: 1 } }, (u) => b.push(u.content));
    expect(b).toEqual([]); // never before watch returns
    await second.ready;
    await turn();
    expect(b).toEqual([1]);
    update(conn, 2, 2);
    await until(() => b.length === 2);
    expect([a, b]).toEqual([[1, 2], [1, 2]]);
    rope.watch(score, { params: { x: 2 } }, () => {});
    expect((await conn.take("subscribe")).bdy).toEqual({ params: { x: 2 } });
    expect(conn.got).toEqual([]);
    first.close();
    update(conn, 3, 3);
    await until(() => b.length === 3);
    expect(conn.got).toEqual([]);
    second.close();
    await conn.take("unsubscribe");
    expect(a).toEqual([1, 2]);
  });

  it("two that begin before the content is there share, too", async () => {
    const { rope, conn } = await start();
    const got: unknown[] = [];
    for (const name of ["a", "b"]) rope.watch(score, {}, (u) => got.push([name, u.content]));
    await arm(conn, 1);
    await until(() => got.length === 2);
    expect(got).toEqual([["a", 1], ["b", 1]]);
    expect(conn.got).toEqual([]);
  });

  it("is read by a loop, which sees the newest content only, and ends the watch", async () => {
    const { rope, conn } = await start();
    const w = rope.watch<number>(score);
    await arm(conn, 1);
    await w.ready;
    for (const n of [2, 3, 4]) update(conn, n, n);
    await until(() => w.current?.content === 4);
    const seen: number[] = [];
    for await (const u of w) {
      seen.push(u.content);
      if (u.content === 4) update(conn, 5, 5);
      else break;
    }
    expect(seen).toEqual([4, 5]);
    await conn.take("unsubscribe");
  });

  it("a loop ends quietly with close, and throws when it is aborted", async () => {
    const { rope, conn } = await start();
    const w = rope.watch(score);
    const loop = (async () => { for await (const _ of w) w.close(); })();
    await arm(conn, 1);
    await loop;
    const abort = new AbortController();
    const aborted = rope.watch(score, { signal: abort.signal });
    const other = (async () => { for await (const _ of aborted) abort.abort(); })();
    await arm(conn, 1, { tpc: "t2" });
    await expect(other).rejects.toMatchObject({ code: "canceled" });
    expect(() => rope.watch(score, { signal: AbortSignal.abort() })).toThrow(RopewalkError);
  });

  it("takes a subscribe back that was not answered yet", async () => {
    const { rope, conn } = await start();
    const w = rope.watch(score, {}, () => {});
    const m = await conn.take("subscribe");
    w.close();
    await expect(w.ready).rejects.toMatchObject({ code: "canceled" });
    expect(await conn.take("cancel")).toMatchObject({ rmid: m.mid });
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "canceled", message: "" } });
    await turn();
    // The other way round: the answer was on its way. It is watched again meanwhile, so it counts.
    const again = rope.watch(score, {}, () => {});
    const late = await conn.take("subscribe");
    again.close();
    await conn.take("cancel");
    const got: unknown[] = [];
    rope.watch(score, {}, (u) => got.push(u.content));
    conn.reply(late, "here", { tpc: "t1", epo: "e", off: 1 });
    await until(() => got.length === 1);
    expect(conn.got).toEqual([]);
  });

  it("ends on the node what was answered after it was taken back", async () => {
    const { rope, conn } = await start();
    const w = rope.watch(score, {}, () => {});
    const m = await conn.take("subscribe");
    w.close();
    conn.reply(m, 1, { tpc: "t1", epo: "e", off: 1 });
    expect(await conn.take("unsubscribe")).toMatchObject({ tpc: "t1" });
    const second = rope.watch(score, {}, () => {});
    await arm(conn, 2);
    await second.ready;
  });

  it("asks again if it is wanted again after it was taken back", async () => {
    const { rope, conn } = await start();
    rope.watch(score, {}, () => {}).close();
    expect(conn.got.length).toBe(0);
    const m = await conn.take("subscribe");
    const got: unknown[] = [];
    rope.watch(score, {}, (u) => got.push(u.content));
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "canceled", message: "" } });
    await arm(conn, 3);
    await until(() => got.length === 1);
  });

  it("lingers if it is asked to", async () => {
    const { rope, conn } = await start();
    const w = rope.watch(score, { linger: 60_000 }, () => {});
    await arm(conn, 1);
    await w.ready;
    w.close();
    const got: unknown[] = [];
    const next = rope.watch(score, { linger: 5 }, (u) => got.push(u.content));
    await next.ready;
    await turn();
    expect(got).toEqual([1]);
    expect(conn.got).toEqual([]);
    next.close();
    expect(rope.peek(score)?.content).toBe(1);
    await conn.take("unsubscribe");
    expect(rope.peek(score)).toBeUndefined();
  });

  it("asks for only so many at once", async () => {
    const { rope, conn } = await start();
    for (let i = 0; i < 300; i++) rope.watch(`json:/demo/${i}`, {}, () => {});
    await until(() => conn.got.length === 256);
    await turn();
    expect(conn.got.length).toBe(256);
    conn.reply(conn.got[0]!, 1, { tpc: "a", epo: "e", off: 1 });
    await until(() => conn.got.length === 257);
  });
});

describe("trouble", () => {
  it("tells faults, and the content when it is back; who comes meanwhile hears of it too", async () => {
    const { rope, conn } = await start();
    const told: unknown[] = [];
    const opts = { onError: (e: RopewalkError) => told.push(e.code) };
    const w = rope.watch(score, opts, (u) => told.push(u.content));
    await arm(conn, { code: "not_found", message: "no such file" }, { flt: true });
    await w.ready;
    expect(rope.peek(score)).toBeUndefined();
    update(conn, 2, "there");
    update(conn, 3, { code: "bad_content", message: "line 1" }, { flt: true });
    await until(() => told.length === 3);
    rope.watch(score, { onError: (e) => told.push("other " + e.code) }, (u) => told.push(u.content));
    await turn();
    expect(told).toEqual(["not_found", "there", "bad_content", "other bad_content"]);
    expect(w.live).toBe(true);
  });

  it("a callback without onError leaves it to the client, a loop throws it", async () => {
    const { rope, conn, errors } = await start();
    rope.watch(score, {}, () => {});
    const w = rope.watch(score);
    const loop = (async () => { for await (const _ of w); })();
    await arm(conn, { code: "not_found", message: "no such file" }, { flt: true });
    await expect(loop).rejects.toMatchObject({ code: "not_found", remote: true });
    expect(errors).toMatchObject([{ code: "not_found" }]);
  });

  it("a refusal is final until the session is another one", async () => {
    const { rope, conn } = await start();
    const told: unknown[] = [];
    const w = rope.watch(score, {}, (u) => told.push(u.content), (e) => told.push(e.code));
    const m = await conn.take("subscribe");
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "forbidden", message: "" } });
    await expect(w.ready).rejects.toMatchObject({ code: "forbidden" });
    await turn();
    expect(conn.got).toEqual([]);
    conn.send({ vrb: "session", bdy: { event: "changed", session: { id: "s", subject: "anna" } } });
    await arm(conn, 1);
    await until(() => told.length === 2);
    conn.send({ vrb: "unsubscribe", tpc: "t1", bdy: { code: "revoked", message: "" } });
    await until(() => told.length === 3);
    expect(w.live).toBe(false);
    update(conn, 2, "not any more");
    conn.send({ vrb: "session", bdy: { event: "changed", session: { id: "s", subject: "berta" } } });
    const again = await conn.take("subscribe");
    expect(again.bdy).toEqual({ recover: { epoch: "e", offset: 1 } });
    conn.reply(again, undefined, { tpc: "t1", epo: "e", off: 1 });
    await until(() => w.live);
    expect(told).toEqual(["forbidden", 1, "revoked"]);
  });

  it("what may pass is tried again, and told once", async () => {
    const { rope, conn } = await start();
    const told: unknown[] = [];
    rope.watch(score, {}, (u) => told.push(u.content), (e) => told.push(e.code));
    for (let i = 0; i < 3; i++) {
      const m = await conn.take("subscribe");
      conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "service_down", message: "", retryable: true } });
    }
    await arm(conn, 1);
    await until(() => told.length === 2);
    expect(told).toEqual(["service_down", 1]);
  });

  it("a body that cannot be read is asked for again", async () => {
    const { rope, conn } = await start();
    const told: unknown[] = [];
    rope.watch(score, {}, (u) => told.push(u.content), (e) => told.push(e.code));
    await arm(conn, 1);
    conn.raw('{"vrb":"update","tpc":"t1","off":2}\n{');
    expect((await conn.take("subscribe")).bdy).toEqual({});
  });

  it("a callback that throws does not keep others from it", async () => {
    const { rope, conn } = await start();
    const uncaught = vi.fn();
    process.once("uncaughtException", uncaught);
    const listeners = process.listeners("uncaughtException").filter((l) => l !== uncaught);
    for (const l of listeners) process.off("uncaughtException", l);
    const got: unknown[] = [];
    rope.watch(score, {}, () => { throw new Error("bug"); });
    rope.watch(score, {}, (u) => got.push(u.content));
    await arm(conn, 1);
    await until(() => got.length === 1);
    await turn();
    for (const l of listeners) process.on("uncaughtException", l);
    expect(uncaught).toHaveBeenCalledOnce();
  });

  it("ends with the client: quietly when it is closed, with the reason when the node forbids to come back", async () => {
    const { rope, conn } = await start();
    const w = rope.watch(score);
    await arm(conn, 1);
    const loop = (async () => { for await (const _ of w); })();
    await w.ready;
    await rope.close();
    await loop;
    expect(() => rope.watch(score)).toThrow(/closed/);
    const second = await start();
    const told: unknown[] = [];
    const w2 = second.rope.watch(score, {}, () => {}, (e) => told.push(e.code));
    const read = (async () => { for await (const _ of second.rope.watch(score)); })();
    second.conn.close(4102, "go away");
    await expect(read).rejects.toMatchObject({ code: "forbidden" });
    expect(told).toEqual(["forbidden"]);
    expect(w2.live).toBe(false);
  });
});

describe("changes", () => {
  it("are applied, and leave alone what they do not touch", async () => {
    const { rope, conn } = await start();
    const got: Update<{ a: { n: number }; list: { id: number; v: string }[] }>[] = [];
    rope.watch<never>(score, { delta: ["merge", "patch"] }, (u) => got.push(u));
    await arm(conn, { a: { n: 1 }, list: [{ id: 1, v: "x" }, { id: 2, v: "y" }] });
    update(conn, 2, patchOf({ a: { n: 2 } }), { cty: "application/merge-patch+json" });
    update(conn, 3, patchOf([{ op: "replace", path: "/list/1/v", value: "z" }]), { cty: "application/json-patch+json" });
    await until(() => got.length === 3);
    const [one, two, three] = got.map((u) => u.content);
    expect(three).toEqual({ a: { n: 2 }, list: [{ id: 1, v: "x" }, { id: 2, v: "z" }] });
    expect(one!.a.n).toBe(1);
    expect(two!.list).toBe(one!.list);
    expect(three!.a).toBe(two!.a);
    expect(three!.list[0]).toBe(one!.list[0]);
    expect(three!.list[1]).not.toBe(one!.list[1]);
  });

  it("that do not fit have the whole asked for again", async () => {
    const { rope, conn } = await start();
    const got: Update[] = [];
    rope.watch(score, { delta: true }, (u) => got.push(u));
    await arm(conn, { a: 1 });
    update(conn, 2, patchOf([{ op: "remove", path: "/b" }]), { cty: "application/json-patch+json" });
    const m = await conn.take("subscribe");
    expect(m.bdy).toEqual({ delta: ["merge", "patch", "rows"] });
    update(conn, 3, { a: 3 }); // overtaken by the answer
    conn.reply(m, { a: 4 }, { tpc: "t1", epo: "e", off: 4 });
    update(conn, 5, patchOf({ a: 5 }), { cty: "application/merge-patch+json" });
    await until(() => got.length === 3);
    expect(contents(got)).toEqual([{ a: 1 }, { a: 4 }, { a: 5 }]);
  });
});

describe("after a reconnect", () => {
  it("goes on where it was", async () => {
    const { node, rope, conn } = await start();
    const got: unknown[] = [];
    const live: boolean[] = [];
    const w = rope.watch(score, { onLive: (l) => live.push(l) }, (u) => got.push(u.content));
    await arm(conn, 1);
    update(conn, 2, 2);
    await until(() => got.length === 2);
    conn.kill();
    const next = await node.conn();
    const m = await next.take("subscribe");
    expect(m.bdy).toEqual({ recover: { epoch: "e", offset: 2 } });
    expect(w.live).toBe(false);
    const late: unknown[] = [];
    rope.watch(score, {}, (u) => late.push(u.content)); // sees what was known
    await turn();
    expect(late).toEqual([2]);
    next.reply(m, undefined, { tpc: "n1", epo: "e", off: 2 });
    next.send({ vrb: "update", tpc: "n1", off: 3, bdy: 3 });
    await until(() => got.length === 3);
    expect(live).toEqual([true, false, true]);
    next.kill();
    const third = await node.conn();
    await arm(third, "other", { epo: "e2", off: 1 });
    await until(() => got.length === 4);
    expect(got).toEqual([1, 2, 3, "other"]);
    expect(late).toEqual([2, 3, "other"]);
  });

  it("what began offline is asked for then", async () => {
    const node = await startNode();
    const { rope } = client(node.url);
    const got: unknown[] = [];
    rope.watch(score, {}, (u) => got.push(u.content));
    rope.watch(score + "x", {}, () => {}).close();
    const conn = await node.conn();
    await arm(conn, 1);
    await until(() => got.length === 1);
    expect(conn.got).toEqual([]);
  });

  it("does not listen to the connection before any more, once it has asked on the next", async () => {
    const other = await startNode({ name: "n2" });
    const { rope, conn } = await start({ nodes: [{ id: "n2", name: "b", urls: [other.url] }] });
    const got: unknown[] = [];
    const w = rope.watch(score, {}, (u) => got.push(u.content));
    await arm(conn, 1);
    await w.ready;
    conn.send({ vrb: "drain" });
    const next = await other.conn();
    const m = await next.take("subscribe");
    update(conn, 2, "by the old one");
    next.reply(m, 2, { tpc: "t1", epo: "e", off: 2 });
    await until(() => got.length === 2);
    expect(got).toEqual([1, 2]);
  });
});

describe("events", () => {
  const log = "chat:/room";

  async function room(history?: number) {
    const s = await start();
    const got: Update<string>[] = [];
    const gaps: Gap[] = [];
    const w = s.rope.watch<string>(log, { history, onGap: (g) => gaps.push(g) }, (u) => got.push(u));
    const m = await arm(s.conn, undefined, { off: 10 });
    await w.ready;
    return { ...s, got, gaps, w, m };
  }

  it("come one by one; a loop keeps a bounded number", async () => {
    const { rope, conn, got } = await room();
    const w = rope.watch(log, { buffer: 2 });
    await w.ready;
    for (let i = 11; i < 15; i++) update(conn, i, `m${i}`);
    await until(() => got.length === 4);
    const seen: Update[] = [];
    for await (const u of w) if (seen.push(u) === 2) break;
    expect(seen.map((u) => [u.content, u.gap])).toEqual([["m13", true], ["m14", false]]);
    expect(got.every((u) => !u.gap)).toBe(true);
  });

  it("a new watch does not get old ones, unless it asks for them", async () => {
    const { rope, conn, got, m } = await room(2);
    expect(m.bdy).toEqual({ history: 2 });
    update(conn, 11, "m11");
    await until(() => got.length === 1);
    const plain: unknown[] = [];
    await rope.watch(log, {}, (u) => plain.push(u.content)).ready;
    const past: unknown[] = [];
    rope.watch(log, { history: 3 }, (u) => past.push(u.content));
    const again = await conn.take("subscribe");
    expect(again.bdy).toEqual({ history: 3 });
    update(conn, 12, "m12"); // before the answer: not for the one that is not armed
    conn.reply(again, undefined, { tpc: "t1", epo: "e", off: 9 });
    for (let i = 10; i < 14; i++) update(conn, i, `m${i}`);
    await until(() => got.length === 3);
    expect(contents(got)).toEqual(["m11", "m12", "m13"]);
    expect(plain).toEqual(["m12", "m13"]);
    expect(past).toEqual(["m10", "m11", "m12", "m13"]);
  });

  it("that were lost are told: on the way, and after a reconnect", async () => {
    const { node, conn, got, gaps } = await room();
    update(conn, 11, "m11");
    conn.send({ vrb: "gap", tpc: "t1", off: 20 });
    update(conn, 21, "m21");
    await until(() => got.length === 2);
    expect(gaps).toEqual([{ address: log, epoch: "e", after: 11, offset: 20 }]);
    expect(got.map((u) => u.gap)).toEqual([false, true]);
    conn.kill();
    const next = await node.conn();
    const m = await next.take("subscribe");
    expect(m.bdy).toEqual({ recover: { epoch: "e", offset: 21 } });
    next.reply(m, undefined, { tpc: "t1", epo: "f", off: 3 });
    update(next, 4, "new");
    await until(() => got.length === 3);
    expect(gaps[1]).toEqual({ address: log, epoch: "f", after: 21, offset: 3 });
    expect(got[2]).toMatchObject({ content: "new", epoch: "f", gap: true });
  });

  it("are recovered from the first that some watch lacks", async () => {
    const { node, rope, conn, got } = await room();
    update(conn, 11, "m11");
    await until(() => got.length === 1);
    const past: unknown[] = [];
    rope.watch(log, { history: 5 }, (u) => past.push(u.content));
    conn.reply(await conn.take("subscribe"), undefined, { tpc: "t1", epo: "e", off: 7 });
    update(conn, 8, "m8");
    await until(() => past.length === 1);
    conn.kill();
    const next = await node.conn();
    const m = await next.take("subscribe");
    expect(m.bdy).toEqual({ recover: { epoch: "e", offset: 8 } });
    next.reply(m, undefined, { tpc: "t1", epo: "e", off: 8 });
    for (let i = 9; i < 13; i++) update(next, i, `m${i}`);
    await until(() => got.length === 2);
    expect(contents(got)).toEqual(["m11", "m12"]);
    expect(past).toEqual(["m8", "m9", "m10", "m11", "m12"]);
  });

  it("of a pattern say their address", async () => {
    const { rope, conn } = await start();
    const got: Update[] = [];
    rope.watch("prices:/**", {}, (u) => got.push(u));
    await arm(conn, undefined, { off: 0 });
    update(conn, 1, 5, { to: "prices:/x" });
    await until(() => got.length === 1);
    expect(got[0]!.address).toBe("prices:/x");
  });
});

describe("get and publish", () => {
  it("get asks for the content, again after a reconnect", async () => {
    const { node, rope, conn } = await start();
    const got = rope.get(score, { params: { a: 1 } });
    expect(await conn.take("get")).toMatchObject({ to: score, bdy: { params: { a: 1 } }, tmo: expect.any(Number) });
    conn.kill();
    const next = await node.conn();
    const m = await next.take("get");
    next.reply(m, 7, { epo: "e", off: 3 });
    expect(await got).toBe(7);
    const bad = rope.get(score);
    next.reply(await next.take("get"), { code: "not_found", message: "" }, { flt: true });
    await expect(bad).rejects.toMatchObject({ code: "not_found" });
    const abort = new AbortController();
    const gone = rope.get(score, { signal: abort.signal });
    await next.take("get");
    abort.abort();
    await expect(gone).rejects.toMatchObject({ code: "canceled" });
    await next.take("cancel");
  });

  it("publish waits for a connection, in order, and resolves with the answer", async () => {
    const node = await startNode();
    node.down = true;
    const { rope } = client(node.url, { queue: 2, timeout: 400 });
    const put = rope.publish(score, "1 : 0");
    const gone = rope.publish(score, undefined, { type: "t" });
    await expect(rope.publish(score, 3)).rejects.toMatchObject({ code: "overloaded" });
    await expect(rope.publish(score, 3, { online: true })).rejects.toMatchObject({ code: "not_ready" });
    await new Promise((r) => setTimeout(r, 450)); // longer than an answer may take
    node.down = false;
    const conn = await node.conn();
    const m = await conn.take("publish");
    expect(m).toMatchObject({ to: score, bdy: "1 : 0" });
    conn.reply(m, { rowsAffected: 1 });
    expect(await put).toEqual({ rowsAffected: 1 });
    const del = await conn.take("publish");
    expect(del).toMatchObject({ typ: "t" });
    expect("bdy" in del).toBe(false);
    await expect(gone).rejects.toMatchObject({ code: "deadline_exceeded" }); // from when it was sent
  });

  it("fails with the connection, as it may have been done", async () => {
    const { rope, conn } = await start();
    const put = rope.publish(score, 1);
    await conn.take("publish");
    conn.kill();
    await expect(put).rejects.toMatchObject({ code: "connection_lost" });
  });
});

describe("optimistic publish", () => {
  async function watching() {
    const s = await start();
    const got: Update[] = [];
    const errors: unknown[] = [];
    const w = s.rope.watch(score, {}, (u) => got.push(u), (e) => errors.push(e.code));
    await arm(s.conn, "old");
    await until(() => got.length === 1);
    return { ...s, got, w, failed: errors };
  }
  const shown = (got: Update[]): unknown[] => got.map((u) => (u.optimistic ? `(${String(u.content)})` : u.content));

  it("is seen at once, and replaced by the content", async () => {
    const { rope, conn, got } = await watching();
    const put = rope.publish(score, "new", { optimistic: true });
    await until(() => got.length === 2);
    expect(rope.peek(score)).toMatchObject({ content: "new", optimistic: true });
    const m = await conn.take("publish");
    update(conn, 2, "somebody's"); // not ours: ours comes yet
    update(conn, 3, "new");
    conn.reply(m);
    await put;
    await until(() => got.length === 3);
    expect(shown(got)).toEqual(["old", "(new)", "new"]);
    expect(got[2]!.offset).toBe(3);
  });

  it("stays until the update comes, which may be after the reply", async () => {
    const { rope, conn, got } = await watching();
    const put = rope.publish(score, "new", { optimistic: true });
    conn.reply(await conn.take("publish"));
    await put;
    await turn();
    update(conn, 2, "NEW");
    await until(() => got.length === 3);
    expect(shown(got)).toEqual(["old", "(new)", "NEW"]);
  });

  it("gives way after a second if nothing changed", async () => {
    const { rope, conn, got } = await watching();
    const put = rope.publish(score, "same", { optimistic: true });
    conn.reply(await conn.take("publish"));
    await put;
    await until(() => got.length === 3);
    expect(shown(got)).toEqual(["old", "(same)", "old"]);
  });

  it("is taken back when it is refused; what others see at last is right", async () => {
    const { rope, conn, got } = await watching();
    const put = rope.publish(score, "bad", { optimistic: true });
    const next = rope.publish(score, "good", { optimistic: true });
    const [m1, m2] = [await conn.take("publish"), await conn.take("publish")];
    conn.send({ vrb: "error", rmid: m1.mid!, bdy: { code: "forbidden", message: "" } });
    await expect(put).rejects.toMatchObject({ code: "forbidden" });
    conn.send({ vrb: "error", rmid: m2.mid!, bdy: { code: "conflict", message: "" } });
    await expect(next).rejects.toMatchObject({ code: "conflict" });
    await until(() => got.length === 4);
    expect(shown(got)).toEqual(["old", "(bad)", "(good)", "old"]);
  });

  it("is taken back when it cannot be accepted at all", async () => {
    const { rope, got } = await watching();
    await expect(rope.publish(score, "x", { optimistic: true, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "canceled" });
    await turn();
    expect(shown(got).at(-1)).toBe("old");
  });

  it("works where there is no content yet", async () => {
    const { rope, conn } = await start();
    const told: unknown[] = [];
    rope.watch(score, {}, (u) => told.push(u.content), (e) => told.push(e.code));
    await arm(conn, { code: "not_found", message: "" }, { flt: true });
    await until(() => told.length === 1);
    const put = rope.publish(score, "first", { optimistic: true });
    await until(() => told.length === 2);
    const m = await conn.take("publish");
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "storage_full", message: "" } });
    await expect(put).rejects.toThrow();
    await until(() => told.length === 3);
    expect(told).toEqual(["not_found", "first", "not_found"]);
  });
});

describe("app: topics", () => {
  it("stay here, and come in order, after publish has returned", async () => {
    const { rope, conn } = await start();
    const got: unknown[] = [];
    const w = rope.watch("app:cart", {}, (u) => got.push(u.content));
    await w.ready;
    expect(w.live).toBe(true);
    await rope.publish("app:cart", 1);
    void rope.publish("app:cart", 2);
    void rope.publish("app:cart", 3);
    expect(got).toEqual([1]);
    await turn();
    expect(got).toEqual([1, 2, 3]);
    w.close();
    expect(await rope.get("app:cart")).toBe(3); // it stays without a watch
    const late: unknown[] = [];
    rope.watch("app:cart", {}, (u) => late.push(u.content));
    await turn();
    expect(late).toEqual([3]);
    await rope.publish("app:cart", undefined);
    await turn();
    expect(late).toEqual([3, undefined]);
    await expect(rope.get("app:cart")).rejects.toMatchObject({ code: "not_found" });
    expect(conn.got).toEqual([]);
  });

  it("have fields", async () => {
    const { rope } = await start();
    const form: unknown[] = [];
    rope.watch("app:form", {}, (u) => form.push(u.content));
    await rope.publish("app:form#age", 42);
    await turn();
    expect(form).toEqual([]); // who watches the whole is not told
    expect(await rope.get("app:form")).toEqual({ age: 42 });
    await rope.publish("app:form", { age: 43, name: "Bob" });
    const name: unknown[] = [];
    rope.watch("app:form#name", {}, (u) => name.push(u.content));
    expect(await rope.get("app:form#age")).toBe(42); // its own
    await rope.publish("app:form#__proto__", { evil: 1 });
    await turn();
    expect(name).toEqual(["Bob"]);
    expect(({} as { evil?: number }).evil).toBeUndefined();
    await rope.publish("app:form#name", undefined);
    expect(Object.keys(await rope.get<object>("app:form"))).toEqual(["age", "__proto__"]);
  });
});

it("survives a reconnect while a publish is shown", async () => {
  const { node, rope, conn } = await start();
  const got: Update[] = [];
  rope.watch(score, {}, (u) => got.push(u), () => {});
  await arm(conn, "old");
  await until(() => got.length === 1);
  const put = rope.publish(score, "mine", { optimistic: true, idempotent: true });
  await conn.take("publish");
  const waiting = reached(rope, "connected");
  conn.kill();
  await waiting;
  const next = await node.conn();
  next.reply(await next.take("subscribe"), undefined, { tpc: "t2", epo: "e", off: 1 });
  next.reply(await next.take("publish"));
  await put;
  next.send({ vrb: "update", tpc: "t2", off: 2, bdy: "mine" });
  await until(() => got.length === 3);
  expect(got.map((u) => [u.content, u.optimistic])).toEqual([["old", false], ["mine", true], ["mine", false]]);
});
