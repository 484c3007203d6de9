import { signal } from "@preact/signals";
import { difference, same } from "../model/live";
import { rope } from "./rope";

/** A change of a topic, as it came. */
export interface Change {
  key: number;
  at: Date;
  address: string;
  text: string;
  /** It is the code of an error. */
  bad: boolean;
}

/** How many are kept, and how much of each. */
const kept = 40;
const longest = 160;

/** The latest changes, the newest first. */
export const changes = signal<readonly Change[]>([]);

let count = 0;

/**
 * Notes the changes of topics, until the returned function is called. What there is at first is no change, and neither
 * is what is still so after a reconnect.
 */
export function follow(addresses: readonly string[]): () => void {
  const watches = addresses.map((address) => {
    let first = true;
    let before: unknown;
    let wrong: string | undefined;
    const note = (text: string, bad: boolean): void => {
      if (!first) changes.value = [{ key: ++count, at: new Date(), address, text, bad }, ...changes.peek()].slice(0, kept);
      first = false;
    };
    return rope.watch(address, {
      delta: true,
      onError: (err) => {
        if (wrong !== err.code) note(err.code, true);
        wrong = err.code;
      },
    }, (u) => {
      if (u.optimistic) return;
      if (wrong !== undefined || !same(before, u.content)) note(preview(before, u.content), false);
      before = u.content;
      wrong = undefined;
    });
  });
  return () => watches.forEach((w) => w.close());
}

function preview(before: unknown, content: unknown): string {
  if (content instanceof Uint8Array) return `${content.length} bytes`;
  return difference(before, content).slice(0, longest);
}
