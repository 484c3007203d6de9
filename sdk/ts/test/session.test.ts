import { afterEach, describe, expect, it, vi } from "vitest";
import { type ConnectOptions, type Rope, type SessionEvent } from "../src/index.js";
import { mergePatch } from "../src/identity.js";
import type { Conn, FakeNode, Wire } from "./fake-node.js";
import { client, reached, start, startNode, stopAll, turn } from "./setup.js";

afterEach(async () => {
  vi.unstubAllGlobals();
  await stopAll();
});

const soon = (ms = 3_600_000): number => (Date.now() + ms) / 1000;

function body(subject: string, more: object = {}, expires = soon()): object {
  return { session: { id: "s-" + subject, subject, public: { role: "editor" }, since: 1_700_000_000, expires }, ...more };
}

const refusal = { code: "unauthenticated", message: "no" };

const refuse = (conn: Conn, m: Wire): void => conn.send({ vrb: "error", rmid: m.mid!, frm: "n1@node:/", bdy: refusal });

/** Waits for a session to be opened and says whose it is; returns the token. */
async function letIn(conn: Conn, subject: string, more: object = {}): Promise<string> {
  const m = await conn.take("call");
  expect(m.to).toBe("node:/session/open");
  conn.reply(m, body(subject, more));
  return m.aut!;
}

interface Known { node: FakeNode; rope: Rope; conn: Conn; events: SessionEvent[]; errors: unknown[] }

/** A client that is somebody. */
async function be(subject: string, options: ConnectOptions): Promise<Known> {
  const node = await startNode();
  const { rope, errors } = client(node.url, options);
  const events: SessionEvent[] = [];
  rope.onSession((e) => events.push(e));
  const conn = await node.conn();
  await letIn(conn, subject);
  await rope.ready();
  expect(events.splice(0)).toMatchObject([{ kind: "changed", session: { subject } }]);
  return { node, rope, conn, events, errors };
}

async function next(events: SessionEvent[]): Promise<SessionEvent> {
  await expect.poll(() => events.length).toBeGreaterThan(0);
  return events.shift()!;
}

describe.each([["websocket"], ["stream"], ["poll"]] as const)("by %s", (kind) => {
  it.each(["split", "json"] as const)("a token goes ahead of everything else, %s", async (framing) => {
    const node = await startNode();
    const { rope } = client(node.url, { token: "t1", transports: [kind], framing });
    const messages: unknown[] = [];
    rope.onMessage((m) => messages.push(m.body));
    void rope.send("x:/y", 1);
    const conn = await node.conn();
    const m = await conn.take("call");
    expect(m).toMatchObject({ to: "node:/session/open", aut: "t1" });
    conn.send({ vrb: "send", to: "c1@client:/", bdy: "early" });
    await turn();
    expect(conn.got).toEqual([]);
    expect(rope.state).toBe("connecting");
    conn.reply(m, body("anna", { token: "t2" }));
    const sent = await conn.take("send");
    expect(sent).toMatchObject({ to: "x:/y" });
    expect(sent.aut).toBeUndefined();
    await expect.poll(() => messages).toEqual(["early"]);
    expect(rope.session).toMatchObject({ id: "s-anna", subject: "anna", issuer: "", public: { role: "editor" }, secret: {}, since: 1_700_000_000_000 });
    expect(rope.token).toBe("t2");
  });
});

