import { closeError, comeBack, wait, type Backoff, type ComeBack } from "./close.js";
import { RopewalkError } from "./error.js";
import { Line, type LineOwner } from "./line.js";
import type { Decoded } from "./message.js";
import { Roster, type NodeRef, type Place } from "./roster.js";
import type { End, Target, TransportKind } from "./transport.js";

/**
 * What a connection is doing:
 *
 *     connecting ──► connected ──► waiting ──► connecting …
 *          └────────────────────────┘ │
 *     any of them ──► closing ──► closed        (or at once closed, when the node says: do not come back)
 */
export type State = "connecting" | "connected" | "waiting" | "closing" | "closed";

/** What the node says in its welcome. */
export interface Welcome {
  id: string;
  node?: { id?: string; name?: string };
  limits?: { frame?: number; calls?: number };
  nodes?: readonly NodeRef[];
}

/** What the link tells its owner. */
export interface LinkOwner extends Pick<LineOwner, "greet" | "message" | "badFrame" | "probe"> {
  state(state: State): void;
  /** There is a connection for new messages. Resolves when all that is served is announced there. */
  up(welcome: Welcome): Promise<unknown>;
  /** Takes back what is served on a connection that is to be left. */
  farewell(line: Line): Promise<void>;
  /** A connection is gone, with all that was under way on it. */
  gone(line: Line, err: RopewalkError): void;
  /** There is no connection for new messages; `final` if there will be no other. */
  down(err: RopewalkError, final: boolean): void;
}

export interface LinkConfig extends Target {
  urls: readonly URL[];
  /** The first URL is that of the page's own host. */
  home: boolean;
  follow: boolean;
  transports: readonly TransportKind[];
  backoff: Backoff;
  connectTimeout: number;
  silence: number;
}

// A connection that lived for less than this does not count as a success: the next wait grows.
const stable = 5_000;
// The same for one whose node said that it stops.
const asked = 1_000;
// The first try at another node is short: one that died with its machine does not say so.
const hopTimeout = 3_000;
// How long a node that drains is given to close the connection if there is nowhere else to go.
const drainTimeout = 30_000;
// A transport that has worked is given this many tries before others get one: the node is likelier down than blocked.
const loyalty = 3;
// How long a second-best transport is preferred because it worked.
const memory = 600_000;

/**
 * Keeps a connection to a node alive, one of those that it knows: connects, comes back, changes the transport, goes
 * elsewhere. While a node drains there is a second connection. Messages are its owner's.
 */
export class Link implements LineOwner {
  readonly #cfg: LinkConfig;
  readonly #owner: LinkOwner;
  readonly #roster: Roster;
  readonly #lines = new Set<Line>(); // those that have not ended
  #state: State = "connecting";
  #wake: (() => void) | undefined; // ends the wait before the next try
  #best: { kind: TransportKind; at: number } | undefined;
  #misses = 0;
  /** Where new messages go; undefined while there is no connection. */
  line: Line | undefined;
  /** When the next try is; undefined while one is under way. */
  retryAt: number | undefined;

  constructor(cfg: LinkConfig, owner: LinkOwner) {
    this.#cfg = cfg;
    this.#owner = owner;
    this.#roster = new Roster(cfg.urls, cfg.home, cfg.follow);
    this.#best = recall(cfg.urls[0]!);
  }

  get state(): State {
    return this.#state;
  }

  /** The transport in use, or that of the last connection. */
  get kind(): TransportKind | undefined {
    return this.#best?.kind;
  }

