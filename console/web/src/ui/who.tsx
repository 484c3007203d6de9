import { hue, short } from "../model/address";
import { me } from "../state/rope";

interface Props {
  id: string;
  /** What to call it in place of its id. */
  name?: string | undefined;
  note?: string | undefined;
}

/** A server or client: its colour and the beginning of its id. */
export function Who({ id, name, note }: Props) {
  return (
    <span class="who" style={{ "--hue": String(hue(id)) }} title={id || undefined}>
      <i class="strand" aria-hidden="true" />
      <span class={name ? "" : "mono"}>{name ?? (id === me.value ? "you" : short(id))}</span>
      {note && <span class="note">{note}</span>}
    </span>
  );
}
