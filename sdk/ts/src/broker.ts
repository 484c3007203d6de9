/**
 * A broker of topics for pages that are made of components which know each other by topics only: partial addresses,
 * forms, errors and requests over one client.
 *
 * @packageDocumentation
 */
import { RopewalkError, type Rope, type Update, type Watch } from "./index.js";

/** What is told of an error, as the topic `app:errors:` has it. Its texts are plain text, not HTML. */
export interface BrokerError {
  /** The code as words. */
  readonly title: string;
  readonly detail: string;
  readonly severity: "error" | "warning" | "info" | "success";
  readonly topic: string;
  readonly code: string;
  readonly hint: string;
}

/** Called with the resolved topic and its content. */
export type TopicCallback<T = any> = (topic: string, content: T) => void;
/** Called with the resolved topic and what is wrong with it. */
export type ErrorCallback = (topic: string, error: BrokerError) => void;
/** Says whether a value is bad. */
export type Validation = (topic: string, value: unknown) => boolean;
/** What the content is filtered by. */
export type Filter = object;

/** A subscription, or a request. */
export interface Token {
  /** The resolved topic; "" of a subscription to nothing. */
  readonly topic: string;
}

interface Subscription extends Token {
  readonly callback: TopicCallback;
  readonly onError: ErrorCallback | undefined;
  watch: Watch | undefined;
  abort: AbortController | undefined;
}

/** Options of a broker. */
export interface BrokerOptions {
  /** The application that partial addresses belong to. */
  app: string;
  /** Changes may come in place of whole contents; as for watch. Default true. */
  delta?: boolean | undefined;
  /** How long a topic is kept after its last subscription ended, such as when a page changes. Default 1,000 ms. */
  linger?: number | undefined;
}

/** Has every error, in its latest form; publishing nothing clears it. */
export const errorsTopic = "app:errors:";
/** Has all topics with their values, for looking at them: the newest first, values as text of at most 160 characters. */
export const allTopic = "app:all:";
const previewLength = 160;

// What the end of a partial address says; anything else is a file.
const schemes: Readonly<Record<string, string>> = {
  json: "json", jsonc: "json", js: "javascript", sql: "query",
  png: "image", apng: "image", jpeg: "image", jpg: "image", gif: "image", bmp: "image",
};

/**
 * Topics by name. A topic is an address (`json:/app/x.json`), a path in the application (`/x.json`), or the name of a
 * topic of this page alone (`form.name`), which is never sent. Callbacks are called later than what causes them, never
 * before a method has returned, in the order of what happened and of subscribing.
 */
export class Broker {
  readonly #rope: Rope;
  readonly #options: BrokerOptions;
  readonly #tokens = new Set<Subscription>();
  readonly #validations = new Map<string, Validation>();
  readonly #errors = new Map<string, BrokerError>(); // what is wrong now
  #allQueued = false;
  /** The application that partial addresses belong to. */
  app: string;

  /** A broker over a client, which may have several. */
  constructor(rope: Rope, options: BrokerOptions) {
    this.#rope = rope;
    this.#options = options;
    this.app = options.app;
  }

