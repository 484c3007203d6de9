import { signal } from "@preact/signals";

/** The views of the page, by what follows the # in its address. */
export type View = "calls" | "live";

/** Which one is shown. */
export const view = signal<View>(read() ?? "calls");

/** The view that the address names; undefined if it names a place in the page. */
function read(): View | undefined {
  const { hash } = location;
  if (hash === "#/live") return "live";
  return hash === "" || hash.startsWith("#/") ? "calls" : undefined;
}

addEventListener("hashchange", () => {
  view.value = read() ?? view.value;
});
