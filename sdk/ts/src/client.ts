import { closeError } from "./close.js";
import { Emitter } from "./emitter.js";
import { fromAbort, fromWire, RopewalkError, toWire } from "./error.js";
import { answer, gathered, type Gathered, type WireAnswer } from "./gather.js";
import { watchHints } from "./hints.js";
import { Identity, type Session, type SessionEvent } from "./identity.js";
import type { Line } from "./line.js";
import { Link, type LinkOwner, type State, type Welcome } from "./link.js";
import { encode, encodeBody, type Decoded, type Framing, type Message } from "./message.js";
import type { CallOptions, ConnectOptions, GatherOptions, MessageOptions, SendOptions, StreamOptions } from "./options.js";
import { Outbox, type Outgoing } from "./outbox.js";
import { Pending, type Desk } from "./pending.js";
import { Service, Services, type Handler, type Host, type Route, type ServeOptions } from "./serve.js";
import { RopeStream } from "./stream.js";
import type { WebSocketLike } from "./transport.js";

/** A message that somebody sent to this client. */
export interface Incoming<T = unknown> {
  readonly body: T;
  /** The address of the sender; an answer can be sent there. */
  readonly from: string;
  readonly to: string;
  /** The sender's id of the message. */
  readonly mid: string;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A node, as the client knows it. */
export interface NodeInfo {
  readonly id: string;
  readonly name: string;
}

/** The events of a client. */
export interface Events {
  /** The state changed. */
  state: State;
  /** There is a connection to another node than before, or to the first; then the client has another id too. */
  node: NodeInfo;
  /** Somebody sent this client a message. */
  message: Incoming;
  /** Something became of the client's session. */
  session: SessionEvent;
  /**
   * Something failed that no promise tells: the connection, a service that the node refused, a handler with a bug.
   * Without a listener it goes to the console.
   */
  error: RopewalkError;
}

/** A client of a Ropewalk node; {@link connect} makes one. All its methods may be called at any time, in any state. */
export class Rope extends Emitter<Events> {
  readonly #link: Link;
  readonly #outbox: Outbox;
  readonly #options: ConnectOptions;
  readonly #framing: Framing;
  readonly #calls = new Map<string, Pending>();
  readonly #services = new Services();
  readonly #identity: Identity;
  // Keeps the ids of two clients apart in logs; they need to be unique only among the messages of one client. No
  // crypto.randomUUID: pages that came by plain HTTP do not have it.
  readonly #prefix = Math.random().toString(36).slice(2, 10);
  readonly #unwatch: () => void;
  readonly #running: Promise<void>;
  readonly #desk: Desk;
  readonly #host: Host;
  #count = 0;
  #welcome: Welcome | undefined;
  #closing = false;
  #final: RopewalkError | undefined;

