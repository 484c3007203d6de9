import { signal } from "@preact/signals";
import { home, moved } from "../state/rope";
import { nodes } from "../state/world";

/** The move that somebody has read about. */
const read = signal(0);

/** Says that the page is connected to another node than the one it came from, and what that means. */
export function Moved() {
  const m = moved.value;
  if (!m) return null;
  const back = nodes.value.some((n) => n.name === home.value && n.state === "alive" && !n.self);
  if (back) {
    return (
      <div class="moved" role="status" data-back="true">
        <p><strong>{home.value} is back.</strong> This page works on {m.to} just as well.</p>
        <button type="button" class="small" onClick={() => location.reload()}>Go back to {home.value}</button>
      </div>
    );
  }
  if (read.value === m.at) return null;
  const drains = nodes.value.some((n) => n.name === m.from && n.state === "draining");
  return (
    <div class="moved" role="status">
      <p>
        <strong>{m.from} {drains ? "is draining" : "is gone"}; this page is on {m.to} now.</strong>{" "}
        What other nodes serve goes on. The page itself came from {home.value}: reload it when {home.value} is back.
      </p>
      <button type="button" class="small" onClick={() => (read.value = m.at)}>OK</button>
    </div>
  );
}
