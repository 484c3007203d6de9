import { wait, type Backoff } from "./close.js";
import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded, Message } from "./message.js";

/** Who somebody is for the nodes, as far as one may know. Times are in milliseconds of Date.now(). */
export interface Session {
  /** Tells sessions apart. It is no secret, and no proof of anything. */
  readonly id: string;
  /** Who it is; "" if nobody has logged in. */
  readonly subject: string;
  /** Who said so; "" for the mesh itself. */
  readonly issuer: string;
  /** The claims that the client may see. */
  readonly public: Readonly<Record<string, unknown>>;
  /** The claims that only nodes and trusted services see; always empty for the client whose session it is. */
  readonly secret: Readonly<Record<string, unknown>>;
  /** When it began. */
  readonly since: number | undefined;
  /** When it ends if nothing happens; undefined: never. */
  readonly expires: number | undefined;
}

/** What became of the client's session. */
export interface SessionEvent {
  /**
   * `changed`: this is the session now, or its end has moved. `ending`: it ends soon; unless the option `refresh` is
   * false the client refreshes it. `ended`: its time is over, it was closed, or the node did not take its token on a new
   * connection. `revoked`: somebody ended it. After the last two the client is nobody.
   */
  readonly kind: "changed" | "ending" | "ended" | "revoked";
  /** What it is now; undefined for nobody. */
  readonly session: Session | undefined;
  /** Why it ended, for people; may be empty. */
  readonly reason: string;
  /** Why the token was refused on a new connection, or why the session could not be refreshed. */
  readonly error: RopewalkError | undefined;
}

/** What a handler wants of its caller's session. */
export interface SessionPatch {
  /** Logs in, or with "" out. */
  subject?: string | undefined;
  /** Whoever it is has just proved it again: the session begins anew under another id. */
  renew?: boolean | undefined;
  /** Public claims to add or replace. */
  set?: Readonly<Record<string, unknown>> | undefined;
  /** Secret claims to add or replace. */
  secret?: Readonly<Record<string, unknown>> | undefined;
  /** Claims to remove. */
  delete?: readonly string[] | undefined;
  /** How long after its last use the session ends, in milliseconds. */
  idle?: number | undefined;
  /** Ends it. */
  end?: boolean | undefined;
}

/** Where a token may be kept. */
export type TokenStore = "none" | "session" | "local";

type Source = () => string | undefined | Promise<string | undefined>;

/** What an identity needs of the client. */
export interface IdentityHost {
  /** Sends a call that is repeated on the next connection; `take` gets the reply before anything that comes after it. */
  call(m: Message, take: (m: Decoded, line: Line) => void): Promise<void>;
  /** Sends a call by a connection that is not in use yet. */
  ask(m: Message, line: Line): Promise<Decoded>;
  /** The connection in use. */
  line(): Line | undefined;
  tell(e: SessionEvent): void;
  /** The session is another one: what was refused may be allowed now. */
  changed(): void;
}

/** What an identity is made with. */
export interface IdentityConfig {
  token: string | Source | undefined;
  cookie: boolean;
  refresh: boolean;
  store: TokenStore;
  /** The host that tokens are kept for. */
  host: string;
  backoff: Backoff;
}

const base = "node:/session";
const refused = "the node does not take its token";

/** Reads a session as it is on the wire. */
export function readSession(v: unknown): Session | undefined {
  const s = v as { [name: string]: unknown; since?: number; expires?: number } | null | undefined;
  if (typeof s?.["id"] !== "string" || !s["id"]) return undefined;
  const text = (name: string): string => (s[name] ?? "") as string;
  const claims = (name: string): Record<string, unknown> => (s[name] ?? {}) as Record<string, unknown>;
  return {
    id: s["id"], subject: text("subject"), issuer: text("issuer"), public: claims("public"), secret: claims("secret"),
    since: s.since && s.since * 1000, expires: s.expires && s.expires * 1000,
  };
}

interface News {
  event?: string;
  /** Its time is over: what opens another session may be used. */
  expired?: boolean;
  session?: unknown;
  token?: string;
  reason?: string;
}

/** Who the client is, and will be on its next connection. */
export class Identity {
  readonly #host: IdentityHost;
  readonly #cfg: IdentityConfig;
  readonly #source: Source | undefined;
  readonly #storage: Storage | undefined;
  #closed = false; // logged out: the source is not asked
  #opening = false; // see #reopen
  #again = false;
  #refreshing = false;
  #futile: number | undefined; // when the session ends, and no refresh moves that
  #over = false;
  #asking: Promise<string | undefined> | undefined; // of the source
  readonly #pauses = new Set<() => void>(); // what ends them
  /** Opens the session on the next connection; "" if there is none. */
  token = "";
  session: Session | undefined;

