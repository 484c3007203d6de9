type Target = Pick<EventTarget, "addEventListener" | "removeEventListener">;

/** Calls `hint` when the page learns that the network may be back, or comes to the front; returns what ends that. */
export function watchHints(hint: () => void): () => void {
  const { document, addEventListener } = globalThis as { document?: Document; addEventListener?: unknown };
  const visible = (): void => {
    if (document?.visibilityState === "visible") hint();
  };
  const watched: [Target, string, () => void][] = [];
  if (document) watched.push([document, "visibilitychange", visible]);
  if (addEventListener) watched.push([globalThis, "online", hint]);
  for (const [target, event, fn] of watched) target.addEventListener(event, fn);
  return () => {
    for (const [target, event, fn] of watched) target.removeEventListener(event, fn);
  };
}
