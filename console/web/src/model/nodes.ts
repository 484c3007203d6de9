import type { ServiceInfo } from "./wire";

/** One node of the mesh, as the node that was asked sees it: an entry of node:/nodes. */
export interface NodeStatus {
  id: string;
  name: string;
  version?: string;
  state: "alive" | "draining" | "lost";
  /** The process of a lost node is known to have ended; without it the node may be out of reach only. */
  gone?: boolean;
  /** It is the one that was asked. */
  self?: boolean;
  started: string;
  /** When it joined or was lost. */
  since: string;
  /** When it was heard of last. */
  heard?: string;
  labels?: Record<string, string>;
  /** Where clients can connect. */
  urls?: string[];
  /** Where other nodes can connect. */
  addr?: string;
  clients?: number;
  routes?: number;
  /** Seconds to it and back. */
  rtt?: number;
  /** Calls in flight from the asked node to it, and the other way round. */
  calling?: number;
  answering?: number;
}

const idLength = 32;
const tagLength = 8;
const clientLength = 21;

/** What the id of a client begins with that is connected to a node: 8 hex digits; "" of an id that has no such thing. */
export function tagOf(id: string): string {
  return id.length === clientLength && /^[0-9a-f]{8}/.test(id) ? id.slice(0, tagLength) : "";
}

/** The node that has an id, or to which the client with that id is connected. */
export function nodeOf(nodes: readonly NodeStatus[], id: string): NodeStatus | undefined {
  if (id.length === idLength) return nodes.find((n) => n.id === id);
  const tag = tagOf(id);
  return tag ? nodes.find((n) => n.id.startsWith(tag)) : undefined;
}

/** What to call a node: its name, and the beginning of its id if another one that is there has the same name. */
export function title(nodes: readonly NodeStatus[], n: NodeStatus): string {
  const twin = nodes.some((o) => o.id !== n.id && o.name === n.name && o.state !== "lost");
  return twin ? `${n.name} ${n.id.slice(0, 4)}` : n.name;
}

/** Whether a lost node was started again since: one with its name began when it was not heard of any more. */
function replaced(nodes: readonly NodeStatus[], n: NodeStatus): boolean {
  const last = Date.parse(n.heard ?? n.since);
  return n.state === "lost" && nodes.some((o) => o.name === n.name && o.state !== "lost" && Date.parse(o.started) > last);
}

/**
 * In the order in which people look for them: the node that was asked, the others by name, those that are lost, but for
 * those that are back.
 */
export function arranged(nodes: readonly NodeStatus[]): NodeStatus[] {
  const rank = (n: NodeStatus): number => (n.self ? 0 : n.state === "lost" ? 2 : 1);
  return nodes.filter((n) => !replaced(nodes, n)).sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
}

const golden = (Math.sqrt(5) - 1) / 2;

/** The hue, in degrees, of the nth node: far from those before it. None is red, which is the colour of those that are lost. */
export const nthHue = (n: number): number => 60 + Math.round(((n * golden + 0.5) % 1) * 270);

/** Those to which calls can go. */
export const reachable = (nodes: readonly NodeStatus[]): NodeStatus[] => nodes.filter((n) => n.state !== "lost");

/** Whether the paths of a pattern include one. */
export function covers(pattern: string, path: string): boolean {
  const want = pattern.split("/");
  const have = (path.split("?")[0] ?? "").split("/");
  for (const [i, w] of want.entries()) {
    if (w === "**") return true;
    if (have[i] === undefined || (w !== "*" && !/^\{.*\}$/.test(w) && w !== have[i])) return false;
  }
  return want.length === have.length;
}

/** The servers of an address that are on one node. */
export function serversAt(nodes: readonly NodeStatus[], services: readonly ServiceInfo[], address: string, node: string): string[] {
  const at = address.indexOf(":");
  const [name, path] = [address.slice(0, at), address.slice(at + 1)];
  const routes = services.filter((s) => s.name === name && covers(s.path, path));
  return [...new Set(routes.flatMap((s) => s.servers.map((o) => o.id)))].filter((id) => nodeOf(nodes, id)?.id === node);
}

/**
 * The address that has a call go to a node: that of a server there, chosen by `pick`. If there is none it is that of the
 * node itself, which says so. Who is named in the address already stays.
 */
export function aimed(
  nodes: readonly NodeStatus[], services: readonly ServiceInfo[], address: string, node: string,
  pick = (n: number): number => Math.floor(Math.random() * n),
): string {
  if (!node || /^[^@:]*@/.test(address)) return address;
  const servers = address.startsWith("node:") ? [] : serversAt(nodes, services, address, node);
  return `${servers[pick(servers.length)] ?? node}@${address}`;
}

/** How many servers of some routes are on each node, by its id. */
export function spread(nodes: readonly NodeStatus[], servers: readonly string[]): { node: NodeStatus; servers: number }[] {
  return arranged(nodes)
    .map((node) => ({ node, servers: servers.filter((id) => nodeOf(nodes, id)?.id === node.id).length }))
    .filter((x) => x.servers > 0);
}
