import { afterEach, describe, expect, it } from "vitest";
import { bytes, RopewalkError, type CallOptions } from "../src/index.js";
import { start, stopAll } from "./setup.js";
import type { Wire } from "./fake-node.js";

afterEach(stopAll);

describe("call", () => {
  it("resolves with the body of the reply", async () => {
    const { rope, conn } = await start();
    const out = rope.call<number>("math:/decimal/mul", { a: 2, b: 5 });
    const m = await conn.take("call");
    expect(m).toMatchObject({ vrb: "call", to: "math:/decimal/mul", bdy: { a: 2, b: 5 } });
    expect(m.tmo).toBeGreaterThan(29);
    expect(m.tmo).toBeLessThanOrEqual(30);
    conn.reply(m, 10);
    expect(await out).toBe(10);
  });

  it("gives each its own answer, in any order", async () => {
    const { rope, conn } = await start();
    const outs = Array.from({ length: 100 }, (_, i) => rope.call<number>("x:/", i));
    const calls = await Promise.all(outs.map(() => conn.take("call")));
    expect(new Set(calls.map((m) => m.mid)).size).toBe(100);
    for (const m of calls.reverse()) conn.reply(m, (m.bdy as number) * 2);
    expect(await Promise.all(outs)).toEqual(outs.map((_, i) => i * 2));
  });

  it.each<[string, unknown, Wire]>([
    ["no body", undefined, {}],
    ["null", null, { bdy: null }],
    ["text with line feeds", "a\nb\n", { bdy: "a\nb\n" }],
    ["bytes", new Uint8Array([0, 10, 255]), { bdy: new Uint8Array([0, 10, 255]), cty: "application/octet-stream" }],
    ["a buffer", new Uint8Array([1, 2]).buffer, { bdy: new Uint8Array([1, 2]), cty: "application/octet-stream" }],
    ["bytes of a type", bytes("hä", "text/plain"), { bdy: new TextEncoder().encode("hä"), cty: "text/plain" }],
  ])("carries %s there and back", async (_, body, wire) => {
    const { rope, conn } = await start();
    const out = rope.call("echo:/", body);
    const m = await conn.take("call");
    expect({ bdy: m.bdy, cty: m.cty }).toEqual({ bdy: undefined, cty: undefined, ...wire });
    conn.reply(m, m.bdy, wire.cty ? { cty: wire.cty } : {});
    const got = await out;
    if (wire.cty) {
      expect(got).toEqual(wire.bdy);
      expect(got).toHaveProperty("contentType", wire.cty);
    } else expect(got).toEqual(body);
  });

  it("passes headers, type, authorization and strategy on", async () => {
    const { rope, conn } = await start();
    const options: CallOptions = { headers: { traceparent: "00-1" }, type: "order", authorization: "a1", strategy: { by: "sticky", key: "k" } };
    rope.call("x:/", 1, options).catch(() => {});
    expect(await conn.take("call")).toMatchObject({
      hdr: { traceparent: "00-1" }, typ: "order", str: { by: "sticky", key: "k" }, aut: "a1",
    });
  });

  it("gives parts to onPart and drops them without it", async () => {
    const { rope, conn } = await start();
    const parts: unknown[] = [];
    const out = rope.call("x:/", 1, { onPart: (p) => parts.push(p) });
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, seq: 1, bdy: "one" });
    conn.send({ vrb: "part", rmid: m.mid!, seq: 2, bdy: "two" });
    conn.reply(m, "end");
    expect(await out).toBe("end");
    expect(parts).toEqual(["one", "two"]);
    const other = rope.call("x:/");
    const n = await conn.take("call");
    conn.send({ vrb: "part", rmid: n.mid!, bdy: 1 });
    conn.reply(n, 2);
    expect(await other).toBe(2);
  });

  it("rejects with the error of the other end, all of it", async () => {
    const { rope, conn } = await start();
    const out = rope.call("math:/x");
    const m = await conn.take("call");
    conn.send({
      vrb: "error", rmid: m.mid!,
      bdy: { code: "rate_limited", message: "too fast", hint: "wait", path: "/a", details: { n: 1 }, retryable: true, retryAfter: 1.5 },
    });
    const err = await out.catch((e: unknown) => e);
    expect(err).toBeInstanceOf(RopewalkError);
    expect(err).toMatchObject({
      code: "rate_limited", message: "too fast", hint: "wait", path: "/a", details: { n: 1 }, retryable: true, retryAfter: 1500, remote: true,
    });
  });

  it("rejects when the error or the reply is not what it should be", async () => {
    const { rope, conn } = await start();
    const first = rope.call("x:/");
    conn.send({ vrb: "error", rmid: (await conn.take("call")).mid!, bdy: 7 });
    await expect(first).rejects.toMatchObject({ code: "internal", remote: true });
    const second = rope.call("x:/");
    conn.raw(`{"vrb":"reply","rmid":"${(await conn.take("call")).mid}"}\n{not json`);
    await expect(second).rejects.toMatchObject({ code: "bad_message", remote: false });
  });

  it("refuses what JSON cannot say, and what the node would not take", async () => {
    const { rope } = await start({ limits: { frame: 1000 } });
    await expect(rope.call("x:/", 1n)).rejects.toMatchObject({ code: "invalid_input" });
    await expect(rope.call("x:/", "a".repeat(1000))).rejects.toMatchObject({ code: "too_large", path: "x:/" });
  });

  it("keeps the body as it was when the call was made", async () => {
    const { rope, conn } = await start();
    const body = { n: 1 };
    rope.call("x:/", body).catch(() => {});
    body.n = 2;
    expect((await conn.take("call")).bdy).toEqual({ n: 1 });
  });
});

