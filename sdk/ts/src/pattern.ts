/** An address, taken apart. */
export interface Address {
  instance: string;
  name: string;
  method: string;
  path: string;
  query: string;
}

/** Takes an address apart. It does not judge it; the node has done that. */
export function parseAddress(address: string): Address {
  const m = /^(?:([^:@]*)@)?([^:@]*):(?:\[([^\]]*)\])?([^?]*)(?:\?(.*))?$/s.exec(address);
  return { instance: m?.[1] ?? "", name: m?.[2] ?? "", method: m?.[3] ?? "", path: m?.[4] || "/", query: m?.[5] ?? "" };
}

/** What a service answers for. The most specific pattern that matches a path wins. */
export class Routes<T> {
  readonly #routes: { segments: string[]; value: T }[] = [];

  add(pattern: string, value: T): void {
    this.#routes.push({ segments: split(pattern), value });
    this.#routes.sort((a, b) => moreSpecific(a.segments, b.segments));
  }

  /** The route that a path leads to, and what the path has in the places of {name}. */
  find(path: string): { value: T; params: Record<string, string> } | undefined {
    const given = split(path);
    for (const { segments, value } of this.#routes) {
      const params = match(segments, given);
      if (params) return { value, params };
    }
    return undefined;
  }
}

function split(path: string): string[] {
  return path.split("/").filter((s) => s !== "");
}

// Literal before {name} and *, these before **.
function rank(segment: string | undefined): number {
  if (segment === undefined) return 3;
  return segment === "**" ? 2 : segment === "*" || segment.startsWith("{") ? 1 : 0;
}

function moreSpecific(a: string[], b: string[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const d = rank(a[i]) - rank(b[i]);
    if (d) return d;
  }
  return 0;
}

function match(segments: string[], given: string[]): Record<string, string> | undefined {
  const open = segments.at(-1) === "**";
  if (open ? given.length < segments.length : given.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, s] of segments.entries()) {
    if (s === "**") break;
    if (s.startsWith("{")) params[s.slice(1, -1)] = given[i]!;
    else if (s !== "*" && s !== given[i]) return undefined;
  }
  return params;
}
