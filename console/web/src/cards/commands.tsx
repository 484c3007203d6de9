import { useState } from "preact/hooks";
import { config } from "../state/rope";
import { nodeURL } from "../state/world";
import { Copy } from "../ui/copy";

/** The command that starts another server, to be copied. */
export function Commands() {
  const [at, setAt] = useState(0);
  const current = config.commands[at] ?? config.commands[0];
  if (!current) return null;
  const line = current.line.replaceAll("{url}", nodeURL.value);
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
        <code tabIndex={0} id="command">{line}</code>
        <Copy text={line} label="Copy the command" />
      </div>
    </div>
  );
}
