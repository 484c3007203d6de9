import type { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded } from "./message.js";
import { Topic, type TopicClient, type TopicHost } from "./topic.js";
import { Watch, type Update, type WatchOptions } from "./watch.js";
/** The topics that this client watches, and its own. */
export declare class Topics implements TopicHost {
    #private;
    readonly client: TopicClient;
    constructor(client: TopicClient);
    watch<T>(address: string, options: WatchOptions, callback: ((u: Update<T>) => void) | undefined): Watch<T>;
    /** What is known of a topic without asking. */
    peek(address: string, params: WatchOptions["params"]): Update | undefined;
    /** Makes a content that of a topic of this client's own. */
    set(address: string, content: unknown): void;
    /** How many topics are known. */
    get size(): number;
    /** The contents of this client's own topics, the newest last. */
    own(): Iterable<Update>;
    /** Shows a content that is being published. */
    overlay(address: string, content: unknown, published: Promise<unknown>): void;
    /** There is a connection: what is watched is asked for by it. */
    up(): void;
    /** A connection is gone. */
    lost(line: Line): void;
    /** The session is another one. */
    again(): void;
    /** The node has something new of a topic, or ends a watch. */
    take(line: Line, m: Decoded): void;
    /** There will be no connection any more. */
    end(err: RopewalkError | undefined): void;
    later(fn: () => void): void;
    want(t: Topic): void;
    name(t: Topic, line: Line, name: string): void;
    unname(line: Line, name: string): void;
    drop(t: Topic): void;
}
