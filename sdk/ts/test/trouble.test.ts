// What goes wrong around the loss of a connection, and its end.
import { afterEach, describe, expect, it } from "vitest";
import { client, start, startNode, stopAll, turn } from "./setup.js";

afterEach(stopAll);

describe("what waits for a connection", () => {
  it("is as it was when it was accepted", async () => {
    const node = await startNode();
    node.down = true;
    const { rope } = client(node.url);
    const data = new Uint8Array([1, 2, 3]);
    void rope.send("x:/", data);
    data.fill(9);
    node.down = false;
    const m = await (await node.conn()).take("send");
    expect([...(m.bdy as Uint8Array)]).toEqual([1, 2, 3]);
  });

  it("does not keep the client from connecting if it cannot be written", async () => {
    const node = await startNode();
    node.down = true;
    const { rope } = client(node.url);
    const bad = rope.call("x:/", 1, { strategy: { by: "sticky", key: 1n } as never });
    const good = rope.call("x:/", 2);
    const refused = expect(bad).rejects.toMatchObject({ code: "invalid_input" });
    node.down = false;
    const conn = await node.conn();
    const m = await conn.take("call");
    expect(m.bdy).toBe(2);
    conn.reply(m, "fine");
    expect(await good).toBe("fine");
    await refused;
  });
});

it.each(["stream", "poll"] as const)("much that is sent at once goes in several requests, by %s", async (kind) => {
  const { rope, conn, node } = await start({}, { transports: [kind] });
  const sizes: number[] = [];
  node.intercept = (req) => {
    if (req.url!.endsWith("/send")) sizes.push(Number(req.headers["content-length"]));
    return false;
  };
  // Answers of a service do not wait in the outbox, so nothing else bounds them.
  rope.serve("big", { "/x": () => "x".repeat(100_000) });
  conn.reply(await conn.take("serve"));
  for (let i = 0; i < 40; i++) conn.send({ vrb: "call", to: "big:/x", mid: `m${i}` });
  for (let i = 0; i < 40; i++) await conn.take("reply");
  expect(Math.max(...sizes)).toBeLessThan(300_000);
});

describe("a service that is being stopped", () => {
  it("is not offered again by the next connection", async () => {
    const two = await startNode({ name: "n2" });
    const { rope, conn } = await start({ name: "n1", nodes: [{ id: "n1", urls: [] }, { id: "n2", urls: [two.url] }] });
    let finish = (): void => {};
    const service = rope.serve("slow", { "/": () => new Promise<void>((done) => { finish = done; }) });
    const other = rope.serve("other", { "/": () => 1 });
    for (const _ of "12") conn.reply(await conn.take("serve"));
    await Promise.all([service.ready, other.ready]);
    conn.send({ vrb: "call", to: "slow:/", mid: "m1" });
    const stopped = service.stop();
    conn.reply(await conn.take("unserve"));
    conn.send({ vrb: "drain" });
    const next = await two.conn();
    const offered = await next.take("serve");
    expect(offered.to).toBe("other:/");
    next.reply(offered);
    finish();
    await stopped;
    await turn();
    expect(next.got).toEqual([]);
  });
});

it("a watched route ends when its content is too large to be sent", async () => {
  const { rope, conn } = await start({ limits: { frame: 5_000 } });
  let ended = false;
  rope.serve("big", {
    "/x": { watch: async function* (_, { signal }) {
      signal.addEventListener("abort", () => { ended = true; });
      yield "small";
      yield "x".repeat(10_000);
      await new Promise(() => {});
    } },
  });
  conn.reply(await conn.take("serve"));
  conn.send({ vrb: "subscribe", to: "big:/x", mid: "s1" });
  expect(await conn.take("part")).toMatchObject({ bdy: "small" });
  expect(await conn.take("error")).toMatchObject({ rmid: "s1", bdy: { code: "too_large" } });
  await expect.poll(() => ended).toBe(true);
});

it("a listener that was removed is not called any more, even while an event is told", async () => {
  const { rope, conn } = await start();
  const got: string[] = [];
  rope.onMessage(() => {
    got.push("first");
    off();
  });
  const off = rope.onMessage(() => got.push("second"));
  conn.send({ vrb: "send", to: "c1@client:/", bdy: 1 });
  conn.send({ vrb: "send", to: "c1@client:/", bdy: 2 });
  await expect.poll(() => got.length).toBeGreaterThan(1);
  expect(got).toEqual(["first", "first"]);
});
