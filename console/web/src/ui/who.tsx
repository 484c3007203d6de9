import { short } from "../model/address";
import { title } from "../model/nodes";
import { me, nodeId } from "../state/rope";
import { hueOf, many, nodes, placeOf } from "../state/world";

interface Props {
  id: string;
  /** Show the whole id. */
  full?: boolean;
  note?: string | undefined;
}

/** A server or client: its colour and a part of its id; a node by its name. */
export function Who({ id, full, note }: Props) {
  const name = nameOf(id, full);
  const isNode = !full && nodes.value.some((n) => n.id === id);
  return (
    <span class="who" style={{ "--hue": String(hueOf(id)) }} title={id || undefined}>
      <i class={isNode ? "strand knot" : "strand"} aria-hidden="true" />
      <span class={isNode || /\s/.test(name) ? "" : "mono"}>{name}</span>
      {note && <span class="note">{note}</span>}
    </span>
  );
}

/** The node where a server or client is, if there are several and that is not its name already. */
export function On({ id }: { id: string }) {
  const place = placeOf(id);
  return place && place !== nameOf(id) ? <span class="on">on {place}</span> : null;
}

/** What to call a server or client. */
export function nameOf(id: string, full = false): string {
  if (full) return id;
  const node = nodes.value.find((n) => n.id === id);
  if (node && many.value) return title(nodes.value, node);
  if (id === nodeId.value) return "this node";
  return id === me.value ? "you" : short(id);
}
