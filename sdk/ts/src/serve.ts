import { fromAbort, RopewalkError, toWire } from "./error.js";
import { Feeds, type FeedOptions, type WatchHandler } from "./feed.js";
import { mergePatch, readSession, wirePatch, type Session, type SessionPatch } from "./identity.js";
import type { Line } from "./line.js";
import { encodeBody, type Decoded, type Message } from "./message.js";
import { parseAddress, Routes, type Address } from "./pattern.js";

/** What a handler is told beside its input. */
export interface Context<Part = unknown> {
  /** Aborts when the caller cancels or goes away, when its time is over, and when the connection drops. */
  readonly signal: AbortSignal;
  /** Sends a part. It resolves when the network keeps up, and rejects when nobody waits any more. */
  send(part: Part): Promise<void>;
  /** The address of who asks. */
  readonly from: string;
  /** The address that was asked. */
  readonly to: string;
  readonly method: string;
  readonly path: string;
  /** What follows the question mark, as it came. */
  readonly query: string;
  /** The segments of the path in the places of {name}. */
  readonly params: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** The application's word. */
  readonly type: string;
  /** The caller's session, as far as this service may see it; undefined for nobody. */
  readonly session: Session | undefined;
  /**
   * Has the caller's session changed when the handler replies; one that fails changes nothing. Of several changes the
   * later go over the earlier. The service needs the permission "session" of the node; without it nothing changes.
   */
  changeSession(patch: SessionPatch): void;
  /** When the caller stops waiting, in milliseconds of Date.now(); undefined for a send, which nobody waits for. */
  readonly deadline: number | undefined;
}

/**
 * Answers a path: returns the reply, or is an async generator that yields parts and returns the reply. What it throws
 * is the answer too: a RopewalkError as it is, anything else as `internal`.
 */
export type Handler<In = any, Out = unknown, Part = any> =
  (input: In, ctx: Context<Part>) => Out | Promise<Out> | AsyncGenerator<Part, Out, void>;

/** A handler with what others may know about its path. */
export interface Route<In = any, Out = unknown, Part = any> {
  handler: Handler<In, Out, Part>;
  description?: string | undefined;
  /** JSON Schema of the input. The node checks each call against it; the handler gets only what fits. */
  in?: object | undefined;
  /** JSON Schema of the reply, for node:/schema: for readers. */
  out?: object | undefined;
  /** To run it twice does no harm, so that nodes may repeat a call whose server they lost. */
  idempotent?: boolean | undefined;
}

/** A route that can be watched; see {@link Service.watch}. */
export interface WatchRoute<P = any, T = unknown> extends FeedOptions {
  watch: WatchHandler<P, T>;
  /** Takes what is published to the route; undefined: the content is to be deleted. What it returns is the answer. */
  publish?: Handler | undefined;
  /** Answers a call of the route. */
  handler?: Handler | undefined;
}

/** What others may know about a service, and its limits. */
export interface ServeOptions {
  version?: string | undefined;
  description?: string | undefined;
  metadata?: Readonly<Record<string, unknown>> | undefined;
  /** How many calls may run at once; one more is answered with `overloaded`. Default 1,024. */
  concurrency?: number | undefined;
  /** How many topics, each with its parameters, may be watched at once; one more is `overloaded`. Default 10,000. */
  topics?: number | undefined;
}

/** What a service needs of the client. */
export interface Host {
  /** Sends something that means nothing on another connection; false if it is too large, which the node is told. */
  post(m: Message, line: Line): boolean;
  /** Resolves when the network keeps up. */
  room(): Promise<void> | undefined;
  /** Messages can be sent now. */
  open(): boolean;
  /** Sends a message and waits for its answer. */
  ask(m: Message): Promise<unknown>;
  /** Tells the application of an error that nobody waits for. */
  report(err: RopewalkError): void;
  /** The service is over. */
  stopped(s: Service): void;
}

