import { deltas } from "./delta.js";
import type { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded } from "./message.js";
import { Topic, type TopicClient, type TopicHost } from "./topic.js";
import { Watch, type Update, type WatchOptions } from "./watch.js";

// How many topics are asked for at once. A node takes only so many requests of a connection at a time.
const together = 256;

/** The topics that this client watches, and its own. */
export class Topics implements TopicHost {
  readonly client: TopicClient;
  readonly #all = new Map<string, Topic>(); // by address and parameters
  readonly #named = new Map<string, Topic>(); // by connection and what the node calls them
  readonly #wanted = new Set<Topic>();
  #asking = 0;
  #queue: (() => void)[] = [];

  constructor(client: TopicClient) {
    this.client = client;
  }

  watch<T>(address: string, options: WatchOptions, callback: ((u: Update<T>) => void) | undefined): Watch<T> {
    const topic = this.#topic(address, options);
    const w = new Watch<T>(topic, options, callback);
    topic.join(w as Watch);
    return w;
  }

  /** What is known of a topic without asking. */
  peek(address: string, params: WatchOptions["params"]): Update | undefined {
    const found = this.#all.get(keyOf(address, params))?.shown();
    if (found || !address.startsWith("app:")) return found;
    const [parent, field] = parentOf(address);
    const content = parent && this.#all.get(keyOf(parent, undefined))?.shown()?.content;
    if (typeof content !== "object" || content === null || !Object.hasOwn(content, field)) return undefined;
    return { content: (content as Record<string, unknown>)[field], address, epoch: "", offset: 0, publisher: undefined, gap: false, optimistic: false };
  }

  /** Makes a content that of a topic of this client's own. */
  set(address: string, content: unknown): void {
    const [parent, field] = parentOf(address);
    if (parent) {
      const whole = this.#topic(parent, {});
      const before = whole.shown()?.content;
      const others = typeof before === "object" && before !== null ? Object.entries(before).filter(([k]) => k !== field) : [];
      whole.set(Object.fromEntries(content === undefined ? others : [...others, [field, content]]), false);
    }
    const t = this.#topic(address, {});
    t.set(content, true);
    if (!t.watched) this.drop(t);
  }

  /** How many topics are known. */
  get size(): number {
    return this.#all.size;
  }

  /** The contents of this client's own topics, the newest last. */
  *own(): Iterable<Update> {
    for (const t of this.#all.values()) {
      const u = t.local ? t.shown() : undefined;
      if (u) yield u;
    }
  }

  /** Shows a content that is being published. */
  overlay(address: string, content: unknown, published: Promise<unknown>): void {
    void this.#all.get(keyOf(address, undefined))?.overlay(content, published);
  }

  /** There is a connection: what is watched is asked for by it. */
  up(): void {
    for (const t of this.#all.values()) if (!t.local) this.#wanted.add(t);
    this.#pump();
  }

  /** A connection is gone. */
  lost(line: Line): void {
    for (const t of [...this.#all.values()]) t.lost(line);
  }

  /** The session is another one. */
  again(): void {
    for (const t of this.#all.values()) t.again();
  }

  /** The node has something new of a topic, or ends a watch. */
  take(line: Line, m: Decoded): void {
    const t = this.#named.get(nameOf(line, m.topic ?? ""));
    if (m.verb === "unsubscribe") t?.ended(m, line);
    else t?.take(m); // else we have just unsubscribed
  }

  /** There will be no connection any more. */
  end(err: RopewalkError | undefined): void {
    for (const t of [...this.#all.values()]) t.end(err);
    this.#all.clear();
  }

  later(fn: () => void): void {
    if (this.#queue.push(fn) === 1) queueMicrotask(() => this.#deliver());
  }

  want(t: Topic): void {
    this.#wanted.add(t);
    this.#pump();
  }

  name(t: Topic, line: Line, name: string): void {
    this.#named.set(nameOf(line, name), t);
  }

  unname(line: Line, name: string): void {
    this.#named.delete(nameOf(line, name));
  }

  drop(t: Topic): void {
    this.#wanted.delete(t);
    if (t.local && t.shown()) return;
    if (this.#all.get(t.key) === t) this.#all.delete(t.key);
  }

  #deliver(): void {
    for (let i = 0; i < this.#queue.length; i++) this.#queue[i]!(); // what comes meanwhile too
    this.#queue = [];
  }

  #pump(): void {
    for (const t of this.#wanted) {
      const line = this.client.line();
      if (!line || this.#asking >= together) return;
      this.#wanted.delete(t);
      this.#asking++;
      void t.ask(line).finally(() => {
        this.#asking--;
        this.#pump();
      });
    }
  }

  #topic(address: string, { params, delta }: WatchOptions): Topic {
    const key = keyOf(address, params);
    let t = this.#all.get(key);
    if (!t) {
      const used: unknown = key === address ? undefined : JSON.parse(key.slice(address.length)); // a copy: the caller's may change
      t = new Topic(key, address, used, delta === true ? deltas : delta || undefined, this);
      const known = t.local ? this.peek(address, undefined) : undefined;
      if (known) t.set(known.content, false);
      this.#all.set(key, t);
    }
    return t;
  }
}

// The order of parameters does not matter.
function keyOf(address: string, params: WatchOptions["params"]): string {
  const sorted = (_: string, v: unknown): unknown =>
    typeof v === "object" && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v;
  const text = JSON.stringify(params ?? {}, sorted);
  return text === "{}" ? address : `${address} ${text}`;
}

function nameOf(line: Line, name: string): string {
  return `${line.id} ${name}`;
}

/** Of `app:form#name`: `app:form` and `name`. */
function parentOf(address: string): [parent: string, field: string] {
  const at = address.indexOf("#");
  return at < 0 ? ["", ""] : [address.slice(0, at), address.slice(at + 1)];
}
