import { count, duration } from "../model/format";
import { reachable, title, type NodeStatus } from "../model/nodes";
import { config } from "../state/rope";
import { hueOf, info, many, nodes, now } from "../state/world";
import { Copy } from "../ui/copy";

/** The nodes of the mesh, and how another one joins. A node that meets no others has nothing to show here. */
export function NodesCard() {
  const list = nodes.value;
  const address = list.find((n) => n.self)?.addr ?? info.value?.mesh?.address;
  if (!many.value && !address) return null;
  const here = reachable(list).length;
  return (
    <section id="nodes" class="nodes" aria-labelledby="nodes-title">
      <header>
        <h2 id="nodes-title">Nodes</h2>
        <p class="count" role="status" id="nodes-count">
          {count(here, "node")}{here < list.length && <span class="bad">, {list.length - here} lost</span>}
        </p>
      </header>
      <ul tabIndex={0} aria-label="The nodes of the mesh">
        {list.map((n) => <Tile key={n.id} node={n} />)}
        {address && <Join address={address} />}
      </ul>
    </section>
  );
}

function Tile({ node: n }: { node: NodeStatus }) {
  const zone = n.labels?.["zone"];
  const name = title(nodes.value, n);
  return (
    <li class="tile" data-node={n.name} data-id={n.id} data-state={n.state} data-self={!!n.self} style={{ "--hue": String(hueOf(n.id)) }} title={about(n)}>
      <p class="name">
        <i class="strand knot" aria-hidden="true" />
        <strong>{name}</strong>
        {n.self && <span class="tag here">you are here</span>}
        {n.state === "draining" && <span class="tag drain">draining</span>}
        {n.state === "lost" && <span class="tag lost">{n.gone ? "gone" : "lost"}</span>}
        {n.state !== "lost" && !n.self && n.rtt ? <span class="rtt" title="To this node and back, from the one that you are connected to">{duration(n.rtt * 1000)}</span> : null}
      </p>
      {n.state === "lost"
        ? <p class="facts">{n.gone ? `its process ended ${ago(n.since)} ago` : `out of reach for ${ago(n.since)}`}</p>
        : (
          <p class="facts">
            {zone && <span class="zone">{zone}</span>}
            <span>{n.version}</span>
            <span>{count(n.clients ?? 0, "client")}</span>
            <span>{count(n.routes ?? 0, "route")}</span>
            <span title={n.self ? "Since it started" : "Since it joined"}>{ago(n.since)}</span>
          </p>
        )}
    </li>
  );
}

/** How long something is past, in whole units. */
function ago(since: string): string {
  const ms = Math.max(now.value - Date.parse(since), 0);
  return ms < 60_000 ? `${Math.floor(ms / 1000)} s` : duration(ms);
}

/** All that there is no room for. */
function about(n: NodeStatus): string {
  const labels = Object.entries(n.labels ?? {}).map(([k, v]) => `${k} ${v}`);
  return [n.id, ...labels, n.urls?.length ? `clients: ${n.urls.join(", ")}` : "", n.addr ? `nodes: ${n.addr}` : ""].filter(Boolean).join("\n");
}

function Join({ address }: { address: string }) {
  const line = config.join.replaceAll("{cluster}", address);
  return (
    <li class="tile join">
      <p class="facts">{many.value ? "Start one more in a terminal:" : "Start another node in a terminal, and the two are one:"}</p>
      <div class="line-copy"><code tabIndex={0} id="join">{line}</code><Copy text={line} label="Copy the command that starts another node" /></div>
    </li>
  );
}
