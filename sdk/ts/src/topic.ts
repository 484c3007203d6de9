import { wait, type Backoff } from "./close.js";
import { apply, isChange, same } from "./delta.js";
import { fromWire, RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Bytes, Decoded, Message } from "./message.js";
import type { Gap, Publisher, Update, Watch, Watched } from "./watch.js";

/** What topics need of the client. */
export interface TopicClient {
  readonly backoff: Backoff;
  /** The connection for new messages. */
  line(): Line | undefined;
  /** Sends a message of this connection; `take` gets the reply before anything that comes after it. */
  ask(m: Message, line: Line, take: (m: Decoded) => void): { readonly message: Message; readonly done: Promise<unknown> };
  post(m: Message, line: Line): void;
  report(err: RopewalkError): void;
}

/** What a topic needs of all topics. */
export interface TopicHost {
  readonly client: TopicClient;
  /** Does something after this; in the order in which it was told so. */
  later(fn: () => void): void;
  /** Has the topic asked for, when there is a connection and its turn has come. */
  want(t: Topic): void;
  /** Updates of this name, on this connection, are for the topic. */
  name(t: Topic, line: Line, name: string): void;
  /** And not any more. */
  unname(line: Line, name: string): void;
  /** Nobody watches it. */
  drop(t: Topic): void;
}

// To ask again for these changes nothing, until the session or the connection is another one.
const definite = new Set([
  "bad_address", "bad_message", "unknown_verb", "invalid_input", "unauthenticated", "forbidden", "revoked", "too_large", "unimplemented",
]);
// How long what was published, and accepted, is shown if no update brings what became of it. In milliseconds.
const settleTime = 1_000;

interface Overlay {
  readonly content: unknown;
  /** The node has had it, or one after it, as the content. */
  seen: boolean;
  /** The node has accepted it. */
  accepted: boolean;
}

const pending = (o: Overlay): boolean => !o.accepted;

/**
 * A topic that is watched, by one watch or several:
 *
 *     wanted ──► asked ──► live ──► (connection lost, or ended by the node) ──► wanted …
 *                  └─ refused ─► parked, or wanted again after a while
 *
 * What comes by another connection than the one that it was asked for on last does not count.
 */
