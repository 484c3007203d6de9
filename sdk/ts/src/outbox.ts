import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Message } from "./message.js";

/** A message on its way out. */
export interface Outgoing {
  readonly message: Message;
  /** Its place among all; 0 for what means something on one connection only. */
  readonly order: number;
  /** Called right before it is encoded. */
  ready(): void;
  /** Called when it was given to the network. */
  sent(line: Line): void;
  /** Called if it never will be. */
  fail(err: RopewalkError): void;
}

// How many bytes of bodies may wait.
const maxBytes = 16 << 20;

function sizeOf({ message: { body } }: Outgoing): number {
  return !body ? 0 : "json" in body ? body.json.length : body.raw.length;
}

/** Where messages go. */
export interface Network {
  /** Sends a message; false if that is not possible now. */
  write(o: Outgoing): boolean;
  /** Bytes that wait in the socket. */
  buffered(): number;
}

// While this many bytes wait in the socket, which has no bound, messages wait here, where there is one.
const highWater = 1 << 20;
// A socket does not tell when it has sent something, so we look.
const lookEvery = 10;

/**
 * The bounded queue in front of the connection. Every call and send passes it, so there is one order: while there is
 * no connection they wait here and keep their ids.
 */
export class Outbox {
  readonly #limit: number;
  readonly #network: Network;
  #queue: Outgoing[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #room: (() => void)[] = [];

  constructor(limit: number, network: Network) {
    this.#limit = limit;
    this.#network = network;
  }

  /** Takes a message to be sent as soon as possible. It throws `overloaded` when the queue is full. */
  push(o: Outgoing): void {
    const bytes = this.#queue.reduce((n, w) => n + sizeOf(w), sizeOf(o));
    if (this.#queue.length >= this.#limit || (this.#queue.length && bytes > maxBytes)) {
      throw new RopewalkError("overloaded", `${this.#queue.length} messages wait to be sent already`,
        { hint: "Wait for the connection, or raise the option queue.", retryable: true });
    }
    this.#queue.push(o);
    if (!this.#timer) this.flush();
  }

  /** Has messages wait again, each in its place, to be sent by the next flush. */
  again(back: readonly Outgoing[]): void {
    this.#queue = [...back, ...this.#queue].sort((a, b) => a.order - b.order);
  }

  /** Takes a message back. */
  remove(o: Outgoing): void {
    const at = this.#queue.indexOf(o);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  /** Resolves when the network keeps up, or the connection is gone; undefined if nobody has to wait. */
  room(): Promise<void> | undefined {
    if (this.#network.buffered() < highWater) return undefined;
    this.#timer ??= setTimeout(() => this.flush(), lookEvery);
    return new Promise((done) => this.#room.push(done));
  }

  /** Sends what can be sent. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let o; (o = this.#queue[0]) && this.#network.buffered() < highWater;) {
      if (!this.#network.write(o)) break;
      if (this.#queue[0] === o) this.#queue.shift(); // else it has been settled, and taken back, already
    }
    if (this.#network.buffered() >= highWater) this.#timer = setTimeout(() => this.flush(), lookEvery);
    else for (const done of this.#room.splice(0)) done();
  }

  /** Fails everything. */
  fail(err: RopewalkError): void {
    for (const o of this.#queue.splice(0)) o.fail(err);
    this.flush();
  }

  get length(): number {
    return this.#queue.length;
  }
}
