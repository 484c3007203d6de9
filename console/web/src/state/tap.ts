import { signal } from "@preact/signals";
import { blank, record } from "../model/tap";
import type { Tapped } from "../model/wire";
import { rope, whenOnline } from "./rope";

/** How long a tap may run before it is opened again: as long as a node allows by default. */
const longest = 3_600_000;
/** How much of each body to ask for, in bytes. */
const bodyBytes = 160;
/** How often what came is shown, in milliseconds. More often than this nobody can read. */
const redraw = 120;
/** How long to wait after the node refused. */
const pause = 5_000;

/** What passes the node. */
export const tape = signal(blank);

/** Whether the view stands still. */
export const paused = signal(false);

/** Whether to show the calls to the node's own service, most of which are this page's. */
export const withOwn = signal(false);

let batch: Tapped[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

function took(t: Tapped): void {
  if (paused.peek()) return;
  batch.push(t);
  timer ??= setTimeout(() => {
    timer = undefined;
    tape.value = record(tape.peek(), batch, withOwn.peek());
    batch = [];
  }, redraw);
}

/** Watches for the life of the page. */
export async function watch(): Promise<never> {
  for (;;) {
    await whenOnline();
    const until = Date.now() + pause;
    try {
      const parts = rope.stream<Tapped>("node:/tap", { body: bodyBytes }, { timeout: longest, online: true, buffer: 10_000 });
      for await (const t of parts) took(t);
    } catch {
      // The connection went, or an hour is over. If the node refuses, there is nothing to see.
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(Math.min(until - Date.now(), pause), 0)));
  }
}
