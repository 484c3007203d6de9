// What depends on time, with a clock and a socket of the test's own.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect, type ConnectOptions, type Rope, type RopewalkError, type WebSocketLike } from "../src/index.js";
import { Socket } from "./fake-socket.js";

let ropes: Rope[] = [];
const errors: RopewalkError[] = [];

function open(options: ConnectOptions = {}): Rope {
  const rope = connect("ws://node/", { WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"], ...options });
  rope.on("error", (e) => errors.push(e));
  ropes.push(rope);
  return rope;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  Socket.all = [];
  errors.length = 0;
});

afterEach(async () => {
  for (const r of ropes.splice(0)) {
    const closed = r.close({ timeout: 0 });
    await vi.runAllTimersAsync();
    await closed;
  }
  ropes = [];
  expect(vi.getTimerCount()).toBe(0); // a closed client leaves nothing behind
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("close", () => {
  it("leaves no timer that keeps a process from ending", async () => {
    const rope = open();
    await Socket.last.welcome();
    const closed = rope.close();
    await vi.advanceTimersByTimeAsync(0);
    await Socket.last.drop();
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("coming back", () => {
  it("waits longer after each failure, up to the bound, and anything below it", async () => {
    const rope = open({ backoff: { base: 1000, max: 5000 } });
    expect(rope.retryAt).toBeUndefined();
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      const t0 = Date.now();
      await Socket.last.drop();
      const n = Socket.all.length;
      const { retryAt } = rope;
      while (Socket.all.length === n) await vi.advanceTimersByTimeAsync(1);
      waits.push(Date.now() - t0);
      expect(retryAt).toBe(Date.now());
      expect(rope.retryAt).toBeUndefined();
    }
    expect(waits).toEqual([500, 1000, 2000, 2500, 2500]);
  });

  it("starts over after a connection that lasted, and not after one that did not", async () => {
    open({ backoff: { base: 1000, max: 60_000 } });
    await Socket.last.drop();
    await vi.advanceTimersByTimeAsync(500);
    await Socket.last.welcome();
    await vi.advanceTimersByTimeAsync(1000);
    await Socket.last.drop(); // a short one: the second wait
    await vi.advanceTimersByTimeAsync(999);
    expect(Socket.all.length).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(Socket.all.length).toBe(3);
    await Socket.last.welcome();
    await vi.advanceTimersByTimeAsync(6000);
    await Socket.last.drop();
    await vi.advanceTimersByTimeAsync(500); // the first wait again
    expect(Socket.all.length).toBe(4);
  });

  it("is at once after 1001, but only if the connection had lasted", async () => {
    const rope = open();
    await Socket.last.welcome();
    await vi.advanceTimersByTimeAsync(6000);
    await Socket.last.drop(1001);
    expect(Socket.all.length).toBe(2);
    await Socket.last.welcome();
    await Socket.last.drop(1001);
    expect(rope.state).toBe("waiting");
  });

  it("gives a try to connect only so much time", async () => {
    const rope = open({ connectTimeout: 2000 });
    await vi.advanceTimersByTimeAsync(2000);
    expect(Socket.last.closed).toBe(1005);
    expect(rope.state).toBe("waiting");
    expect(errors[0]).toMatchObject({ code: "connection_lost", message: expect.stringContaining("no welcome in time") });
  });

  it("does not take word from a connection that was given up", async () => {
    const rope = open({ connectTimeout: 2000 });
    const old = Socket.last;
    await vi.advanceTimersByTimeAsync(2000);
    old.get({ vrb: "welcome" }, { id: "old" });
    expect(rope.id).toBe("");
  });

  it("reconnect drops a connection and does not wait", async () => {
    const rope = open();
    await Socket.last.welcome();
    await vi.advanceTimersByTimeAsync(6000);
    rope.reconnect();
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(2);
    await Socket.last.drop();
    expect(rope.state).toBe("waiting");
    rope.reconnect();
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(3);
  });
});

describe("silence", () => {
  it("makes the client ask, and any answer is a sign of life", async () => {
    const rope = open({ silence: 60_000 });
    await Socket.last.welcome();
    await vi.advanceTimersByTimeAsync(59_000);
    expect(Socket.last.sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(Socket.last.sent).toMatchObject([{ vrb: "call", to: "node:/info" }]);
    Socket.last.get({ vrb: "error", rmid: Socket.last.sent[0]!.mid }, { code: "not_found", message: "" });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(rope.state).toBe("connected");
    expect(errors).toEqual([]);
  });

  it("that goes on drops the connection, and calls in flight with it", async () => {
    const rope = open({ silence: 60_000 });
    await Socket.last.welcome();
    const call = rope.call("x:/", 1, { timeout: 600_000 });
    const failed = expect(call).rejects.toMatchObject({ code: "connection_lost", message: expect.stringContaining("does not answer") });
    await vi.advanceTimersByTimeAsync(80_000);
    await failed;
    expect(Socket.all.length).toBeGreaterThan(1);
    expect(Socket.all[0]!.closed).toBeDefined();
  });

  it("is broken by anything that arrives", async () => {
    open({ silence: 60_000 });
    await Socket.last.welcome();
    for (let i = 0; i < 10; i++) {
      await vi.advanceTimersByTimeAsync(50_000);
      Socket.last.get({ vrb: "send", to: "c1@client:/" });
    }
    expect(Socket.last.sent).toEqual([]);
  });
});

describe("hints of the page", () => {
  function page(): EventTarget & { visibilityState: string } {
    const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    const window = new EventTarget();
    vi.stubGlobal("document", document);
    vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
    vi.stubGlobal("removeEventListener", window.removeEventListener.bind(window));
    vi.stubGlobal("dispatchEvent", window.dispatchEvent.bind(window));
    return document;
  }

  it("online and visible end the wait at once", async () => {
    const document = page();
    const rope = open({ backoff: { base: 1e6, max: 1e6 } });
    await Socket.last.drop();
    expect(rope.state).toBe("waiting");
    dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(2);
    await Socket.last.drop();
    document.visibilityState = "hidden";
    document.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(2);
    document.visibilityState = "visible";
    document.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(3);
  });

  it("online asks a connection whether it still lives", async () => {
    page();
    open();
    await Socket.last.welcome();
    dispatchEvent(new Event("online"));
    dispatchEvent(new Event("online"));
    expect(Socket.last.sent.map((m) => m.to)).toEqual(["node:/info"]);
    await vi.advanceTimersByTimeAsync(13_000);
    expect(Socket.all.length).toBe(2);
  });

  it("are no longer listened to after close", async () => {
    page();
    const rope = open();
    await Socket.last.welcome();
    const closed = rope.close({ timeout: 0 });
    await vi.runAllTimersAsync();
    await closed;
    dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(0);
    expect(Socket.all.length).toBe(1);
  });
});

it("a node that drains, and says no goodbye, is left all the same", async () => {
  open();
  await Socket.last.welcome();
  Socket.last.get({ vrb: "drain" });
  await vi.advanceTimersByTimeAsync(0);
  expect(Socket.last.closed).toBe(1000);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(Socket.all.length).toBe(1);
  await vi.advanceTimersByTimeAsync(1 + 250); // and the wait before the next try
  expect(Socket.all.length).toBe(2);
});

it("a node that drains, and never answers, is left after half a minute", async () => {
  const rope = open();
  await Socket.last.welcome();
  rope.call("x:/", 1, { timeout: 1e6 }).catch(() => {});
  Socket.last.get({ vrb: "drain" });
  await vi.advanceTimersByTimeAsync(29_000);
  expect(Socket.all.length).toBe(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(Socket.all.length).toBe(2);
});

it("a time-out longer than a timer can be is no time-out of a millisecond", async () => {
  const rope = open();
  await Socket.last.welcome();
  let over = false;
  rope.call("x:/", 1, { timeout: 1e12 }).catch(() => { over = true; });
  await vi.advanceTimersByTimeAsync(1000);
  expect(over).toBe(false);
});

describe("a gather", () => {
  it("waits for the answers that the node sends at its deadline", async () => {
    const rope = open();
    await Socket.last.welcome();
    const out = rope.gather("x:/*", 1, { timeout: 1000 });
    expect(Socket.last.sent[0]!.tmo).toBe(1);
    await vi.advanceTimersByTimeAsync(1500);
    const missing = [{ server: "s1", name: "x", path: "/a" }];
    Socket.last.get({ vrb: "reply", rmid: Socket.last.sent[0]!.mid }, { answers: [], missing, servers: 1 });
    expect(await out).toMatchObject({ missing, servers: 1 });
  });

  it("ends a second after its deadline if the node is silent, also as a call", async () => {
    const rope = open();
    await Socket.last.welcome();
    const codes: string[] = [];
    const note = (err: RopewalkError): void => void codes.push(err.code);
    rope.gather("x:/*", 1, { timeout: 1000 }).catch(note);
    rope.call("x:/*", 1, { timeout: 1000, strategy: "all" }).catch(note);
    rope.call("x:/*", 1, { timeout: 1000, strategy: { by: "majority" }, idempotent: true }).catch(note);
    await vi.advanceTimersByTimeAsync(1999);
    expect(codes).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(codes).toEqual(Array(3).fill("deadline_exceeded"));
    expect(Socket.last.sent.filter((m) => m.vrb === "cancel").length).toBe(3);
  });

  it("ends at its deadline if it was not sent, and so does every other call", async () => {
    const rope = open();
    const lines: string[] = [];
    const note = (err: RopewalkError): void => void lines.push(err.message);
    rope.gather("x:/*", 1, { timeout: 1000 }).catch(note);
    await vi.advanceTimersByTimeAsync(1000);
    expect(lines).toEqual(["no connection to the node within 1000 ms"]);
    await Socket.last.welcome();
    rope.call("x:/", 1, { timeout: 1000, strategy: "random" }).catch(note);
    await vi.advanceTimersByTimeAsync(1000);
    expect(lines[1]).toBe("no answer from x:/ within 1000 ms");
  });
});

it("an error that nobody listens for goes to the console", async () => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const rope = connect("ws://node/", { WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"] });
  ropes.push(rope);
  await Socket.last.drop();
  expect(log).toHaveBeenCalledWith(expect.objectContaining({ code: "connection_lost" }));
});

describe("a socket that closes", () => {
  it("takes no more messages: they wait for the next", async () => {
    const rope = open();
    await Socket.last.welcome();
    const first = Socket.last;
    first.readyState = 2; // the node has said goodbye, and the event close comes later
    let sent = false;
    void rope.send("x:/", 1).then(() => { sent = true; });
    await vi.advanceTimersByTimeAsync(50);
    expect([sent, first.sent]).toEqual([false, []]);
    await first.drop(1001);
    while (Socket.last === first) await vi.advanceTimersByTimeAsync(10);
    await Socket.last.welcome();
    expect(sent).toBe(true);
    expect(Socket.last.sent).toMatchObject([{ vrb: "send", bdy: 1 }]);
  });

  it("or takes nothing at all does not make close last longer than it may", async () => {
    const rope = open();
    await Socket.last.welcome();
    Socket.last.bufferedAmount = 2 << 20;
    void rope.send("x:/", 1).catch(() => {});
    let over = false;
    void rope.close({ timeout: 1_000 }).then(() => { over = true; });
    await vi.advanceTimersByTimeAsync(1_010);
    expect(over).toBe(true);
  });
});

it("close answers the calls that it cannot wait for any longer", async () => {
  const rope = open();
  await Socket.last.welcome();
  rope.serve("slow", { "/": () => new Promise(() => {}) });
  const s = Socket.last;
  s.get({ vrb: "call", to: "slow:/", mid: "m1" });
  let before: unknown[] | undefined;
  s.close = () => { before ??= [...s.sent]; }; // nothing is sent after it
  void rope.close({ timeout: 1_000 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(before?.at(-1)).toMatchObject({ vrb: "error", rmid: "m1", bdy: { code: "shutting_down" } });
});