  /** Connects, and stays connected until close or until the node says not to come back. */
  async run(): Promise<void> {
    let err = closeError(1000, "bye");
    let lost: Line | undefined;
    let { place, hop } = this.#roster.next();
    for (let attempt = 0; !this.#ending();) {
      this.retryAt = undefined;
      if (!this.line) this.#set("connecting");
      const { line, end } = await this.#round(place, hop);
      lost = end && line;
      const lived = line ? Date.now() - line.since! : 0;
      if (lived >= stable) attempt = 0;
      if (line) this.#roster.left(place, lived >= stable || (lived >= asked && (!end || end.code === 1001)));
      let pause = 0;
      let next: ComeBack = "now";
      if (end) {
        next = verdict(end);
        // What is said where we were only told to go is no verdict: the program did not choose it.
        if (next === "no" && !line && !place.given) next = "later";
        err = end.error ?? (line ? closeError(end.code, end.reason) : this.#unreachable(place, end));
      }
      if (next === "no") for (const l of this.#lines) l.drop(end!);
      if (this.#ending() || next === "no") break;
      ({ place, hop } = this.#roster.next());
      if (!hop && !(lived >= stable && end && next === "now")) pause = Math.max(wait(attempt++, this.#cfg.backoff), end ? err.retryAfter : 0);
      this.retryAt = Date.now() + pause;
      if (!this.line) this.#set("waiting");
      if (lost) this.#owner.gone(lost, err);
      if (end) this.#owner.down(err, false);
      if (pause) await this.#sleep(pause);
    }
    await Promise.all([...this.#lines].map((l) => l.ended));
    this.#set("closed");
    if (lost) this.#owner.gone(lost, err);
    this.#owner.down(err, true);
  }

  /** Whether new messages can be sent now. */
  get open(): boolean {
    return this.line !== undefined && this.line.open && !this.line.draining;
  }

  /** Something changed that makes it worth to look at once: the network, the page, the person. */
  hint(): void {
    this.#wake?.();
    if (this.line?.open) this.line.probe();
  }

  /** Gives up the connection and makes a new one at once. */
  restart(reason: string): void {
    for (const l of this.#lines) if (l === this.line || !l.open) l.drop({ code: 1001, reason });
    this.#wake?.();
  }

  /** Stops accepting work; {@link close} follows. */
  closing(): void {
    if (this.#state !== "closed") this.#set("closing");
    this.#wake?.();
  }

  /** Ends all for good after what was sent, or after `timeout` milliseconds. */
  close(timeout: number): void {
    this.closing();
    for (const l of this.#lines) l.bye(timeout);
  }

  /** The node at the other end of a connection starts nothing new on it. */
  drain(line: Line): void {
    if (line.draining) return;
    line.draining = true;
    if (line === this.line && this.#roster.others(line.place)) return line.move();
    this.#leave(line);
    const timer = setTimeout(() => line.drop({ code: 1001, reason: "the node drains" }), drainTimeout);
    void line.ended.then(() => clearTimeout(timer));
  }

  /** A node has told which nodes there are. */
  learn(line: Line, nodes: unknown): void {
    this.#roster.learn(line.place, nodes);
  }

  message(line: Line, m: Decoded): void {
    this.#owner.message(line, m);
  }

  badFrame(cause: unknown): void {
    this.#owner.badFrame(cause);
  }

  probe(line: Line): void {
    this.#owner.probe(line);
  }

  greet(line: Line): Promise<() => void> | undefined {
    return this.#owner.greet(line);
  }

  welcome(line: Line, m: Decoded): void {
    const { kind, place } = line;
    const welcome = (m.body ?? {}) as Welcome;
    if (this.#best?.kind !== kind || Date.now() - this.#best.at > memory) this.#best = { kind, at: Date.now() };
    this.#misses = 0;
    remember(this.#cfg.urls[0]!, this.#best);
    line.node = welcome.node?.id ?? "";
    place.node = welcome.node?.id;
    this.#roster.learn(place, welcome.nodes);
    const before = this.line;
    this.line = line;
    const announced = this.#owner.up(welcome);
    this.#set("connected"); // last, so that who hears of it finds the new id
    if (before) void announced.then(() => this.#leave(before));
  }

  // What was on its way to us comes before the answer to the farewell.
  #leave(line: Line): void {
    void this.#owner.farewell(line).then(() => line.leave());
  }

  #unreachable(place: Place, end: End): RopewalkError {
    if (comeBack(end.code) === "no") return closeError(end.code, end.reason);
    return new RopewalkError("connection_lost", `no connection to ${place.url.href}: ${end.reason || "it was refused"}`,
      { hint: "Is the node running, and is the URL right? The client goes on trying." });
  }

  #ending(): boolean {
    return this.#state === "closing" || this.#state === "closed";
  }

  #set(state: State): void {
    if (state === this.#state || (this.#ending() && state !== "closed" && state !== "closing")) return;
    this.#state = state;
    this.#owner.state(state);
  }

  /**
   * Tries the transports in turn. Returns when a connection that worked is over, or new messages had better go
   * elsewhere (then without an end), or when none works (then without a line).
   */
  async #round(place: Place, hop: boolean): Promise<{ line?: Line; end?: End }> {
    let end: End | undefined;
    let blocked = false;
    const { connectTimeout } = this.#cfg;
    const timeout = hop && this.#best ? Math.min(connectTimeout, hopTimeout) : connectTimeout;
    for (const kind of this.#candidates()) {
      if (end && kind !== "websocket" && blocked) continue;
      const line = new Line(kind, place, this.#cfg, timeout, this);
      this.#lines.add(line);
      void line.ended.then(() => this.#lines.delete(line));
      await line.opened;
      if (line.since !== undefined) return this.#stay(line);
      end = await line.ended;
      if (line.welcomed || this.#ending() || verdict(end) === "no") return { end };
      blocked = end.unreachable === true;
    }
    this.#misses++;
    return {
      end: end ?? {
        code: 4100, reason: "",
        error: new RopewalkError("not_ready", "no transport works here: neither WebSocket nor fetch is available"),
      },
    };
  }

  async #stay(line: Line): Promise<{ line: Line; end?: End }> {
    const end = await Promise.race([line.ended, line.moved]);
    if (end) {
      this.#forget(line);
      return { line, end };
    }
    void line.ended.then((late) => {
      if (this.#forget(line)) this.#set(this.#wake ? "waiting" : "connecting");
      this.#owner.gone(line, closeError(late.code, late.reason));
    });
    return { line };
  }

  #forget(line: Line): boolean {
    if (this.line !== line) return false;
    this.line = undefined;
    return true;
  }

  #candidates(): TransportKind[] {
    const c = this.#cfg;
    const able = c.transports.filter((k) => (k === "websocket" ? c.WebSocket : c.fetch) !== undefined);
    const best = this.#best;
    if (!best || !able.includes(best.kind) || (best.kind !== able[0] && Date.now() - best.at > memory)) return able;
    return this.#misses < loyalty ? [best.kind] : [best.kind, ...able.filter((k) => k !== best.kind)];
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
    });
  }
}

function verdict(end: End): ComeBack {
  const code = end.error?.code;
  return code === "unauthenticated" || code === "forbidden" ? "no" : comeBack(end.code);
}

// What worked is kept for the life of the page's tab, so that a reload does not try a blocked WebSocket again.
const storageKey = (url: URL): string => "ropewalk " + url.host;

function recall(url: URL): { kind: TransportKind; at: number } | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(storageKey(url)) ?? "null") ?? undefined;
  } catch { // not in a browser, or storage is forbidden
    return undefined;
  }
}

function remember(url: URL, best: { kind: TransportKind; at: number }): void {
  try {
    sessionStorage.setItem(storageKey(url), JSON.stringify(best));
  } catch { /* as above */ }
}
