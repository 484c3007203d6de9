import { idOf } from "./address";
import type { Tapped } from "./wire";

/** One line of the live view. */
export interface Line {
  key: number;
  at: Date;
  /** The name of the node that saw it. */
  node: string;
  verb: string;
  /** The address that was asked, of an answer too. */
  address: string;
  /** The id of who sent it. */
  from: string;
  body: string;
  size: number;
  /** Milliseconds; 0 if it is no final answer. */
  took: number;
  code: string;
}

/** The live view. */
export interface Tape {
  /** The newest first. */
  lines: readonly Line[];
  /** Messages since the beginning, also those that are not shown. */
  total: number;
  /** Messages that came too fast. */
  missed: number;
  next: number;
  /** The ids of the last calls to the node's own service: the reply to a gather does not say what was asked. */
  own: readonly string[];
}

/** The view keeps that many lines. */
export const kept = 150;

export const blank: Tape = { lines: [], total: 0, missed: 0, next: 1, own: [] };

/** So many of the calls to the node are remembered: more than this page has in flight. */
const remembered = 32;

/** Whether a message is one of the node's own service, which this page asks all the time. */
export function own(t: Tapped, calls: readonly string[] = []): boolean {
  return /(^|@)node:/.test(t.route ?? t.to) || (!t.route && t.verb !== "call" && !!t.mid && calls.includes(t.mid));
}

/** Adds messages, the oldest first. */
export function record(tape: Tape, batch: readonly Tapped[], withOwn: boolean): Tape {
  let { next, missed } = tape;
  const lines: Line[] = [];
  const calls = [...tape.own, ...batch.filter((t) => t.verb === "call" && t.mid && own(t)).map((t) => t.mid!)].slice(-remembered);
  for (const t of batch) {
    missed += t.missed ?? 0;
    if (withOwn || !own(t, calls)) lines.push(line(next++, t));
  }
  if (!lines.length && missed === tape.missed) return calls.length === tape.own.length && calls.at(-1) === tape.own.at(-1) ? tape : { ...tape, own: calls };
  const shown = [...lines.slice(-kept).reverse(), ...tape.lines].slice(0, kept);
  return { lines: shown, total: tape.total + lines.length, missed, next, own: calls };
}

/** More messages a second than this, and the page asks for a sample; nobody reads so fast. */
const most = 1_000;
/** How many a second a sample is meant to have. */
const wanted = 200;

/** The share of messages to ask for, from 0 to 1, after so many of the present share came in so many milliseconds. */
export function share(present: number, came: number, ms: number): number {
  const shown = (came * 1000) / Math.max(ms, 1);
  const all = shown / present;
  if (all < most) return 1;
  return shown > most || shown < wanted / 4 ? Math.max(wanted / all, 0.0001) : present;
}

function line(key: number, t: Tapped): Line {
  return {
    key, at: new Date(t.at), node: t.node ?? "", verb: t.verb, address: t.route || t.to, from: idOf(t.from ?? ""),
    body: t.body ?? "", size: t.size, took: (t.took ?? 0) * 1000, code: t.code ?? "",
  };
}
