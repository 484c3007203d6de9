import { afterEach, describe, expect, it } from "vitest";
import { connect } from "../src/index.js";
import { client, reached, start, startNode, stopAll, turn } from "./setup.js";

afterEach(stopAll);

describe("connect", () => {
  it("returns at once; what is asked before the connection waits for it", async () => {
    const node = await startNode();
    const { rope } = client(node.url);
    expect(rope.state).toBe("connecting");
    expect(rope.id).toBe("");
    expect(rope.address).toBe("");
    const call = rope.call("x:/", 1);
    const conn = await node.conn();
    conn.reply(await conn.take("call"), 2);
    expect(await call).toBe(2);
    expect(rope.state).toBe("connected");
    expect(rope.id).toBe("c1");
    expect(rope.address).toBe("c1@client:/");
    expect(rope.node).toEqual({ id: "n1", name: "fake" });
    expect(rope.transport).toBe("websocket");
  });

  it("waits for the welcome before it sends", async () => {
    const { node, rope, conn } = await start({ welcome: false });
    const call = rope.call("x:/");
    await turn();
    expect(conn.got).toEqual([]);
    conn.welcome();
    conn.reply(await conn.take("call"), 1);
    expect(await call).toBe(1);
    expect(node.conns.length).toBe(1);
  });

  it("refuses a URL that is none", () => {
    expect(() => connect("http://[")).toThrow();
    expect(() => connect()).toThrow(); // no page to be relative to
  });

  it("online: rejects with not_ready instead of waiting", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url);
    await expect(rope.call("x:/", 1, { online: true })).rejects.toMatchObject({ code: "not_ready", retryable: true });
    await expect(rope.send("x:/", 1, { online: true })).rejects.toMatchObject({ code: "not_ready" });
  });

  it("keeps at most so many messages waiting", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url, { queue: 2 });
    const first = rope.call("x:/", 1);
    const second = rope.send("x:/", 2);
    await expect(rope.call("x:/", 3)).rejects.toMatchObject({ code: "overloaded", retryable: true });
    const conn = await node.conn();
    conn.welcome();
    conn.reply(await conn.take("call"));
    await first;
    await second;
  });

  it("keeps at most 16 MiB waiting", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url);
    const megabyte = "a".repeat(1 << 20); // and two quotes: 16 do not fit
    const sent = Array.from({ length: 20 }, () => rope.send("x:/", megabyte).catch((e: { code: string }) => e.code));
    expect(await Promise.all(sent.slice(15))).toEqual(Array(5).fill("overloaded"));
    await rope.close();
    expect(await Promise.all(sent)).toEqual([...Array<string>(15).fill("not_ready"), ...Array<string>(5).fill("overloaded")]);
  });

  it("does not send what was canceled while it waited, nor what came too late", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url);
    const abort = new AbortController();
    const canceled = rope.call("x:/", "canceled", { signal: abort.signal });
    const late = rope.call("x:/", "late", { timeout: 10 });
    abort.abort();
    await expect(canceled).rejects.toMatchObject({ code: "canceled" });
    await expect(late).rejects.toMatchObject({ code: "deadline_exceeded", message: expect.stringContaining("no connection") });
    rope.call("x:/", "sent").catch(() => {});
    const conn = await node.conn();
    conn.welcome();
    expect((await conn.take(() => true)).bdy).toBe("sent");
  });

  it("tells what is wrong when nobody is there", async () => {
    const node = await startNode();
    const url = node.url;
    await node.stop();
    const { rope, errors } = client(url);
    await expect.poll(() => errors[0]).toMatchObject({ code: "connection_lost", message: expect.stringContaining(url) });
    expect(rope.state === "waiting" || rope.state === "connecting").toBe(true);
  });
});

