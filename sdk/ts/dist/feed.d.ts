import { RopewalkError } from "./error.js";
import { type Session } from "./identity.js";
import type { Line } from "./line.js";
import { type Decoded } from "./message.js";
import type { Address } from "./pattern.js";
import type { Host } from "./serve.js";
/** What a handler of a watched route is told beside its parameters. */
export interface WatchContext {
    /** Aborts when nobody watches any more. */
    readonly signal: AbortSignal;
    readonly to: string;
    readonly path: string;
    /** What follows the question mark, as it came. */
    readonly query: string;
    /** Of a route that is `personal`: whose watch it is; undefined for nobody. */
    readonly session: Session | undefined;
}
/**
 * An event of one address, for those who watch many by a pattern such as ticker:/*: what a handler of events yields in
 * place of the event. Its path parameters are then * too, or ** for any rest. An event of an address that nobody watches
 * goes to nobody.
 */
export declare class At<T = unknown> {
    readonly path: string;
    readonly event: T;
    /** The path is as in the address: /ACME of ticker:/ACME. */
    constructor(path: string, event: T);
}
/**
 * Yields what a topic holds, each content or event. Its parameters are those of the watch, and the segments of the path
 * in the places of {name}.
 */
export type WatchHandler<P = any, T = unknown> = (params: P, ctx: WatchContext) => AsyncIterable<T>;
/** How a route can be watched. */
export interface FeedOptions {
    description?: string | undefined;
    /** Each one counts, as in a log; else only the newest content matters. */
    events?: boolean | undefined;
    /**
     * What becomes of events that a watch is too slow for: `gap`, which it is told and can fill from the history (the
     * default), `drop`, which drops the oldest without a word, `disconnect`.
     */
    slow?: "gap" | "drop" | "disconnect" | undefined;
    /** How many events are kept for those who come back: so many, bytes, and milliseconds. */
    history?: {
        count?: number;
        bytes?: number;
        age?: number;
    } | undefined;
    /** Nodes keep who watches. */
    presence?: boolean | undefined;
    /** Who watches is told who published an event. */
    publisher?: boolean | undefined;
    /** What is seen depends on who looks: each session has a run of its own. */
    personal?: boolean | undefined;
}
/** What is watched of a service. */
export declare class Feeds {
    #private;
    constructor(host: Host, limit: number);
    /** Answers a get or subscribe. */
    read(m: Decoded, line: Line, address: Address, route: FeedOptions & {
        watch: WatchHandler;
    }, found: Readonly<Record<string, string>>): void;
    /** Somebody does not watch any more. */
    cancel(id: string, line: Line): boolean;
    /** A connection is gone. */
    lost(line: Line): void;
    /** Ends all. */
    end(err: RopewalkError): void;
}
