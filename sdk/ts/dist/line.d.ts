import { type Decoded } from "./message.js";
import type { Place } from "./roster.js";
import type { End, Sink, Target, TransportKind } from "./transport.js";
/** What a line tells its owner. */
export interface LineOwner {
    /** Says who the client is, before anything else is sent; undefined: there is nothing to say. */
    greet(line: Line): Promise<() => void> | undefined;
    /** The node's first message. */
    welcome(line: Line, m: Decoded): void;
    message(line: Line, m: Decoded): void;
    /** A frame that could not be read. */
    badFrame(cause: unknown): void;
    /** Asks for something that the node answers, whatever it is. */
    probe(line: Line): void;
}
/** One connection to a node, from the first byte to its end. */
export declare class Line implements Sink {
    #private;
    /** Tells it from all others. */
    readonly id: number;
    readonly kind: TransportKind;
    readonly place: Place;
    /** The welcome has come. */
    welcomed: boolean;
    /** What is to be done when the connection is in use, after the node has heard who the client is. */
    greeted: (() => void) | undefined;
    /** Resolves when the welcome has come, or at the end. */
    readonly opened: Promise<void>;
    /** Resolves at the end. */
    readonly ended: Promise<End>;
    /** Resolves when new messages had better go elsewhere. */
    readonly moved: Promise<void>;
    /** When the welcome came; undefined if it never did. */
    since: number | undefined;
    /** The id of the node; "" before the welcome. */
    node: string;
    /** Messages can be sent. */
    open: boolean;
    /** The node starts nothing new here. */
    draining: boolean;
    constructor(kind: TransportKind, place: Place, target: Target & {
        silence: number;
    }, timeout: number, owner: LineOwner);
    /** Sends a frame; only while it is open. */
    send(frame: string | Uint8Array<ArrayBuffer>): void;
    /** Sends a call before the connection is in use, and resolves with the answer. Without one in time it is dropped. */
    ask(frame: string | Uint8Array<ArrayBuffer>, mid: string, timeout: number): Promise<Decoded>;
    /** Bytes that wait for the network. */
    buffered(): number;
    /** Something that was sent, or came, by this connection will be answered by it. */
    hold(): void;
    /** And was. */
    free(): void;
    /** Has new messages go elsewhere. */
    move(): void;
    /** Ends it as soon as nothing is under way on it. */
    leave(): void;
    /** Ends it after what was sent, or after `timeout` milliseconds. */
    bye(timeout: number): void;
    /** Ends it at once. */
    drop(end: End): void;
    /** Sees whether the node is still there. */
    probe(): void;
    frame(data: string | Uint8Array): void;
    heard(): void;
    closed(end: End): void;
}