describe("the end of a call before its answer", () => {
  it("by a signal: canceled, and the node is told", async () => {
    const { rope, conn } = await start();
    const abort = new AbortController();
    const out = rope.call("x:/", 1, { signal: abort.signal });
    const m = await conn.take("call");
    abort.abort("enough");
    await expect(out).rejects.toMatchObject({ code: "canceled", cause: "enough", remote: false });
    expect(await conn.take("cancel")).toEqual({ vrb: "cancel", rmid: m.mid });
    conn.reply(m, "late"); // is dropped
    const next = rope.call("x:/", 2);
    conn.reply(await conn.take("call"), "ok");
    expect(await next).toBe("ok");
  });

  it("by a signal that had aborted already: it is not even sent", async () => {
    const { rope, conn } = await start();
    await expect(rope.call("x:/", 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "canceled" });
    rope.call("x:/", 2).catch(() => {});
    expect((await conn.take("call")).bdy).toBe(2);
  });

  it("by time: deadline_exceeded, and the node is told", async () => {
    const { rope, conn } = await start();
    const out = rope.call("x:/", 1, { timeout: 30 });
    const m = await conn.take("call");
    expect(m.tmo).toBeLessThanOrEqual(0.03);
    expect(m.tmo).toBeGreaterThan(0);
    await expect(out).rejects.toMatchObject({ code: "deadline_exceeded" });
    expect((await conn.take("cancel")).rmid).toBe(m.mid);
  });

  it("by AbortSignal.timeout: deadline_exceeded too", async () => {
    const { rope, conn } = await start();
    const out = rope.call("x:/", 1, { signal: AbortSignal.timeout(20) });
    await conn.take("call");
    await expect(out).rejects.toMatchObject({ code: "deadline_exceeded" });
    await conn.take("cancel");
  });

  it("by an onPart that throws: with what it threw", async () => {
    const { rope, conn } = await start();
    const boom = new Error("boom");
    const out = rope.call("x:/", 1, { onPart: () => { throw boom; } });
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    await expect(out).rejects.toBe(boom);
    await conn.take("cancel");
  });
});