export class Topic implements Watched {
  /** By which the host knows it. */
  readonly key: string;
  readonly address: string;
  /** It is this client's own, and never asked for. */
  readonly local: boolean;
  readonly #params: unknown;
  readonly #delta: readonly string[] | undefined;
  readonly #host: TopicHost;
  readonly #watches = new Set<Watch>();
  events = false;
  live = false;
  #line: Line | undefined;
  #name: string | undefined; // what the node calls it on that connection
  #asked: { readonly mid: string; taken: boolean } | undefined; // taken: its refusal is not one of what is wanted now
  #position: { epoch: string; offset: number } | undefined;
  #now: Update | undefined; // as the node has it
  #based = false; // changes apply to that
  #fault: RopewalkError | undefined; // in place of it
  #refusal: RopewalkError | undefined;
  #parked = false;
  #attempt = 0;
  #overlays: Overlay[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #release: ReturnType<typeof setTimeout> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(key: string, address: string, params: unknown, delta: readonly string[] | undefined, host: TopicHost) {
    this.key = key;
    this.address = address;
    this.live = this.local = address.startsWith("app:");
    this.#params = params;
    this.#delta = delta;
    this.#host = host;
  }

  /** Adds a watch. It is told of what there is, and then of all that comes. */
  join(w: Watch): void {
    clearTimeout(this.#release);
    this.#watches.add(w);
    const u = this.shown();
    const wrong = this.#refusal ?? (this.#overlays.length ? undefined : this.#fault);
    if (wrong) this.#host.later(() => w.fail(wrong, wrong === this.#refusal));
    else if (u && !this.events) this.#host.later(() => w.update(u));
    if (!this.live) {
      if (!this.#asked && !this.#parked) this.#host.want(this);
    } else if (!this.events) w.armed();
    else if (w.history) this.#host.want(this);
    else this.#arm(w, this.#position!);
  }

  leave(w: Watch): void {
    if (!this.#watches.delete(w) || this.#watches.size) return;
    if (w.linger) this.#release = setTimeout(() => this.#leave(), w.linger);
    else this.#leave();
  }

  report(err: RopewalkError): void {
    this.#host.client.report(err);
  }

  shown(): Update | undefined {
    const top = this.#overlays.at(-1);
    return top ? this.#update(top.content, this.#now, true) : this.#fault ? undefined : this.#now;
  }

  /** Asks for it by a connection. Resolves when that was answered. */
  async ask(line: Line): Promise<void> {
    if (!this.#watches.size) return;
    clearTimeout(this.#retry);
    // The least first: who wants more asks again, and who wants none does not get what others ask for.
    const wanted = [...this.#watches].flatMap((w) => (w.position ? [] : w.history));
    const history = wanted.length ? Math.min(...wanted) : 0;
    const recover = this.#line === line && this.#name !== undefined ? undefined : this.#from();
    if (this.#line !== line) this.#forget();
    this.#line = line;
    const body = { params: this.#params, delta: this.#delta, recover, history: recover ? undefined : history || undefined };
    const p = this.#host.client.ask({ verb: "subscribe", to: this.address, body: { json: JSON.stringify(body) } }, line, (m) => {
      if (this.#asked === mine) this.#armed(m, line, recover ? 0 : history, recover !== undefined);
    });
    const mine = this.#asked = { mid: p.message.mid!, taken: false };
    await p.done.catch((err: RopewalkError) => {
      if (this.#asked === mine) this.#refused(err, line);
    });
  }

  /** The node has something new of it. */
  take(m: Decoded): void {
    const at = { epoch: m.epoch ?? this.#position?.epoch ?? "", offset: m.offset ?? 0 };
    if (m.verb === "gap") return this.#lost(at);
    if (m.unreadable !== undefined) return this.#broken();
    if (this.events) return this.#event(m, at);
    if (!this.#asked && !this.#has(at)) this.#content(m, at); // else the answer will bring it
  }

  /** The node has ended the watch. */
  ended(m: Decoded, line: Line): void {
    this.#forget();
    this.#refused(fromWire(m.body), line);
  }

  /** A connection is gone. */
  lost(line: Line): void {
    if (this.#line !== line) return;
    this.#forget();
    this.#line = this.#asked = undefined;
    if (!this.#watches.size) this.#leave();
  }

  /** The session, or the connection, is another one: what was refused may be allowed now. */
  again(): void {
    if (this.#asked) this.#asked.taken = true;
    if (!this.#parked) return;
    this.#parked = false;
    this.#host.want(this);
  }

  /** Nothing will come any more. */
  end(err: RopewalkError | undefined): void {
    for (const w of [...this.#watches]) w.end(err);
    clearTimeout(this.#release);
    clearTimeout(this.#retry);
    clearTimeout(this.#settling);
  }

  /** Shows a content that is being published, until it is known what became of it. */
  async overlay(content: unknown, published: Promise<unknown>): Promise<void> {
    if (this.events) return;
    const o: Overlay = { content, seen: false, accepted: false };
    this.#overlays.push(o);
    this.#show();
    try {
      await published;
      o.accepted = true;
      if (o.seen) return this.#uncover((x) => x !== o);
      clearTimeout(this.#settling);
      if (this.watched) this.#settling = setTimeout(() => this.#uncover(pending), settleTime);
    } catch {
      this.#uncover((x) => x !== o);
    }
  }

  /** Has a content that is nobody else's. */
  set(content: unknown, tell: boolean): void {
    this.#now = this.#update(content, { offset: (this.#now?.offset ?? 0) + 1 }, false);
    if (tell) this.#show();
    if (content === undefined) this.#now = undefined;
  }

  /** Somebody watches it. */
  get watched(): boolean {
    return this.#watches.size > 0;
  }

  #update(content: unknown, from: Partial<Update> | undefined, optimistic: boolean): Update {
    return {
      content, optimistic, address: from?.address ?? this.address, epoch: from?.epoch ?? "", offset: from?.offset ?? 0,
      publisher: optimistic ? undefined : from?.publisher, gap: false,
    };
  }

  #read(content: unknown, m: Decoded, at: { epoch: string; offset: number }): Update {
    const p = m.publisher as Partial<Publisher> | undefined;
    const publisher = p && { client: String(p.client ?? ""), subject: String(p.subject ?? "") };
    return this.#update(content, { ...at, address: m.to ?? this.address, publisher }, false);
  }

  /** Where to go on from: of events from the first one that some watch lacks. */
  #from(): { epoch: string; offset: number } | undefined {
    if (!this.events) return this.#position;
    return [...this.#watches].flatMap((w) => w.position ?? []).sort((a, b) => a.offset - b.offset)[0];
  }

  #has({ epoch, offset }: { epoch: string; offset: number }): boolean {
    return this.#position?.epoch === epoch && offset <= this.#position.offset;
  }

  #armed(m: Decoded, line: Line, history: number, recovering: boolean): void {
    this.#asked = undefined;
    if (this.#name !== undefined) this.#host.unname(line, this.#name);
    this.#name = m.topic ?? "";
    this.#host.name(this, line, this.#name);
    if (!this.#watches.size) return this.#leave();
    this.#attempt = 0;
    this.#refusal = undefined;
    const at = { epoch: m.epoch ?? "", offset: m.offset ?? 0 };
    const unchanged = m.body === undefined && !m.fault && m.unreadable === undefined;
    if (unchanged && !recovering) this.events = true;
    this.#alive(true);
    if (this.events) return this.#armAll(at, history);
    for (const w of this.#watches) w.armed();
    if (m.unreadable !== undefined) this.#fail(new RopewalkError("bad_message", "the content cannot be read", { cause: m.unreadable }));
    else if (!unchanged && !(this.#has(at) && this.#based)) this.#content(m, at);
    else if (this.#fault) this.#fail(this.#fault);
  }

  #armAll(at: { epoch: string; offset: number }, history: number): void {
    if (!this.#has(at)) this.#position = at;
    for (const w of this.#watches) {
      if (!w.position && w.history === history) this.#arm(w, at);
      else if (w.position && (w.position.epoch !== at.epoch || w.position.offset < at.offset)) this.#gap(w, at);
    }
    if ([...this.#watches].some((w) => !w.position)) this.#host.want(this); // once more, for another history
  }

  #arm(w: Watch, at: { epoch: string; offset: number }): void {
    w.position = at;
    w.armed();
  }

  #lost(at: { epoch: string; offset: number }): void {
    if (!this.events || this.#has(at)) return;
    this.#position = at;
    for (const w of this.#watches) if (w.position) this.#gap(w, at);
  }

  #gap(w: Watch, at: { epoch: string; offset: number }): void {
    const gap: Gap = { address: this.address, ...at, after: w.position!.offset };
    w.position = at;
    this.#host.later(() => w.lost(gap));
  }

  #event(m: Decoded, at: { epoch: string; offset: number }): void {
    if (m.fault) return this.#fail(fromWire(m.body));
    const u = this.#read(m.body, m, at);
    if (!this.#has(at)) {
      this.#position = at;
      this.#now = u;
    }
    for (const w of this.#watches) {
      if (!w.position || (w.position.epoch === at.epoch && at.offset <= w.position.offset)) continue;
      w.position = at;
      this.#host.later(() => w.update(u));
    }
  }

  #content(m: Decoded, at: { epoch: string; offset: number }): void {
    let { body } = m;
    const type = (body as Bytes | undefined)?.contentType;
    if (!m.fault && isChange(type)) {
      try {
        if (!this.#based) throw new TypeError("there is nothing to change");
        body = apply(type!, this.#now!.content, body as Bytes);
      } catch {
        return this.#broken();
      }
    }
    this.#position = at;
    if (m.fault) {
      this.#overlays = this.#overlays.filter(pending);
      return this.#fail(fromWire(m.body));
    }
    this.#fault = undefined;
    this.#based = true;
    this.#now = this.#read(body, m, at);
    const seen = this.#overlays.findIndex((o) => !o.seen && same(o.content, body));
    for (const o of this.#overlays.slice(0, seen + 1)) o.seen = true; // and those before it are the past
    if (this.#overlays.length) this.#uncover(pending, true);
    else this.#show();
  }

  /** What came cannot be understood: asks for the whole. */
  #broken(): void {
    this.#based = false;
    if (this.#position && !this.events) this.#position = undefined;
    if (!this.#asked) this.#host.want(this);
  }

  #fail(err: RopewalkError): void {
    this.#fault = this.events ? undefined : err;
    this.#based = false;
    this.#tell((w) => w.fail(err));
  }

  #refused(err: RopewalkError, line: Line): void {
    const taken = this.#asked?.taken;
    this.#asked = undefined;
    if (!this.#watches.size) return this.#leave();
    if (taken || (err.retryable && err.code === "revoked")) return this.#host.want(this); // for who the client is now
    if (line !== this.#host.client.line() || (err.code === "canceled" && !err.remote)) return; // the next connection will, if there is one
    if (err.code === "deadline_exceeded" && !err.remote) this.#forget();
    const before = this.#refusal?.code;
    this.#refusal = err;
    this.#parked = definite.has(err.code);
    if (!this.#parked) {
      this.#retry = setTimeout(() => this.#host.want(this), Math.max(err.retryAfter, wait(this.#attempt++, this.#host.client.backoff)));
    }
    if (err.code !== before) this.#tell((w) => w.fail(err, true));
  }

  #tell(what: (w: Watch) => void): void {
    for (const w of this.#watches) this.#host.later(() => what(w));
  }

  #show(): void {
    const u = this.shown();
    if (u) this.#tell((w) => w.update(u));
  }

  /** Shows only some of what is being published, and else what the node has; `news`: that is not known yet. */
  #uncover(keep: (o: Overlay) => boolean, news = false): void {
    const before = this.#overlays;
    this.#overlays = before.filter(keep);
    if (this.#overlays.at(-1) === before.at(-1) && !(news && !this.#overlays.length)) return;
    if (this.shown()) return this.#show();
    if (this.#fault) return this.#fail(this.#fault);
    const none = this.#update(undefined, undefined, false);
    this.#tell((w) => w.update(none));
  }

  #leave(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#release);
    clearTimeout(this.#settling);
    if (this.local) return this.#host.drop(this);
    this.#parked = false;
    if (this.#asked && this.#line) {
      if (!this.#asked.taken) this.#host.client.post({ verb: "cancel", rmid: this.#asked.mid }, this.#line);
      this.#asked.taken = true; // the answer says whether it came in time
      return;
    }
    const { line, name } = { line: this.#line, name: this.#name };
    if (line && name !== undefined) void this.#host.client.ask({ verb: "unsubscribe", topic: name }, line, () => {}).done.catch(() => {});
    this.#forget();
    this.#host.drop(this);
  }

  #forget(): void {
    if (this.#line && this.#name !== undefined) this.#host.unname(this.#line, this.#name);
    this.#name = undefined;
    this.#alive(false);
  }

  #alive(live: boolean): void {
    if (this.live === live) return;
    this.live = live;
    this.#tell((w) => w.alive(live));
  }
}
