import { Emitter } from "./emitter.js";
import { RopewalkError } from "./error.js";
import { type Gathered } from "./gather.js";
import { type Session, type SessionEvent } from "./identity.js";
import { type State } from "./link.js";
import type { CallOptions, ConnectOptions, GatherOptions, SendOptions, StreamOptions } from "./options.js";
import { Service, type Handler, type Route, type ServeOptions } from "./serve.js";
import { RopeStream } from "./stream.js";
/** A message that somebody sent to this client. */
export interface Incoming<T = unknown> {
    readonly body: T;
    /** The address of the sender; an answer can be sent there. */
    readonly from: string;
    readonly to: string;
    /** The sender's id of the message. */
    readonly mid: string;
    readonly type: string;
    readonly headers: Readonly<Record<string, string>>;
}
/** A node, as the client knows it. */
export interface NodeInfo {
    readonly id: string;
    readonly name: string;
}
/** The events of a client. */
export interface Events {
    /** The state changed. */
    state: State;
    /** There is a connection to another node than before, or to the first; then the client has another id too. */
    node: NodeInfo;
    /** Somebody sent this client a message. */
    message: Incoming;
    /** Something became of the client's session. */
    session: SessionEvent;
    /**
     * Something failed that no promise tells: the connection, a service that the node refused, a handler with a bug.
     * Without a listener it goes to the console.
     */
    error: RopewalkError;
}
/** A client of a Ropewalk node; {@link connect} makes one. All its methods may be called at any time, in any state. */
export declare class Rope extends Emitter<Events> {
    #private;
    /** The id that the node gave this client; "" before the first connection. A reconnect brings a new one. */
    get id(): string;
    /** The address at which others send to this client; "" before the first connection. */
    get address(): string;
    /** What the connection is doing. */
    get state(): State;
    /** When the next try to connect is, in milliseconds of Date.now(); undefined unless the state is `waiting`. */
    get retryAt(): number | undefined;
    /** The node that this client is or was connected to. */
    get node(): NodeInfo;
    /** The transport of the present or last connection. */
    get transport(): "websocket" | "stream" | "poll" | undefined;
    /** Who the client is; undefined: nobody. While there is no connection it is what it was on the last. */
    get session(): Session | undefined;
    /** Opens the session on another connection, so it is as secret as a password; "" if the client knows none. */
    get token(): string;
    /** Has `fn` called at each change of the session; returns what ends that. */
    onSession(fn: (event: SessionEvent) => void): () => void;
    /**
     * Has the client be who a token says, on this connection and later ones. If the node refuses it, with
     * `unauthenticated`, nothing changes.
     */
    openSession(token: string): Promise<Session | undefined>;
    /** Has the session last longer, as long as the node allows. */
    refreshSession(): Promise<Session | undefined>;
    /**
     * Logs out; with `everywhere` all sessions of the same subject end, on all nodes. The client is nobody from then on,
     * also if the option token is a function, until it is logged in again.
     */
    closeSession({ everywhere }?: {
        everywhere?: boolean | undefined;
    }): Promise<void>;
    /** Resolves when there is a connection; rejects when there will be none. Nothing needs to wait for it. */
    ready(): Promise<void>;
    /** Calls a path and resolves with the body of the reply. */
    call<Out = unknown>(address: string, body?: unknown, options?: CallOptions): Promise<Out>;
    /** Calls a path and reads its parts one by one. What is wrong with the call the loop and the reply tell. */
    stream<Part = unknown, Out = unknown>(address: string, body?: unknown, options?: StreamOptions): RopeStream<Part, Out>;
    /**
     * Calls every server of an address, which may have wildcards, and resolves with all their answers. When its time is
     * over it resolves with those that there are.
     */
    gather<Out = unknown>(address: string, body?: unknown, options?: GatherOptions<Out>): Promise<Gathered<Out>>;
    /** Sends a message. Resolves when it is sent, or with `ack` when the node has handed it over. */
    send(address: string, body?: unknown, options?: SendOptions): Promise<void>;
    /** Has `fn` called with each message that somebody sends to this client; returns what ends that. */
    onMessage<T = unknown>(fn: (message: Incoming<T>) => void): () => void;
    /** Offers a service: from now on its handlers answer for their patterns, also after a reconnect. */
    serve(name: string, handlers: Readonly<Record<string, Handler | Route>>, options?: ServeOptions): Service;
    /** Drops the connection, if there is one, and connects again at once. */
    reconnect(): void;
    /**
     * Ends the connection for good: services finish what they run, messages that wait are sent, both for at most
     * `timeout` milliseconds (default 5,000) and only if there is a connection. Calls that wait for an answer are
     * canceled. It resolves when everything is over.
     */
    close({ timeout }?: {
        timeout?: number | undefined;
    }): Promise<void>;
}
/**
 * Connects to a node. It returns at once and connects in the background; calls and messages wait for the connection.
 * The URL begins with ws, wss, http or https; in a browser it may be relative, and without one the page's own host
 * is meant. Of several, for nodes of one mesh, the first that answers is taken.
 */
export declare function connect(url?: string | URL | readonly (string | URL)[], options?: ConnectOptions): Rope;
