import { signal, type Signal } from "@preact/signals";
import type { Draft } from "../model/draft";

const drafts = new Map<string, Signal<Draft | undefined>>();

/** The draft of an editor. It outlives it, so that who looks at the other view comes back to what was written. */
export function draftOf(id: string): Signal<Draft | undefined> {
  let draft = drafts.get(id);
  if (!draft) drafts.set(id, draft = signal());
  return draft;
}
