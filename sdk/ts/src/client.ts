import { closeError } from "./close.js";
import { Emitter } from "./emitter.js";
import type { Events, Incoming, NodeInfo } from "./events.js";
import { fromAbort, fromWire, RopewalkError } from "./error.js";
import { answer, gathered, type Gathered, type WireAnswer } from "./gather.js";
import { watchHints } from "./hints.js";
import { Identity, type Session, type SessionEvent } from "./identity.js";
import type { Line } from "./line.js";
import { Link, type LinkOwner, type State, type Welcome } from "./link.js";
import type { Decoded } from "./message.js";
import { Messenger } from "./messenger.js";
import type { CallOptions, ConnectOptions, GatherOptions, MessageOptions, SendOptions, StreamOptions } from "./options.js";
import type { Pending } from "./pending.js";
import { Service, Services, type Handler, type Host, type Route, type ServeOptions, type WatchRoute } from "./serve.js";
import { RopeStream } from "./stream.js";
import { Topics } from "./topics.js";
import type { WebSocketLike } from "./transport.js";
import type { GetOptions, PublishOptions, Update, Watch, WatchOptions } from "./watch.js";

/** A client of a Ropewalk node; {@link connect} makes one. All its methods may be called at any time, in any state. */
export class Rope extends Emitter<Events> {
  readonly #link: Link;
  readonly #messenger: Messenger;
  readonly #timeout: number;
  readonly #services = new Services();
  readonly #identity: Identity;
  readonly #unwatch: () => void;
  readonly #running: Promise<void>;
  readonly #host: Host;
  /** @internal */
  readonly topics: Topics;
  #welcome: Welcome | undefined;
  #closing = false;
  #final: RopewalkError | undefined;

