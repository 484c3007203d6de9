// Several nodes: where a client goes when its node is lost or drains.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../src/index.js";
import { Roster, type Place } from "../src/roster.js";
import type { FakeNode, Wire } from "./fake-node.js";
import { RealNode } from "./real-node.js";
import { client, reached, startNode, stopAll } from "./setup.js";

afterEach(stopAll);

// Only what needs no wait comes in time.
const never = { backoff: { base: 1e9, max: 1e9 } };

/** Nodes that tell of each other. */
async function mesh(...names: string[]): Promise<FakeNode[]> {
  const nodes = await Promise.all(names.map((name) => startNode({ name })));
  for (const n of nodes) n.options.nodes = listOf(nodes);
  return nodes;
}

function listOf(nodes: FakeNode[]): object[] {
  return nodes.map((n) => ({ id: n.options.name, name: "fake", urls: [n.url] }));
}

function refusal(to: Wire, by: string): Wire {
  return { vrb: "error", rmid: to.mid!, frm: by, bdy: { code: "shutting_down", message: "too late" } };
}

describe("a node that is lost", () => {
  it("is left for another at once, with what is served and what waits", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    const { rope } = client(a.url, never);
    const seen: string[] = [];
    rope.on("node", (n) => seen.push(n.id));
    const old = await a.conn();
    await rope.ready();
    const svc = rope.serve("math", { "/x": () => 7 });
    old.reply(await old.take("serve"));
    await svc.ready;
    const once = rope.call("x:/", 1);
    const again = rope.call("x:/", 2, { idempotent: true });
    const mids = [(await old.take("call")).mid, (await old.take("call")).mid];
    a.down = true;
    old.kill();
    await expect(once).rejects.toMatchObject({ code: "connection_lost" });
    const conn = await b.conn();
    expect((await conn.take("serve")).to).toBe("math:/x");
    const m = await conn.take("call");
    expect([m.mid, m.str]).toEqual([mids[1], { idempotent: true }]);
    conn.reply(m, "ok");
    expect(await again).toBe("ok");
    conn.send({ vrb: "call", mid: "1", to: "math:/x", frm: "x@client:/" });
    expect((await conn.take("reply")).bdy).toBe(7);
    expect(seen).toEqual(["a", "b"]);
    expect(rope.node).toEqual({ id: "b", name: "fake" });
  });

  it("is not followed if the program does not want it", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    const { rope } = client(a.url, { follow: false });
    (await a.conn()).kill();
    await a.conn();
    await rope.ready();
    expect(b.conns.length).toBe(0);
  });

  it("what another node refuses does not end the client: the program did not choose it", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    b.options.websocket = false;
    b.intercept = (_, res) => {
      res.writeHead(403, { "Content-Type": "application/json" }).end('{"code":"forbidden","message":"not here"}');
      return true;
    };
    const { rope, errors } = client(a.url, { transports: ["websocket", "poll"] });
    const conn = await a.conn();
    await rope.ready();
    b.options.welcome = false;
    conn.kill();
    await a.conn();
    await rope.ready();
    expect(errors.map((e) => e.code)).not.toContain("forbidden"); // by what worked before: WebSocket
    expect(rope.state).toBe("connected");
  });

  it("the list of nodes changes", async () => {
    const [a, b, c] = await mesh("a", "b", "c") as [FakeNode, FakeNode, FakeNode];
    delete a.options.nodes;
    client(a.url, never);
    const conn = await a.conn();
    for (const nodes of [listOf([a, b, c]), 7, listOf([a, c])]) conn.send({ vrb: "nodes", bdy: { nodes } });
    conn.send({ vrb: "later" }); // a verb of a later version
    conn.send({ vrb: "drain" });
    await c.conn();
    expect(b.conns.length).toBe(0);
  });
});

