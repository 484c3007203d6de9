import { type Backoff } from "./close.js";
import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded, Message } from "./message.js";
import type { Update, Watch, Watched } from "./watch.js";
/** What topics need of the client. */
export interface TopicClient {
    readonly backoff: Backoff;
    /** The connection for new messages. */
    line(): Line | undefined;
    /** Sends a message of this connection; `take` gets the reply before anything that comes after it. */
    ask(m: Message, line: Line, take: (m: Decoded) => void): {
        readonly message: Message;
        readonly done: Promise<unknown>;
    };
    post(m: Message, line: Line): void;
    report(err: RopewalkError): void;
}
/** What a topic needs of all topics. */
export interface TopicHost {
    readonly client: TopicClient;
    /** Does something after this; in the order in which it was told so. */
    later(fn: () => void): void;
    /** Has the topic asked for, when there is a connection and its turn has come. */
    want(t: Topic): void;
    /** Updates of this name, on this connection, are for the topic. */
    name(t: Topic, line: Line, name: string): void;
    /** And not any more. */
    unname(line: Line, name: string): void;
    /** Nobody watches it. */
    drop(t: Topic): void;
}
/**
 * A topic that is watched, by one watch or several:
 *
 *     wanted ──► asked ──► live ──► (connection lost, or ended by the node) ──► wanted …
 *                  └─ refused ─► parked, or wanted again after a while
 *
 * What comes by another connection than the one that it was asked for on last does not count.
 */
export declare class Topic implements Watched {
    #private;
    /** By which the host knows it. */
    readonly key: string;
    readonly address: string;
    /** It is this client's own, and never asked for. */
    readonly local: boolean;
    events: boolean;
    live: boolean;
    constructor(key: string, address: string, params: unknown, delta: readonly string[] | undefined, host: TopicHost);
    /** Adds a watch. It is told of what there is, and then of all that comes. */
    join(w: Watch): void;
    leave(w: Watch): void;
    report(err: RopewalkError): void;
    shown(): Update | undefined;
    /** Asks for it by a connection. Resolves when that was answered. */
    ask(line: Line): Promise<void>;
    /** The node has something new of it. */
    take(m: Decoded): void;
    /** The node has ended the watch. */
    ended(m: Decoded, line: Line): void;
    /** A connection is gone. */
    lost(line: Line): void;
    /** The session, or the connection, is another one: what was refused may be allowed now. */
    again(): void;
    /** Nothing will come any more. */
    end(err: RopewalkError | undefined): void;
    /** Shows a content that is being published, until it is known what became of it. */
    overlay(content: unknown, published: Promise<unknown>): Promise<void>;
    /** Has a content that is nobody else's. */
    set(content: unknown, tell: boolean): void;
    /** Somebody watches it. */
    get watched(): boolean;
}
