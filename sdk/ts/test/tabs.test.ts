// Sessions that other tabs of the browser share, and clocks that are wrong.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { SessionEvent } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { client, start, startNode, stopAll, turn } from "./setup.js";

const kept = new Map<string, string>();

beforeEach(() => {
  kept.clear();
  vi.stubGlobal("localStorage", {
    getItem: (k: string) => kept.get(k) ?? null,
    setItem: (k: string, v: string) => void kept.set(k, v),
    removeItem: (k: string) => void kept.delete(k),
  });
});

afterEach(async () => {
  await stopAll();
  vi.unstubAllGlobals();
});

const anna = { session: { id: "s1", subject: "anna" } };
const refuse = (conn: Conn, m: Wire): void =>
  conn.send({ vrb: "error", rmid: m.mid!, frm: "n1@node:/", bdy: { code: "unauthenticated", message: "its time is over" } });

/** A tab that has the token of a session, and another one that has refreshed it since. */
async function refreshed() {
  const node = await startNode();
  kept.set("ropewalk token 127.0.0.1:" + node.port, "t1");
  const { rope } = client(node.url, { store: "local" });
  const events: SessionEvent[] = [];
  rope.onSession((e) => events.push(e));
  const conn = await node.conn();
  const m = await conn.take("call");
  expect(m.aut).toBe("t1");
  conn.reply(m, anna);
  await rope.ready();
  events.length = 0;
  kept.set("ropewalk token 127.0.0.1:" + node.port, "t2"); // another tab has refreshed it
  return { node, rope, conn, events };
}

describe("a tab that slept while another one has refreshed the session", () => {
  it("comes back with the token of the other", async () => {
    const { node, rope, conn, events } = await refreshed();
    conn.kill();
    const next = await node.conn();
    refuse(next, await next.take("call"));
    const m = await next.take("call");
    expect(m.aut).toBe("t2");
    next.reply(m, anna);
    await expect.poll(() => rope.state).toBe("connected");
    expect(rope.session).toMatchObject({ subject: "anna" });
    expect(events.filter((e) => e.kind !== "changed")).toEqual([]);
    expect([...kept.values()]).toEqual(["t2"]);
  });

  it("goes on with it when its own is over", async () => {
    const { rope, conn, events } = await refreshed();
    conn.send({ vrb: "session", bdy: { event: "ended", expired: true } });
    const m = await conn.take("call");
    expect(m).toMatchObject({ to: "node:/session/open", aut: "t2" });
    conn.reply(m, anna);
    await expect.poll(() => rope.token).toBe("t2");
    await turn();
    expect(events.filter((e) => e.kind !== "changed")).toEqual([]);
  });

  it("is nobody if that is no good either", async () => {
    const { node, rope, conn, events } = await refreshed();
    conn.kill();
    const next = await node.conn();
    refuse(next, await next.take("call"));
    refuse(next, await next.take("call"));
    await expect.poll(() => rope.state).toBe("connected");
    expect(events).toMatchObject([{ kind: "ended", error: { code: "unauthenticated" } }]);
    expect(kept.size).toBe(0);
  });
});

describe("with a clock that is wrong", () => {
  const at = (ms: number): number => (Date.now() + ms) / 1000;

  async function be(expires: number) {
    let n = 0;
    const node = await startNode();
    const { rope } = client(node.url, { token: () => `t${++n}`, refresh: false });
    const conn = await node.conn();
    conn.reply(await conn.take("call"), { session: { id: "s1", subject: "anna", expires } });
    await rope.ready();
    return { rope, conn };
  }

  it("slow by an hour: a session whose time is over is opened anew", async () => {
    const { rope, conn } = await be(at(3_600_000));
    conn.send({ vrb: "session", bdy: { event: "ended", expired: true } });
    const m = await conn.take("call");
    expect(m.aut).toBe("t2");
    conn.reply(m, anna);
    await expect.poll(() => rope.session).toBeDefined();
  });

  it("fast by an hour: one that was logged out is not", async () => {
    const { rope, conn } = await be(at(-3_600_000));
    conn.send({ vrb: "session", bdy: { event: "ended" } });
    await expect.poll(() => rope.session).toBeUndefined();
    await turn();
    expect(conn.got).toEqual([]);
  });
});

describe("a function that takes its time to find a token", () => {
  it("is waited for, and asked once", async () => {
    const node = await startNode();
    let asked = 0;
    let found = (_: string): void => {};
    const { rope } = client(node.url, {
      connectTimeout: 100,
      token: () => {
        asked++;
        return new Promise<string>((done) => { found = done; });
      },
    });
    const conn = await node.conn();
    await expect.poll(() => asked).toBe(1);
    await new Promise((r) => setTimeout(r, 300)); // longer than the node may take
    expect(node.conns.length).toBe(1);
    conn.kill(); // even while it is asked
    const next = await node.conn();
    await turn();
    found("t1");
    const m = await next.take("call");
    expect([m.aut, asked]).toEqual(["t1", 1]);
    next.reply(m, anna);
    await rope.ready();
  });

  it("but a node that does not say what it thinks of it is not", async () => {
    const node = await startNode();
    const { errors } = client(node.url, { connectTimeout: 100, token: "t1" });
    const conn = await node.conn();
    await conn.take("call");
    await conn.closed;
    await expect.poll(() => errors[0]?.message).toContain("whether the token is good");
  });
});

it("a refresh that fails because the session is over tells nothing more", async () => {
  const { rope, conn } = await start({}, { token: undefined });
  const opened = rope.openSession("t1");
  conn.reply(await conn.take("call"), { session: { id: "s1", subject: "anna", expires: Date.now() / 1000 + 30 } });
  await opened;
  const events: SessionEvent[] = [];
  rope.onSession((e) => events.push(e));
  conn.send({ vrb: "session", bdy: { event: "ending", session: { id: "s1", subject: "anna", expires: Date.now() / 1000 + 30 } } });
  const m = await conn.take("call");
  conn.send({ vrb: "session", bdy: { event: "revoked" } });
  refuse(conn, m);
  await expect.poll(() => events.length).toBe(2);
  await turn();
  expect(events.map((e) => e.kind)).toEqual(["ending", "revoked"]);
});