  /** @internal */
  constructor(urls: readonly URL[], home: boolean, options: ConnectOptions) {
    super();
    this.#options = options;
    this.#framing = options.framing ?? "split";
    this.#outbox = new Outbox(options.queue ?? 1024, {
      write: (o) => this.#link.open && this.#write(o),
      buffered: () => this.#link.line?.buffered() ?? 0,
    });
    this.#desk = { over: (p, line) => this.#over(p, line) };
    this.#host = {
      post: (m, line) => this.#post(m, line),
      room: () => this.#outbox.room(),
      ask: (m) => this.#ask(m),
      report: (err) => this.#report(err),
      stopped: (s) => this.#services.all.delete(s),
    };
    this.#identity = new Identity({
      token: options.token, cookie: options.cookie ?? false, refresh: options.refresh ?? true, store: options.store ?? "none",
      host: urls[0]!.host, backoff: options.backoff ?? {},
    }, {
      call: (m, take) => this.#about(m, take),
      ask: (m, line) => this.#greet(m, line),
      line: () => this.#link.line,
      tell: (e) => void this.emit("session", e),
      changed: () => {
        for (const s of this.#services.all) if (this.#link.open) s.again();
      },
    });
    this.#link = new Link({
      urls,
      home,
      follow: options.follow ?? true,
      framing: this.#framing,
      WebSocket: options.WebSocket ?? (globalThis as { WebSocket?: WebSocketLike }).WebSocket,
      fetch: options.fetch ?? globalThis.fetch,
      transports: options.transports ?? ["websocket", "stream", "poll"],
      backoff: options.backoff ?? {},
      connectTimeout: options.connectTimeout ?? 10_000,
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
    this.#begin(call, options);
    return (await call.done).body as Out;
  }

  /** Calls a path and reads its parts one by one. What is wrong with the call the loop and the reply tell. */
  stream<Part = unknown, Out = unknown>(address: string, body?: unknown, options: StreamOptions = {}): RopeStream<Part, Out> {
    const call = this.#call(address, body, options);
    const stream = new RopeStream<Part, Out>(call, options.buffer ?? 1024);
    this.#begin(call, options);
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
    const timeout = options.timeout ?? (ack ? this.#options.timeout ?? defaultTimeout : undefined);
    const message = { ...this.#message("send", address, body, options), ack: ack || undefined };
    const pending = new Pending(this.#desk, message, this.#count, { ...options, timeout });
    this.#begin(pending, options);
    await pending.done;
  }

  /** Has `fn` called with each message that somebody sends to this client; returns what ends that. */
  onMessage<T = unknown>(fn: (message: Incoming<T>) => void): () => void {
    return this.on("message", fn as (message: Incoming) => void);
  }

  /** Offers a service: from now on its handlers answer for their patterns, also after a reconnect. */
  serve(name: string, handlers: Readonly<Record<string, Handler | Route>>, options: ServeOptions = {}): Service {
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
    for (const p of [...this.#calls.values()]) if (p.wantsAnswer) p.cancel(new RopewalkError("canceled", "the client was closed"));
    const services = [...this.#services.all];
    if (services.length) this.#post({ verb: "drain" });
    await Promise.all(services.map((s) => s.drain(timeout)));
    while (this.#outbox.length && Date.now() < until) {
      const room = this.#outbox.room();
      if (!room) break; // there is no connection, or none for new messages
      await room;
    }
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
      probe: (line) => void this.#ask({ verb: "call", to: "node:/info", timeout: 10 }, line).catch(() => {}),
    };
  }

  #call(address: string, body: unknown, options: CallOptions | StreamOptions): Pending {
    const { strategy, idempotent } = options;
    const message = {
      ...this.#message("call", address, body, options),
      strategy: idempotent ? { ...(typeof strategy === "string" ? { by: strategy } : strategy), idempotent } : strategy,
    };
    return new Pending(this.#desk, message, this.#count, { ...options, timeout: options.timeout ?? this.#options.timeout ?? defaultTimeout });
  }

  #message(verb: "call" | "send", to: string, body: unknown, o: MessageOptions): Message {
    return { verb, to, mid: this.#mid(), headers: o.headers, type: o.type, token: o.authorization, body: encodeBody(body) };
  }

  #mid(): string {
    return `${this.#prefix}-${(++this.#count).toString(36)}`;
  }

  #begin(p: Pending, options: MessageOptions): void {
    try {
      this.#check(options);
      this.#calls.set(p.message.mid!, p);
      this.#outbox.push(p);
    } catch (err) {
      p.fail(err);
    }
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

  /** Calls the node about the session. That does no harm twice. */
  async #about(m: Message, take: (m: Decoded, line: Line) => void): Promise<void> {
    const options = { timeout: this.#options.timeout ?? defaultTimeout, idempotent: true };
    const p = new Pending(this.#desk, { ...m, mid: this.#mid() }, this.#count, options);
    p.onReply = take;
    this.#begin(p, options);
    await p.done;
  }

  /** Calls the node by a connection that is not in use yet. */
  async #greet(m: Message, line: Line): Promise<Decoded> {
    const mid = this.#mid();
    const timeout = (this.#options.connectTimeout ?? 10_000) / 1000;
    const got = await line.ask(encode({ ...m, mid, timeout }, this.#framing), mid);
    return got.verb === "error" ? { verb: "error", body: fromWire(got.body) } : got;
  }

  /** Sends a message that means something on this connection only, and waits for its answer. */
  async #ask(m: Message, line?: Line): Promise<unknown> {
    const p = new Pending(this.#desk, { ...m, mid: this.#mid() }, 0, { timeout: defaultTimeout });
    this.#calls.set(p.message.mid!, p);
    if (!this.#write(p, line)) p.fail(closeError(1006, "no connection"));
    return (await p.done).body;
  }

  /** Sends a message that means something on this connection only. Its body was made by a handler, so it may be too large. */
  #post(m: Message, line?: Line): void {
    this.#write({
      message: m,
      order: 0,
      ready: () => {},
      sent: () => {},
      fail: (err) => {
        if (m.verb !== "error") this.#post({ verb: "error", rmid: m.rmid, body: encodeBody(toWire(err)) }, line);
      },
    }, line);
  }

  #write(o: Outgoing, line = this.#link.line): boolean {
    if (!line?.open) return false;
    o.ready();
    const frame = encode(o.message, this.#framing);
    const limit = this.#welcome?.limits?.frame ?? Infinity;
    // The length of a text is a lower bound of its bytes; the node has the last word.
    if (frame.length > limit) {
      o.fail(new RopewalkError("too_large", `the message has ${frame.length} bytes, and the node takes ${limit}`,
        { hint: "Send less at once, or raise the frame limit of the node.", path: o.message.to }));
      return true;
    }
    line.send(frame);
    o.sent(line);
    return true;
  }

  #over(p: Pending, line: Line | undefined): void {
    this.#calls.delete(p.message.mid!);
    this.#outbox.remove(p);
    if (line) this.#post({ verb: "cancel", rmid: p.message.mid }, line);
  }

  #up(welcome: Welcome): Promise<unknown> {
    const { id } = this.node;
    this.#welcome = welcome;
    const { greeted } = this.#link.line!;
    if (greeted) greeted();
    else this.#identity.unknown();
    const announced = Promise.all([...this.#services.all].map((s) => s.announce())); // first: others may wait for these paths
    this.#outbox.flush();
    if (this.node.id !== id) this.emit("node", this.node);
    return announced;
  }

  async #farewell(line: Line): Promise<void> {
    const [first] = this.#services.all;
    if (!first) return;
    this.#post({ verb: "drain" }, line);
    await this.#ask({ verb: "unserve", to: `${first.name}:/**` }, line).catch(() => {});
    await new Promise((done) => setTimeout(done, linger));
  }

  #gone(line: Line, err: RopewalkError): void {
    for (const s of this.#services.all) s.abort(closeError(1006, err.message), line);
    this.#outbox.again([...this.#calls.values()].filter((p) => p.lost(line, err)));
    this.#outbox.flush(); // also lets go who waits for room
  }

  #down(err: RopewalkError, final: boolean): void {
    if (!final) return this.#report(err);
    this.#unwatch();
    this.#identity.end();
    const asked = this.#closing;
    this.#final = asked ? undefined : err;
    this.#outbox.fail(this.#closedError());
    if (!asked) this.#report(err);
  }

  #incoming(line: Line, m: Decoded): void {
    switch (m.verb) {
      case "part":
      case "reply":
        return this.#calls.get(m.rmid ?? "")?.answer(line, m);
      case "error":
        return this.#failed(line, m);
      case "call":
        return this.#services.call(m, line, this.#host);
      case "cancel":
        return this.#services.cancel(m.rmid ?? "", line);
      case "send":
        return this.#received(line, m);
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
    const call = this.#calls.get(m.rmid ?? "");
    const err = fromWire(m.body);
    if (err.code === "shutting_down" && m.from === `${line.node}@node:/` && call?.refused(line)) {
      this.#link.drain(line); // it has begun to drain, and its word of that is on the way
      this.#outbox.again([call]);
      return this.#outbox.flush();
    }
    if (call) return call.answer(line, m);
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
    if (m.fault !== undefined) {
      return this.#report(new RopewalkError("bad_message", `the body of a message from ${m.from} cannot be read`, { cause: m.fault }));
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
/** The node's own default. */
const defaultTimeout = 30_000;

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
