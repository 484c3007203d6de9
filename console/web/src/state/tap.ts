import { effect, signal } from "@preact/signals";
import { blank, record, share } from "../model/tap";
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
/** How often the page looks whether it can follow: after so many milliseconds, or so many messages. */
const look = { ms: 1_000, messages: 500 };
/** So many looks have to be calm before the page asks for more: traffic comes in waves, and what waits in between is late. */
const patience = 3;

/** What passes the node. */
export const tape = signal(blank);

/** Whether the view stands still. */
export const paused = signal(false);

/** Whether to show the calls to the node's own service, most of which are this page's. */
export const withOwn = signal(false);

/** The share of the messages that the node is asked for; less than 1 when there are too many. */
export const sample = signal(1);

let batch: Tapped[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;
let came = 0;
let since = performance.now();
let calm = 0;

function took(t: Tapped): void {
  came += 1 + (t.missed ?? 0);
  if (came >= look.messages) measure();
  if (paused.peek()) return;
  batch.push(t);
  timer ??= setTimeout(() => {
    timer = undefined;
    tape.value = record(tape.peek(), batch, withOwn.peek());
    batch = [];
  }, redraw);
}

function measure(): void {
  const now = performance.now();
  const next = share(sample.peek(), came, now - since);
  calm = next > sample.peek() ? calm + 1 : 0;
  if (next < sample.peek() || calm >= patience) {
    sample.value = next;
    calm = 0;
  }
  came = 0;
  since = now;
}

/** One tap, until the connection goes or another share is wanted. */
async function tap(part: number): Promise<void> {
  const other = new AbortController();
  came = 0;
  since = performance.now();
  const end = effect(() => {
    if (sample.value !== part) other.abort();
  });
  try {
    const input = { body: bodyBytes, sample: part < 1 ? part : undefined };
    const parts = rope.stream<Tapped>("node:/tap", input, { timeout: longest, online: true, buffer: 10_000, signal: other.signal });
    for await (const t of parts) {
      if (other.signal.aborted) break;
      took(t);
    }
  } finally {
    end();
  }
}

/** Watches for the life of the page. */
export async function watch(): Promise<never> {
  setInterval(measure, look.ms);
  for (;;) {
    await whenOnline();
    const part = sample.peek();
    const until = Date.now() + pause;
    // The connection went, or an hour is over. If the node refuses, there is nothing to see.
    await tap(part).catch(() => {});
    const wait = sample.peek() === part ? until - Date.now() : 0;
    await new Promise((resolve) => setTimeout(resolve, Math.max(wait, 0)));
  }
}