describe("a node that drains", () => {
  it("is left when there is another connection, and all answers are in", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    const { rope, errors } = client(a.url, never);
    const states: string[] = [];
    rope.on("state", (s) => states.push(s));
    const old = await a.conn();
    await rope.ready();
    let go!: () => void;
    const gate = new Promise<void>((r) => { go = r; });
    const svc = rope.serve("math", { "/slow": async () => gate.then(() => 7) });
    old.reply(await old.take("serve"));
    await svc.ready;
    const before = rope.call("x:/", "before");
    const asked = await old.take("call");
    const abort = new AbortController();
    const canceled = rope.call("x:/", "canceled", { signal: abort.signal });
    const askedToo = await old.take("call");
    old.send({ vrb: "call", mid: "1", to: "math:/slow", frm: "x@client:/" });
    old.send({ vrb: "drain" });

    const conn = await b.conn();
    conn.reply(await conn.take("serve"));
    const after = rope.call("x:/", "after");
    conn.reply(await conn.take("call"), 2);
    expect(await after).toBe(2);
    // A node may give two calls the same id, on two connections.
    conn.send({ vrb: "call", mid: "1", to: "math:/slow", frm: "x@client:/" });
    abort.abort();
    await expect(canceled).rejects.toMatchObject({ code: "canceled" });
    expect((await old.take("cancel")).rmid).toBe(askedToo.mid);
    // The old node is told to send nothing more, now that the new one knows.
    await old.take("drain");
    const over = await old.take("unserve");
    go();
    for (const c of [old, conn]) expect(await c.take("reply")).toMatchObject({ rmid: "1", bdy: 7 });
    old.reply(asked, 1);
    expect(await before).toBe(1);
    old.send({ vrb: "call", mid: "2", to: "math:/slow", frm: "x@client:/" }); // was on its way
    expect((await old.take("reply")).rmid).toBe("2");
    old.send(refusal(over, "a@node:/"));
    await old.closed;
    expect([old.got, conn.got, errors]).toEqual([[], [], []]);
    expect(states).toEqual(["connected"]);
    expect(rope.state).toBe("connected");
    expect(rope.node.id).toBe("b");
  });

  it("may end before there is another connection", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    b.options.welcome = false;
    const { rope } = client(a.url, never);
    const old = await a.conn();
    await rope.ready();
    const call = rope.call("x:/");
    await old.take("call");
    old.send({ vrb: "drain" });
    const conn = await b.conn();
    const state = reached(rope, "connecting");
    old.close(1001);
    await expect(call).rejects.toMatchObject({ code: "connection_lost" });
    await state;
    conn.welcome();
    await rope.ready();
    expect(rope.node.id).toBe("b");
  });

  it("with nowhere else to go: is left when all answers are in", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    b.down = true;
    const { rope } = client(a.url);
    const old = await a.conn();
    await rope.ready();
    const before = rope.call("x:/", "before");
    const asked = await old.take("call");
    old.send({ vrb: "drain" });
    const conn = await a.conn(); // another one there
    old.reply(asked, 1);
    expect(await before).toBe(1);
    await old.closed;
    const after = rope.call("x:/", "after");
    conn.reply(await conn.take("call"), 2);
    expect(await after).toBe(2);
  });

  it("what it refuses is sent again, in order and with the same ids", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    const { rope } = client(a.url, never);
    const old = await a.conn();
    await rope.ready();
    const calls = [1, 2, 3].map((n) => rope.call("x:/", n));
    const asked = [await old.take("call"), await old.take("call"), await old.take("call")];
    const stopping = rope.call("x:/", 4);
    old.send(refusal(await old.take("call"), "s1@x:/")); // a service says the same, which is another matter
    await expect(stopping).rejects.toMatchObject({ code: "shutting_down" });
    const impatient = rope.call("x:/", 5, { online: true });
    old.send(refusal(await old.take("call"), "a@node:/"));
    await expect(impatient).rejects.toMatchObject({ code: "shutting_down" });
    for (const m of [asked[1]!, asked[0]!, asked[2]!]) old.send(refusal(m, "a@node:/"));
    const conn = await b.conn();
    for (const m of asked) {
      const now = await conn.take("call");
      expect([now.mid, now.bdy]).toEqual([m.mid, m.bdy]);
      conn.reply(now, now.bdy);
    }
    expect(await Promise.all(calls)).toEqual([1, 2, 3]);
  });

  it("close ends both connections", async () => {
    const [a, b] = await mesh("a", "b") as [FakeNode, FakeNode];
    const { rope } = client(a.url, never);
    const old = await a.conn();
    await rope.ready();
    const call = rope.call("x:/").catch((e: { code: string }) => e.code);
    await old.take("call");
    old.send({ vrb: "drain" });
    const conn = await b.conn();
    await expect.poll(() => rope.node.id).toBe("b");
    await rope.close();
    expect(await call).toBe("canceled");
    await Promise.all([old.closed, conn.closed]);
    expect(rope.state).toBe("closed");
  });
});

describe("several URLs", () => {
  it("the first that answers is taken", async () => {
    const [a, b] = await Promise.all([startNode({ name: "a" }), startNode({ name: "b" })]);
    a.down = true;
    const { rope } = client([a.url, b.url], never);
    await b.conn();
    await rope.ready();
    expect(rope.node.id).toBe("b");
    expect(() => connect([])).toThrow();
  });
});

