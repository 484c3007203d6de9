import { connect, type RopewalkError, type State } from "@ropewalk/client";
import { computed, signal } from "@preact/signals";
import { webSocketURL } from "../model/address";
import { settings } from "../model/settings";

const content = document.querySelector<HTMLMetaElement>('meta[name="ropewalk"]')?.content ?? "";

/** What the program that serves this page told it. */
export const config = settings(content, webSocketURL(location.href));

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
    if (now !== "connected") return;
    me.value = rope.id;
    nodeName.value = rope.node.name;
    nodeId.value = rope.node.id;
    trouble.value = undefined;
  });
});

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
