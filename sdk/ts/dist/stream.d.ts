/**
 * A call whose parts are read one by one: `for await (const part of stream)`. It ends with the loop: leaving the loop
 * early cancels the call. What came before an error is delivered before the loop throws it.
 *
 * Parts that nobody reads wait in a bounded buffer; when it is full the call ends with `slow_consumer`.
 */
export declare class RopeStream<Part = unknown, Out = unknown> implements AsyncIterable<Part> {
    #private;
    /** The final answer; rejects with what the loop throws. It need not be awaited. */
    readonly reply: Promise<Out>;
    /** The address of the server that answers, with its id; "" before its first part or answer has come. */
    get from(): string;
    /** Takes the call back. Parts that were not read are dropped. */
    cancel(reason?: unknown): void;
    [Symbol.asyncIterator](): AsyncIterator<Part, Out | undefined>;
}