  constructor(cfg: IdentityConfig, host: IdentityHost) {
    this.#cfg = cfg;
    this.#host = host;
    const { token } = cfg;
    if (typeof token === "function") this.#source = token;
    this.#storage = storage(cfg.store);
    this.token = (typeof token === "string" && token) || this.#kept();
  }

  /** Has the client be who a token says. */
  open(token: string): Promise<Session | undefined> {
    return this.#ask("/open", undefined, token);
  }

  /** Has the session last longer. */
  refresh(): Promise<Session | undefined> {
    return this.#ask("/refresh");
  }

  /** Logs out. */
  async close(everywhere: boolean): Promise<void> {
    await this.#ask("/close", everywhere ? { everywhere } : undefined);
  }

  /** The client is closed. */
  end(): void {
    this.#over = true;
    for (const stop of this.#pauses) stop();
  }

  /**
   * Tells a node who the client is, by a connection that is not in use yet. Resolves with what is to be done when it is;
   * undefined: there is nothing to tell.
   */
  greet(line: Line): Promise<() => void> | undefined {
    const { token } = this;
    const source = this.#closed ? undefined : this.#source;
    return token || source || this.#cfg.cookie ? this.#greet(line, token, source) : undefined;
  }

  async #greet(line: Line, before: string, source: Source | undefined): Promise<() => void> {
    const closed = this.#closed;
    let token = before;
    let news: News | undefined;
    let err: RopewalkError | undefined;
    const open = async (): Promise<void> => {
      err = undefined;
      const m = await this.#host.ask({ verb: "call", to: token ? base + "/open" : base, token: token || undefined }, line);
      if (m.verb === "error") err = m.body as RopewalkError;
      else news = (m.body ?? {}) as News;
      if (err && err.code !== "unauthenticated") throw err;
    };
    if (token || !source) await open();
    const kept = this.#kept();
    if (!news && token && kept && kept !== token) { // another tab has had the session last longer
      token = kept;
      await open();
    }
    for (let tries = 0; source && !news && tries < 2; tries++) { // twice: it may have kept one for too long
      const fresh = await this.#fromSource();
      if (!fresh || (fresh === token && tries)) break;
      token = fresh;
      await open();
    }
    return () => {
      if (this.token !== before || this.#closed !== closed) this.#reopen(0); // by a connection that drains, meanwhile
      else if (news?.session) this.#somebody({ ...news, token: news.token || token }, true);
      else this.unknown(err);
    };
  }

  /** There is a connection on which nobody is known. */
  unknown(error?: RopewalkError): void {
    this.#nobody("ended", error ? refused : "there is no token for this connection", error);
    if (error) this.#reopen(1);
  }

  /** Takes what the node says by itself. */
  told(body: unknown, line: Line): void {
    const n = (body ?? {}) as News;
    const here = this.#here(line);
    if (n.event === "changed") return this.#somebody(n, here);
    if (!here) return; // the node of the connection in use says so too
    if (n.event === "ending") return this.#ending(n);
    if (n.event !== "ended" && n.event !== "revoked") return;
    const kept = n.expired && this.#kept();
    if (kept && kept !== this.token) this.#keep(kept); // by another tab, which has had it last longer
    else this.#nobody(n.event, n.reason ?? "");
    if (n.expired) this.#reopen(0);
    else if (n.event === "ended") this.#closed = true;
  }

  get #key(): string {
    return "ropewalk token " + this.#cfg.host;
  }

