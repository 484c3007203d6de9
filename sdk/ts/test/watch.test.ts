import { afterEach, describe, expect, it, vi } from "vitest";
import { RopewalkError, type Update } from "../src/index.js";
import { start, stopAll, turn } from "./setup.js";
import { arm, contents, patchOf, score, until, update } from "./topic-node.js";

afterEach(stopAll);

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
