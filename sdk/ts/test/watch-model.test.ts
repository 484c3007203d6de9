// A node of the test's own, whose connections come, go and drain, and whose frames are late: what each watch has seen
// must be what there was, in order, once, and without a hole that it was not told of.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect, type Rope, type Update, type Watch, type WebSocketLike } from "../src/index.js";
import { Socket, type Sent } from "./fake-socket.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

interface Doc { n: number; keep: object; list: number[] }

/** A state topic, or with events a log of which the last few are kept. */
class Truth {
  epoch = 1;
  offset = 0;
  doc: Doc = { n: 0, keep: { a: 1 }, list: [] };
  broken = false;
  constructor(readonly address: string, readonly events: boolean) {}
  get at(): { epo: string; off: number } { return { epo: `e${this.epoch}`, off: this.offset }; }
  get floor(): number { return Math.max(0, this.offset - 4); }
}

interface Sub { truth: Truth; name: string; delta: boolean; sent: Doc | undefined; offset: number; dirty: boolean }

/** The node's side of a socket. */
class Side {
  readonly subs = new Map<string, Sub>();
  readonly out: [object, unknown?][] = [];
  read = 0;
  canceled = new Set<unknown>();
  constructor(readonly socket: Socket) {}
}

interface Seen { kind: "state" | "event"; watch: Watch<Doc | number>; truth: Truth; got: (Update<Doc | number> | "fault")[]; closed: boolean; history: number }

class World {
  readonly rope: Rope;
  readonly truths = [new Truth("json:/a", false), new Truth("json:/b", false), new Truth("log:/a", true)];
  readonly sides = new Map<Socket, Side>();
  readonly seen: Seen[] = [];
  gone = new Set<Socket>();

  constructor(readonly random: (n: number) => number) {
    Socket.all = [];
    this.rope = connect(["ws://a/", "ws://b/"], {
      WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"], backoff: { base: 100, max: 400 },
    });
    this.rope.on("error", () => {});
  }

  readonly steps: (() => void | Promise<void>)[] = [
    () => this.watch(), () => this.unwatch(), () => this.write(), () => this.write(), () => this.write(), () => this.fault(),
    () => this.restart(),
    ...Array.from({ length: 4 }, () => () => this.read()),
    ...Array.from({ length: 4 }, () => () => this.deliver()),
    () => this.flush(), () => this.flush(),
    () => this.accept(), () => this.accept(), () => this.drop(), () => this.drain(),
    async () => void await vi.advanceTimersByTimeAsync(this.random(300)),
    async () => void await vi.advanceTimersByTimeAsync(0),
  ];

  any<T>(list: T[]): T | undefined { return list[this.random(list.length || 1)]; }

  watch(): void {
    const truth = this.any(this.truths)!;
    const history = truth.events ? this.random(2) * this.random(6) : 0;
    const seen = { kind: truth.events ? "event" : "state", truth, got: [], closed: false, history } as unknown as Seen;
    const options = { history, delta: this.random(2) === 1, linger: this.random(2) * 50, onError: () => void seen.got.push("fault") };
    seen.watch = this.rope.watch<Doc | number>(truth.address, options, (u) => {
      expect(seen.closed).toBe(false);
      seen.got.push(u);
    });
    this.seen.push(seen);
  }

  unwatch(): void {
    const s = this.any(this.seen.filter((x) => !x.closed));
    if (!s || this.random(3)) return;
    s.closed = true;
    s.watch.close();
  }

  write(): void {
    const t = this.any(this.truths)!;
    t.offset++;
    t.broken = false;
    const list = [...t.doc.list, t.offset].slice(-3);
    t.doc = { ...t.doc, n: t.offset, list };
    for (const side of this.sides.values()) for (const sub of side.subs.values()) if (sub.truth === t) this.send(side, sub);
  }

  fault(): void {
    const t = this.any(this.truths)!;
    if (t.events || this.random(4)) return;
    t.offset++;
    t.broken = true;
    for (const side of this.sides.values()) for (const sub of side.subs.values()) if (sub.truth === t) this.send(side, sub);
  }

