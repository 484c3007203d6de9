import { fromAbort, fromWire, RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded, Message } from "./message.js";
import type { MessageOptions } from "./options.js";
import type { Outgoing } from "./outbox.js";

// The longest that a timer can wait.
const forever = 2 ** 31 - 1;
// How much longer than a gather lasts its answer may take: at the deadline the node sends what it has.
const grace = 1000;

/** What a pending message needs of the client. */
export interface Desk {
  /** It is settled. `line`: there the node still works on it, and should be told that nobody waits any more. */
  over(p: Pending, line: Line | undefined): void;
}

/** Options of a message, as the client itself knows them. */
export interface PendingOptions extends MessageOptions {
  /** It waits for a connection as long as it takes; the time counts from when it was sent. */
  patient?: boolean | undefined;
}

/** A message that was accepted and waits for its answer, or, if it wants none, to be sent. */
export class Pending implements Outgoing {
  readonly message: Message;
  readonly order: number;
  readonly #desk: Desk;
  readonly #options: PendingOptions;
  #deadline: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #resolve!: (m: Decoded) => void;
  #reject!: (err: unknown) => void;
  #line: Line | undefined; // by which it was sent
  #parts = 0;
  #over = false;
  /** Resolves with the final answer, rejects with what went wrong. */
  readonly done: Promise<Decoded>;
  /** The address of who answered last; "" before the first part or answer. */
  from = "";
  /** Takes the parts. */
  onPart: ((body: unknown) => void) | undefined;
  /** Takes the reply, before anything that comes after it. */
  onReply: ((m: Decoded, line: Line) => void) | undefined;

  constructor(desk: Desk, message: Message, order: number, options: PendingOptions) {
    this.message = message;
    this.order = order;
    this.#desk = desk;
    this.#options = options;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (!options.patient) this.#start();
    options.signal?.addEventListener("abort", this.#aborted);
  }

  get wantsAnswer(): boolean {
    return this.message.verb !== "send" || this.message.ack === true;
  }

  ready(): void {
    if (this.#options.patient) this.#start();
    // At least a millisecond: the node refuses 0, and our timer is about to fire.
    if (this.#deadline !== undefined) this.message.timeout = Math.max(this.#deadline - Date.now(), 1) / 1000;
  }

  sent(line: Line): void {
    if (!this.wantsAnswer) return this.#settle(() => this.#resolve({ verb: "reply" }));
    this.#line = line;
    line.hold();
  }

  /** An answer came by a connection. */
  answer(line: Line, m: Decoded): void {
    if (line !== this.#line) return; // it was sent again since
    this.from = m.from ?? "";
    if (m.verb === "error") return this.fail(fromWire(m.body));
    if (m.unreadable !== undefined) {
      return this.cancel(new RopewalkError("bad_message", "the body of an answer cannot be read", { cause: m.unreadable }));
    }
    if (m.verb !== "part") {
      this.onReply?.(m, line);
      return this.#settle(() => this.#resolve(m));
    }
    this.#parts++;
    try {
      this.onPart?.(m.body);
    } catch (err) {
      this.cancel(err);
    }
  }

  fail(err: unknown): void {
    this.#settle(() => this.#reject(err));
  }

  /** Ends it here, and on the node if it got there. */
  cancel(err: unknown): void {
    this.#settle(() => this.#reject(err), true);
  }

  /** A connection is gone. Says whether it has to be sent again on the next one. */
  lost(line: Line, err: RopewalkError): boolean {
    if (this.#line !== line) return false;
    if (this.#options.idempotent && this.#back()) return true;
    this.fail(err);
    return false;
  }

  /** The node refused it because it drains, so nothing was done. Says whether it has to be sent again on the next. */
  refused(line: Line): boolean {
    return this.#line === line && this.order > 0 && !this.#options.online && this.#back();
  }

  #start(): void {
    const { timeout } = this.#options;
    if (timeout === undefined) return;
    this.#deadline = Date.now() + timeout;
    this.#timer = setTimeout(this.#due, Math.min(timeout, forever));
  }

  #back(): boolean {
    if (this.#parts) return false;
    if (this.#options.patient) clearTimeout(this.#timer);
    this.#line!.free();
    this.#line = undefined;
    return true;
  }

  readonly #due = (): void => {
    const { strategy } = this.message;
    const by = (strategy as { by?: string } | undefined)?.by ?? strategy;
    if (this.#line && (by === "all" || by === "majority")) this.#timer = setTimeout(this.#late, grace);
    else this.#late();
  };

  readonly #late = (): void => {
    const { timeout } = this.#options;
    this.cancel(this.#line
      ? new RopewalkError("deadline_exceeded", `no answer from ${this.message.to} within ${timeout} ms`)
      : new RopewalkError("deadline_exceeded", `no connection to the node within ${timeout} ms`,
        { hint: "Look at rope.state and at the event error; is the node running, and is the URL right?", retryable: true }));
  };

  readonly #aborted = (): void => this.cancel(fromAbort(this.#options.signal?.reason));

  #settle(how: () => void, tell = false): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    this.#desk.over(this, tell && this.order && this.message.verb !== "send" ? this.#line : undefined);
    this.#line?.free();
    how();
  }
}
