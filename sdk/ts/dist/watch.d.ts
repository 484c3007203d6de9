import { RopewalkError } from "./error.js";
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
export declare class Watch<T = unknown> implements AsyncIterable<Update<T>> {
    #private;
    /**
     * Resolves when the watch is armed: every change after this comes. Rejects if it ends before, or the node refuses
     * it; it may be armed later all the same. It need not be awaited.
     */
    readonly ready: Promise<void>;
    get address(): string;
    /** What was seen last is what the node has, as far as one can know. */
    get live(): boolean;
    /** The newest content, or event, that came for this topic. */
    get current(): Update<T> | undefined;
    /** Ends it: nothing comes any more. What waits to be read is dropped. */
    close(): void;
    [Symbol.asyncIterator](): AsyncIterator<Update<T>, undefined>;
}
