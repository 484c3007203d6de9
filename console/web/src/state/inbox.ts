import { RopewalkError } from "@ropewalk/client";
import { effect, signal } from "@preact/signals";
import { clientAddress, everybody } from "../model/address";
import { empty, read, receive, send, settle } from "../model/inbox";
import { rope } from "./rope";

/** The messages of this page. */
export const inbox = signal(empty);

/** The id of the client that gets the next message, or "*" for all. */
export const recipient = signal("*");

rope.onMessage((m) => {
  inbox.value = receive(inbox.peek(), m.from, m.to, m.body, new Date());
});

/** Sends a text to a client, or to all. How that went is shown in the log. */
export async function post(who: string, text: string): Promise<void> {
  const key = inbox.peek().next;
  inbox.value = send(inbox.peek(), who, text, new Date());
  try {
    await rope.send(who === "*" ? everybody : clientAddress(who), { text }, { ack: true });
    inbox.value = settle(inbox.peek(), key, "");
  } catch (err) {
    inbox.value = settle(inbox.peek(), key, problem(err));
  }
}

function problem(err: unknown): string {
  if (!(err instanceof RopewalkError)) return String(err);
  return `${err.code}: ${err.message}`;
}

/** Somebody has looked at the log. */
export function markRead(): void {
  inbox.value = read(inbox.peek());
}

effect(() => {
  const { unread } = inbox.value;
  document.title = unread ? `(${unread}) Ropewalk` : "Ropewalk";
});
