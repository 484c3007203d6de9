// @vitest-environment happy-dom
import { act, StrictMode, useState, type ReactElement } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect, type Rope, type WebSocketLike } from "../src/index.js";
import { RopeProvider, useCall, useConnection, useMessages, useRope, useSession, useStream } from "../src/react.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

interface Sent { vrb: string; to: string; mid: string; rmid?: string; bdy?: unknown }

// A socket that is the node too.
class Socket {
  static last: Socket;
  static sent: Sent[] = [];
  binaryType = "";
  bufferedAmount = 0;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose: ((e: { code: number; reason: string }) => void) | null = null;
  onerror = null;
  constructor() {
    Socket.last = this;
  }
  send(data: string): void {
    Socket.sent.push(JSON.parse(data) as Sent);
  }
  close(): void {
    this.onclose?.({ code: 1006, reason: "" });
  }
  async get(m: object): Promise<void> {
    await act(async () => this.onmessage?.({ data: JSON.stringify(m) }));
  }
}

let root: Root;
let box: HTMLElement;
let rope: Rope;

beforeEach(async () => {
  Socket.sent = [];
  sessionStorage.clear();
  rope = connect("ws://node/", { WebSocket: Socket as unknown as WebSocketLike, transports: ["websocket"], framing: "json", backoff: { base: 1e6 } });
  rope.on("error", () => {});
  box = document.createElement("div");
  root = createRoot(box);
});

afterEach(async () => {
  await act(async () => root.unmount());
  await rope.close();
});

async function show(el: ReactElement): Promise<void> {
  await act(async () => root.render(<StrictMode><RopeProvider rope={rope}>{el}</RopeProvider></StrictMode>));
}

const welcome = (): Promise<void> => Socket.last.get({ vrb: "welcome", bdy: { id: "c1" } });
const click = (id: string): Promise<void> => act(async () => box.querySelector<HTMLButtonElement>("#" + id)!.click());
const calls = (): Sent[] => Socket.sent.filter((m) => m.vrb === "call");

it("useConnection follows the connection", async () => {
  function View(): ReactElement {
    const { state, id, node, error } = useConnection();
    return <p>{state} {id} {node.name} {error?.code}</p>;
  }
  await show(<View />);
  expect(box.textContent).toBe("connecting   ");
  await Socket.last.get({ vrb: "welcome", bdy: {
    id: "c1", node: { id: "a", name: "node a" }, nodes: [{ id: "a", urls: ["ws://node/"] }, { id: "b", urls: ["ws://other/"] }],
  } });
  expect(box.textContent).toBe("connected c1 node a ");
  await Socket.last.get({ vrb: "drain" });
  await Socket.last.get({ vrb: "welcome", bdy: { id: "c2", node: { id: "b", name: "node b" } } }); // without a change of state
  expect(box.textContent).toBe("connected c2 node b ");
  await act(async () => Socket.last.close());
  await act(async () => Socket.last.close()); // and not where it was before, either
  expect(box.textContent).toBe("waiting c2 node b connection_lost");
});

it("useCall calls, calls again when its input changes, and cancels what is not wanted any more", async () => {
  function View(): ReactElement {
    const [n, setN] = useState(1);
    const [skip, setSkip] = useState(false);
    const { data, error, loading, run } = useCall<number>("x:/double", { n }, { skip });
    return (
      <>
        <p>{loading ? "loading" : "idle"} {data} {error?.code}</p>
        <button id="more" onClick={() => setN(n + 1)} />
        <button id="again" onClick={run} />
        <button id="skip" onClick={() => setSkip(true)} />
      </>
    );
  }
  await show(<View />);
  await welcome();
  expect(box.textContent).toBe("loading  ");
  expect(calls().length).toBe(1); // strict mode ran the effect twice, and the first was canceled before it was sent
  await Socket.last.get({ vrb: "reply", rmid: calls()[0]!.mid, bdy: 2 });
  expect(box.textContent).toBe("idle 2 ");
  await click("more");
  expect(box.textContent).toBe("loading 2 ");
  expect(calls()[1]!.bdy).toEqual({ n: 2 });
  await click("more");
  expect(Socket.sent.at(-2)).toEqual({ vrb: "cancel", rmid: calls()[1]!.mid });
  await Socket.last.get({ vrb: "error", rmid: calls()[2]!.mid, bdy: { code: "conflict", message: "" } });
  expect(box.textContent).toBe("idle 2 conflict");
  await click("again");
  await Socket.last.get({ vrb: "reply", rmid: calls()[3]!.mid, bdy: 6 });
  expect(box.textContent).toBe("idle 6 ");
  await click("again");
  await click("skip");
  expect(Socket.sent.at(-1)).toMatchObject({ vrb: "cancel" });
  expect(box.textContent).toBe("idle 6 ");
});

