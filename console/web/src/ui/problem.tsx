import type { RopewalkError } from "@ropewalk/client";
import type { ComponentChildren } from "preact";

interface Props {
  error: Pick<RopewalkError, "code" | "message" | "hint" | "path">;
  children?: ComponentChildren;
}

/** An error: its code, what happened, and what to do. */
export function Problem({ error, children }: Props) {
  return (
    <div class="problem">
      <p>
        <code class="code">{error.code}</code> {sentence(error.message)}
        {error.path && !error.message.includes(error.path) && <> <code>{error.path}</code></>}
      </p>
      {error.hint && <p class="hint">{error.hint}</p>}
      {children}
    </div>
  );
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
