import { tagOf } from "./nodes";
import type { ServiceInfo } from "./wire";

/** The id in an address: "7f3k@client:/" has 7f3k, and "math:/x" none. */
export function idOf(address: string): string {
  return /^([^@:]+)@/.exec(address)?.[1] ?? "";
}

/** A part of an id that is enough to tell a few from each other: those of clients of one node begin alike. */
export function short(id: string): string {
  if (id.length <= 8) return id;
  const { length } = tagOf(id);
  return id.slice(length, length + 6);
}

/** The address of a client. */
export const clientAddress = (id: string): string => `${id}@client:/`;

/** The address of all clients, of whatever node. */
export const everybody = "*@client:/";

/** Where the WebSocket of the page that is at href goes. */
export function webSocketURL(href: string): string {
  const url = new URL(href);
  return `${url.protocol === "https:" ? "wss" : "ws"}://${url.host}`;
}

/** The hue, in degrees, by which a person knows a server or client again. */
export function hue(id: string): number {
  let h = 2166136261; // FNV-1a
  for (let i = 0; i < id.length; i++) h = Math.imul(h ^ id.charCodeAt(i), 16777619);
  return (h >>> 0) % 360;
}

/** An address that can be called, and what it is. */
export interface Known {
  address: string;
  description: string;
  /** The ids of those who serve it. */
  servers: readonly string[];
}

/** The addresses that can be called, the node's own last. */
export function known(services: readonly ServiceInfo[]): Known[] {
  const all = services.map((s) => ({
    address: `${s.name}:${s.path}`,
    description: s.servers.find((x) => x.description)?.description ?? "",
    servers: s.servers.map((x) => x.id),
  }));
  const own = (k: Known): number => (k.address.startsWith("node:") ? 1 : 0);
  return all.sort((a, b) => own(a) - own(b) || (a.address < b.address ? -1 : 1));
}

/** The paths of one service. */
export interface Branch {
  name: string;
  servers: readonly string[];
  paths: readonly Known[];
}

/** The addresses by service. */
export function tree(all: readonly Known[]): Branch[] {
  const out = new Map<string, Known[]>();
  for (const k of all) {
    const name = k.address.slice(0, k.address.indexOf(":"));
    out.set(name, [...(out.get(name) ?? []), k]);
  }
  return [...out].map(([name, paths]) => ({ name, paths, servers: [...new Set(paths.flatMap((k) => k.servers))] }));
}

/** The addresses that somebody may mean who has typed so much: first those that begin so. */
export function complete(all: readonly Known[], typed: string, limit = 8): Known[] {
  const want = typed.trim().toLowerCase();
  const rank = (k: Known): number => {
    const address = k.address.toLowerCase();
    if (address === want) return 0;
    if (address.startsWith(want)) return 1;
    if (address.includes(want)) return 2;
    return k.description.toLowerCase().includes(want) ? 3 : 4;
  };
  return all
    .map((k) => ({ k, rank: rank(k) }))
    .filter((x) => x.rank < 4)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, limit)
    .map((x) => x.k);
}
