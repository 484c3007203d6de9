import type { ComponentChildren } from "preact";

interface Props {
  id: string;
  title: string;
  about: ComponentChildren;
  /** What stands on the right of the title. */
  side?: ComponentChildren;
  /** It takes the room that is left. */
  grows?: boolean;
  onLook?: () => void;
  children: ComponentChildren;
}

/** One part of the page. */
export function Card({ id, title, about, side, grows, onLook, children }: Props) {
  return (
    <section id={id} class={`card${grows ? " grows" : ""}`} aria-labelledby={`${id}-title`} onPointerDown={onLook} onFocusIn={onLook}>
      <header>
        <div>
          <h2 id={`${id}-title`}>{title}</h2>
          <p class="about">{about}</p>
        </div>
        {side && <div class="side">{side}</div>}
      </header>
      {children}
    </section>
  );
}