describe("a token", () => {
  it("that is refused makes the client nobody", async () => {
    const node = await startNode();
    const { rope } = client(node.url, { token: "forged" });
    const events: SessionEvent[] = [];
    rope.onSession((e) => events.push(e));
    let conn = await node.conn();
    refuse(conn, await conn.take("call"));
    await rope.ready();
    expect(events).toMatchObject([{ kind: "ended", session: undefined, error: { code: "unauthenticated" } }]);
    expect([rope.session, rope.token]).toEqual([undefined, ""]);
    conn.kill(); // it is not tried again
    conn = await node.conn();
    void rope.send("x:/", 1);
    expect(await conn.take(() => true)).toMatchObject({ vrb: "send" });
  });

  it("of a function is asked for again when it is refused, and when it fails", async () => {
    const answers: (string | Error)[] = ["t1", "t2", new Error("not now"), "t4", "t5"];
    const { rope, conn: first } = await (async () => {
      const node = await startNode();
      const { rope, errors } = client(node.url, {
        token: async () => {
          const a = answers.shift()!;
          if (a instanceof Error) throw a;
          return a;
        },
      });
      let conn = await node.conn();
      refuse(conn, await conn.take("call"));
      expect(await letIn(conn, "anna")).toBe("t2");
      await rope.ready();
      conn.kill();
      conn = await node.conn();
      const m = await conn.take("call");
      expect(m.aut).toBe("t2"); // that of its session first
      refuse(conn, m);
      await conn.closed;
      expect(errors.some((e) => e.code === "not_ready")).toBe(true);
      return { rope, conn: await node.conn() };
    })();
    const m = await first.take("call");
    refuse(first, m);
    expect(await letIn(first, "berta")).toBe("t4");
    await rope.ready();
    expect(rope.session?.subject).toBe("berta");
  });

  it("of a function that has nothing good is tried later", async () => {
    let token = "old";
    const node = await startNode();
    const { rope } = client(node.url, { token: () => token });
    const conn = await node.conn();
    refuse(conn, await conn.take("call"));
    await rope.ready();
    expect(rope.session).toBeUndefined();
    token = "new";
    for (let m = await conn.take("call"); ; m = await conn.take("call")) {
      if (m.aut === "new") {
        conn.reply(m, body("anna"));
        break;
      }
      refuse(conn, m);
    }
    await expect.poll(() => rope.session?.subject).toBe("anna");
  });

  it("is for each connection the last that a node gave", async () => {
    const { node, rope, conn, events } = await be("anna", { token: "t1" });
    conn.send({ vrb: "session", bdy: { event: "changed", ...body("berta", { token: "t2" }) } });
    expect(await next(events)).toMatchObject({ kind: "changed", session: { subject: "berta" } });
    conn.kill();
    expect(await letIn(await node.conn(), "berta")).toBe("t2");
    await rope.ready();
  });

  it.each(["session", "local"] as const)("is kept in %sStorage if that is wanted", async (store) => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => void kept.set(k, v), removeItem: (k: string) => void kept.delete(k),
    };
    vi.stubGlobal("sessionStorage", store === "session" ? storage : undefined);
    vi.stubGlobal("localStorage", store === "local" ? storage : undefined);
    const tokens = (): string[] => [...kept].filter(([k]) => k.startsWith("ropewalk token ")).map(([, v]) => v);
    const { node, rope, conn, events } = await be("anna", { token: "t1", store });
    expect(tokens()).toEqual([]); // it was given: whoever gave it has it
    conn.send({ vrb: "session", bdy: { event: "changed", ...body("anna", { token: "t2" }) } });
    await next(events);
    expect(tokens()).toEqual(["t2"]);
    await rope.close();
    const again = client(node.url, { store }).rope;
    const c2 = await node.conn();
    expect(await letIn(c2, "anna")).toBe("t2");
    await again.ready();
    c2.send({ vrb: "session", bdy: { event: "revoked" } });
    await expect.poll(tokens).toEqual([]);
  });
});

it("a cookie may say who the client is", async () => {
  const node = await startNode();
  const { rope } = client(node.url, { cookie: true });
  const conn = await node.conn();
  const m = await conn.take("call");
  expect(m.to).toBe("node:/session");
  conn.reply(m, body("anna"));
  await rope.ready();
  expect(rope.session?.subject).toBe("anna");
  conn.kill();
  const c2 = await node.conn();
  c2.reply(await c2.take("call"), {});
  await expect.poll(() => rope.session).toBeUndefined();
});

describe("a session", () => {
  it("is refreshed before it ends", async () => {
    const { rope, conn, events } = await be("anna", { token: "t1" });
    conn.send({ vrb: "session", bdy: { event: "ending", ...body("anna", {}, soon(30_000)) } });
    expect(await next(events)).toMatchObject({ kind: "ending" });
    let m = await conn.take("call");
    expect(m.to).toBe("node:/session/refresh");
    conn.send({ vrb: "error", rmid: m.mid!, frm: "n1@node:/", bdy: { code: "internal", message: "no" } });
    m = await conn.take("call");
    conn.reply(m, body("anna", { token: "t2" }));
    expect(await next(events)).toMatchObject({ kind: "changed" });
    expect(rope.token).toBe("t2");
  });

  it("at its limit is not refreshed over and over", async () => {
    const { conn, events } = await be("anna", { token: "t1" });
    const end = { event: "ending", ...body("anna", {}, soon(30_000)) };
    conn.send({ vrb: "session", bdy: end });
    conn.reply(await conn.take("call"), end);
    await next(events);
    await turn();
    conn.send({ vrb: "session", bdy: end });
    while ((await next(events)).kind !== "ending");
    await turn();
    expect(conn.got).toEqual([]);
  });

  it("whose time is over is opened anew by a function, one that was logged out is not", async () => {
    let n = 0;
    const { node, rope, conn, events } = await be("anna", { token: () => `t${++n}`, refresh: false });
    conn.send({ vrb: "session", bdy: { event: "ending", ...body("anna", {}, soon(1_000)) } });
    expect(await next(events)).toMatchObject({ kind: "ending" });
    conn.send({ vrb: "session", bdy: { event: "ended", expired: true } });
    expect(await next(events)).toMatchObject({ kind: "ended" });
    expect(await letIn(conn, "anna")).toBe("t2");
    expect(await next(events)).toMatchObject({ kind: "changed" });
    conn.send({ vrb: "session", bdy: { event: "ended" } });
    expect(await next(events)).toMatchObject({ kind: "ended" });
    conn.kill();
    const c2 = await node.conn();
    void rope.send("x:/", 1);
    expect(await c2.take(() => true)).toMatchObject({ vrb: "send" });
  });

  it("is opened and closed by hand", async () => {
    const { rope, conn } = await start();
    let open = rope.openSession("bad");
    refuse(conn, await conn.take("call"));
    await expect(open).rejects.toMatchObject({ code: "unauthenticated" });
    open = rope.openSession("good");
    expect(await letIn(conn, "anna")).toBe("good");
    expect(await open).toMatchObject({ subject: "anna" });
    expect(rope.token).toBe("good");
    const refreshed = rope.refreshSession();
    conn.reply(await conn.take("call"), body("anna", { token: "better" }));
    await refreshed;
    expect(rope.token).toBe("better");
    const closed = rope.closeSession({ everywhere: true });
    const m = await conn.take("call");
    expect(m).toMatchObject({ to: "node:/session/close", bdy: { everywhere: true } });
    conn.reply(m, {});
    await closed;
    expect([rope.session, rope.token]).toEqual([undefined, ""]);
  });

  it("that changes on a connection that drains is told to the next", async () => {
    const two = await startNode({ name: "n2" });
    const one = await startNode({ name: "n1", nodes: [{ id: "n1", name: "n1", urls: [] }, { id: "n2", name: "n2", urls: [two.url] }] });
    const { rope } = client(one.url, { token: "t1" });
    const conn = await one.conn();
    await letIn(conn, "anna");
    await rope.ready();
    const pending = rope.call("door:/in");
    const m = await conn.take("call");
    const moved = reached(rope, "connected").catch(() => {});
    conn.send({ vrb: "drain" });
    const c2 = await two.conn();
    expect(await letIn(c2, "anna")).toBe("t1");
    await Promise.race([moved, turn()]);
    await expect.poll(() => rope.node.id).toBe("n2");
    conn.send({ vrb: "session", bdy: { event: "changed", ...body("berta", { token: "t2" }) } });
    conn.reply(m, 1);
    expect(await letIn(c2, "berta")).toBe("t2");
    expect(await pending).toBe(1);
    await expect.poll(() => rope.session?.subject).toBe("berta");
  });
});

