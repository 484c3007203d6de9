import { type Backoff } from "./close.js";
import { RopewalkError } from "./error.js";
import { type Decoded } from "./message.js";
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
}
/** What the link tells its owner. */
export interface LinkOwner {
    state(state: State): void;
    up(welcome: Welcome): void;
    message(m: Decoded): void;
    /** A frame that could not be read. */
    badFrame(cause: unknown): void;
    /** The connection is gone; `final` if there will be no other. */
    down(err: RopewalkError, final: boolean): void;
    /** Asks for something that the node answers, whatever it is. */
    probe(): void;
}
export interface LinkConfig extends Target {
    transports: readonly TransportKind[];
    backoff: Backoff;
    connectTimeout: number;
    silence: number;
}
/** Keeps one connection to a node alive: connects, comes back, changes the transport. Messages are its owner's. */
export declare class Link {
    #private;
    /** While waiting: when the next try is. */
    retryAt: number | undefined;
    constructor(cfg: LinkConfig, owner: LinkOwner);
    get state(): State;
    /** The transport in use, or that of the last connection. */
    get kind(): TransportKind | undefined;
    /** Connects, and stays connected until close or until the node says not to come back. */
    run(): Promise<void>;
    /** Whether messages can be sent now. */
    get open(): boolean;
    /** Sends a frame; only while connected. */
    send(frame: string | Uint8Array<ArrayBuffer>): void;
    /** Bytes that wait for the network. */
    buffered(): number;
    /** Something changed that makes it worth to look at once: the network, the page, the person. */
    hint(): void;
    /** Gives up the connection and makes a new one at once. */
    restart(reason: string): void;
    /** Stops accepting work; {@link close} follows. */
    closing(): void;
    /** Ends the connection for good after what was sent, or after `timeout` milliseconds. */
    close(timeout: number): void;
}
