// @vitest-environment happy-dom
import { act, StrictMode, useState, type ReactElement } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect, type Rope, type WebSocketLike } from "../src/index.js";
import { RopeProvider, useEvents, useTopic } from "../src/react.js";
import { Socket } from "./fake-socket.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let box: HTMLElement;
let rope: Rope;

beforeEach(async () => {
  vi.useFakeTimers();
  Socket.all = [];
  sessionStorage.clear();
  rope = connect("ws://node/", { WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"], backoff: { base: 1, max: 1 } });
  rope.on("error", () => {});
  box = document.createElement("div");
  root = createRoot(box);
  await act(() => Socket.last.welcome());
});

afterEach(async () => {
  await act(async () => root.unmount());
  const closed = rope.close({ timeout: 0 });
  await vi.runAllTimersAsync();
  await closed;
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

async function show(el: ReactElement): Promise<void> {
  await act(async () => root.render(<StrictMode><RopeProvider rope={rope}>{el}</RopeProvider></StrictMode>));
}

const get = (m: object, body?: unknown): Promise<void> => act(async () => Socket.last.get(m, body));
const pass = (ms: number): Promise<void> => act(async () => void await vi.advanceTimersByTimeAsync(ms));
const sent = (verb: string) => Socket.last.sent.filter((m) => m.vrb === verb);

async function arm(bdy: unknown, more: object = {}): Promise<void> {
  await get({ vrb: "reply", rmid: sent("subscribe").at(-1)!.mid, tpc: "t1", epo: "e", off: 1, ...more }, bdy);
}

let renders = 0;
let publish: (c: string | undefined) => Promise<unknown>;

function Score({ address = "json:/s.json", params, previous, skip }:
  { address?: string; params?: Record<string, unknown>; previous?: boolean; skip?: boolean }): ReactElement {
  const t = useTopic<string>(address, { params, previous, skip });
  renders++;
  publish = t.publish;
  return <p>{[t.loading && "loading", t.stale && "stale", t.content, t.error?.code].filter(Boolean).join(" ")}</p>;
}

it("shows the content and each that it becomes, with one subscription in strict mode", async () => {
  await show(<><Score /><Score /></>);
  expect(box.textContent).toBe("loadingloading");
  expect(sent("subscribe").length).toBe(1);
  await arm("0:0");
  expect(box.textContent).toBe("0:00:0");
  renders = 0;
  await get({ vrb: "update", tpc: "t1", off: 2 }, "1:0");
  expect(box.textContent).toBe("1:01:0");
  expect(renders).toBeLessThanOrEqual(4); // two components, which strict mode renders twice
  expect(Socket.last.sent.length).toBe(1);
});

it("has the content in the first render if it is known, and lets go of it after a while", async () => {
  await show(<Score />);
  await arm("0:0");
  await show(<i />);
  await pass(900);
  const seen: string[] = [];
  function Spy(): ReactElement {
    const { content, loading } = useTopic<string>("json:/s.json");
    seen.push(loading ? "loading" : content!);
    return <b />;
  }
  await show(<Spy />);
  expect(new Set(seen)).toEqual(new Set(["0:0"]));
  await pass(5000);
  expect(Socket.last.sent.length).toBe(1);
  await show(<i />);
  await pass(999);
  expect(sent("unsubscribe")).toEqual([]);
  await pass(1);
  expect(sent("unsubscribe").length).toBe(1);
});

it("says when what it shows is stale, and goes on after a reconnect", async () => {
  await show(<Score />);
  await arm("0:0");
  await act(() => Socket.last.drop());
  expect(box.textContent).toBe("stale 0:0");
  await pass(10);
  await act(() => Socket.last.welcome());
  expect(box.textContent).toBe("stale 0:0");
  await arm(undefined);
  expect(box.textContent).toBe("0:0");
  await get({ vrb: "update", tpc: "t1", off: 2, flt: true }, { code: "bad_content", message: "" });
  expect(box.textContent).toBe("stale 0:0 bad_content");
  await get({ vrb: "update", tpc: "t1", off: 3 }, "2:0");
  expect(box.textContent).toBe("2:0");
  await get({ vrb: "unsubscribe", tpc: "t1" }, { code: "revoked", message: "" });
  expect(box.textContent).toBe("stale 2:0 revoked");
  await get({ vrb: "session" }, { event: "changed", session: { id: "s", subject: "anna" } });
  await arm(undefined, { off: 3 });
  expect(box.textContent).toBe("2:0");
});

it("an error without a content", async () => {
  await show(<Score />);
  await arm({ code: "not_found", message: "" }, { flt: true });
  expect(box.textContent).toBe("not_found");
});

it("follows its parameters, and may show what there was meanwhile", async () => {
  function View(): ReactElement {
    const [page, setPage] = useState(1);
    return <><Score params={{ page }} previous /><Score params={{ page }} /><button onClick={() => setPage(page + 1)} /></>;
  }
  await show(<View />);
  await arm("one");
  expect(box.textContent).toBe("oneone");
  await act(async () => box.querySelector("button")!.click());
  expect(box.textContent).toBe("stale oneloading");
  expect(sent("subscribe").at(-1)!.bdy).toEqual({ params: { page: 2 } });
  await arm("two", { tpc: "t2" });
  expect(box.textContent).toBe("twotwo");
  await show(<View key="other" />);
  await pass(1000);
  expect(sent("unsubscribe").length).toBe(1); // page 2; page 1 is there again
});

it("skip", async () => {
  await show(<Score skip />);
  expect(box.textContent).toBe("");
  expect(Socket.last.sent).toEqual([]);
  await show(<Score />);
  expect(box.textContent).toBe("loading");
});

it("publish shows the content at once, and takes it back", async () => {
  await show(<Score />);
  await arm("0:0");
  let failed: unknown;
  await act(async () => void publish("9:9").catch((e: unknown) => { failed = e; }));
  expect(box.textContent).toBe("9:9");
  await get({ vrb: "error", rmid: sent("publish")[0]!.mid }, { code: "forbidden", message: "" });
  expect(failed).toMatchObject({ code: "forbidden" });
  expect(box.textContent).toBe("0:0");
});

it("works with topics of the page", async () => {
  await show(<><Score address="app:x" /><Score address="app:x" /></>);
  await act(() => rope.publish("app:x", "here"));
  expect(box.textContent).toBe("herehere");
  expect(Socket.last.sent).toEqual([]);
});

it("useEvents keeps the latest", async () => {
  function Log(): ReactElement {
    const { events, error, clear } = useEvents<string>("chat:/room", { keep: 2, history: 3 });
    return <><p>{events.map((u) => u.content).join()} {error?.code}</p><button onClick={clear} /></>;
  }
  await show(<Log />);
  expect(sent("subscribe").at(-1)!.bdy).toEqual({ history: 3 });
  await arm(undefined, { off: 0 });
  for (const n of [1, 2, 3]) await get({ vrb: "update", tpc: "t1", off: n }, `m${n}`);
  expect(box.textContent).toBe("m2,m3 ");
  await act(async () => box.querySelector("button")!.click());
  expect(box.textContent).toBe(" ");
  await get({ vrb: "unsubscribe", tpc: "t1" }, { code: "revoked", message: "" });
  expect(box.textContent).toBe(" revoked");
  await show(<i />);
  await pass(0);
});

it("a client that was closed is an error", async () => {
  const closed = rope.close({ timeout: 0 });
  await vi.runAllTimersAsync();
  await closed;
  await show(<Score />);
  expect(box.textContent).toBe("not_ready");
  function Log(): ReactElement {
    return <p>{useEvents("chat:/room").error?.code} for events</p>;
  }
  await show(<Log />);
  expect(box.textContent).toBe("not_ready for events");
});

it("does not keep what was refused when there is an error in place of the content", async () => {
  for (const before of ["0:0", undefined]) {
    const address = `json:/${before}.json`;
    await show(<Score key={address} address={address} />);
    const fault = [{ code: "bad_content", message: "" }, { flt: true }] as const;
    if (before === undefined) await arm(...fault);
    else {
      await arm(before);
      await get({ vrb: "update", tpc: "t1", off: 2, flt: true }, fault[0]);
    }
    const shown = before === undefined ? "bad_content" : `stale ${before} bad_content`;
    expect(box.textContent).toBe(shown);
    let put!: Promise<unknown>;
    await act(async () => { put = publish("1:0").catch(() => {}); });
    expect(box.textContent).toBe("1:0");
    await get({ vrb: "error", rmid: sent("publish").at(-1)!.mid }, { code: "storage_full", message: "" });
    await put;
    expect(box.textContent).toBe(shown);
  }
});
