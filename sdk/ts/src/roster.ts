import { withScheme } from "./transport.js";

/** A URL at which a client may connect. */
export interface Place {
  readonly url: URL;
  /** By the program; else a node has told of it. */
  given: boolean;
  /** The id of the node that is, or was last, found there. */
  node?: string | undefined;
}

/** A node in the list that nodes tell their clients. */
export interface NodeRef {
  id?: string;
  name?: string;
  urls?: readonly string[];
}

// More than a mesh has, and little to keep.
const maxTold = 256;

/**
 * The places that a client knows, and the order in which it tries them: at first those given, in their order; after
 * that in turns, each place once a turn, in random order, so that the clients of a node that is lost spread over the
 * others. Where a node was just lost comes last, and the page's own host first.
 */
export class Roster {
  readonly #follow: boolean;
  readonly #home: Place | undefined;
  #places: Place[];
  #turn: Place[];
  #tried: Place[] = []; // since a connection that lasted

  /** `home`: the first URL is that of the page's own host. */
  constructor(urls: readonly URL[], home: boolean, follow: boolean) {
    this.#follow = follow;
    this.#places = urls.filter((u, i) => urls.findIndex((o) => same(o, u)) === i).map((url) => ({ url, given: true }));
    this.#home = home ? this.#places[0] : undefined;
    this.#turn = [...this.#places];
  }

  /** Where to try now. `hop`: for the first time since a connection that lasted, so that no wait is needed. */
  next(): { place: Place; hop: boolean } {
    for (;;) {
      if (!this.#turn.length) this.#turn = shuffled(this.#places);
      const place = this.#turn.shift()!;
      if (!this.#places.includes(place)) continue; // a node has told that it is gone
      const hop = !this.#tried.includes(place);
      if (hop) this.#tried.push(place);
      return { place, hop };
    }
  }

  /** Begins a turn after a connection. `good`: it lasted, or ended as it should, so that all others are worth a hop. */
  left(place: Place, good: boolean): void {
    const here = this.#places.filter((p) => !isOther(place, p));
    if (good) this.#tried = [...here];
    const rank = (p: Place): number => (this.#tried.includes(p) ? 2 : 0) + (p === this.#home ? 0 : 1);
    const others = shuffled(this.#places.filter((p) => isOther(place, p))).sort((a, b) => rank(a) - rank(b));
    this.#turn = [...others, ...here];
  }

  /** Whether there are other nodes than the one at a place. */
  others(place: Place): boolean {
    return this.#places.some((p) => isOther(place, p));
  }

  /** Takes the list of a node that the client is connected to at a place. */
  learn(at: Place, list: unknown): void {
    if (!this.#follow || !Array.isArray(list)) return;
    const old = this.#places;
    this.#places = old.filter((p) => p.given);
    const most = this.#places.length + maxTold;
    for (const { id, urls } of list as NodeRef[]) {
      for (const url of (urls ?? []).map(parsed)) {
        if (!url || !mayFollow(at.url, url) || this.#places.length >= most) continue;
        const known = old.find((p) => same(p.url, url)) ?? this.#places.find((p) => same(p.url, url));
        const place = known ?? { url, given: false };
        if (!this.#places.includes(place)) this.#places.push(place);
        if (!known) this.#turn.splice(Math.floor(Math.random() * (this.#turn.length + 1)), 0, place);
        place.node = id;
      }
    }
  }
}

function isOther(place: Place, p: Place): boolean {
  return p !== place && (p.node === undefined || p.node !== place.node);
}

function parsed(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}

function same(a: URL, b: URL): boolean {
  return withScheme(a, "ws").href === withScheme(b, "ws").href;
}

const secure = (u: { protocol: string } | undefined): boolean => /^(wss|https):/.test(u?.protocol ?? "");
const loopback = (u: URL): boolean => /^(localhost|.*\.localhost|127\.[\d.]+|\[::(1|ffff:7f.*)\])$/.test(u.hostname);

/**
 * Whether a client that is connected at one URL goes to another that it was only told of: not from TLS, of the line
 * or of the page, to what others can read, and not to its own machine because a node elsewhere listens on loopback.
 */
function mayFollow(from: URL, to: URL): boolean {
  const { location } = globalThis as { location?: Location };
  return /^wss?:$/.test(to.protocol) && !to.username && (secure(to) || !(secure(from) || secure(location)))
    && (loopback(from) || !loopback(to));
}

function shuffled<T>(list: readonly T[]): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
