import { fromAbort, RopewalkError } from "./error.js";
import type { MessageOptions } from "./options.js";

/** Who published something, where the topic says that. */
export interface Publisher {
  /** The id of the client; "" if it was none. */
  readonly client: string;
  /** Who it is; "" for nobody. */
  readonly subject: string;
}

/** A content, or an event, as it came. */
export interface Update<T = unknown> {
  /** What there is now, or has happened; it must not be changed. JSON, or Bytes for any other content. */
  readonly content: T;
  /** The address; of a watch by a pattern that of the event. */
  readonly address: string;
  /** Names the count of `offset`: another one means that it began anew. */
  readonly epoch: string;
  /** The position in the topic. */
  readonly offset: number;
  readonly publisher: Publisher | undefined;
  /** Events before this one were lost. */
  readonly gap: boolean;
  /** It was published here, and the node has not said yet that it is so. */
  readonly optimistic: boolean;
}

/** Events that a watch has lost: those after `after` up to `offset`, or, in another epoch, an unknown number. */
export interface Gap {
  readonly address: string;
  readonly epoch: string;
  readonly after: number;
  readonly offset: number;
}

/** Options of get. */
export interface GetOptions extends MessageOptions {
  /** What the content is filtered by. */
  params?: object | undefined;
}

/** Options of publish. */
export interface PublishOptions extends MessageOptions {
  /**
   * Watches of the address in this client see the content at once; what the node then has replaces it. If it is
   * refused they see the one before again.
   */
  optimistic?: boolean | undefined;
}

/** Options of watch. */
export interface WatchOptions {
  /** What the content is filtered by; the same content with other parameters is another topic. */
  params?: object | undefined;
  /**
   * Changes may come in place of whole contents, where they are smaller: any of `merge`, `patch` and `rows`, or true
   * for all. What is watched is the whole content all the same. Objects in it that a change leaves alone stay the same
   * objects. Of several watches of a topic the first one decides. Default false.
   */
  delta?: boolean | readonly ("merge" | "patch" | "rows")[] | undefined;
  /** Of an event topic: begin with so many of the last events, as far as they are kept. */
  history?: number | undefined;
  /** How many events may wait to be read by a loop, 1,024; then the oldest are dropped. Of contents only the newest waits. */
  buffer?: number | undefined;
  /** For how many milliseconds after the last watch has ended the topic is kept, in case it is watched again. Default 0. */
  linger?: number | undefined;
  /** Ends the watch; a loop throws `canceled`. */
  signal?: AbortSignal | undefined;
  /**
   * Told what is wrong: there is no content now, or the node refuses the watch. The watch goes on, and there will be an
   * update when all is well again. Without it a loop throws the error, and what a callback is not told is an event
   * `error` of the client.
   */
  onError?: ((err: RopewalkError) => void) | undefined;
  /** Told that events were lost; the next update says so too. */
  onGap?: ((gap: Gap) => void) | undefined;
  /** Told whether what was seen last is what the node has: false while there is no connection. */
  onLive?: ((live: boolean) => void) | undefined;
}

/** What a watch needs of its topic. */
export interface Watched {
  readonly address: string;
  readonly live: boolean;
  /** Only the newest matters. */
  readonly events: boolean;
  shown(): Update | undefined;
  leave(w: Watch): void;
  report(err: RopewalkError): void;
}

/**
 * A watch of a topic. It is told of the content and every change by its callback; without one it is read:
 * `for await (const update of watch)`, which ends the watch with the loop.
 */
export class Watch<T = unknown> implements AsyncIterable<Update<T>> {
  /**
   * Resolves when the watch is armed: every change after this comes. Rejects if it ends before, or the node refuses
   * it; it may be armed later all the same. It need not be awaited.
   */
  readonly ready: Promise<void>;
  readonly #topic: Watched;
  readonly #options: WatchOptions;
  readonly #callback: ((u: Update<T>) => void) | undefined;
  readonly #buffer: number;
  #resolve!: () => void;
  #reject!: (err: RopewalkError) => void;
  #waiting: Update<T>[] = [];
  #wake: (() => void)[] = [];
  #error: RopewalkError | undefined;
  #lossy = false; // something before the next update was lost
  #closed = false;
  /** @internal Of an event topic: the last event that it has, or is about to be told of; undefined until it is armed. */
  position: { epoch: string; offset: number } | undefined;

