import { connect, type RopewalkError, type State } from "@ropewalk/client";
import { computed, signal } from "@preact/signals";
import { settings } from "../model/settings";

const content = document.querySelector<HTMLMetaElement>('meta[name="ropewalk"]')?.content ?? "";

/** What the program that serves this page told it. */
export const config = settings(content);

/** The connection: everything on this page goes over it. */
export const rope = connect(import.meta.env.DEV ? "/node" : "/", {
  backoff: { base: 500, max: 5_000 }, // the node of a developer is back soon
  silence: 15_000,
});

/** What the connection is doing. */
export const state = signal<State>(rope.state);

/** The id of this page as a client; "" before the first connection. */
export const me = signal("");

/** The name of the node. */
export const nodeName = signal(config.node);

/** The id of the node, by which the services compiled into it answer. */
export const nodeId = signal("");

/** That the page had to go to another node: from where, to where, when. Undefined while it is where it began. */
export const moved = signal<{ from: string; to: string; at: number } | undefined>(undefined);

/** The name of the node that this page came from, and of its first connection. */
export const home = signal(config.node);

/** When the next try to connect begins, in milliseconds of Date.now(); undefined if none waits. */
export const retryAt = signal<number | undefined>(undefined);

/** Why there is no connection. */
export const trouble = signal<RopewalkError | undefined>(undefined);

/** Whether messages pass. */
export const online = computed(() => state.value === "connected");

/** Whether there was a connection before. */
export const met = computed(() => me.value !== "");

rope.on("state", (now) => {
  state.value = now;
  // What belongs to a state is known right after it.
  queueMicrotask(() => {
    retryAt.value = rope.retryAt;
    if (now === "connected") arrive();
  });
});

rope.on("node", arrive); // a node that drains is left without a moment without a connection

/** Notes where the page is connected: at another node than before, perhaps. */
function arrive(): void {
  const { id, name } = rope.node;
  const before = nodeName.peek();
  if (!nodeId.peek()) home.value = name;
  else if (name === home.peek()) moved.value = undefined;
  else if (name !== before) moved.value = { from: before, to: name, at: Date.now() };
  me.value = rope.id;
  nodeName.value = name;
  nodeId.value = id;
  trouble.value = undefined;
}

rope.on("error", (err) => {
  trouble.value = err;
});

/** Resolves when there is a connection. */
export function whenOnline(): Promise<void> {
  if (online.peek()) return Promise.resolve();
  return new Promise((resolve) => {
    const off = rope.on("state", (now) => {
      if (now !== "connected") return;
      off();
      resolve();
    });
  });
}