  /** The owner of a topic dies: another epoch. */
  restart(): void {
    if (this.random(5)) return;
    const t = this.any(this.truths)!;
    t.epoch++;
    t.offset = 0;
    t.broken = false;
    t.doc = { ...t.doc, n: 0 };
    for (const side of this.sides.values()) {
      for (const sub of side.subs.values()) {
        if (sub.truth !== t) continue;
        sub.offset = 0;
        if (t.events) side.out.push([{ vrb: "gap", tpc: sub.name, ...t.at }]);
        else this.send(side, sub);
      }
    }
  }

  send(side: Side, sub: Sub): void {
    const t = sub.truth;
    if (t.events) {
      if (this.random(12)) {
        side.out.push([{ vrb: "update", tpc: sub.name, off: t.offset }, t.offset]);
      } else {
        side.out.push([{ vrb: "gap", tpc: sub.name, off: t.offset }]); // it was too slow
      }
      return;
    }
    sub.dirty = true; // sent by a flush, so that some are left out
  }

  /** What state topics have become. */
  flush(): void {
    const side = this.any([...this.sides.values()]);
    const sub = side && this.any([...side.subs.values()]);
    if (side && sub) this.flushSub(side, sub);
  }

  flushSub(side: Side, sub: Sub): void {
    if (!sub.dirty) return;
    sub.dirty = false;
    const t = sub.truth;
    const head = { vrb: "update", tpc: sub.name, ...t.at };
    if (t.broken) {
      sub.sent = undefined;
      side.out.push([{ ...head, flt: true }, { code: "bad_content", message: "" }]);
    } else if (sub.delta && sub.sent && this.random(3)) {
      side.out.push([{ ...head, cty: "application/merge-patch+json" }, { n: t.doc.n, list: t.doc.list }]);
      sub.sent = t.doc;
    } else {
      side.out.push([head, t.doc]);
      sub.sent = t.doc;
    }
  }

  read(): void {
    const side = this.any([...this.sides.values()]);
    const m = side?.socket.sent[side.read];
    if (!side || !m) return;
    side.read++;
    this.handle(side, m);
  }

  handle(side: Side, m: Sent & { tpc?: string }): void {
    if (m.vrb === "cancel" || m.to === "node:/info") return; // too late, always: the worse case
    if (m.vrb === "unsubscribe") {
      side.subs.delete(m.tpc!);
      side.out.push([{ vrb: "reply", rmid: m.mid, tpc: m.tpc }]);
      return;
    }
    if (m.vrb !== "subscribe") return;
    if (!this.random(10)) return void side.out.push([{ vrb: "error", rmid: m.mid }, { code: "overloaded", message: "", retryable: true }]);
    const t = this.truths.find((x) => x.address === m.to)!;
    const { recover, history = 0, delta } = (m.bdy ?? {}) as { recover?: { epoch: string; offset: number }; history?: number; delta?: string[] };
    const name = `t${this.truths.indexOf(t)}`;
    const sub: Sub = { truth: t, name, delta: delta !== undefined, sent: t.broken ? undefined : t.doc, offset: t.offset, dirty: false };
    side.subs.set(name, sub);
    const head = { vrb: "reply", rmid: m.mid, tpc: name };
    if (!t.events) {
      const unchanged = recover && recover.epoch === t.at.epo && recover.offset === t.offset && !t.broken;
      if (unchanged) side.out.push([{ ...head, ...t.at }]);
      else if (t.broken) side.out.push([{ ...head, ...t.at, flt: true }, { code: "bad_content", message: "" }]);
      else side.out.push([{ ...head, ...t.at }, t.doc]);
      return;
    }
    const whole = recover && recover.epoch === t.at.epo && recover.offset >= t.floor;
    const after = whole ? recover.offset : recover ? t.floor : Math.max(t.floor, t.offset - history);
    side.out.push([{ ...head, epo: t.at.epo, off: after }]);
    for (let n = after + 1; n <= t.offset; n++) side.out.push([{ vrb: "update", tpc: name, off: n }, n]);
  }