  /** @internal */
  constructor(topic: Watched, options: WatchOptions, callback: ((u: Update<T>) => void) | undefined) {
    this.#topic = topic;
    this.#options = options;
    this.#callback = callback;
    this.#buffer = options.buffer ?? 1024;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ready.catch(() => {}); // onError and the loop tell it too
    options.signal?.addEventListener("abort", this.#aborted);
  }

  get address(): string {
    return this.#topic.address;
  }

  /** What was seen last is what the node has, as far as one can know. */
  get live(): boolean {
    return !this.#closed && this.#topic.live;
  }

  /** The newest content, or event, that came for this topic. */
  get current(): Update<T> | undefined {
    return this.#topic.shown() as Update<T> | undefined;
  }

  /** Ends it: nothing comes any more. What waits to be read is dropped. */
  close(): void {
    this.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<Update<T>, undefined> {
    return {
      next: async () => {
        while (!this.#waiting.length) {
          if (this.#error) {
            const err = this.#error;
            this.end();
            throw err;
          }
          if (this.#closed) return { done: true, value: undefined };
          await new Promise<void>((wake) => this.#wake.push(wake));
        }
        return { done: false, value: this.#waiting.shift()! };
      },
      return: async () => {
        this.end();
        return { done: true, value: undefined };
      },
    };
  }

  /** @internal */
  get history(): number {
    return this.#options.history ?? 0;
  }

  /** @internal */
  get linger(): number {
    return this.#options.linger ?? 0;
  }

  /** @internal */
  armed(): void {
    this.#resolve();
  }

  /** @internal */
  update(u: Update<T>): void {
    if (this.#closed) return;
    const next = this.#lossy ? { ...u, gap: true } : u;
    this.#lossy = false;
    if (this.#callback) return this.#run(() => this.#callback!(next));
    if (!this.#topic.events) {
      this.#waiting = [];
      this.#error = undefined; // it is over
    } else if (this.#waiting.length >= this.#buffer) {
      this.#waiting.shift();
      if (this.#waiting[0]) this.#waiting[0] = { ...this.#waiting[0], gap: true };
    }
    this.#waiting.push(next);
    this.#wake.shift()?.();
  }

  /** @internal Something is wrong, but the watch goes on. */
  fail(err: RopewalkError, refused = false): void {
    if (this.#closed) return;
    if (refused) this.#reject(err);
    const { onError } = this.#options;
    if (onError) return this.#run(() => onError(err));
    if (this.#callback) return this.#topic.report(err);
    this.#error = err;
    this.#wakeAll();
  }

  /** @internal */
  lost(gap: Gap): void {
    if (this.#closed) return;
    this.#lossy = true;
    this.#run(() => this.#options.onGap?.(gap));
  }

  /** @internal */
  alive(live: boolean): void {
    if (!this.#closed) this.#run(() => this.#options.onLive?.(live));
  }

  /** @internal */
  end(err?: RopewalkError): void {
    if (this.#closed) return;
    if (err) this.fail(err, true);
    this.#closed = true;
    if (!err) this.#waiting = [];
    this.#reject(new RopewalkError("canceled", "the watch was ended"));
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    this.#topic.leave(this as Watch);
    this.#wakeAll();
  }

  readonly #aborted = (): void => {
    this.#error = fromAbort(this.#options.signal?.reason);
    this.#waiting = [];
    this.end();
  };

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #run(fn: () => void): void {
    try {
      fn();
    } catch (err) {
      queueMicrotask(() => { throw err; }); // reported as uncaught, as by EventTarget
    }
  }
}
