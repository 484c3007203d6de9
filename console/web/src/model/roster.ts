import type { ServiceInfo } from "./wire";

/** How long a server that came or went is marked, in milliseconds. */
export const marked = 6_000;

/** A server as the page shows it. */
export interface Server {
  id: string;
  /** How many of the paths it serves. */
  paths: number;
  inFlight: number;
  /** When it came; 0 if it was there when the page looked first. */
  joined: number;
  /** When it went; 0 while it is there. */
  left: number;
}

/** The servers of some paths, in the order in which the page met them. */
export type Roster = readonly Server[];

/** The servers of all routes that pass the filter, without a past. */
export function serversOf(services: readonly ServiceInfo[], filter: (s: ServiceInfo) => boolean): Server[] {
  const found = new Map<string, Server>();
  for (const route of services) {
    if (!filter(route)) continue;
    for (const s of route.servers) {
      const server = found.get(s.id) ?? { id: s.id, paths: 0, inFlight: 0, joined: 0, left: 0 };
      server.paths++;
      server.inFlight = Math.max(server.inFlight, s.inFlight);
      found.set(s.id, server);
    }
  }
  return [...found.values()];
}

/**
 * What the page knows after it has looked again. Before the first look the roster is undefined: who is there then has
 * not just come.
 */
export function update(before: Roster | undefined, now: readonly Server[], at: number): Roster {
  const present = new Map(now.map((s) => [s.id, s]));
  const out: Server[] = [];
  for (const old of before ?? []) {
    const s = present.get(old.id);
    present.delete(old.id);
    if (s) out.push({ ...s, joined: old.left ? at : old.joined });
    else if (!old.left) out.push({ ...old, left: at, inFlight: 0 });
    else if (at - old.left < marked) out.push(old);
  }
  for (const s of present.values()) out.push({ ...s, joined: before ? at : 0 });
  return out;
}

/** Whether a server is new, there, or gone. */
export function standing(s: Server, at: number): "joined" | "here" | "left" {
  if (s.left) return "left";
  return s.joined && at - s.joined < marked ? "joined" : "here";
}

/** Those who are there. */
export const present = (r: Roster): Server[] => r.filter((s) => !s.left);
