import { closeError, comeBack, wait, type Backoff, type ComeBack } from "./close.js";
import { RopewalkError } from "./error.js";
import { HTTPTransport } from "./http.js";
import { decode, type Decoded } from "./message.js";
import type { End, Sink, Target, Transport, TransportKind } from "./transport.js";
import { dialWebSocket } from "./websocket.js";

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
}

/** What the link tells its owner. */
export interface LinkOwner {
  state(state: State): void;
  up(welcome: Welcome): void;
  message(m: Decoded): void;
  /** A frame that could not be read. */
  badFrame(cause: unknown): void;
  /** The connection is gone; `final` if there will be no other. */
  down(err: RopewalkError, final: boolean): void;
  /** Asks for something that the node answers, whatever it is. */
  probe(): void;
}

export interface LinkConfig extends Target {
  transports: readonly TransportKind[];
  backoff: Backoff;
  connectTimeout: number;
  silence: number;
}

interface Closed extends End {
  /** When the welcome came; undefined if it never did. */
  since: number | undefined;
}

// A connection that lived for less than this does not count as a success: the next wait grows.
const stable = 5_000;
// How long an answer to a probe may take.
const probeTimeout = 8_000;
// A transport that has worked is given this many tries before others get one: the node is likelier down than blocked.
const loyalty = 3;
// How long a second-best transport is preferred because it worked.
const memory = 600_000;

/** Keeps one connection to a node alive: connects, comes back, changes the transport. Messages are its owner's. */
export class Link {
  readonly #cfg: LinkConfig;
  readonly #owner: LinkOwner;
  #state: State = "connecting";
  #transport: Transport | undefined;
  #finish: ((end: End) => void) | undefined; // ends the connection under way, for the link
  #wake: (() => void) | undefined; // ends the wait before the next try
  #best: { kind: TransportKind; at: number } | undefined;
  /** While waiting: when the next try is. */
  retryAt: number | undefined;
  #welcomed = false;
  #misses = 0;
  #heard = 0;
  #probed = 0; // when the unanswered probe was sent; 0 if there is none
  #tick: ReturnType<typeof setInterval> | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined; // with a close that the node does not answer

