import { idOf } from "./address";
import { plain } from "./format";

/** One line of the log. */
export interface Entry {
  key: number;
  direction: "in" | "out";
  /** The id of the other one, "*" for everybody, "" if the sender has none. */
  who: string;
  text: string;
  at: Date;
  /** It went to everybody. */
  broadcast: boolean;
  /** Of a message that was sent. */
  state: "sending" | "delivered" | "failed";
  /** What went wrong with it. */
  problem: string;
}

/** The log, and how much of it is new. */
export interface Inbox {
  entries: readonly Entry[];
  /** The key of the first entry that was new when somebody looked last; 0 if there is none. */
  firstUnread: number;
  unread: number;
  next: number;
}

/** The log keeps that many lines. */
const kept = 200;

export const empty: Inbox = { entries: [], firstUnread: 0, unread: 0, next: 1 };

/** The text of a body: what this page sends is {text}, others may send anything. */
export function textOf(body: unknown): string {
  const text = (body as { text?: unknown } | null | undefined)?.text;
  return typeof text === "string" ? text : plain(body);
}

/** A message arrived. */
export function receive(box: Inbox, from: string, to: string, body: unknown, at: Date): Inbox {
  const entry: Entry = {
    key: box.next, direction: "in", who: idOf(from), text: textOf(body), at,
    broadcast: idOf(to) === "*", state: "delivered", problem: "",
  };
  return { ...add(box, entry), unread: box.unread + 1, firstUnread: box.unread ? box.firstUnread : entry.key };
}

/** A message is on its way. */
export function send(box: Inbox, who: string, text: string, at: Date): Inbox {
  const entry: Entry = { key: box.next, direction: "out", who, text, at, broadcast: who === "*", state: "sending", problem: "" };
  return { ...add(box, entry), firstUnread: 0 };
}

/** It is known how that went. */
export function settle(box: Inbox, key: number, problem: string): Inbox {
  const entries = box.entries.map((e) => (e.key === key ? { ...e, state: problem ? "failed" as const : "delivered" as const, problem } : e));
  return { ...box, entries };
}

/** Somebody has looked. The mark stays where it is: what moves under a pointer cannot be clicked. */
export function read(box: Inbox): Inbox {
  return box.unread ? { ...box, unread: 0 } : box;
}

function add(box: Inbox, entry: Entry): Inbox {
  return { ...box, entries: [...box.entries, entry].slice(-kept), next: box.next + 1 };
}