  /** @internal */
  constructor(urls: readonly URL[], home: boolean, options: ConnectOptions) {
    super();
    const framing = options.framing ?? "split";
    const connectTimeout = options.connectTimeout ?? 10_000;
    this.#timeout = options.timeout ?? 30_000; // the node's own default
    this.#messenger = new Messenger({ framing, queue: options.queue ?? 1024, timeout: this.#timeout }, {
      line: () => this.#link.line,
      open: () => this.#link.open,
      check: (o) => this.#check(o),
    });
    this.#host = {
      open: () => this.#link.open,
      post: (m, line) => this.#messenger.post(m, line),
      room: () => this.#messenger.outbox.room(),
      ask: (m) => this.#messenger.ask(m).done,
      report: (err) => this.#report(err),
      stopped: (s) => this.#services.all.delete(s),
    };
    this.#identity = new Identity({
      token: options.token, cookie: options.cookie ?? false, refresh: options.refresh ?? true, store: options.store ?? "none",
      host: urls[0]!.host, backoff: options.backoff ?? {},
    }, {
      call: (m, take) => this.#messenger.about(m, take),
      ask: (m, line) => this.#messenger.greet(m, line, connectTimeout),
      line: () => this.#link.line,
      tell: (e) => void this.emit("session", e),
      changed: () => {
        for (const s of this.#services.all) if (this.#link.open) s.again();
        this.topics.again();
      },
    });
    this.topics = new Topics({
      backoff: options.backoff ?? {},
      line: () => (this.#link.open ? this.#link.line : undefined),
      ask: (m, line, take) => this.#messenger.ask(m, line, take),
      post: (m, line) => this.#messenger.post(m, line),
      report: (err) => this.#report(err),
    });
    this.#link = new Link({
      urls,
      home,
      follow: options.follow ?? true,
      framing,
      WebSocket: options.WebSocket ?? (globalThis as { WebSocket?: WebSocketLike }).WebSocket,
      fetch: options.fetch ?? globalThis.fetch,
      transports: options.transports ?? ["websocket", "stream", "poll"],
      backoff: options.backoff ?? {},
      connectTimeout,
      silence: options.silence ?? 60_000,
    }, this.#owner());
    this.#unwatch = watchHints(() => this.#link.hint());
    this.#running = this.#link.run();
  }

  /** The id that the node gave this client; "" before the first connection. A reconnect brings a new one. */
  get id(): string {
    return this.#welcome?.id ?? "";
  }

  /** The address at which others send to this client; "" before the first connection. */
  get address(): string {
    return this.id && `${this.id}@client:/`;
  }

  /** What the connection is doing. */
  get state(): State {
    return this.#link.state;
  }

  /** When the next try to connect is, in milliseconds of Date.now(); undefined unless the state is `waiting`. */
  get retryAt(): number | undefined {
    return this.state === "waiting" ? this.#link.retryAt : undefined;
  }

  /** The node that this client is or was connected to. */
  get node(): NodeInfo {
    return { id: this.#welcome?.node?.id ?? "", name: this.#welcome?.node?.name ?? "" };
  }

  /** The transport of the present or last connection. */
  get transport(): "websocket" | "stream" | "poll" | undefined {
    return this.#link.kind;
  }

  /** Who the client is; undefined: nobody. While there is no connection it is what it was on the last. */
  get session(): Session | undefined {
    return this.#identity.session;
  }

  /** Opens the session on another connection, so it is as secret as a password; "" if the client knows none. */
  get token(): string {
    return this.#identity.token;
  }

  /** Has `fn` called at each change of the session; returns what ends that. */
  onSession(fn: (event: SessionEvent) => void): () => void {
    return this.on("session", fn);
  }

  /**
   * Has the client be who a token says, on this connection and later ones. If the node refuses it, with
   * `unauthenticated`, nothing changes.
   */
  openSession(token: string): Promise<Session | undefined> {
    return this.#identity.open(token);
  }

  /** Has the session last longer, as long as the node allows. */
  refreshSession(): Promise<Session | undefined> {
    return this.#identity.refresh();
  }

  /**
   * Logs out; with `everywhere` all sessions of the same subject end, on all nodes. The client is nobody from then on,
   * also if the option token is a function, until it is logged in again.
   */
  closeSession({ everywhere = false }: { everywhere?: boolean | undefined } = {}): Promise<void> {
    return this.#identity.close(everywhere);
  }

  /** Resolves when there is a connection; rejects when there will be none. Nothing needs to wait for it. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.state === "connected") resolve();
        else if (this.state !== "closed" && this.state !== "closing") return;
        else queueMicrotask(() => reject(this.#closedError())); // the reason is told right after the state
        off();
      };
      const off = this.on("state", look);
      look();
    });
  }

  /** Calls a path and resolves with the body of the reply. */
  async call<Out = unknown>(address: string, body?: unknown, options: CallOptions = {}): Promise<Out> {
    const call = this.#call(address, body, options);
    call.onPart = options.onPart;
    this.#messenger.begin(call, options);
    return (await call.done).body as Out;
  }

  /** Calls a path and reads its parts one by one. What is wrong with the call the loop and the reply tell. */
  stream<Part = unknown, Out = unknown>(address: string, body?: unknown, options: StreamOptions = {}): RopeStream<Part, Out> {
    const call = this.#call(address, body, options);
    const stream = new RopeStream<Part, Out>(call, options.buffer ?? 1024);
    this.#messenger.begin(call, options);
    return stream;
  }

  /**
   * Calls every server of an address, which may have wildcards, and resolves with all their answers. When its time is
   * over it resolves with those that there are.
   */
  async gather<Out = unknown>(address: string, body?: unknown, options: GatherOptions<Out> = {}): Promise<Gathered<Out>> {
    const { strategy, quorum, first, onAnswer, ...rest } = options;
    const parts = onAnswer && true;
    const onPart = onAnswer && ((part: unknown) => onAnswer(answer<Out>(part as WireAnswer)));
    const all = { by: strategy ?? "all", quorum, first, parts };
    return gathered<Out>(await this.call(address, body, { ...rest, strategy: all, onPart }));
  }

  /** Sends a message. Resolves when it is sent, or with `ack` when the node has handed it over. */
  async send(address: string, body?: unknown, options: SendOptions = {}): Promise<void> {
    const { ack } = options;
    const timeout = options.timeout ?? (ack ? this.#timeout : undefined);
    const pending = this.#messenger.pending("send", address, body, { ...options, timeout }, { ack: ack || undefined });
    this.#messenger.begin(pending, options);
    await pending.done;
  }

  /** Has `fn` called with each message that somebody sends to this client; returns what ends that. */
  onMessage<T = unknown>(fn: (message: Incoming<T>) => void): () => void {
    return this.on("message", fn as (message: Incoming) => void);
  }

  /**
   * Watches a topic: `callback` is called with the content as it is, and with each that it becomes, or with each event.
   * Without a callback the watch is read by a loop. All watches of one topic share one subscription, and a new one gets
   * the last content at once. After a reconnect, at whatever node, it goes on where it was; of an event topic the watch
   * is told if something is lost. `onError` is the same as in the options.
   *
   * Addresses that begin with `app:` are topics of this client alone. Publishing `app:form#name` also sets the member
   * `name` of `app:form`, without telling those who watch that.
   */
  watch<T = unknown>(
    address: string, options: WatchOptions = {}, callback?: (update: Update<T>) => void, onError = options.onError,
  ): Watch<T> {
    this.#check(options);
    if (typeof options === "function") throw new TypeError("watch: options come second");
    return this.topics.watch(address, { ...options, onError }, callback);
  }

  /** The newest content that a watch has brought, without asking the node; undefined if there is none. */
  peek<T = unknown>(address: string, options: Pick<WatchOptions, "params"> = {}): Update<T> | undefined {
    return this.topics.peek(address, options.params) as Update<T> | undefined;
  }

  /** Gets the content of a topic as it is now. It is asked again if the connection drops before the answer. */
  async get<T = unknown>(address: string, options: GetOptions = {}): Promise<T> {
    if (address.startsWith("app:")) {
      const known = this.peek<T>(address);
      if (known) return known.content;
      throw new RopewalkError("not_found", `there is no ${address}`, { path: address });
    }
    const { params, ...rest } = options;
    const p = this.#messenger.pending("get", address, params && { params }, this.#timed({ idempotent: true, ...rest }));
    this.#messenger.begin(p, options);
    const m = await p.done;
    if (m.fault) throw fromWire(m.body);
    return m.body as T;
  }

  /**
   * Makes `body` the content of a topic, or publishes it as an event; undefined deletes the content. It resolves when
   * that is done, with what the topic has to say to it: of a query, how many rows it has changed. It waits for a
   * connection as long as it takes, as sends do; the time-out counts from when it was sent.
   */
  async publish<Out = unknown>(address: string, body: unknown, options: PublishOptions = {}): Promise<Out> {
    if (address.startsWith("app:")) return this.topics.set(address, body) as Out;
    const p = this.#messenger.pending("publish", address, body, { ...this.#timed(options), patient: options.timeout === undefined });
    this.#messenger.begin(p, options);
    if (options.optimistic) this.topics.overlay(address, body, p.done);
    return (await p.done).body as Out;
  }

  /** Offers a service: from now on its handlers answer for their patterns, also after a reconnect. */
  serve(name: string, handlers: Readonly<Record<string, Handler | Route | WatchRoute>>, options: ServeOptions = {}): Service {
    this.#check({});
    const service = new Service(this.#host, name, handlers, options);
    this.#services.all.add(service);
    if (this.#link.open) void service.announce();
    return service;
  }

  /** Drops the connection, if there is one, and connects again at once. */
  reconnect(): void {
    this.#link.restart("asked for");
  }

  /**
   * Ends the connection for good: services finish what they run, messages that wait are sent, both for at most
   * `timeout` milliseconds (default 5,000) and only if there is a connection. Calls that wait for an answer are
   * canceled. It resolves when everything is over.
   */
  async close({ timeout = 5_000 }: { timeout?: number | undefined } = {}): Promise<void> {
    if (this.#closing || this.state === "closed") return this.#running;
    this.#closing = true;
    const until = Date.now() + timeout;
    this.#link.closing();
    this.#messenger.cancel(new RopewalkError("canceled", "the client was closed"));
    const services = [...this.#services.all];
    if (services.length) this.#messenger.post({ verb: "drain" });
    await Promise.all(services.map((s) => s.drain(timeout)));
    const { outbox } = this.#messenger;
    const timer = setTimeout(() => this.#link.close(0), until - Date.now()); // it also ends the wait for room
    while (outbox.length && Date.now() < until) {
      const room = outbox.room();
      if (!room) break; // there is no connection, or none for new messages
      await room;
    }
    clearTimeout(timer);
    this.#link.close(Math.max(until - Date.now(), 0));
    await this.#running;
  }

  #owner(): LinkOwner {
    return {
      greet: (line) => this.#identity.greet(line),
      state: (state) => void this.emit("state", state),
      up: (welcome) => this.#up(welcome),
      farewell: (line) => this.#farewell(line),
      gone: (line, err) => this.#gone(line, err),
      down: (err, final) => this.#down(err, final),
      message: (line, m) => this.#incoming(line, m),
      badFrame: (cause) => this.#report(new RopewalkError("bad_frame", "a frame from the node cannot be read", { cause })),
      probe: (line) => void this.#messenger.ask({ verb: "call", to: "node:/info", timeout: 10 }, line).done.catch(() => {}),
    };
  }

  #call(address: string, body: unknown, options: CallOptions | StreamOptions): Pending {
    const { strategy, idempotent } = options;
    return this.#messenger.pending("call", address, body, this.#timed(options), {
      strategy: idempotent ? { ...(typeof strategy === "string" ? { by: strategy } : strategy), idempotent } : strategy,
    });
  }

  #timed<T extends MessageOptions>(options: T): T {
    return { ...options, timeout: options.timeout ?? this.#timeout };
  }

  #check({ signal, online }: MessageOptions): void {
    if (signal?.aborted) throw fromAbort(signal.reason);
    if (this.state === "closing" || this.state === "closed") throw this.#closedError();
    if (online && !this.#link.open) {
      throw new RopewalkError("not_ready", "there is no connection to the node", { retryable: true });
    }
  }

  #closedError(): RopewalkError {
    return this.#final ?? new RopewalkError("not_ready", "the client was closed", { hint: "Make a new one with connect." });
  }

  #up(welcome: Welcome): Promise<unknown> {
    const { id } = this.node;
    this.#welcome = welcome;
    this.#messenger.limit = welcome.limits?.frame ?? Infinity;
    const { greeted } = this.#link.line!;
    if (greeted) greeted();
    else this.#identity.unknown();
    const announced = Promise.all([...this.#services.all].map((s) => s.announce())); // first: others may wait for these paths
    this.topics.up();
    this.#messenger.outbox.flush();
    if (this.node.id !== id) this.emit("node", this.node);
    return announced;
  }

  async #farewell(line: Line): Promise<void> {
    const [first] = this.#services.all;
    if (!first) return;
    this.#messenger.post({ verb: "drain" }, line);
    await this.#messenger.ask({ verb: "unserve", to: `${first.name}:/**` }, line).done.catch(() => {});
    await new Promise((done) => setTimeout(done, linger));
  }

  #gone(line: Line, err: RopewalkError): void {
    for (const s of this.#services.all) s.lost(closeError(1006, err.message), line);
    this.topics.lost(line);
    this.#messenger.lost(line, err);
  }

  #down(err: RopewalkError, final: boolean): void {
    if (!final) return this.#report(err);
    this.#unwatch();
    this.#identity.end();
    const asked = this.#closing;
    this.#final = asked ? undefined : err;
    this.#messenger.outbox.fail(this.#closedError());
    this.topics.end(this.#final);
    if (!asked) this.#report(err);
  }

  #incoming(line: Line, m: Decoded): void {
    switch (m.verb) {
      case "part":
      case "reply":
        return void this.#messenger.answer(line, m);
      case "error":
        return this.#failed(line, m);
      case "call":
      case "get":
      case "subscribe":
      case "publish":
        return this.#services.call(m, line, this.#host);
      case "cancel":
        return this.#services.cancel(m.rmid ?? "", line);
      case "send":
        return this.#received(line, m);
      case "update":
      case "gap":
      case "unsubscribe":
        return this.topics.take(line, m);
      case "drain":
        return this.#link.drain(line);
      case "nodes":
        return this.#link.learn(line, (m.body as Welcome | undefined)?.nodes);
      case "session":
        return this.#identity.told(m.body, line);
      case "unserve":
        return this.#unserved(line, m);
      default: // a verb of a later version
    }
  }

  #failed(line: Line, m: Decoded): void {
    const err = fromWire(m.body);
    if (err.code === "shutting_down" && m.from === `${line.node}@node:/` && this.#messenger.refused(line, m)) {
      this.#link.drain(line); // it has begun to drain, and its word of that is on the way
      return this.#messenger.outbox.flush();
    }
    if (this.#messenger.answer(line, m)) return;
    // Of a send that wanted no answer, or of nothing in particular; but not what a call that we gave up gets.
    if (err.code !== "canceled" && err.code !== "deadline_exceeded") this.#report(err);
  }

  #unserved(line: Line, m: Decoded): void {
    if (line !== this.#link.line) return; // it is served elsewhere by now
    for (const s of this.#services.all) {
      if (!s.bar(m.to ?? "")) continue;
      const { code, message: why, hint } = fromWire(m.body);
      this.#report(new RopewalkError(code, `the node does not let this client serve ${m.to} any more: ${why}`, { hint, path: m.to, remote: true }));
    }
  }

  #received(line: Line, m: Decoded): void {
    if (this.#services.send(m, line)) return;
    if (m.unreadable !== undefined) {
      return this.#report(new RopewalkError("bad_message", `the body of a message from ${m.from} cannot be read`, { cause: m.unreadable }));
    }
    this.emit("message", {
      body: m.body, from: m.from ?? "", to: m.to ?? "", mid: m.mid ?? "", type: m.type ?? "", headers: m.headers ?? {},
    });
  }

  #report(err: RopewalkError): void {
    if (!this.emit("error", err)) console.error(err);
  }
}

/**
 * How long a connection is kept after the node has taken note that nothing is served there any more: calls that it had
 * just chosen this client for may come a moment after that.
 */
const linger = 250;

/**
 * Connects to a node. It returns at once and connects in the background; calls and messages wait for the connection.
 * The URL begins with ws, wss, http or https; in a browser it may be relative, and without one the page's own host
 * is meant. Of several, for nodes of one mesh, the first that answers is taken.
 */
export function connect(url: string | URL | readonly (string | URL)[] = "/", options: ConnectOptions = {}): Rope {
  const { location } = globalThis as { location?: Location };
  if (url.constructor === Object) throw new TypeError("connect: options come second");
  const urls = [url].flat().map((u) => new URL(u as string, location?.href));
  if (!urls.length) throw new TypeError("connect: there is no URL");
  return new Rope(urls, urls[0]!.host === location?.host, options);
}