  deliver(): void {
    const side = this.any([...this.sides.values()]);
    const frame = side?.out.shift();
    if (frame) side!.socket.get(...frame);
  }

  accept(): Promise<void> | void {
    const s = Socket.last;
    if (this.sides.has(s) || this.gone.has(s) || s.closed !== undefined) return;
    this.sides.set(s, new Side(s));
    return s.welcome();
  }

  drop(): Promise<void> | void {
    const side = this.any([...this.sides.values()]);
    if (!side || this.random(2)) return;
    this.sides.delete(side.socket);
    this.gone.add(side.socket);
    if (side.socket.closed === undefined) return side.socket.drop();
  }

  drain(): void {
    const side = this.any([...this.sides.values()]);
    if (side && side.socket.closed === undefined && !this.random(3)) side.socket.get({ vrb: "drain" });
  }

  async finish(): Promise<void> {
    for (const t of this.truths) {
      t.offset++;
      t.broken = false;
      t.doc = { ...t.doc, n: t.offset, list: [] };
      for (const side of this.sides.values()) for (const sub of side.subs.values()) if (sub.truth === t) sub.dirty = !t.events;
      if (t.events) for (const side of this.sides.values()) for (const sub of side.subs.values()) if (sub.truth === t) side.out.push([{ vrb: "update", tpc: sub.name, off: t.offset }, t.offset]);
    }
    for (let i = 0; i < 60; i++) {
      await vi.advanceTimersByTimeAsync(400);
      await this.accept();
      for (const side of this.sides.values()) {
        while (side.socket.sent[side.read]) this.handle(side, side.socket.sent[side.read++]!);
        for (const sub of side.subs.values()) this.flushSub(side, sub);
        for (const f of side.out.splice(0)) side.socket.get(...f);
      }
    }
  }

  check(): void {
    for (const s of this.seen) {
      const updates = s.got.filter((u): u is Update<Doc | number> => u !== "fault");
      let before: Update<Doc | number> | undefined;
      for (const u of updates) {
        const n = s.kind === "state" ? (u.content as Doc).n : u.content;
        expect(n).toBe(u.offset); // the content is that of its position
        if (s.kind === "state") expect(u.content).toHaveProperty("keep", { a: 1 });
        const sameEpoch = before?.epoch === u.epoch;
        // The same content may come twice only with a fault between.
        if (sameEpoch && s.kind === "event") expect(u.offset).toBeGreaterThan(before!.offset);
        if (sameEpoch && s.kind === "state") expect(u.offset).toBeGreaterThanOrEqual(before!.offset);
        if (sameEpoch && s.kind === "state" && u.offset === before!.offset) {
          expect(s.got[s.got.indexOf(u) - 1]).toBe("fault");
        }
        if (s.kind === "event" && before && !(sameEpoch && u.offset === before.offset + 1)) expect(u.gap).toBe(true);
        before = u;
      }
      if (s.closed) continue;
      expect(s.watch.live).toBe(true);
      if (s.kind === "state") expect(before?.content).toEqual(s.truth.doc);
      if (before || s.kind === "state") expect({ epo: before!.epoch, off: before!.offset }).toEqual(s.truth.at);
    }
  }
}

it.each(Array.from({ length: 100 }, (_, i) => i + 1))("seed %i", async (seed) => {
  const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
  vi.spyOn(Math, "random").mockImplementation(() => random(1000) / 1000);
  for (let i = 0; i < 7; i++) random(2);
  const w = new World(random);
  for (let i = 0; i < 400; i++) await w.steps[random(w.steps.length)]!();
  await w.finish();
  w.check();
  const closed = w.rope.close({ timeout: 0 });
  await vi.runAllTimersAsync();
  await closed;
  expect(vi.getTimerCount()).toBe(0);
});
