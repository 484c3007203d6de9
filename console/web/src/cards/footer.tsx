import { count, duration } from "../model/format";
import { moved } from "../state/rope";
import { clients, info, nodeURL, now, services } from "../state/world";

/** Small print: what the node says about itself. */
export function Footer() {
  const i = info.value;
  const base = moved.value ? nodeURL.value.replace(/^ws/, "http").replace(/\/$/, "") : "";
  return (
    <footer class="bottom">
      <span>
        {i
          ? `Ropewalk ${i.version} on ${i.go} · ${count(services.value?.length ?? i.routes, "route")} · ${count(clients.value.length, "connection")} · up ${duration(now.value - Date.parse(i.started))}`
          : "Everything on this page goes over one WebSocket."}
      </span>
      <nav aria-label="Node">
        <a href={`${base}/metrics`}>Metrics</a>
        <a href={`${base}/healthz`}>Health</a>
        <a href={`${base}/readyz`}>Ready</a>
      </nav>
    </footer>
  );
}