/** A service that this client offers. It is offered again after each reconnect, until it is stopped. */
export class Service {
  readonly name: string;
  /** Resolves when all paths are served for the first time; rejects if the node refuses one. */
  readonly ready: Promise<void>;
  readonly #host: Host;
  readonly #routes = new Routes<Route | WatchRoute>();
  readonly #feeds: Feeds;
  readonly #about: ServeOptions;
  readonly #announcements: Announcement[] = [];
  readonly #concurrency: number;
  readonly #runs = new Map<string, { readonly line: Line; readonly abort: AbortController }>();
  readonly #barred = new Set<string>(); // what the node has taken back
  #lacking = false; // it has refused something
  #announcing = 0;
  #idle: (() => void)[] = [];
  #resolve!: () => void;
  #reject!: (err: unknown) => void;

  /** @internal */
  constructor(host: Host, name: string, handlers: Readonly<Record<string, Handler | Route | WatchRoute>>, options: ServeOptions) {
    this.name = name;
    this.#host = host;
    this.#concurrency = options.concurrency ?? 1024;
    this.#about = options;
    this.#feeds = new Feeds(host, options.topics ?? 10_000);
    for (const [pattern, h] of Object.entries(handlers)) this.#add(pattern, typeof h === "function" ? { handler: h } : h);
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ready.catch(() => {}); // reported as an event too
  }

  /**
   * Offers a route that can be watched. The handler is an async generator that yields the content, and each that it
   * becomes, or with `events` each event. It is run once for all who watch the same path with the same parameters, and
   * its signal aborts when nobody does any more. What it yields last stays the content when it ends; what it throws, and
   * each RopewalkError that it yields, is told in place of a content. A new watch gets the content at once.
   */
  watch<P = any, T = unknown>(pattern: string, handler: WatchHandler<P, T>, options: Omit<WatchRoute<P, T>, "watch"> = {}): this {
    const added = this.#add(pattern, { ...options, watch: handler });
    if (this.#host.open()) void this.announce([added]);
    return this;
  }

  #add(pattern: string, route: Route | WatchRoute): Announcement {
    const { version, description, metadata } = this.#about;
    this.#routes.add(pattern, route);
    const shape = route as Route;
    const added = {
      to: `${this.name}:${pattern}`,
      info: { version, description: route.description ?? description, in: shape.in, out: shape.out, metadata,
        idempotent: shape.idempotent, validate: shape.in ? true : undefined, topic: "watch" in route ? wireTopic(route) : undefined },
    };
    this.#announcements.push(added);
    return added;
  }

