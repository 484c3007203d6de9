// Topics against the real node: a service of this client's own is watched by another client.
import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { At, connect, RopewalkError, type ConnectOptions, type Rope, type Update, type WebSocketLike } from "../src/index.js";
import { RealNode, Wire } from "./real-node.js";
import { stopAll } from "./setup.js";

const node = new RealNode();
const ropes: Rope[] = [];

beforeAll(async () => void await node.start());
afterAll(() => node.end());
afterEach(async () => {
  await Promise.all(ropes.splice(0).map((r) => r.close({ timeout: 500 })));
  await stopAll();
});

function dial(options: ConnectOptions = {}, url: string | string[] = node.url): Rope {
  const rope = connect(url, { WebSocket: WebSocket as unknown as WebSocketLike, backoff: { base: 10, max: 50 }, ...options });
  rope.on("error", () => {});
  ropes.push(rope);
  return rope;
}

/** A content that can be set, as the handler of a watched route. */
class Cell<T> {
  readonly runs = new Set<(v: T | RopewalkError) => void>();
  started = 0;
  constructor(public value: T | RopewalkError) {}

  set(v: T | RopewalkError): void {
    this.value = v;
    for (const tell of this.runs) tell(v);
  }

  readonly watch = async function* (this: Cell<T>, _: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<T | RopewalkError> {
    this.started++;
    const waiting = [this.value];
    let wake = (): void => {};
    const tell = (v: T | RopewalkError): void => {
      waiting.push(v);
      wake();
    };
    signal.addEventListener("abort", () => wake());
    this.runs.add(tell);
    try {
      while (!signal.aborted) {
        if (waiting.length) yield waiting.shift()!;
        else await new Promise<void>((r) => { wake = r; });
      }
    } finally {
      this.runs.delete(tell);
    }
  }.bind(this);
}

let count = 0;
const name = (): string => `t${++count}`;

describe.each(["websocket", "stream", "poll"] as const)("by %s", (transport) => {
  it("state: content first, then every change, shared; told when nobody watches", async () => {
    const cell = new Cell<unknown>({ n: 0, list: [1, 2, 3], big: "x".repeat(300) });
    const svc = name();
    const server = dial();
    await server.serve(svc, {}).watch("/{id}", cell.watch).ready;
    const rope = dial({ transports: [transport] });
    const got: Update<{ n: number; list: number[] }>[] = [];
    const other: unknown[] = [];
    const w = rope.watch<{ n: number; list: number[] }>(`${svc}:/a`, { delta: true, params: { x: 1 } }, (u) => got.push(u), () => {});
    await w.ready;
    await expect.poll(() => got.length).toBe(1);
    const errors: string[] = [];
    rope.watch(`${svc}:/a`, { params: { x: 1 } }, (u) => other.push(u.content), (e) => errors.push(e.code));
    cell.set({ n: 1, list: [1, 2, 3], big: "x".repeat(300) });
    await expect.poll(() => got.at(-1)!.content.n).toBe(1);
    cell.set({ n: 2, list: [1, 2, 3, 4], big: "x".repeat(300) });
    await expect.poll(() => got.at(-1)!.content.n).toBe(2);
    expect(got.at(-1)!.content).toEqual(cell.value);
    expect(got.at(-1)!.content.list).not.toBe(got[0]!.content.list);
    expect(got[1]!.content.list).toBe(got[0]!.content.list); // a change came, not the whole
    await expect.poll(() => other.length).toBe(3);
    expect(await rope.get(`${svc}:/a`, { params: { x: 1 } })).toEqual(cell.value);
    expect(cell.started).toBe(1);
    cell.set(new RopewalkError("source_down", "no prices"));
    await expect.poll(() => errors).toEqual(["source_down"]);
    await expect(rope.get(`${svc}:/a`, { params: { x: 1 } })).rejects.toMatchObject({ code: "source_down" });
    cell.set({ n: 3, list: [] });
    await expect.poll(() => got.at(-1)!.content.n).toBe(3);
    await rope.close();
    await expect.poll(() => cell.runs.size).toBe(0);
  });
});

it("goes on after the connection broke, without a hole or a repetition", async () => {
  const wire = new Wire(node);
  const url = await wire.start();
  const cell = new Cell<number>(0);
  const svc = name();
  await dial().serve(svc, {}).watch("/", cell.watch).ready;
  const rope = dial({}, url);
  const got: number[] = [];
  const w = rope.watch<number>(`${svc}:/`, {}, (u) => got.push(u.content));
  const keeper = dial().watch(`${svc}:/`, {}, () => {}); // so that the topic lives on
  await Promise.all([w.ready, keeper.ready]);
  for (let i = 1; i <= 30; i++) {
    if (i % 10 === 5) wire.cut();
    cell.set(i);
    await expect.poll(() => got.at(-1)).toBe(i);
  }
  expect(got).toEqual([...new Set(got)].sort((a, b) => a - b));
  await rope.close();
  await wire.stop();
});

it("the service comes back: a fault, then the content", async () => {
  const svc = name();
  const told: unknown[] = [];
  const rope = dial();
  const first = dial();
  await first.serve(svc, {}).watch("/", new Cell("one").watch).ready;
  const w = rope.watch(`${svc}:/`, {}, (u) => told.push(u.content), (e) => told.push(e.code));
  await w.ready;
  await first.close();
  const cell = new Cell("two");
  await dial().serve(svc, {}).watch("/", cell.watch).ready;
  await expect.poll(() => told.at(-1)).toBe("two");
  expect(told[0]).toBe("one");
  expect(told.slice(1, -1).every((t) => t !== "one")).toBe(true);
});

it("nobody serves it yet: told once, and watched as soon as somebody does", async () => {
  const svc = name();
  const told: unknown[] = [];
  dial().watch(`${svc}:/`, {}, (u) => told.push(u.content), (e) => told.push(e.code));
  await expect.poll(() => told).toEqual(["no_service"]);
  await dial().serve(svc, {}).watch("/", new Cell("here").watch).ready;
  await expect.poll(() => told).toEqual(["no_service", "here"]);
});

it("events: each one, with history, recovered after a break", async () => {
  const wire = new Wire(node);
  const url = await wire.start();
  const svc = name();
  const pushes = new Map<string, (v: string) => void>();
  await dial().serve(svc, {}).watch("/{room}", async function* (params: { room: string }, { signal }) {
    const waiting: string[] = [];
    let wake = (): void => {};
    pushes.set(params.room, (v) => { waiting.push(v); wake(); });
    signal.addEventListener("abort", () => wake());
    while (!signal.aborted) {
      if (waiting.length) yield waiting.shift()!;
      else await new Promise<void>((r) => { wake = r; });
    }
  }, { events: true, history: { count: 100, age: 60_000 } }).ready;
  const rope = dial({}, url);
  const got: Update<string>[] = [];
  const keeper: string[] = [];
  const w = rope.watch<string>(`${svc}:/a`, {}, (u) => got.push(u));
  await w.ready;
  const k = dial().watch<string>(`${svc}:/a`, {}, (u) => keeper.push(u.content));
  await k.ready;
  await expect.poll(() => pushes.has("a")).toBe(true);
  for (let i = 1; i <= 20; i++) {
    if (i === 10) wire.cut();
    pushes.get("a")!(`m${i}`);
  }
  await expect.poll(() => got.length).toBe(20);
  expect(got.map((u) => u.content)).toEqual(Array.from({ length: 20 }, (_, i) => `m${i + 1}`));
  expect(got.some((u) => u.gap)).toBe(false);
  expect(keeper).toEqual(got.map((u) => u.content));
  const past: string[] = [];
  await rope.watch<string>(`${svc}:/a`, { history: 3 }, (u) => past.push(u.content)).ready;
  await expect.poll(() => past).toEqual(["m18", "m19", "m20"]);
  pushes.get("a")!("m21");
  await expect.poll(() => past.at(-1)).toBe("m21");
  await expect.poll(() => got.length).toBe(21);
  await rope.close();
  await wire.stop();
});

it("events of a pattern: only those of addresses that are watched, with their address", async () => {
  const svc = name();
  let emit: ((path: string, event: string) => void) | undefined;
  await dial().serve(svc, {}).watch("/{room}", async function* (_, { signal }) {
    const waiting: At<string>[] = [];
    let wake = (): void => {};
    emit = (path, event) => { waiting.push(new At(path, event)); wake(); };
    signal.addEventListener("abort", () => wake());
    while (!signal.aborted) {
      if (waiting.length) yield waiting.shift()!;
      else await new Promise<void>((r) => { wake = r; });
    }
  }, { events: true }).ready;
  const got: [string, string][] = [];
  await dial().watch<string>(`${svc}:/*`, {}, (u) => got.push([u.address, u.content])).ready;
  await expect.poll(() => emit !== undefined).toBe(true);
  emit!("/a", "one");
  emit!("/far/below", "nobody's");
  emit!("/b", "two");
  await expect.poll(() => got).toEqual([[`${svc}:/a`, "one"], [`${svc}:/b`, "two"]]);
});

it("publish reaches the service; a refusal takes back what was shown", async () => {
  const svc = name();
  const cell = new Cell<unknown>("old");
  await dial().serve(svc, {}).watch("/", cell.watch, {
    publish: (content) => {
      if (content === "bad") throw new RopewalkError("conflict", "not that");
      cell.set(content ?? new RopewalkError("not_found", "deleted"));
      return { stored: true };
    },
  }).ready;
  const rope = dial();
  const got: [unknown, boolean][] = [];
  const errors: string[] = [];
  const w = rope.watch(`${svc}:/`, {}, (u) => got.push([u.content, u.optimistic]), (e) => errors.push(e.code));
  await w.ready;
  expect(await rope.publish(`${svc}:/`, "new", { optimistic: true })).toEqual({ stored: true });
  await expect.poll(() => got).toEqual([["old", false], ["new", true], ["new", false]]);
  await expect(rope.publish(`${svc}:/`, "bad", { optimistic: true })).rejects.toMatchObject({ code: "conflict", remote: true });
  await expect.poll(() => got.slice(3)).toEqual([["bad", true], ["new", false]]);
  await rope.publish(`${svc}:/`, undefined);
  await expect.poll(() => errors).toEqual(["not_found"]);
});

it("a call that cannot be watched says so", async () => {
  const rope = dial();
  const w = rope.watch("echo:/", {}, () => {}, () => {});
  await expect(w.ready).rejects.toMatchObject({ code: expect.stringMatching(/unimplemented|not_found/) });
});

it("goes on at another node when its own is killed: no event is lost, none comes twice", async () => {
  const permissions = { preset: "dev" };
  const a = await new RealNode({ permissions, mesh: { cluster: "127.0.0.1:0" } }).start();
  const b = await new RealNode({ permissions, mesh: { cluster: "127.0.0.1:0", join: [a.cluster] } }).start();
  try {
    const svc = name();
    let push = (_: number): void => {};
    const cell = new Cell<number>(0);
    const service = dial({}, b.url).serve(svc, {}).watch("/log", async function* (_: unknown, { signal }) {
      const waiting: number[] = [];
      let wake = (): void => {};
      push = (v) => { waiting.push(v); wake(); };
      signal.addEventListener("abort", () => wake());
      while (!signal.aborted) {
        if (waiting.length) yield waiting.shift()!;
        else await new Promise<void>((r) => { wake = r; });
      }
    }, { events: true, history: { count: 1000, age: 60_000 } }).watch("/state", cell.watch);
    await service.ready;
    const rope = dial({}, [a.url, b.url]);
    const log: Update<number>[] = [];
    const states: number[] = [];
    const watches = [rope.watch<number>(`${svc}:/log`, {}, (u) => log.push(u), () => {}), rope.watch<number>(`${svc}:/state`, {}, (u) => states.push(u.content), () => {})];
    await expect.poll(() => watches.every((w) => w.live)).toBe(true);
    const keeper = dial({}, b.url).watch(`${svc}:/log`, {}, () => {});
    await keeper.ready;
    for (let i = 1; i <= 300; i++) {
      push(i);
      cell.set(i);
      if (i === 100) void a.stop("SIGKILL");
      if (i % 10 === 0) await new Promise((r) => setTimeout(r, 5));
    }
    await expect.poll(() => log.at(-1)?.content).toBe(300);
    await expect.poll(() => states.at(-1)).toBe(300);
    expect(log.map((u) => u.content)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    expect(log.some((u) => u.gap)).toBe(false);
    expect(states).toEqual([...new Set(states)].sort((x, y) => x - y));
    expect(rope.node.id).not.toBe("");
  } finally {
    await Promise.all([a.end(), b.end()]);
  }
});