  #here(line: Line): boolean {
    const now = this.#host.line();
    return !now || now === line;
  }

  async #ask(path: string, body?: object, token?: string): Promise<Session | undefined> {
    let session: Session | undefined;
    await this.#host.call({ verb: "call", to: base + path, token, body: body && { json: JSON.stringify(body) } }, (m, line) => {
      if (path === "/close") {
        this.#closed = true;
        return this.#nobody("ended", "logged out");
      }
      const n = (m.body ?? {}) as News;
      this.#somebody({ ...n, token: n.token || token }, this.#here(line));
      session = readSession(n.session);
    });
    return session;
  }

  // One question at a time: it may be a person who is asked, and the connection may be lost meanwhile.
  #fromSource(): Promise<string | undefined> {
    return this.#asking ??= (async () => {
      try {
        return await this.#source!();
      } catch (cause) {
        throw new RopewalkError("not_ready", "there is no token to connect with: " + String((cause as Error)?.message ?? cause),
          { hint: "See why the option token fails.", retryable: true, cause });
      }
    })().finally(() => { this.#asking = undefined; });
  }

  #somebody(n: { session?: unknown; token?: string | undefined }, here: boolean): void {
    this.#closed = false;
    const before = this.token;
    if (n.token) this.#keep(n.token);
    if (!here && n.token) return this.#reopen(0);
    const next = readSession(n.session);
    if (before === this.token && JSON.stringify(next) === JSON.stringify(this.session)) return;
    this.session = next;
    this.#tell("changed");
    this.#host.changed();
  }

  #nobody(kind: "ended" | "revoked", reason: string, error?: RopewalkError): void {
    const had = this.session ?? error;
    this.#keep("");
    this.session = this.#futile = undefined;
    if (had) this.#tell(kind, reason, error);
  }

  #tell(kind: SessionEvent["kind"], reason = "", error?: RopewalkError): void {
    this.#host.tell({ kind, session: this.session, reason, error });
  }

  /** What is kept, by this tab or another one; "" for nothing. */
  #kept(): string {
    try {
      return this.#storage?.getItem(this.#key) ?? "";
    } catch { // storage is forbidden
      return "";
    }
  }

  #keep(token: string): void {
    if (token === this.token) return;
    this.token = token;
    try {
      if (token) this.#storage?.setItem(this.#key, token);
      else this.#storage?.removeItem(this.#key);
    } catch { /* full, or forbidden: it is kept for as long as the page */ }
  }

  #ending(n: News): void {
    this.session = readSession(n.session) ?? this.session;
    this.#tell("ending");
    if (this.#cfg.refresh && !this.#refreshing && this.session && this.session.expires !== this.#futile) void this.#refresh(this.session);
  }

  async #refresh({ id, expires = Infinity }: Session): Promise<void> {
    this.#refreshing = true;
    for (let attempt = 0; !this.#over && this.session?.id === id; attempt++) {
      try {
        const next = await this.refresh();
        if ((next?.expires ?? Infinity) <= expires) this.#futile = expires; // its limit; to ask again changes nothing
        break;
      } catch (err) {
        if (this.session?.id !== id) break; // it is over
        if ((err as RopewalkError).code === "unauthenticated" || Date.now() > expires) {
          this.#tell("ending", "", err as RopewalkError);
          break;
        }
      }
      await this.#pause(attempt);
    }
    this.#refreshing = false;
  }

  /** Has the client be somebody on the connection in use, as its token says or one of its source. */
  #reopen(attempt: number): void {
    if (this.#opening) this.#again = true;
    else if (this.#mayOpen()) void this.#keepOpening(attempt);
  }

  #mayOpen(): boolean {
    return !this.#over && (this.token !== "" || (this.#source !== undefined && !this.#closed));
  }

  async #keepOpening(attempt: number): Promise<void> {
    this.#opening = true;
    do {
      if (attempt++) await this.#pause(attempt);
      this.#again = false;
      let { token } = this;
      try {
        token ||= (await this.#fromSource()) ?? "";
        if (token) await this.open(token);
        if (!this.#again) break;
      } catch (err) {
        const e = err as RopewalkError;
        if (e.code === "unauthenticated" && token === this.token) this.#nobody("ended", refused, e);
      }
    } while (this.#again || (this.#host.line() && this.#mayOpen())); // the next connection begins with it
    this.#opening = false;
  }

  #pause(attempt: number): Promise<void> {
    return new Promise((done) => {
      const stop = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(stop);
        done();
      };
      const timer = setTimeout(stop, wait(attempt, this.#cfg.backoff));
      this.#pauses.add(stop);
    });
  }
}

function storage(kind: TokenStore): Storage | undefined {
  try {
    return kind === "session" ? sessionStorage : kind === "local" ? localStorage : undefined;
  } catch { // not in a browser, or it is forbidden
    return undefined;
  }
}

/** Adds a change to those before it. */
export function mergePatch(to: SessionPatch, p: SessionPatch): SessionPatch {
  const without = (c: SessionPatch["set"], names: readonly string[]): Record<string, unknown> =>
    Object.fromEntries(Object.entries(c ?? {}).filter(([name]) => !names.includes(name)));
  const gone = p.delete ?? [];
  return {
    subject: p.subject ?? to.subject,
    set: { ...without(to.set, [...gone, ...Object.keys(p.secret ?? {})]), ...p.set },
    secret: { ...without(to.secret, [...gone, ...Object.keys(p.set ?? {})]), ...p.secret },
    delete: [...(to.delete ?? []), ...gone],
    idle: p.idle ?? to.idle,
    renew: p.renew || to.renew,
    end: p.end || to.end,
  };
}

/** A change as it is on the wire. */
export function wirePatch({ idle, ...p }: SessionPatch): object {
  return { ...p, idle: idle === undefined ? undefined : idle / 1000 };
}
