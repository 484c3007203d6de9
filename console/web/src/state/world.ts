import { computed, effect, signal } from "@preact/signals";
import { hue, known, webSocketURL } from "../model/address";
import { median } from "../model/format";
import { aimed, arranged, nodeOf, nthHue, reachable, title, type NodeStatus } from "../model/nodes";
import { serversOf, update, type Roster } from "../model/roster";
import type { ClientInfo, NodeInfo, ServiceInfo } from "../model/wire";
import { me, moved, nodeId, online, rope } from "./rope";

/** How often the page looks, in milliseconds. */
const interval = 1_000;
/** Every so many looks it asks for more than what is served: what concerns several nodes, and small print. */
const every = { mesh: 2, info: 5 };
/** The round-trip time is the median of so many. */
const samples = 7;

/** Every route that is served; undefined before the first look. */
export const services = signal<readonly ServiceInfo[] | undefined>(undefined);

/** Every node of the mesh: the one that the page is connected to first, those that are lost last. */
export const nodes = signal<readonly NodeStatus[]>([]);

/** Whether there are, or were, other nodes. */
export const many = computed(() => nodes.value.length > 1);

/** Every connection, of all nodes. */
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

const hues = new Map<string, number>(); // of nodes, by name: one that is started again keeps its colour

/** The hue, in degrees, of a node, server or client. */
export function hueOf(id: string): number {
  const name = nodes.value.find((n) => n.id === id)?.name;
  if (name === undefined) return hue(id);
  const h = hues.get(name) ?? nthHue(hues.size);
  hues.set(name, h);
  return h;
}

/** The id of the node that calls of this page go to; "" leaves that to the strategy. */
export const target = signal("");

/** The node that calls go to, while it is there. */
export const aim = computed(() => reachable(nodes.value).find((n) => n.id === target.value));

/** The address that has a call go where the page wants it. */
export const aimedAt = (address: string): string =>
  aimed(nodes.peek(), services.peek() ?? [], address, aim.peek()?.id ?? "");

/** The name of the node that has an id, or whose client has it; "" if there is only one, or nobody knows. */
export function placeOf(id: string): string {
  const node = many.value ? nodeOf(nodes.value, id) : undefined;
  return node ? title(nodes.value, node) : "";
}

/** The WebSocket URL of the node: where the page came from, or where it has moved. */
export const nodeURL = computed(() => (moved.value && nodes.value.find((n) => n.self)?.urls?.[0]) || webSocketURL(location.href));

/** What can be called. */
export const addresses = computed(() => known(services.value ?? []));

/** The other clients, which could be other tabs. */
export const others = computed(() => clients.value.filter((c) => c.id !== me.value));

/** The paths of math that a gather asks. */
export const mathPaths = computed(() =>
  (services.value ?? []).filter((s) => s.name === "math" && s.path.startsWith("/decimal/")).map((s) => s.path));

const options = { timeout: 5_000, online: true };
const times: number[] = [];
let busy = false;
let looks = 0;
let seen: { math: Roster; report: Roster } | undefined;

async function look(): Promise<void> {
  now.value = Date.now();
  if (busy || !online.peek() || document.visibilityState === "hidden") return;
  busy = true;
  try {
    const began = performance.now();
    const served = await rope.call<ServiceInfo[] | null>("node:/services", undefined, options);
    took(performance.now() - began);
    const first = nodes.peek().length === 0 || !nodes.peek().some((n) => n.self && n.id === nodeId.peek());
    if (first || looks % every.mesh === 0) nodes.value = arranged((await rope.call<NodeStatus[] | null>("node:/nodes", undefined, options)) ?? []);
    if (first || !many.peek() || looks % every.mesh === 0) clients.value = await everyone();
    if (looks++ % every.info === 0) info.value = await rope.call<NodeInfo>("node:/info", undefined, options);
    services.value = served ?? [];
    meet(served ?? []);
  } catch {
    // The connection went away, which its state tells; or the node is slow, and the next look comes.
  } finally {
    busy = false;
  }
}

/** The clients of all nodes; a node that does not answer has none for the moment. */
async function everyone(): Promise<ClientInfo[]> {
  if (!many.peek()) return (await rope.call<ClientInfo[] | null>("node:/clients", undefined, options)) ?? [];
  const { values } = await rope.gather<ClientInfo[] | null>("node:/clients", undefined, { ...options, timeout: 2_000 });
  return values.flatMap((list) => list ?? []).sort((a, b) => (a.since < b.since ? -1 : 1));
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
  void nodeId.value; // another node has other round-trip times, and may see others
  times.length = 0;
  if (online.value) void look(); // at once, not in a second
});
setInterval(() => void look(), interval);
document.addEventListener("visibilitychange", () => void look());