  /**
   * Takes the paths back, lets the calls that run finish, and resolves. What still runs after `timeout` milliseconds
   * (default 10,000) is answered with `shutting_down`.
   */
  async stop({ timeout = 10_000 }: { timeout?: number | undefined } = {}): Promise<void> {
    const announced = this.#announcements.splice(0); // it is not offered on later connections, either
    const asked = announced.map((a) => this.#host.ask({ verb: "unserve", to: a.to }));
    await Promise.allSettled(asked); // refused, or no connection: then they are not served either
    await this.drain(timeout);
    this.#host.stopped(this);
  }

  /** @internal Waits until no call runs, at most so many milliseconds. */
  async drain(timeout: number): Promise<void> {
    this.#feeds.end(new RopewalkError("shutting_down", "the service stops", { retryable: true }));
    if (!this.#runs.size) return;
    const timer = setTimeout(() => this.abort(new RopewalkError("shutting_down", "the service stops", { retryable: true })), timeout);
    await new Promise<void>((done) => this.#idle.push(done));
    clearTimeout(timer);
  }

  /** @internal Tells the node of all paths, on each new connection, or of some. */
  async announce(some = this.#announcements): Promise<void> {
    if (some === this.#announcements) this.#lacking = false;
    this.#announcing++;
    try {
      await Promise.all(some.filter((a) => !this.#barred.has(a.to)).map((a) => this.#host.ask({ verb: "serve", to: a.to, body: encodeBody(a.info) })));
      if (this.#announcing === 1) this.#resolve();
    } catch (err) {
      const { code } = err as RopewalkError;
      if (code === "connection_lost" || code === "shutting_down") return; // the next connection brings another try
      this.#lacking = true;
      this.#reject(err);
      if (code !== "canceled") this.#host.report(err as RopewalkError);
    } finally {
      this.#announcing--;
    }
  }

  /** @internal The node has taken a path back: it is not announced until the session changes. Says whether it is ours. */
  bar(to: string): boolean {
    const ours = this.#announcements.some((a) => a.to === to);
    if (ours) this.#barred.add(to);
    return ours;
  }

  /** @internal The session is another one: what was refused or taken back may be served now. */
  again(): void {
    if (!this.#barred.size && !this.#lacking) return;
    this.#barred.clear();
    void this.announce();
  }

  /** @internal Runs the handler of a request, if a route of ours fits. */
  handle(m: Decoded, address: Address, line: Line): boolean {
    const found = this.#routes.find(address.path);
    if (!found) return false;
    const { value: route, params } = found;
    const reads = m.verb === "get" || m.verb === "subscribe";
    const handler = m.verb === "publish" ? (route as WatchRoute).publish : route.handler;
    if (reads && "watch" in route) this.#feeds.read(m, line, address, route, params);
    else if (handler && !reads) void this.#run(m, line, address, handler, params);
    else if (m.verb === "send") return false;
    else this.#host.post({ verb: "error", rmid: m.mid, body: encodeBody(toWire(cannot(m))) }, line);
    return true;
  }

  /** @internal Ends one request. */
  cancel(id: string, line: Line): boolean {
    const run = this.#runs.get(keyOf("call", id, line));
    run?.abort.abort(new RopewalkError("canceled", "canceled by the caller", { remote: true }));
    return run !== undefined || this.#feeds.cancel(id, line);
  }

  /** @internal Ends all calls. */
  abort(err: RopewalkError): void {
    for (const run of this.#runs.values()) run.abort.abort(err);
  }

  /** @internal A connection is gone. */
  lost(err: RopewalkError, line: Line): void {
    for (const run of this.#runs.values()) if (run.line === line) run.abort.abort(err);
    this.#feeds.lost(line);
  }

  async #run(m: Decoded, line: Line, address: Address, handler: Handler, params: Record<string, string>): Promise<void> {
    const id = m.mid ?? "";
    let patch: SessionPatch | undefined;
    const answer = (verb: "part" | "reply" | "error", body: unknown): void => {
      if (m.verb === "send") return;
      const session = verb === "reply" && patch ? wirePatch(patch) : undefined;
      this.#host.post({ verb, rmid: id, body: encodeBody(body), session }, line);
    };
    if (this.#runs.size >= this.#concurrency) {
      return answer("error", toWire(new RopewalkError("overloaded", "the service has too many calls to answer", { retryable: true })));
    }
    const abort = new AbortController();
    const { signal } = abort;
    const key = keyOf(m.verb === "send" ? "send" : "call", id, line);
    this.#runs.set(key, { line, abort });
    line.hold();
    const timer = m.timeout === undefined ? undefined : setTimeout(
      () => abort.abort(new RopewalkError("deadline_exceeded", "the caller's time is over")), Math.min(m.timeout * 1000, 2 ** 31 - 1));
    const send = async (part: unknown): Promise<void> => {
      signal.throwIfAborted();
      answer("part", part);
      await this.#host.room();
    };
    try {
      const ctx: Context = {
        signal, send, params, from: m.from ?? "", to: m.to ?? "", headers: m.headers ?? {}, type: m.type ?? "",
        session: readSession(m.session), changeSession: (p) => { patch = mergePatch(patch ?? {}, p); },
        method: address.method, path: address.path, query: address.query,
        deadline: m.timeout === undefined ? undefined : Date.now() + m.timeout * 1000,
      };
      const body = await unlessAborted(signal, this.#result(m, handler, ctx));
      answer("reply", body);
    } catch (err) {
      this.#failed(err, signal, m, answer);
    } finally {
      clearTimeout(timer);
      this.#runs.delete(key);
      line.free();
      if (!this.#runs.size) for (const done of this.#idle.splice(0)) done();
    }
  }

  async #result(m: Decoded, handler: Handler, ctx: Context): Promise<unknown> {
    if (m.unreadable !== undefined) throw new RopewalkError("bad_message", "the body is not JSON", { cause: m.unreadable });
    const result = handler(m.body, ctx);
    return isGenerator(result) ? partsOf(result, ctx) : result;
  }

  #failed(err: unknown, signal: AbortSignal, m: Decoded, answer: (verb: "error", body: unknown) => void): void {
    if (signal.aborted && err === signal.reason) {
      // Of these the caller knows, or it cannot be reached.
      const { code } = fromAbort(err);
      if (code !== "canceled" && code !== "connection_lost") answer("error", toWire(err));
      return;
    }
    answer("error", toWire(err));
    if (!(err instanceof RopewalkError)) {
      this.#host.report(new RopewalkError("internal", `the handler of ${m.to} failed: ${String(err)}`, { cause: err, path: m.to }));
    }
  }
}

// Two connections may have calls of the same id.
function keyOf(verb: string, id: string, line: Line): string {
  return `${line.id} ${verb} ${id}`;
}

function isGenerator(v: unknown): v is AsyncGenerator<unknown, unknown, void> {
  return typeof (v as AsyncGenerator | undefined)?.next === "function" && Symbol.asyncIterator in (v as object);
}

async function partsOf(parts: AsyncGenerator<unknown, unknown, void>, ctx: Context): Promise<unknown> {
  try {
    for (;;) {
      const { done, value } = await parts.next();
      if (done) return value;
      await ctx.send(value);
    }
  } catch (err) {
    if (ctx.signal.aborted) void parts.return(undefined).catch(() => {});
    throw err;
  }
}

interface Announcement {
  readonly to: string;
  readonly info: object;
}

function wireTopic({ events, slow, history, presence, publisher, personal }: FeedOptions): object {
  const age = history?.age === undefined ? undefined : `${Math.round(history.age)}ms`;
  return { events, slow, history: history && { ...history, age }, presence, publisher, personal };
}

function cannot(m: Decoded): RopewalkError {
  const what: Record<string, string> = { get: "watched", subscribe: "watched", publish: "published to" };
  return new RopewalkError("unimplemented", `${m.to} cannot be ${what[m.verb] ?? "called"}`, { path: m.to });
}

/** Stops waiting when the signal aborts: a handler that does not look at it must not hold the answer up. */
function unlessAborted<T>(signal: AbortSignal, result: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    result.then(resolve, reject);
  });
}

/** The services of a client. */
export class Services {
  readonly all = new Set<Service>();

  /** Gives a call to the service that has a handler for it. */
  call(m: Decoded, line: Line, host: Host): void {
    if (this.send(m, line)) return;
    const error = new RopewalkError("not_found", `nothing is served at ${m.to}`, { path: m.to });
    host.post({ verb: "error", rmid: m.mid, body: encodeBody(toWire(error)) }, line);
  }

  /** Gives a send to a service; false if none has a handler for it. */
  send(m: Decoded, line: Line): boolean {
    const address = parseAddress(m.to ?? "");
    for (const s of this.all) if (s.name === address.name && s.handle(m, address, line)) return true;
    return false;
  }

  cancel(id: string, line: Line): void {
    for (const s of this.all) if (s.cancel(id, line)) return;
  }
}

