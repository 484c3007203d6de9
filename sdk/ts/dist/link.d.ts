import { type Backoff } from "./close.js";
import { RopewalkError } from "./error.js";
import { Line, type LineOwner } from "./line.js";
import type { Decoded } from "./message.js";
import { type NodeRef } from "./roster.js";
import type { Target, TransportKind } from "./transport.js";
/**
 * What a connection is doing:
 *
 *     connecting ──► connected ──► waiting ──► connecting …
 *          └────────────────────────┘ │
 *     any of them ──► closing ──► closed        (or at once closed, when the node says: do not come back)
 */
export type State = "connecting" | "connected" | "waiting" | "closing" | "closed";
/** What the node says in its welcome. */
export interface Welcome {
    id: string;
    node?: {
        id?: string;
        name?: string;
    };
    limits?: {
        frame?: number;
        calls?: number;
    };
    nodes?: readonly NodeRef[];
}
/** What the link tells its owner. */
export interface LinkOwner extends Pick<LineOwner, "greet" | "message" | "badFrame" | "probe"> {
    state(state: State): void;
    /** There is a connection for new messages. Resolves when all that is served is announced there. */
    up(welcome: Welcome): Promise<unknown>;
    /** Takes back what is served on a connection that is to be left. */
    farewell(line: Line): Promise<void>;
    /** A connection is gone, with all that was under way on it. */
    gone(line: Line, err: RopewalkError): void;
    /** There is no connection for new messages; `final` if there will be no other. */
    down(err: RopewalkError, final: boolean): void;
}
export interface LinkConfig extends Target {
    urls: readonly URL[];
    /** The first URL is that of the page's own host. */
    home: boolean;
    follow: boolean;
    transports: readonly TransportKind[];
    backoff: Backoff;
    connectTimeout: number;
    silence: number;
}
/**
 * Keeps a connection to a node alive, one of those that it knows: connects, comes back, changes the transport, goes
 * elsewhere. While a node drains there is a second connection. Messages are its owner's.
 */
export declare class Link implements LineOwner {
    #private;
    /** Where new messages go; undefined while there is no connection. */
    line: Line | undefined;
    /** When the next try is; undefined while one is under way. */
    retryAt: number | undefined;
    constructor(cfg: LinkConfig, owner: LinkOwner);
    get state(): State;
    /** The transport in use, or that of the last connection. */
    get kind(): TransportKind | undefined;
    /** Connects, and stays connected until close or until the node says not to come back. */
    run(): Promise<void>;
    /** Whether new messages can be sent now. */
    get open(): boolean;
    /** Something changed that makes it worth to look at once: the network, the page, the person. */
    hint(): void;
    /** Gives up the connection and makes a new one at once. */
    restart(reason: string): void;
    /** Stops accepting work; {@link close} follows. */
    closing(): void;
    /** Ends all for good after what was sent, or after `timeout` milliseconds. */
    close(timeout: number): void;
    /** The node at the other end of a connection starts nothing new on it. */
    drain(line: Line): void;
    /** A node has told which nodes there are. */
    learn(line: Line, nodes: unknown): void;
    message(line: Line, m: Decoded): void;
    badFrame(cause: unknown): void;
    probe(line: Line): void;
    greet(line: Line): Promise<() => void> | undefined;
    welcome(line: Line, m: Decoded): void;
}
