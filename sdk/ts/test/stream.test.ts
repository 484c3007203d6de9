import { afterEach, describe, expect, it } from "vitest";
import { start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

interface Step { step: number }

describe("stream", () => {
  it("yields the parts in order and gives the reply", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream<Step, string>("report:/long", { steps: 3 });
    const m = await conn.take("call");
    for (let step = 1; step <= 3; step++) conn.send({ vrb: "part", rmid: m.mid!, seq: step, bdy: { step } });
    conn.reply(m, "done");
    const got: number[] = [];
    for await (const part of stream) got.push(part.step);
    expect(got).toEqual([1, 2, 3]);
    expect(await stream.reply).toBe("done");
  });

  it("says who answers", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("math:/mul");
    const m = await conn.take("call");
    expect(stream.from).toBe("");
    const parts = stream[Symbol.asyncIterator]();
    const part = parts.next();
    conn.send({ vrb: "part", rmid: m.mid!, frm: "s1@math:/", bdy: 1 });
    await part;
    expect(stream.from).toBe("s1@math:/");
    conn.send({ vrb: "error", rmid: m.mid!, frm: "n1@node:/", bdy: { code: "service_lost", message: "gone" } });
    await expect(stream.reply).rejects.toMatchObject({ code: "service_lost" });
    expect(stream.from).toBe("n1@node:/");
  });

  it("gives each part as it comes", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/")[Symbol.asyncIterator]();
    const m = await conn.take("call");
    for (let i = 0; i < 3; i++) {
      const next = stream.next();
      conn.send({ vrb: "part", rmid: m.mid!, bdy: i });
      expect(await next).toEqual({ done: false, value: i });
    }
    const end = stream.next();
    conn.reply(m, "r");
    expect(await end).toEqual({ done: true, value: "r" });
  });

  it("delivers the parts before the error, then throws it from the loop and the reply", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/");
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "service_lost", message: "gone" } });
    const got: unknown[] = [];
    await expect((async () => { for await (const p of stream) got.push(p); })()).rejects.toMatchObject({ code: "service_lost" });
    expect(got).toEqual([1]);
    await expect(stream.reply).rejects.toMatchObject({ code: "service_lost" });
  });

  it("is canceled by leaving the loop", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/");
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    for await (const part of stream) {
      expect(part).toBe(1);
      break;
    }
    expect((await conn.take("cancel")).rmid).toBe(m.mid);
    await expect(stream.reply).rejects.toMatchObject({ code: "canceled" });
  });

  it("is canceled by cancel, which drops what was not read", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/");
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    const seen = rope.call("y:/");
    conn.reply(await conn.take((x) => x.to === "y:/"));
    await seen; // so the part has arrived too
    stream.cancel("enough");
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "canceled", cause: "enough" });
    await conn.take("cancel");
  });

  it("is canceled by its signal while the loop waits", async () => {
    const { rope, conn } = await start();
    const abort = new AbortController();
    const stream = rope.stream("x:/", undefined, { signal: abort.signal });
    const next = stream[Symbol.asyncIterator]().next();
    await conn.take("call");
    abort.abort();
    await expect(next).rejects.toMatchObject({ code: "canceled" });
    await conn.take("cancel");
  });

  it("ends with slow_consumer when nobody reads, and holds nobody else up", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/", undefined, { buffer: 2 });
    const m = await conn.take("call");
    for (let i = 0; i < 5; i++) conn.send({ vrb: "part", rmid: m.mid!, bdy: i });
    const other = rope.call("y:/");
    conn.reply(await conn.take("call"), "ok");
    expect(await other).toBe("ok");
    expect((await conn.take("cancel")).rmid).toBe(m.mid);
    const got: unknown[] = [];
    await expect((async () => { for await (const p of stream) got.push(p); })()).rejects.toMatchObject({ code: "slow_consumer" });
    expect(got).toEqual([0, 1]);
  });

  it("rejects nowhere that is not looked at", async () => {
    const { rope, conn } = await start();
    rope.stream("x:/");
    const m = await conn.take("call");
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "internal", message: "x" } });
    await turn(); // an unhandled rejection would fail the run
  });

  it("tells in the loop what was wrong with the call", async () => {
    const { rope } = await start({}, {});
    const stream = rope.stream("x:/", undefined, { signal: AbortSignal.abort() });
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "canceled" });
  });
});

describe("gather", () => {
  it("asks all and gives every answer", async () => {
    const { rope, conn } = await start();
    const out = rope.gather<number>("math:/decimal/*", { a: 2 }, { quorum: 1, first: 3, timeout: 1000 });
    const m = await conn.take("call");
    expect(m).toMatchObject({ to: "math:/decimal/*", bdy: { a: 2 }, str: { by: "all", quorum: 1, first: 3 } });
    conn.reply(m, {
      answers: [
        { server: "s1", name: "math", path: "/decimal/mul", took: 0.002, body: 10 },
        { server: "s2", node: "b", name: "math", path: "/decimal/add", took: 0.001, error: { code: "internal", message: "no" } },
        { server: "s3", name: "math", path: "/decimal/pic", took: 0.001, body: "AAE=", contentType: "image/png" },
      ],
      missing: [{ server: "s4", node: "b", name: "math", path: "/decimal/sub" }],
      servers: 4,
    });
    const got = await out;
    expect(got.servers).toBe(4);
    expect(got.missing).toEqual([{ server: "s4", node: "b", name: "math", path: "/decimal/sub" }]);
    expect(got.answers[0]).toEqual({ server: "s1", name: "math", path: "/decimal/mul", took: 2, body: 10 });
    expect(got.answers[0]).not.toHaveProperty("node"); // it is on the caller's
    expect(got.answers[1]).toMatchObject({ node: "b", error: { code: "internal", remote: true } });
    expect(got.answers[2]!.body).toMatchObject({ contentType: "image/png" });
    expect(got.values).toEqual([10, new Uint8Array([0, 1])]);
  });

  it("gives answers as they come to onAnswer", async () => {
    const { rope, conn } = await start();
    const seen: unknown[] = [];
    const out = rope.gather("x:/*", 1, { strategy: "majority", onAnswer: (a) => seen.push(`${a.server} on ${a.node}`) });
    const m = await conn.take("call");
    expect(m.str).toEqual({ by: "majority", parts: true });
    conn.send({ vrb: "part", rmid: m.mid!, bdy: { server: "s1", node: "b", name: "x", path: "/a", took: 0, body: 1 } });
    conn.reply(m, { answers: [], missing: [], servers: 1 });
    await out;
    expect(seen).toEqual(["s1 on b"]);
  });

  it("rejects with no_quorum as any call does", async () => {
    const { rope, conn } = await start();
    const out = rope.gather("x:/*");
    const m = await conn.take("call");
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "no_quorum", message: "too few" } });
    await expect(out).rejects.toMatchObject({ code: "no_quorum" });
  });
});
