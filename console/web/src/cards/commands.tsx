import { useState } from "preact/hooks";
import { config } from "../state/rope";
import { Copy } from "../ui/copy";

/** The command that starts another server, to be copied. */
export function Commands() {
  const [at, setAt] = useState(0);
  const current = config.commands[at] ?? config.commands[0];
  if (!current) return null;
  return (
    <div class="commands">
      <div class="line between">
        <p class="about">Start another server in a terminal, and watch it join:</p>
        {config.commands.length > 1 && (
          <div class="choice" role="group" aria-label="Which command">
            {config.commands.map((c, i) => (
              <button key={c.label} type="button" aria-pressed={i === at} onClick={() => setAt(i)}>{c.label}</button>
            ))}
          </div>
        )}
      </div>
      <div class="command">
        <code tabIndex={0} id="command">{current.line}</code>
        <Copy text={current.line} label="Copy the command" />
      </div>
    </div>
  );
}
