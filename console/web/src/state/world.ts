import { computed, effect, signal } from "@preact/signals";
import { known } from "../model/address";
import { median } from "../model/format";
import { serversOf, update, type Roster } from "../model/roster";
import type { ClientInfo, NodeInfo, ServiceInfo } from "../model/wire";
import { me, online, rope } from "./rope";

/** How often the page looks, in milliseconds. */
const interval = 1_000;
/** The round-trip time is the median of so many. */
const samples = 7;

/** Every route that is served; undefined before the first look. */
export const services = signal<readonly ServiceInfo[] | undefined>(undefined);

/** Every connection of the node. */
export const clients = signal<readonly ClientInfo[]>([]);

/** Version and numbers of the node. */
export const info = signal<NodeInfo | undefined>(undefined);

/** The round-trip time in milliseconds; 0 before the first. */
export const roundTrip = signal(0);

/** The time, for what the page marks for a while. It advances with each look. */
export const now = signal(Date.now());

/** The servers of math:/decimal/…, with those that came or went a moment ago. */
export const mathServers = signal<Roster>([]);

/** The servers of report:/long. */
export const reportServers = signal<Roster>([]);

/** What can be called. */
export const addresses = computed(() => known(services.value ?? []));

/** The other clients, which could be other tabs. */
export const others = computed(() => clients.value.filter((c) => c.id !== me.value));

/** The paths of math that a gather asks. */
export const mathPaths = computed(() =>
  (services.value ?? []).filter((s) => s.name === "math" && s.path.startsWith("/decimal/")).map((s) => s.path));

const times: number[] = [];
let busy = false;
let looks = 0;
let seen: { math: Roster; report: Roster } | undefined;

async function look(): Promise<void> {
  now.value = Date.now();
  if (busy || !online.peek() || document.visibilityState === "hidden") return;
  busy = true;
  try {
    const options = { timeout: 5_000, online: true };
    const began = performance.now();
    const served = await rope.call<ServiceInfo[] | null>("node:/services", undefined, options);
    took(performance.now() - began);
    const connected = await rope.call<ClientInfo[] | null>("node:/clients", undefined, options);
    if (looks++ % 5 === 0) info.value = await rope.call<NodeInfo>("node:/info", undefined, options);
    services.value = served ?? [];
    clients.value = connected ?? [];
    meet(served ?? []);
  } catch {
    // The connection went away, which its state tells; or the node is slow, and the next look comes.
  } finally {
    busy = false;
  }
}

function took(ms: number): void {
  if (!looks) return; // the page is still being built
  times.push(ms);
  if (times.length > samples) times.shift();
  roundTrip.value = median(times);
}

function meet(list: readonly ServiceInfo[]): void {
  const at = Date.now();
  const math = serversOf(list, (s) => s.name === "math" && s.path.startsWith("/decimal/"));
  const report = serversOf(list, (s) => s.name === "report" && s.path === "/long");
  seen = { math: update(seen?.math, math, at), report: update(seen?.report, report, at) };
  now.value = at;
  mathServers.value = seen.math;
  reportServers.value = seen.report;
}

effect(() => {
  if (online.value) void look(); // at once, not in a second
});
setInterval(() => void look(), interval);
document.addEventListener("visibilitychange", () => void look());
