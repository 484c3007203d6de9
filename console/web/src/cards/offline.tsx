import { met, nodeName, rope, state, trouble } from "../state/rope";
import { nodes } from "../state/world";

/** Says what it means that there is no connection, and what to do. */
export function Offline() {
  const s = state.value;
  if (s === "connected" || (s === "connecting" && !trouble.value)) return null;
  const others = nodes.value.filter((n) => !n.self && n.state !== "lost").length;
  const node = nodeName.value ? `The node ${nodeName.value}` : "The node";
  if (s === "closed") {
    return (
      <div class="offline" role="alert">
        <p><strong>The node does not want this page back.</strong> {trouble.value?.message} {trouble.value?.hint}</p>
        <button type="button" onClick={() => location.reload()}>Load the page again</button>
      </div>
    );
  }
  return (
    <div class="offline" role="alert">
      <p>
        <strong>{met.value ? `${node} is not there at the moment.` : `${node} cannot be reached.`}</strong>{" "}
        {others ? `Nor is ${others > 1 ? "any of the others" : "the other one"}. Are they running?` : "Is it running?"} Start
        it again with <code>ropewalk dev</code>; this page comes back by itself, and what you call until then
        waits{rope.transport ? "" : " too"}.
      </p>
    </div>
  );
}
