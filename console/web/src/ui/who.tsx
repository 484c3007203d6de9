import { hue, short } from "../model/address";
import { me, nodeId } from "../state/rope";

interface Props {
  id: string;
  /** Show the whole id. */
  full?: boolean;
  note?: string | undefined;
}

/** A server or client: its colour and the beginning of its id. */
export function Who({ id, full, note }: Props) {
  const name = nameOf(id, full);
  return (
    <span class="who" style={{ "--hue": String(hue(id)) }} title={id || undefined}>
      <i class="strand" aria-hidden="true" />
      <span class={/\s/.test(name) ? "" : "mono"}>{name}</span>
      {note && <span class="note">{note}</span>}
    </span>
  );
}

/** What to call a server or client. */
export function nameOf(id: string, full = false): string {
  if (full) return id;
  if (id === nodeId.value) return "this node";
  return id === me.value ? "you" : short(id);
}
