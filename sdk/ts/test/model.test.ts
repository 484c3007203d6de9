// Connections to two nodes that come, go and drain at random, and what has to hold whatever happens: each call has one
// outcome, what is not idempotent reaches a node at most once unless that refused it, sends arrive in order, and what
// is new does not go to a node that drains.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect, type Rope, type RopewalkError, type WebSocketLike } from "../src/index.js";
import { Socket, type Sent } from "./fake-socket.js";

interface Call {
  id: number;
  idempotent: boolean;
  abort: AbortController;
  outcome?: string;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

class World {
  readonly calls: Call[] = [];
  readonly sends: { id: number; outcome?: string }[] = [];
  readonly rope: Rope;
  readonly alive = new Map<Socket, "up" | "draining" | "gone">();
  readonly refused = new Map<unknown, number>(); // how often, by the id of the call
  readonly told = new Set<Sent>(); // what was refused
  #id = 0;

  constructor(readonly random: (n: number) => number) {
    Socket.all = [];
    this.rope = connect(["ws://a/", "ws://b/"], {
      WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"], queue: 20, backoff: { base: 100, max: 400 },
    });
    this.rope.on("error", () => {});
  }

  readonly steps: (() => void | Promise<void>)[] = [
    () => this.call(false), () => this.call(false), () => this.call(true), () => this.send(), () => this.send(),
    () => this.answer(), () => this.answer(), () => this.answer(),
    () => this.abort(),
    () => this.accept(), () => this.accept(),
    () => this.drop(), () => this.drain(), () => this.refuse(), () => this.refuse(),
    async () => void await vi.advanceTimersByTimeAsync(this.random(300)),
    async () => void await vi.advanceTimersByTimeAsync(0),
  ];

  call(idempotent: boolean): void {
    const call: Call = { id: ++this.#id, idempotent, abort: new AbortController() };
    this.calls.push(call);
    const timeout = this.random(3) ? 60_000 : 1 + this.random(500);
    this.rope.call("x:/", call.id, { idempotent, signal: call.abort.signal, timeout }).then(
      (v) => settle(call, v === call.id * 2 ? "answered" : `got ${String(v)}`),
      (e: RopewalkError) => settle(call, e.code),
    );
  }

  send(): void {
    const send: { id: number; outcome?: string } = { id: ++this.#id };
    this.sends.push(send);
    this.rope.send("y:/", send.id).then(() => settle(send, "sent"), (e: RopewalkError) => settle(send, e.code));
  }

  abort(): void {
    this.calls[this.random(this.calls.length || 1)]?.abort.abort();
  }

  /** A socket that is open, if there is one; mostly there is one, and two while a node drains. */
  open(): Socket | undefined {
    const open = [...this.alive.keys()].filter((s) => this.alive.get(s) !== "gone" && s.closed === undefined);
    return open[this.random(open.length || 1)];
  }

  accept(): Promise<void> | void {
    const s = Socket.last;
    if (this.alive.has(s) || s.closed !== undefined) return;
    this.alive.set(s, "up");
    return s.welcome();
  }

  drop(): Promise<void> | void {
    const s = this.random(3) ? this.open() : Socket.last;
    if (!s || this.alive.get(s) === "gone" || s.closed !== undefined) return;
    this.alive.set(s, "gone");
    return s.drop([1006, 1001, 4001, 1011][this.random(4)]);
  }

  drain(): void {
    const s = this.open();
    if (!s || this.alive.get(s) !== "up") return;
    this.alive.set(s, "draining");
    s.get({ vrb: "drain" });
    const { sent } = s;
    const old = sent.length;
    s.send = (data) => {
      Socket.prototype.send.call(s, data);
      const m = sent[sent.length - 1]!;
      if (sent.length > old && m.to !== "node:/info") expect(["cancel"]).toContain(m.vrb);
    };
  }

  /** Answers one call that a connection has got, perhaps one that was answered or canceled already. */
  answer(): void {
    const s = this.open();
    const m = s && this.#asked(s);
    if (m) s.get({ vrb: "reply", rmid: m.mid }, (m.bdy as number) * 2);
  }

  /** Has a node that drains refuse a call that came too late. */
  refuse(): void {
    const s = this.open();
    const m = s && this.alive.get(s) === "draining" ? this.#asked(s) : undefined;
    if (!m || !s || this.told.has(m)) return;
    this.told.add(m);
    this.refused.set(m.bdy, (this.refused.get(m.bdy) ?? 0) + 1);
    s.get({ vrb: "error", rmid: m.mid, frm: `${new URL(s.url).hostname}@node:/` }, { code: "shutting_down", message: "too late" });
  }

  #asked(s: Socket): Sent | undefined {
    const got = s.sent.filter((m) => m.vrb === "call");
    return got[this.random(got.length || 1)];
  }

  async finish(): Promise<void> {
    for (let i = 0; i < 50 && !(this.rope.state === "connected" && this.alive.get(Socket.last) === "up"); i++) {
      await vi.advanceTimersByTimeAsync(400);
      await this.accept();
    }
    for (const s of Socket.all) {
      if (s.closed !== undefined || this.alive.get(s) === "gone") continue;
      for (const m of s.sent) if (m.vrb === "call") s.get({ vrb: "reply", rmid: m.mid }, (m.bdy as number) * 2);
    }
    await vi.advanceTimersByTimeAsync(0);
  }

  check(): void {
    const seen = (verb: string): Sent[] => Socket.all.flatMap((s) => s.sent.filter((m) => m.vrb === verb && m.to !== "node:/info"));
    const calls = seen("call");
    for (const c of this.calls) {
      const mine = calls.filter((m) => m.bdy === c.id);
      expect(["answered", "canceled", "deadline_exceeded", "overloaded", ...(c.idempotent ? [] : ["connection_lost"])]).toContain(c.outcome);
      if (!c.idempotent) expect(mine.length).toBeLessThanOrEqual(1 + (this.refused.get(c.id) ?? 0));
      expect(new Set(mine.map((m) => m.mid)).size).toBeLessThanOrEqual(1);
      if (c.outcome === "answered") expect(mine.length).toBeGreaterThan(0);
      if (c.outcome === "overloaded") expect(mine.length).toBe(0);
    }
    const arrived = seen("send").map((m) => m.bdy as number);
    expect(arrived).toEqual(this.sends.filter((s) => s.outcome === "sent").map((s) => s.id));
    expect(this.sends.every((s) => s.outcome === "sent" || s.outcome === "overloaded")).toBe(true);
  }
}

function settle(what: { outcome?: string }, outcome: string): void {
  expect(what.outcome).toBeUndefined();
  what.outcome = outcome;
}

it.each(Array.from({ length: 60 }, (_, i) => i + 1))("seed %i", async (seed) => {
  const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
  vi.spyOn(Math, "random").mockImplementation(() => random(1000) / 1000);
  for (let i = 0; i < 7; i++) random(2);
  const w = new World(random);
  for (let i = 0; i < 300; i++) await w.steps[random(w.steps.length)]!();
  await w.finish();
  w.check();
  const closed = w.rope.close({ timeout: 0 });
  await vi.runAllTimersAsync();
  await closed;
  expect(vi.getTimerCount()).toBe(0);
});
