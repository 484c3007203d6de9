import { RopewalkError } from "./error.js";
import type { Pending } from "./pending.js";

/**
 * A call whose parts are read one by one: `for await (const part of stream)`. It ends with the loop: leaving the loop
 * early cancels the call. What came before an error is delivered before the loop throws it.
 *
 * Parts that nobody reads wait in a bounded buffer; when it is full the call ends with `slow_consumer`.
 */
export class RopeStream<Part = unknown, Out = unknown> implements AsyncIterable<Part> {
  /** The final answer; rejects with what the loop throws. It need not be awaited. */
  readonly reply: Promise<Out>;
  readonly #call: Pending;
  #parts: Part[] = [];
  #wake: (() => void)[] = [];
  #over = false;

  /** @internal */
  constructor(call: Pending, buffer: number) {
    this.#call = call;
    call.onPart = (part) => {
      if (this.#parts.length >= buffer) {
        throw new RopewalkError("slow_consumer", `${buffer} parts of the stream wait to be read`,
          { hint: "Read the parts faster, ask for fewer, or raise the option buffer." });
      }
      this.#parts.push(part as Part);
      this.#wake.shift()?.();
    };
    const end = (): void => {
      this.#over = true;
      for (const wake of this.#wake.splice(0)) wake();
    };
    this.reply = call.done.then((m) => m.body as Out).finally(end);
    this.reply.catch(() => {}); // the loop throws it too
  }

  /** The address of the server that answers, with its id; "" before its first part or answer has come. */
  get from(): string {
    return this.#call.from;
  }

  /** Takes the call back. Parts that were not read are dropped. */
  cancel(reason?: unknown): void {
    this.#parts = [];
    this.#call.cancel(new RopewalkError("canceled", "canceled by the caller", { cause: reason }));
  }

  [Symbol.asyncIterator](): AsyncIterator<Part, Out | undefined> {
    return {
      next: async () => {
        while (!this.#parts.length) {
          if (this.#over) return { done: true, value: await this.reply };
          await new Promise<void>((wake) => this.#wake.push(wake));
        }
        return { done: false, value: this.#parts.shift()! };
      },
      return: async () => {
        this.cancel();
        return { done: true, value: undefined };
      },
    };
  }
}