describe("when the connection drops", () => {
  it("calls in flight fail with connection_lost, and the next go through a new connection", async () => {
    const { node, rope, conn, errors } = await start();
    const states: string[] = [];
    rope.on("state", (s) => states.push(s));
    const call = rope.call("x:/");
    const ack = rope.send("x:/", 1, { ack: true });
    const stream = rope.stream("x:/");
    await Promise.all([conn.take("call"), conn.take("send"), conn.take("call")]);
    conn.kill();
    await expect(call).rejects.toMatchObject({ code: "connection_lost", retryable: false });
    await expect(ack).rejects.toMatchObject({ code: "connection_lost" });
    await expect(stream.reply).rejects.toMatchObject({ code: "connection_lost" });
    const next = rope.call("x:/", 2);
    const again = await node.conn();
    again.reply(await again.take("call"), "ok");
    expect(await next).toBe("ok");
    expect(states).toEqual(["waiting", "connecting", "connected"]);
    expect(errors.map((e) => e.code)).toEqual(["connection_lost"]);
    expect(rope.id).toBe("c2");
  });

  it("idempotent calls are sent again with the same id, before what waited", async () => {
    const { node, rope, conn } = await start();
    const first = rope.call("x:/", 1, { idempotent: true });
    const second = rope.call("x:/", 2, { idempotent: true });
    const mids = [(await conn.take("call")).mid, (await conn.take("call")).mid];
    const offline = reached(rope, "waiting");
    conn.kill();
    await offline;
    const third = rope.send("x:/", 3);
    const again = await node.conn();
    const got = [await again.take(() => true), await again.take(() => true), await again.take(() => true)];
    expect(got.map((m) => m.bdy)).toEqual([1, 2, 3]);
    expect(got.slice(0, 2).map((m) => m.mid)).toEqual(mids);
    again.reply(got[0]!, "a");
    again.reply(got[1]!, "b");
    expect(await Promise.all([first, second])).toEqual(["a", "b"]);
    await third;
  });

  it("an idempotent stream that had parts is not sent again: they would come twice", async () => {
    const { rope, conn } = await start();
    const stream = rope.stream("x:/", 1, { idempotent: true });
    const m = await conn.take("call");
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    const parts = stream[Symbol.asyncIterator]();
    await parts.next();
    conn.kill();
    await expect(stream.reply).rejects.toMatchObject({ code: "connection_lost" });
  });

  it("what waits while offline keeps its order and its ids", async () => {
    const { node, rope, conn } = await start();
    const offline = reached(rope, "waiting");
    conn.kill();
    await offline;
    const sent = Promise.all(Array.from({ length: 20 }, (_, i) => rope.send("x:/", i)));
    const again = await node.conn();
    const got = [];
    for (let i = 0; i < 20; i++) got.push(await again.take("send"));
    await sent;
    expect(got.map((m) => m.bdy)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(new Set(got.map((m) => m.mid)).size).toBe(20);
  });

  it("the time left shrinks while a call waits", async () => {
    const { node, rope, conn } = await start();
    node.options.welcome = false;
    const offline = reached(rope, "waiting");
    conn.kill();
    await offline;
    rope.call("x:/", 1, { timeout: 5000 }).catch(() => {});
    const again = await node.conn();
    const t0 = Date.now();
    await expect.poll(() => Date.now() - t0).toBeGreaterThan(50);
    again.welcome();
    expect((await again.take("call")).tmo).toBeLessThan(4.96);
  });
});

describe("close codes", () => {
  it.each([1001, 1011, 4000, 4001, 4002, 4003, 4004, 4099, 3000])("%i: comes back", async (code) => {
    const { node, rope, conn } = await start();
    conn.close(code);
    await node.conn();
    await rope.ready();
    expect(rope.id).toBe("c2");
  });

  it.each([
    [1000, "connection_lost"], [1002, "connection_lost"], [1003, "connection_lost"], [1007, "connection_lost"],
    [1009, "too_large"], [4100, "connection_lost"], [4101, "unauthenticated"], [4102, "forbidden"], [4199, "connection_lost"],
  ])("%i: does not, and tells why: %s", async (code, error) => {
    const { node, rope, conn, errors } = await start();
    const call = rope.call("x:/");
    await conn.take("call");
    conn.close(code, "because");
    await expect(call).rejects.toMatchObject({ code: error });
    await expect.poll(() => rope.state).toBe("closed");
    await expect(rope.call("x:/")).rejects.toMatchObject({ code: error, message: expect.stringContaining("because") });
    await expect(rope.ready()).rejects.toMatchObject({ code: error });
    expect(() => rope.serve("x", {})).toThrow(expect.objectContaining({ code: error }));
    expect(errors.map((e) => e.code)).toEqual([error]);
    expect(node.conns.length).toBe(1);
  });

  it("of a connection that never began: the same table", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url);
    const waits = rope.call("x:/");
    (await node.conn()).close(4102, "no");
    await expect(waits).rejects.toMatchObject({ code: "forbidden" });
    expect(rope.state).toBe("closed");
  });
});

describe("drain", () => {
  it("what is in flight ends here, what is new waits for the next connection", async () => {
    const { node, rope, conn } = await start();
    const old = rope.call("x:/", "old");
    const m = await conn.take("call");
    conn.send({ vrb: "drain" });
    const mark = rope.onMessage(() => {});
    conn.send({ vrb: "part", rmid: m.mid!, bdy: 1 });
    await turn();
    mark();
    const fresh = rope.call("x:/", "fresh");
    conn.reply(m, "done");
    expect(await old).toBe("done");
    expect(conn.got).toEqual([]);
    conn.close(1001);
    const next = await node.conn();
    const n = await next.take("call");
    expect(n.bdy).toBe("fresh");
    next.reply(n, "ok");
    expect(await fresh).toBe("ok");
  });
});

describe("close", () => {
  it("cancels calls, sends what waits, says bye, and stays closed", async () => {
    const { rope, conn, errors } = await start();
    const call = rope.call("x:/");
    const m = await conn.take("call");
    void rope.send("x:/", 1);
    const closed = rope.close();
    await expect(call).rejects.toMatchObject({ code: "canceled" });
    expect((await conn.take("cancel")).rmid).toBe(m.mid);
    expect((await conn.take("send")).bdy).toBe(1);
    expect(await conn.closed).toEqual({ code: 1000, reason: "bye" });
    await closed;
    await rope.close();
    expect(rope.state).toBe("closed");
    await expect(rope.call("x:/")).rejects.toMatchObject({ code: "not_ready" });
    await expect(rope.ready()).rejects.toMatchObject({ code: "not_ready" });
    expect(errors).toEqual([]);
  });

  it("works while connecting, and while waiting", async () => {
    const node = await startNode({ welcome: false });
    const { rope } = client(node.url);
    const waits = rope.send("x:/", 1);
    await rope.close();
    await expect(waits).rejects.toMatchObject({ code: "not_ready" });
    const other = client("ws://127.0.0.1:1/", { backoff: { base: 1e6, max: 1e6 } }).rope;
    await expect.poll(() => other.state).toBe("waiting");
    await other.close();
    expect(other.state).toBe("closed");
  });

  it("does not wait for ever for a node that does not answer", async () => {
    const { rope, conn } = await start();
    (conn as unknown as { ws: { pause(): void } }).ws.pause();
    const t0 = Date.now();
    await rope.close({ timeout: 50 });
    expect(Date.now() - t0).toBeLessThan(2000);
  });
});
