/** A text that is being edited while others may change what there is. */
export interface Draft {
  text: string;
  /** What there was when it was begun. */
  from: string | undefined;
  /** What of it was saved, until that has come back. */
  kept?: string | undefined;
}

/** The draft after somebody typed; `now` is what there is. */
export function typed(d: Draft | undefined, text: string, now: string | undefined): Draft {
  return d ? { ...d, text } : { text, from: now };
}

/** The draft after a text of it was saved. What was typed meanwhile stays; `back`: what was saved has come back. */
export function saved(d: Draft | undefined, text: string, now: string | undefined, back: boolean): Draft | undefined {
  const kept = d && { ...d, kept: text };
  return back ? arrived(kept, now) : kept;
}

/** The draft after what there is has become another text. */
export function arrived(d: Draft | undefined, now: string | undefined): Draft | undefined {
  if (!d || d.text === now) return undefined;
  if (d.kept === undefined) return d;
  return d.text === d.kept ? undefined : { text: d.text, from: now };
}

/** Something of the draft is not saved. */
export function isDirty(d: Draft | undefined, now: string | undefined): boolean {
  return d !== undefined && d.text !== (d.kept ?? now);
}

/** Somebody else has changed what there was when the draft was begun. */
export function isOvertaken(d: Draft | undefined, now: string | undefined): boolean {
  return d !== undefined && d.kept === undefined && isDirty(d, now) && now !== undefined && d.from !== now;
}