it("useStream starts, shows parts, and cancels by hand and with its component", async () => {
  function View(): ReactElement {
    const { parts, reply, error, running, start, cancel } = useStream<number, string>("x:/long", { keep: 2 });
    return (
      <>
        <p>{running ? "running" : "idle"} {parts.join()} {reply} {error?.code}</p>
        <button id="start" onClick={() => start({ steps: 3 })} />
        <button id="cancel" onClick={cancel} />
      </>
    );
  }
  await show(<View />);
  await welcome();
  expect(box.textContent).toBe("idle   ");
  await click("start");
  const mid = calls()[0]!.mid;
  expect(calls()[0]!.bdy).toEqual({ steps: 3 });
  for (const n of [1, 2, 3]) await Socket.last.get({ vrb: "part", rmid: mid, bdy: n });
  expect(box.textContent).toBe("running 2,3  ");
  await Socket.last.get({ vrb: "reply", rmid: mid, bdy: "done" });
  expect(box.textContent).toBe("idle 2,3 done ");
  await click("start");
  expect(box.textContent).toBe("running   ");
  await click("cancel");
  expect(Socket.sent.at(-1)).toMatchObject({ vrb: "cancel" });
  expect(box.textContent).toBe("idle   canceled");
  await click("start");
  await show(<p />);
  expect(Socket.sent.at(-1)).toMatchObject({ vrb: "cancel", rmid: calls()[2]!.mid });
});

it("useStream does not run any more when its address is another one", async () => {
  function View({ to }: { to: string }): ReactElement {
    const { parts, running, start } = useStream<number>(to);
    return <><p>{running ? "running" : "idle"} {parts.join()}</p><button id="start" onClick={() => start()} /></>;
  }
  await show(<View to="x:/a" />);
  await welcome();
  await click("start");
  await Socket.last.get({ vrb: "part", rmid: calls()[0]!.mid, bdy: 1 });
  await show(<View to="x:/b" />);
  expect(box.textContent).toBe("idle 1");
  await click("start");
  expect(box.textContent).toBe("running ");
});

it("useMessages gets messages while it is there", async () => {
  const seen = vi.fn();
  function View(): null {
    useMessages<number>((m) => seen(m.body));
    return null;
  }
  await show(<View />);
  await welcome();
  await Socket.last.get({ vrb: "send", to: "c1@client:/", bdy: 7 });
  await show(<p />);
  await Socket.last.get({ vrb: "send", to: "c1@client:/", bdy: 8 });
  expect(seen.mock.calls).toEqual([[7]]);
});

it("says what is missing without a provider", () => {
  function View(): null {
    useRope();
    return null;
  }
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => act(() => root.render(<View />))).toThrow(/RopeProvider/);
  log.mockRestore();
});

it("useSession tells who the client is", async () => {
  function Me(): ReactElement {
    const session = useSession();
    return <p>{session ? `${session.subject} ${String(session.public["role"])}` : "nobody"}</p>;
  }
  await show(<Me />);
  await welcome();
  expect(box.textContent).toBe("nobody");
  const session = { id: "s1", subject: "anna", public: { role: "editor" } };
  await Socket.last.get({ vrb: "session", bdy: { event: "changed", session, token: "t1" } });
  expect(box.textContent).toBe("anna editor");
  await Socket.last.get({ vrb: "session", bdy: { event: "revoked" } });
  expect(box.textContent).toBe("nobody");
});
