import { tree, type Known } from "../model/address";
import { count } from "../model/format";
import { spread, title } from "../model/nodes";
import { addresses, hueOf, many, nodes } from "../state/world";

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
          <summary><span class="mono">{b.name}:</span><span class="note">{count(b.servers.length, "server")}</span><Places servers={b.servers} /></summary>
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

/** The nodes where the servers are, if there are several. */
function Places({ servers }: { servers: readonly string[] }) {
  if (!many.value) return null;
  return (
    <span class="places">
      {spread(nodes.value, servers).map(({ node, servers: n }) => {
        const name = title(nodes.value, node);
        return (
          <span key={node.id} class="place" style={{ "--hue": String(hueOf(node.id)) }} title={`${count(n, "server")} on ${name}`}>
            <i class="strand knot" aria-hidden="true" />{name}{n > 1 && <span class="note">×{n}</span>}
          </span>
        );
      })}
    </span>
  );
}
