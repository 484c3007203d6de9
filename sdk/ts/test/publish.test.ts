import { afterEach, describe, expect, it } from "vitest";
import type { Update } from "../src/index.js";
import { client, reached, start, startNode, stopAll, turn } from "./setup.js";
import { arm, score, until, update } from "./topic-node.js";

afterEach(stopAll);

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

  it("does not take what is no content for a deletion", async () => {
    const { rope } = await start();
    for (const none of [() => 1, Symbol("a")]) await expect(rope.publish(score, none)).rejects.toMatchObject({ code: "invalid_input" });
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

  it("does not come back when the content of one after it was seen", async () => {
    const { rope, conn, got } = await watching();
    const all = [rope.publish(score, "one", { optimistic: true }), rope.publish(score, "two", { optimistic: true })];
    const [m1, m2] = [await conn.take("publish"), await conn.take("publish")];
    update(conn, 3, "two"); // the node may leave out what is not the newest
    for (const m of [m1, m2]) conn.reply(m);
    await Promise.all(all);
    await until(() => got.length === 4);
    expect(shown(got)).toEqual(["old", "(one)", "(two)", "two"]);
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