describe("the roster", () => {
  const url = (s: string): URL => new URL(s);
  const node = (id: string, ...urls: string[]): object => ({ id, urls });

  function roster(...urls: string[]): { r: Roster; at: Place } {
    const r = new Roster(urls.map(url), false, true);
    const at = r.next().place;
    at.node = "A";
    return { r, at };
  }

  function hops(r: Roster): string[] {
    for (const out: string[] = [];;) {
      const { place, hop } = r.next();
      if (!hop) return out;
      out.push(place.url.host);
    }
  }

  it("spreads the clients of a lost node, and comes back to it last", () => {
    const first: Record<string, number> = {};
    for (let i = 0; i < 300; i++) {
      const { r, at } = roster("ws://a", "ws://lb", "http://A:80/");
      r.learn(at, [node("A", "ws://a/", "ws://a2"), node("B", "ws://b"), node("C", "ws://c", "nonsense", "http://c2")]);
      expect(r.others(at)).toBe(true);
      r.left(at, true);
      const got = hops(r);
      expect([...got].sort()).toEqual(["b", "c", "lb"]);
      first[got[0]!] = (first[got[0]!] ?? 0) + 1;
    }
    for (const host of ["b", "c", "lb"]) expect(first[host]).toBeGreaterThan(50);
  });

  it("the page's own host goes first, unless its node is the one that was lost", () => {
    for (let i = 0; i < 50; i++) {
      const r = new Roster([url("ws://home")], true, true);
      const { place: home } = r.next();
      home.node = "A";
      r.learn(home, [node("B", "ws://b"), node("C", "ws://c")]);
      r.left(home, true);
      const { place } = r.next();
      expect(place.url.host).not.toBe("home");
      r.left(place, true);
      expect(r.next().place).toBe(home);
    }
  });

  it("does not hop for ever between nodes that throw it out", () => {
    const { r, at } = roster("ws://a", "ws://b", "ws://c");
    let tries = 0;
    for (let p = { place: at, hop: true }; p.hop; p = r.next()) {
      tries++;
      r.left(p.place, false);
    }
    expect(tries).toBe(3);
  });

  it("forgets what is not told any more, and keeps what it was given", () => {
    const { r, at } = roster("ws://a");
    r.learn(at, [node("B", "ws://b"), node("C", "ws://c")]);
    r.left(at, true);
    r.learn(at, [node("B", "ws://b")]);
    expect(hops(r)).toEqual(["b"]);
    r.learn(at, undefined); // says nothing of nodes
    expect(r.others(at)).toBe(true);
    r.learn(at, []);
    expect(r.others(at)).toBe(false);
  });

  it.each([
    ["ws://a", "ws://b", "http:", true],
    ["ws://a", "wss://b", "http:", true],
    ["wss://a", "wss://b", "https:", true],
    ["wss://a", "ws://b", "http:", false],
    ["ws://a", "ws://b", "https:", false],
    ["https://a", "ws://b", "http:", false],
    ["ws://a", "ws://127.0.0.1:7420", "http:", false],
    ["ws://a", "ws://[::1]", "http:", false],
    ["ws://a", "ws://[::ffff:127.0.0.1]", "http:", false],
    ["ws://a", "ws://LOCALHOST:1", "http:", false],
    ["ws://localhost", "ws://127.0.0.2", "http:", true],
    ["ws://a", "ws://user@b", "http:", false],
  ])("from %s to %s in a page by %s: %s", (from, to, protocol, follows) => {
    const page = globalThis as { location?: unknown };
    page.location = { protocol };
    try {
      const { r, at } = roster(from);
      r.learn(at, [node("B", to)]);
      expect(r.others(at)).toBe(follows);
    } finally {
      delete page.location;
    }
  });
});

describe("real nodes", () => {
  const nodes = [new RealNode(), new RealNode()] as const;
  beforeAll(async () => void await Promise.all(nodes.map((n) => n.start())), 120_000);
  afterAll(async () => void await Promise.all(nodes.map((n) => n.end())));

  it.each([["websocket"], ["stream"], ["poll"]] as const)("a rolling restart under load loses no call: %s", async (kind) => {
    const { rope } = client(nodes.map((n) => n.url), { transports: [kind] });
    await rope.ready();
    let good = 0;
    let stop = false;
    const failed: unknown[] = [];
    const callers = [0, 1, 2, 3].map(async (c) => {
      for (let i = 0; !stop; i++) {
        await rope.call("echo:/", [c, i]).then((v) => { if (String(v) === `${c},${i}`) good++; else failed.push(v); }, (e) => failed.push(e));
      }
    });
    const more = async (): Promise<void> => {
      const had = good;
      await expect.poll(() => good).toBeGreaterThan(had + 20);
    };
    for (const n of nodes) {
      await more();
      expect(await n.stop()).toBe(0);
      await more();
      await n.start();
    }
    stop = true;
    await Promise.all(callers);
    expect(failed).toEqual([]);
  });

  it("one that is killed is left, with what is served", async () => {
    const urls = nodes.map((n) => n.url);
    const { rope: server } = client(urls, { backoff: { base: 1e9, max: 1e9 } });
    await server.serve("here", { "/": () => 7 }).ready;
    const { rope: asker } = client(urls[1]!);
    await nodes[0].stop("SIGKILL");
    await expect.poll(() => asker.call("here:/").catch((e: { code: string }) => e.code)).toBe(7);
    await nodes[0].start();
  });
});

