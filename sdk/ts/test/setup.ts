import { WebSocket } from "ws";
import { connect, type ConnectOptions, type Rope, type RopewalkError, type State, type WebSocketLike } from "../src/index.js";
import { FakeNode, type Conn, type FakeOptions } from "./fake-node.js";

const nodes: FakeNode[] = [];
const ropes: Rope[] = [];

export interface Started {
  node: FakeNode;
  rope: Rope;
  conn: Conn;
  errors: RopewalkError[];
}

/** A node and a client that is connected to it; both end with the test. */
export async function start(node: FakeOptions = {}, options: ConnectOptions = {}): Promise<Started> {
  const n = await startNode(node);
  const { rope, errors } = client(n.url, options);
  const conn = await n.conn();
  if (node.welcome !== false) await rope.ready();
  return { node: n, rope, conn, errors };
}

export async function startNode(options: FakeOptions = {}): Promise<FakeNode> {
  const n = await FakeNode.start(options);
  nodes.push(n);
  return n;
}

export function client(url: string | string[], options: ConnectOptions = {}): { rope: Rope; errors: RopewalkError[] } {
  const rope = connect(url, { WebSocket: WebSocket as unknown as WebSocketLike, backoff: { base: 10, max: 50 }, ...options });
  const errors: RopewalkError[] = [];
  rope.on("error", (e) => errors.push(e));
  ropes.push(rope);
  return { rope, errors };
}

export async function stopAll(): Promise<void> {
  await Promise.all(ropes.splice(0).map((r) => r.close({ timeout: 500 })));
  await Promise.all(nodes.splice(0).map((n) => n.stop()));
}

/** Lets everything run that is ready to. */
export function turn(): Promise<void> {
  return new Promise((done) => setImmediate(() => setImmediate(done)));
}

/** Resolves when the client is in a state, which may be a short one. Call it before what brings the state about. */
export function reached(rope: Rope, state: State): Promise<void> {
  return new Promise((done) => {
    const off = rope.on("state", (s) => {
      if (s !== state) return;
      off();
      done();
    });
  });
}
