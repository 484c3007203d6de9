import { afterEach, describe, expect, it } from "vitest";
import { bytes, type Incoming } from "../src/index.js";
import { start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

describe("send", () => {
  it("resolves when the message is sent", async () => {
    const { rope, conn } = await start();
    await rope.send("id@client:/", { hello: 1 }, { type: "greeting" });
    const m = await conn.take("send");
    expect(m).toMatchObject({ to: "id@client:/", bdy: { hello: 1 }, typ: "greeting" });
    expect(m.ack).toBeUndefined();
    expect(m.tmo).toBeUndefined();
  });

  it("with ack: when the node has handed it over", async () => {
    const { rope, conn } = await start();
    const sent = rope.send("id@client:/", 1, { ack: true });
    const m = await conn.take("send");
    expect(m.ack).toBe(true);
    let done = false;
    void sent.then(() => { done = true; });
    await turn();
    expect(done).toBe(false);
    conn.reply(m);
    await sent;
  });

  it("with ack: rejects when the receiver is not there", async () => {
    const { rope, conn } = await start();
    const sent = rope.send("id@client:/", 1, { ack: true });
    conn.send({ vrb: "error", rmid: (await conn.take("send")).mid!, bdy: { code: "no_client", message: "nobody" } });
    await expect(sent).rejects.toMatchObject({ code: "no_client" });
  });

  it("without ack: what the node says against it is an event", async () => {
    const { rope, conn, errors } = await start();
    await rope.send("id@client:/", 1);
    conn.send({ vrb: "error", rmid: (await conn.take("send")).mid!, bdy: { code: "no_client", message: "nobody" } });
    await expect.poll(() => errors.map((e) => e.code)).toEqual(["no_client"]);
  });

  it("with ack and no answer in time: deadline_exceeded", async () => {
    const { rope, conn } = await start();
    const sent = rope.send("id@client:/", 1, { ack: true, timeout: 20 });
    await conn.take("send");
    await expect(sent).rejects.toMatchObject({ code: "deadline_exceeded" });
  });
});

describe("onMessage", () => {
  it("gets what others send to this client", async () => {
    const { rope, conn } = await start();
    const got: Incoming<unknown>[] = [];
    const off = rope.onMessage((m) => got.push(m));
    conn.send({ vrb: "send", to: "c1@client:/", frm: "c9@client:/", mid: "9-1", typ: "t", hdr: { a: "b" }, bdy: [1] });
    conn.send({ vrb: "send", to: "c1@client:/", frm: "c9@client:/", mid: "9-2", cty: "image/png", bdy: new Uint8Array([7]) });
    await expect.poll(() => got.length).toBe(2);
    expect(got[0]).toEqual({ body: [1], from: "c9@client:/", to: "c1@client:/", mid: "9-1", type: "t", headers: { a: "b" } });
    expect(got[1]!.body).toEqual(bytes(new Uint8Array([7]), "image/png"));
    off();
    conn.send({ vrb: "send", to: "c1@client:/", frm: "c9@client:/", mid: "9-3" });
    const call = rope.call("x:/");
    conn.reply(await conn.take("call"));
    await call;
    expect(got.length).toBe(2);
  });

  it("ends with its signal", async () => {
    const { rope, conn } = await start();
    const abort = new AbortController();
    const got: unknown[] = [];
    rope.on("message", (m) => got.push(m.body), { signal: abort.signal });
    rope.on("message", () => got.push("never"), { signal: AbortSignal.abort() });
    abort.abort();
    conn.send({ vrb: "send", to: "c1@client:/", bdy: 1 });
    const call = rope.call("x:/");
    conn.reply(await conn.take("call"));
    await call;
    expect(got).toEqual([]);
  });

  it("tells of a body that cannot be read", async () => {
    const { conn, errors } = await start();
    conn.raw('{"vrb":"send","to":"c1@client:/","frm":"c9@client:/"}\n{');
    await expect.poll(() => errors.map((e) => e.code)).toEqual(["bad_message"]);
  });
});

describe("bad frames from the node", () => {
  it.each(["", "nonsense", "[]", "7", "\n{}", '{"vrb":'])("%j is reported and does no harm", async (frame) => {
    const { rope, conn, errors } = await start();
    conn.raw(frame);
    await expect.poll(() => errors.map((e) => e.code)).toEqual(["bad_frame"]);
    const call = rope.call("x:/");
    conn.reply(await conn.take("call"), 1);
    expect(await call).toBe(1);
  });

  it.each([
    { vrb: "hello" }, { vrb: "reply", rmid: "unknown" }, { vrb: "part" }, { vrb: "cancel", rmid: "x" }, { vrb: "cancel" },
  ])("%j is ignored", async (m) => {
    const { rope, conn, errors } = await start();
    conn.send(m);
    const call = rope.call("x:/");
    conn.reply(await conn.take("call"), 1);
    expect(await call).toBe(1);
    expect(errors).toEqual([]);
  });

  it("understands long names and ids that are numbers", async () => {
    const { rope, conn } = await start({}, { framing: "json" });
    const got: unknown[] = [];
    rope.onMessage((m) => got.push(m));
    conn.raw('{"verb":"send","to":"c1@client:/","from":"x@client:/","mid":7,"type":"t","headers":null,"body":{"a":1}}');
    await expect.poll(() => got).toEqual([{ body: { a: 1 }, from: "x@client:/", to: "c1@client:/", mid: "7", type: "t", headers: {} }]);
  });
});
