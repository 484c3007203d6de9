import { Emitter } from "./emitter.js";
import type { Events, Incoming, NodeInfo } from "./events.js";
import { RopewalkError } from "./error.js";
import { type Gathered } from "./gather.js";
import { type Session, type SessionEvent } from "./identity.js";
import { type State } from "./link.js";
import type { CallOptions, ConnectOptions, GatherOptions, SendOptions, StreamOptions } from "./options.js";
import { Service, type Handler, type Route, type ServeOptions, type WatchRoute } from "./serve.js";
import { RopeStream } from "./stream.js";
import type { GetOptions, PublishOptions, Update, Watch, WatchOptions } from "./watch.js";
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
    /**
     * Watches a topic: `callback` is called with the content as it is, and with each that it becomes, or with each event.
     * Without a callback the watch is read by a loop. All watches of one topic share one subscription, and a new one gets
     * the last content at once. After a reconnect, at whatever node, it goes on where it was; of an event topic the watch
     * is told if something is lost. `onError` is the same as in the options.
     *
     * Addresses that begin with `app:` are topics of this client alone. Publishing `app:form#name` also sets the member
     * `name` of `app:form`, without telling those who watch that.
     */
    watch<T = unknown>(address: string, options?: WatchOptions, callback?: (update: Update<T>) => void, onError?: ((err: RopewalkError) => void) | undefined): Watch<T>;
    /** The newest content that a watch has brought, without asking the node; undefined if there is none. */
    peek<T = unknown>(address: string, options?: Pick<WatchOptions, "params">): Update<T> | undefined;
    /** Gets the content of a topic as it is now. It is asked again if the connection drops before the answer. */
    get<T = unknown>(address: string, options?: GetOptions): Promise<T>;
    /**
     * Makes `body` the content of a topic, or publishes it as an event; undefined deletes the content. It resolves when
     * that is done, with what the topic has to say to it: of a query, how many rows it has changed. It waits for a
     * connection as long as it takes, as sends do; the time-out counts from when it was sent.
     */
    publish<Out = unknown>(address: string, body: unknown, options?: PublishOptions): Promise<Out>;
    /** Offers a service: from now on its handlers answer for their patterns, also after a reconnect. */
    serve(name: string, handlers: Readonly<Record<string, Handler | Route | WatchRoute>>, options?: ServeOptions): Service;
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
