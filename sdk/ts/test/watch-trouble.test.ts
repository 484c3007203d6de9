// Watches in a crowd of other things that happen: several at once, sessions that change, requests that cross.
import { afterEach, describe, expect, it } from "vitest";
import type { RopewalkError } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

const score = "json:/demo/score.json";

async function arm(conn: Conn, bdy: unknown, more: Wire = {}): Promise<Wire> {
  const m = await conn.take("subscribe");
  conn.reply(m, bdy, { tpc: "t1", epo: "e", off: 1, ...more });
  return m;
}

const refuse = (conn: Conn, m: Wire, bdy: object): void => conn.send({ vrb: "error", rmid: m.mid!, frm: "n1@node:/", bdy });
const personal = { code: "revoked", message: "what is seen depends on who looks", retryable: true };

describe("a watch of what depends on who looks", () => {
  it("is asked for again without a word when the session is another one", async () => {
    const { rope, conn, errors } = await start();
    const seen: unknown[] = [];
    const loop = (async () => {
      for await (const u of rope.watch("mine:/orders")) if (seen.push(u.content) === 2) return;
    })();
    await arm(conn, "nobody's");
    await expect.poll(() => seen).toEqual(["nobody's"]);
    conn.send({ vrb: "unsubscribe", tpc: "t1", bdy: personal });
    await arm(conn, "anna's", { epo: "f" });
    await loop;
    expect(seen).toEqual(["nobody's", "anna's"]);
    expect(errors).toEqual([]);
  });

  it("is asked for again if that was so before the answer", async () => {
    const { rope, conn } = await start();
    const told: RopewalkError[] = [];
    const w = rope.watch("mine:/orders", { onError: (e) => told.push(e) }, () => {});
    refuse(conn, await conn.take("subscribe"), personal);
    await arm(conn, 1);
    await w.ready;
    expect(told).toEqual([]);
  });
});

it("a refusal that crosses a change of the session does not count", async () => {
  const { rope, conn } = await start();
  const w = rope.watch(score, { onError: () => {} }, () => {});
  const asked = await conn.take("subscribe");
  const opened = rope.openSession("t");
  conn.reply(await conn.take("call"), { session: { id: "s1", subject: "anna" } });
  await opened;
  refuse(conn, asked, { code: "forbidden", message: "no" });
  await arm(conn, 1);
  await w.ready;
});

describe("a watch that ends while the topic is asked for once more", () => {
  // The last watch of a topic whose content has to be sent whole again ends.
  async function ending(): Promise<{ conn: Conn; again: Wire; reopen: () => void }> {
    const { rope, conn } = await start();
    const w = rope.watch(score, { delta: true }, () => {});
    await arm(conn, 1);
    await w.ready;
    conn.send({ vrb: "update", tpc: "t1", off: 2, cty: "application/merge-patch+json", bdy: new TextEncoder().encode("{") });
    const again = await conn.take("subscribe");
    w.close();
    await conn.take("cancel");
    return { conn, again, reopen: () => void rope.watch(score, {}, () => {}) };
  }

  it("takes back what there was before, if the request was canceled", async () => {
    const { conn, again, reopen } = await ending();
    refuse(conn, again, { code: "canceled", message: "canceled by the caller" });
    expect(await conn.take("unsubscribe")).toMatchObject({ tpc: "t1" });
    reopen();
    await arm(conn, 3);
  });

  it("takes it back, if the answer came first", async () => {
    const { conn, again } = await ending();
    conn.reply(again, 3, { tpc: "t1", epo: "e", off: 3 });
    expect(await conn.take("unsubscribe")).toMatchObject({ tpc: "t1" });
  });
});

it("a loop is not ended by an error that is over", async () => {
  const { rope, conn } = await start();
  const w = rope.watch<number>(score);
  await arm(conn, 1);
  await w.ready;
  conn.send({ vrb: "update", tpc: "t1", off: 2, flt: true, bdy: { code: "bad_content", message: "no" } });
  conn.send({ vrb: "update", tpc: "t1", off: 3, bdy: 3 });
  await expect.poll(() => w.current?.content).toBe(3);
  await turn();
  const seen: number[] = [];
  for await (const u of w) {
    seen.push(u.content);
    if (u.content === 4) break;
    conn.send({ vrb: "update", tpc: "t1", off: 4, bdy: 4 });
  }
  expect(seen).toEqual([3, 4]);
});

it("of several watches of events that begin at once each gets what it asked for", async () => {
  const { rope, conn } = await start();
  const got: Record<string, number[]> = { plain: [], two: [], five: [] };
  const histories = { five: 5, plain: 0, two: 2 };
  for (const [name, history] of Object.entries(histories)) rope.watch<number>("log:/x", { history }, (u) => got[name]!.push(u.content));
  for (const _ of "123") {
    const m = await conn.take("subscribe");
    const { history = 0 } = (m.bdy ?? {}) as { history?: number };
    conn.reply(m, undefined, { tpc: "t1", epo: "e", off: 10 - history });
    for (let off = 11 - history; off <= 10; off++) conn.send({ vrb: "update", tpc: "t1", off, bdy: off });
  }
  conn.send({ vrb: "update", tpc: "t1", off: 11, bdy: 11 });
  await expect.poll(() => got).toEqual({ plain: [11], two: [9, 10, 11], five: [6, 7, 8, 9, 10, 11] });
});

it("a deleted topic of the client's own is forgotten", async () => {
  const { rope } = await start();
  await rope.publish("app:row.1", 1);
  await rope.publish("app:row.1", undefined);
  expect(rope.topics.size).toBe(0);
});

it("a client that is closed ends a watch that is being asked for without a word", async () => {
  const { rope, conn, errors } = await start();
  const told: unknown[] = [];
  const w = rope.watch(score, { onError: (e) => told.push(e.code) }, () => told.push("update"));
  rope.watch(score + "x", {}, () => told.push("update"));
  await conn.take("subscribe");
  await rope.close();
  await expect(w.ready).rejects.toMatchObject({ code: "canceled" });
  expect(told).toEqual([]);
  expect(errors).toEqual([]);
});

it("params are those of the call, whatever becomes of the object", async () => {
  const { node, rope, conn } = await start();
  interface Filter { gate: string } // has no index signature
  const params: Filter = { gate: "B" };
  rope.watch(score, { params }, () => {});
  params.gate = "C";
  rope.watch(score, { params }, () => {});
  const asked = async (c: Conn): Promise<unknown[]> => [(await c.take("subscribe")).bdy, (await c.take("subscribe")).bdy];
  const both = [{ params: { gate: "B" } }, { params: { gate: "C" } }];
  expect(await asked(conn)).toEqual(both);
  params.gate = "D";
  conn.kill();
  expect(await asked(await node.conn())).toEqual(both);
});

it("a callback in place of the options is a mistake", async () => {
  const { rope } = await start();
  expect(() => rope.watch(score, (() => {}) as object)).toThrow("options come second");
});