  constructor(cfg: LinkConfig, owner: LinkOwner) {
    this.#cfg = cfg;
    this.#owner = owner;
    this.#best = recall(cfg.url);
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
    for (let attempt = 0; !this.#ending();) {
      this.#set("connecting");
      const end = await this.#round();
      const lived = end.since !== undefined && Date.now() - end.since >= stable;
      if (lived) attempt = 0;
      const next = verdict(end);
      err = end.error ?? (end.since === undefined ? this.#unreachable(end) : closeError(end.code, end.reason));
      if (this.#ending() || next === "no") break;
      const pause = lived && next === "now" ? 0 : Math.max(wait(attempt++, this.#cfg.backoff), err.retryAfter);
      this.retryAt = Date.now() + pause;
      this.#set("waiting");
      this.#owner.down(err, false);
      if (pause) await this.#sleep(pause);
      this.retryAt = undefined;
    }
    this.#set("closed");
    this.#owner.down(err, true);
  }

  /** Whether messages can be sent now. */
  get open(): boolean {
    return this.#welcomed;
  }

  /** Sends a frame; only while connected. */
  send(frame: string | Uint8Array<ArrayBuffer>): void {
    this.#transport!.send(frame);
  }

  /** Bytes that wait for the network. */
  buffered(): number {
    return this.#transport?.buffered() ?? 0;
  }

  /** Something changed that makes it worth to look at once: the network, the page, the person. */
  hint(): void {
    if (this.#state === "waiting") this.#wake?.();
    else if (this.#state === "connected" && !this.#probed) this.#probe();
  }

  /** Gives up the connection and makes a new one at once. */
  restart(reason: string): void {
    this.#drop({ code: 1001, reason });
    this.#wake?.();
  }

  /** Stops accepting work; {@link close} follows. */
  closing(): void {
    if (this.#state !== "closed") this.#set("closing");
    this.#wake?.();
  }

  /** Ends the connection for good after what was sent, or after `timeout` milliseconds. */
  close(timeout: number): void {
    this.closing();
    this.#transport?.close();
    const finish = this.#finish;
    if (finish) this.#patience = setTimeout(() => finish({ code: 1000, reason: "bye" }), timeout);
  }

  #unreachable(end: End): RopewalkError {
    if (comeBack(end.code) === "no") return closeError(end.code, end.reason);
    return new RopewalkError("connection_lost", `no connection to ${this.#cfg.url.href}: ${end.reason || "it was refused"}`,
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

  /** Tries the transports in turn; returns when a connection that worked is over, or when none works. */
  async #round(): Promise<Closed> {
    let end: Closed | undefined;
    let blocked = false;
    for (const kind of this.#candidates()) {
      if (end && kind !== "websocket" && blocked) continue;
      end = await this.#connection(kind);
      if (end.since !== undefined || this.#ending() || verdict(end) === "no") return end;
      blocked = end.unreachable === true;
    }
    this.#misses++;
    return end ?? {
      code: 4100, reason: "", since: undefined,
      error: new RopewalkError("not_ready", "no transport works here: neither WebSocket nor fetch is available"),
    };
  }

  #candidates(): TransportKind[] {
    const c = this.#cfg;
    const able = c.transports.filter((k) => (k === "websocket" ? c.WebSocket : c.fetch) !== undefined);
    const best = this.#best;
    if (!best || !able.includes(best.kind) || (best.kind !== able[0] && Date.now() - best.at > memory)) return able;
    return this.#misses < loyalty ? [best.kind] : [best.kind, ...able.filter((k) => k !== best.kind)];
  }

  /** One connection, from the first byte to its end. */
  #connection(kind: TransportKind): Promise<Closed> {
    return new Promise((resolve) => {
      let since: number | undefined;
      let over = false;
      const finish = (end: End): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        clearTimeout(this.#patience); // it would keep a process from ending
        clearInterval(this.#tick);
        this.#transport?.abort();
        this.#transport = this.#finish = undefined;
        this.#welcomed = false;
        resolve({ ...end, since });
      };
      const timer = setTimeout(() => finish({ code: 1006, reason: "no welcome in time" }), this.#cfg.connectTimeout);
      const sink: Sink = {
        frame: (data) => {
          if (over) return;
          this.#alive();
          const m = this.#decode(data);
          if (!m) return;
          if (m.verb !== "welcome") return this.#owner.message(m);
          clearTimeout(timer);
          since = Date.now();
          this.#up(kind, m);
        },
        heard: () => this.#alive(),
        closed: finish,
      };
      this.#finish = finish;
      this.#probed = 0;
      try {
        this.#transport = kind === "websocket" ? dialWebSocket(this.#cfg, sink) : new HTTPTransport(kind, this.#cfg, sink);
      } catch (err) { // a URL that WebSocket refuses, or a page that may not use it
        finish({ code: 1006, reason: (err as Error).message });
      }
    });
  }

  #decode(data: string | Uint8Array): Decoded | undefined {
    try {
      return decode(data, this.#cfg.framing);
    } catch (err) {
      this.#owner.badFrame(err);
      return undefined;
    }
  }

  #up(kind: TransportKind, m: Decoded): void {
    if (this.#best?.kind !== kind || Date.now() - this.#best.at > memory) this.#best = { kind, at: Date.now() };
    this.#misses = 0;
    remember(this.#cfg.url, this.#best);
    this.#tick = setInterval(() => this.#check(), Math.min(this.#cfg.silence, probeTimeout) / 2);
    this.#welcomed = true;
    this.#owner.up((m.body ?? {}) as Welcome);
    this.#set("connected"); // last, so that who hears of it finds the new id
  }

  #alive(): void {
    this.#heard = Date.now();
    this.#probed = 0;
  }

  // A browser does not show us pings, so silence has to be broken by a question.
  #check(): void {
    const now = Date.now();
    if (this.#probed && now - this.#probed >= probeTimeout) this.#drop({ code: 1001, reason: "the node does not answer" });
    else if (!this.#probed && now - this.#heard >= this.#cfg.silence) this.#probe();
  }

  #probe(): void {
    this.#probed = Date.now();
    this.#owner.probe();
  }

  #drop(end: End): void {
    this.#finish?.(end);
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
