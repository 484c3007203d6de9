import { useEffect, useRef, useState } from "preact/hooks";
import { complete, type Known } from "../model/address";

interface Props {
  id: string;
  label: string;
  value: string;
  all: readonly Known[];
  onInput: (value: string) => void;
  /** Called when one of the list was chosen. */
  onPick: (known: Known) => void;
}

/** A field for an address that offers the known ones; see the combobox pattern of WAI-ARIA. */
export function Combobox({ id, label, value, all, onInput, onPick }: Props) {
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const list = useRef<HTMLUListElement>(null);
  const found = open ? complete(all, value) : [];
  const current = Math.min(at, found.length - 1);
  useEffect(() => {
    list.current?.children[current]?.scrollIntoView({ block: "nearest" });
  }, [current]);

  const close = (): void => {
    setOpen(false);
    setAt(-1);
  };
  const pick = (k: Known): void => {
    close();
    onPick(k);
  };
  const key = (e: KeyboardEvent): void => {
    const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
    const chosen = found[current];
    if (step) {
      setOpen(true);
      const last = (open ? found : complete(all, value)).length - 1;
      setAt(current + step > last ? 0 : current + step < 0 ? last : current + step);
    } else if (e.key === "Enter" && chosen) pick(chosen);
    else if (e.key === "Escape" && open) close();
    else return;
    e.preventDefault();
  };
  return (
    <div class="combobox">
      <input
        id={id} class="mono" type="text" role="combobox" spellcheck={false} autocomplete="off" autocapitalize="off"
        aria-label={label} aria-expanded={found.length > 0} aria-controls={`${id}-list`} aria-autocomplete="list"
        aria-activedescendant={current >= 0 ? `${id}-${current}` : undefined}
        value={value} onKeyDown={key} onBlur={close} onClick={() => setOpen(true)}
        onInput={(e) => {
          setOpen(true);
          setAt(-1);
          onInput(e.currentTarget.value);
        }}
      />
      <ul id={`${id}-list`} role="listbox" aria-label="Known addresses" hidden={!found.length} ref={list}>
        {found.map((k, i) => (
          <li
            key={k.address} id={`${id}-${i}`} role="option" aria-selected={i === current}
            // Before the field loses the focus, which closes the list.
            onMouseDown={(e) => {
              e.preventDefault();
              pick(k);
            }}
          >
            <span class="mono">{k.address}</span>
            <span class="note">{k.description}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