describe("a service", () => {
  it("sees the session of its caller and changes it", async () => {
    const { rope, conn } = await start();
    rope.serve("door", {
      "/in": (_: unknown, ctx) => {
        ctx.changeSession({ subject: "anna", renew: true, set: { role: "guest", pin: 1 }, idle: 1500 });
        ctx.changeSession({ secret: { pin: 2 }, set: { role: "editor" }, delete: ["old"] });
        return [ctx.session?.subject, ctx.session?.secret["shard"]];
      },
      "/none": (_: unknown, ctx) => {
        ctx.changeSession({ end: true });
        if (!ctx.session) throw new Error("nobody");
      },
    });
    for (let i = 0; i < 2; i++) conn.reply(await conn.take("serve"), {});
    conn.send({ vrb: "call", to: "door:/in", mid: "1", frm: "c9@client:/", ses: { id: "s1", subject: "otto", secret: { shard: 7 } } });
    expect(await conn.take((m) => m.rmid === "1")).toEqual({
      vrb: "reply", rmid: "1", bdy: ["otto", 7],
      ses: { subject: "anna", renew: true, set: { role: "editor" }, secret: { pin: 2 }, delete: ["old"], idle: 1.5 },
    });
    conn.send({ vrb: "call", to: "door:/none", mid: "2", frm: "c9@client:/" });
    const failed = await conn.take((m) => m.rmid === "2");
    expect(failed.vrb).toBe("error");
    expect(failed.ses).toBeUndefined();
  });

  it("is not offered where the node has taken it back, until the session is another one", async () => {
    const { node, rope, conn, errors } = await be("anna", { token: "t1" });
    rope.serve("x", { "/a": () => 1, "/b/{id}": () => 2 });
    for (let i = 0; i < 2; i++) conn.reply(await conn.take("serve"), {});
    conn.send({ vrb: "unserve", to: "x:/b/{id}", bdy: { code: "forbidden", message: "no" } });
    await expect.poll(() => errors).toMatchObject([{ code: "forbidden", path: "x:/b/{id}" }]);
    const same = { session: { id: "s-anna", subject: "anna", public: { role: "editor" }, since: 1_700_000_000, expires: rope.session!.expires! / 1000 } };
    conn.kill();
    const c2 = await node.conn();
    c2.reply(await c2.take("call"), same);
    const a = await c2.take("serve");
    expect(a.to).toBe("x:/a");
    c2.reply(a, {});
    await turn();
    expect(c2.got).toEqual([]);
    c2.send({ vrb: "session", bdy: { event: "changed", ...body("berta", { token: "t2" }) } });
    expect([(await c2.take("serve")).to, (await c2.take("serve")).to]).toEqual(["x:/a", "x:/b/{id}"]);
  });
});

it("patches add up", () => {
  expect(mergePatch({ set: { a: 1, b: 1 }, secret: { c: 1, d: 1 }, renew: true, end: true }, { set: { c: 2 }, secret: { a: 2 }, delete: ["d"], subject: "" })).toEqual({
    subject: "", renew: true, set: { b: 1, c: 2 }, secret: { a: 2 }, delete: ["d"], idle: undefined, end: true,
  });
});
