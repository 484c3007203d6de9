import { tree, type Known } from "../model/address";
import { count } from "../model/format";
import { addresses } from "../state/world";

// On a telephone the other cards would be far away.
const roomy = matchMedia("(min-width: 800px)").matches;

/** Everything that can be called, to choose from. */
export function Tree({ onPick }: { onPick: (known: Known) => void }) {
  const branches = tree(addresses.value);
  if (!branches.length) return null;
  return (
    <div class="tree" id="tree">
      <p class="label">Served here; choose one to call it above</p>
      {branches.map((b) => (
        <details key={b.name} open={roomy && b.name !== "node"}>
          <summary><span class="mono">{b.name}:</span><span class="note">{count(b.servers, "server")}</span></summary>
          <ul>
            {b.paths.map((k) => (
              <li key={k.address}>
                <button type="button" onClick={() => onPick(k)} title={k.description}>
                  <span class="mono">{k.address.slice(b.name.length + 1)}</span>
                  <span class="note">{k.description}</span>
                </button>
              </li>
            ))}
          </ul>
        </details>
      ))}
    </div>
  );
}
