import { afterEach, describe, expect, it } from "vitest";
import type { Gap, Update } from "../src/index.js";
import { client, start, startNode, stopAll, turn } from "./setup.js";
import { arm, contents, score, until, update } from "./topic-node.js";

afterEach(stopAll);

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