  /**
   * Has `callback` called with the content of a topic, and with each that it becomes; what is known already comes at
   * once. Each subscription has a filter of its own. Without a topic nothing happens. On a client that is closed
   * `onError` is called, with `not_ready`.
   */
  subscribe<T = any>(topic: string | undefined, callback: TopicCallback<T>, onError?: ErrorCallback, filter?: Filter): Token {
    const token: Subscription = { topic: topic === undefined ? "" : this.#address(topic), callback, onError, watch: undefined, abort: undefined };
    if (topic === undefined) return token;
    this.#tokens.add(token);
    if (token.topic === allTopic) this.#announceAll();
    token.watch = this.#watch(token, filter);
    return token;
  }

  /**
   * Ends a subscription, or a request: its callbacks are not called any more. A topic of the page keeps its value, but
   * with `deleteData` when this was its last subscription. To end it twice, or to end nothing, does no harm.
   */
  unsubscribe(token: Token | undefined, deleteData = false): void {
    const t = token as Subscription | undefined;
    if (!t || !this.#tokens.delete(t)) return;
    t.watch?.close();
    t.abort?.abort();
    const others = [...this.#tokens].some((o) => o.topic === t.topic);
    if (!others) this.#errors.delete(t.topic);
    if (deleteData && !others && isLocal(t.topic)) this.delete(t.topic);
  }

  /** Ends several. */
  unsubscribeAll(tokens: Iterable<Token | undefined>): void {
    for (const t of tokens) this.unsubscribe(t);
  }

  /** Ends all subscriptions and requests of this broker. */
  close(): void {
    this.unsubscribeAll([...this.#tokens]);
  }

  /**
   * Publishes a content. Subscribers of a topic of the server see it when the server has it, never if it is refused;
   * then they, and `app:errors:`, are told. `validate` is kept for {@link validationFailed}. The promise says what
   * became of it, and need not be awaited.
   */
  publish(topic: string, content: unknown, validate?: Validation): Promise<unknown> {
    const address = this.#address(topic);
    if (validate) this.#validations.set(address, validate);
    const done = this.#rope.publish(address, content).catch((err: RopewalkError) => {
      this.#failed(address, err);
      throw err;
    });
    done.catch(() => {}); // told already
    if (address !== allTopic) this.#announceAll();
    return done;
  }

  /** Calls a topic: `callback` is called once, with the answer. */
  sendRequest<T = any>(topic: string, callback: TopicCallback<T>, onError?: ErrorCallback, content?: unknown): Token {
    const address = this.resolve(topic);
    const abort = new AbortController();
    const token: Subscription = { topic: address, callback, onError, watch: undefined, abort };
    this.#tokens.add(token);
    this.#rope.call(address, content, { signal: abort.signal }).then(
      (answer) => { if (this.#tokens.delete(token)) callback(address, answer as T); },
      (err: RopewalkError) => { if (this.#tokens.delete(token)) this.#tell(token, err); },
    );
    return token;
  }

  /** Gives the subscriptions of a topic, or one, another filter. */
  changeFilter(which: string | Token, filter: Filter): void {
    const topic = typeof which === "string" ? this.#address(which) : undefined;
    for (const t of this.#tokens) {
      if (t.abort || (topic === undefined ? t !== which : t.topic !== topic)) continue;
      const before = t.watch;
      t.watch = this.#watch(t, filter);
      before?.close();
    }
  }

  /** Tells the subscribers of a topic, and `app:errors:`, that something is wrong with it. */
  error(topic: string, error: RopewalkError | (Partial<BrokerError> & Pick<BrokerError, "title" | "detail">)): void {
    const address = this.resolve(topic);
    if (error instanceof RopewalkError) return this.#failed(address, error);
    this.#publishError(address, { severity: "error", code: "", hint: "", ...error, topic: address });
  }

  /** What is wrong with a topic; undefined if nothing is. */
  lastError(topic: string): BrokerError | undefined {
    return this.#errors.get(this.#address(topic));
  }

  /** The newest content of a topic that is subscribed, or of the page; undefined if none is known. */
  getCurrentData<T = any>(topic: string): T | undefined {
    const address = this.#address(topic);
    const known = isLocal(address) ? undefined : [...this.#tokens].find((t) => t.topic === address)?.watch;
    return (known ? known.current : this.#rope.peek(address))?.content as T | undefined;
  }

  /** The topics of the page whose names begin so, by what follows the last dot: all of a form. */
  getData(root: string): Record<string, unknown> {
    const prefix = this.#address(root);
    const found = this.#own().filter((u) => u.address.startsWith(prefix));
    return Object.fromEntries(found.map((u) => [u.address.slice(u.address.lastIndexOf(".") + 1), u.content]));
  }

  /** Whether a value of the topics of the page whose names begin so is bad, as the validations of publish say. */
  validationFailed(root: string): boolean {
    const prefix = this.#address(root);
    let failed = false;
    for (const [topic, validate] of this.#validations) { // all of them: they may show what is wrong
      if (topic.startsWith(prefix) && validate(topic, this.getCurrentData(topic))) failed = true;
    }
    return failed;
  }

  /** Deletes a topic of the page, or a content on the server. */
  delete(topic: string): Promise<unknown> {
    this.#validations.delete(this.#address(topic));
    return this.publish(topic, undefined);
  }

  /**
   * The address that a topic means. The first `${appName}` is the application, each other `${name}` the content of the
   * topic `name`. What has a colon is an address; what begins with a slash is in the application, its scheme as its
   * end says; anything else belongs to the page.
   */
  resolve(topic: string, stripField = true): string {
    const whole = stripField ? topic.split("#", 1)[0]! : topic;
    const name = whole.replace("${appName}", () => this.app).replace(/\$\{([^}]*)\}/g, (_, inner: string) => asText(this.getCurrentData(inner)));
    if (name.includes(":")) return name;
    if (!name.startsWith("/")) return "app:" + name;
    const end = name.slice(name.lastIndexOf(".") + 1);
    const scheme = name.includes(".") && Object.hasOwn(schemes, end) ? schemes[end] : "file";
    return `${scheme}:/${this.app}${name}`;
  }

  /** What follows the `#`: `name` of `form#name`; "" if nothing does. */
  getFieldName(topic: string): string {
    const at = topic.indexOf("#");
    return at < 0 ? "" : topic.slice(at + 1);
  }

  #address(topic: string): string {
    return this.resolve(topic, false);
  }

  #own(): Update[] {
    return [...this.#rope.topics.own()];
  }

  #watch(t: Subscription, params: Filter | undefined): Watch | undefined {
    const { delta = true, linger = 1000 } = this.#options;
    try {
      return this.#rope.watch(t.topic, { params, delta, linger }, (u) => {
        this.#errors.delete(t.topic);
        t.callback(t.topic, u.content);
      }, (err) => {
        this.#tell(t, err);
      });
    } catch (err) { // the client was closed
      if (!(err instanceof RopewalkError)) throw err;
      queueMicrotask(() => { if (this.#tokens.has(t)) this.#tell(t, err); });
      return undefined;
    }
  }

  #failed(topic: string, err: RopewalkError): void {
    this.#publishError(topic, describe(topic, err));
  }

  #publishError(topic: string, error: BrokerError): void {
    const told = [...this.#tokens].filter((t) => t.topic === topic && !t.abort);
    if (told.length) this.#errors.set(topic, error);
    void this.#rope.publish(errorsTopic, error);
    queueMicrotask(() => {
      for (const t of told) if (this.#tokens.has(t)) t.onError?.(topic, error);
    });
  }

  // Each watch of a topic is told of what is wrong with it; app:errors: is told once.
  #tell(t: Subscription, err: RopewalkError): void {
    const error = describe(t.topic, err);
    const before = this.#errors.get(t.topic);
    if (!t.abort) this.#errors.set(t.topic, error);
    if (t.abort || before?.code !== error.code || before.detail !== error.detail) void this.#rope.publish(errorsTopic, error);
    t.onError?.(t.topic, error);
  }

  #announceAll(): void {
    if (this.#allQueued || ![...this.#tokens].some((t) => t.topic === allTopic)) return;
    this.#allQueued = true;
    queueMicrotask(() => {
      this.#allQueued = false;
      const contents = new Map<string, unknown>(this.#own().map((u) => [u.address, u.content]));
      for (const t of this.#tokens) if (t.watch?.current) contents.set(t.topic, t.watch.current.content);
      contents.delete(allTopic);
      const all = [...contents].reverse().map(([topic, value]) => ({ topic, value: asText(JSON.stringify(value)).slice(0, previewLength) }));
      void this.#rope.publish(allTopic, all);
    });
  }
}

function isLocal(address: string): boolean {
  return address.startsWith("app:");
}

function asText(v: unknown): string {
  return v === undefined || v === null ? "" : typeof v === "string" ? v : typeof v === "object" ? JSON.stringify(v) : String(v as number);
}

function describe(topic: string, err: RopewalkError): BrokerError {
  const words = err.code.replaceAll("_", " ");
  return {
    title: words.charAt(0).toUpperCase() + words.slice(1), detail: err.hint ? `${err.message}. ${err.hint}` : err.message,
    severity: err.retryable ? "warning" : "error", topic, code: err.code, hint: err.hint,
  };
}
