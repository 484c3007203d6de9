import type { Backoff } from "./close.js";
import type { Answer } from "./gather.js";
import type { TokenStore } from "./identity.js";
import type { Framing } from "./message.js";
import type { TransportKind, WebSocketLike } from "./transport.js";
/** Options of connect. Times are in milliseconds. */
export interface ConnectOptions {
    /**
     * Who the client is: a token, or another credential that the nodes know. It goes ahead of everything else on each
     * connection, in a message and never in a URL; a token that a node gives instead replaces it. A function is asked when
     * the client connects and has no token of the session that it had, when the node refuses what it gave before, and when
     * the time of a session is over; if it fails, the client tries again as if the node were not there. It may take its
     * time, such as to ask a person, and is not asked again meanwhile.
     */
    token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
    /** A cookie of the page says who the client is, so the node is asked who that is. Default false. */
    cookie?: boolean | undefined;
    /** Whether to refresh the session when the node warns that it ends soon. Default true. */
    refresh?: boolean | undefined;
    /**
     * Where the token is kept, so that the session goes on when the page is loaded again: `session`, until the tab is
     * closed; `local`, until it is logged out, in all tabs; one whose token is over goes on with what another has kept
     * since. Any script of the page's origin can read it there, also one that does not belong, so prefer a cookie that
     * scripts cannot see. Default `none`: nowhere but in memory.
     */
    store?: TokenStore | undefined;
    /** How messages are laid out: `split` (the default), or `json`, which is readable in a browser's developer tools. */
    framing?: Framing | undefined;
    /** The transports to use, best first. Default: `websocket`, `stream`, `poll`. */
    transports?: readonly TransportKind[] | undefined;
    /**
     * The WebSocket to use. Default: the global one. Node 20 has none; give the one of the package `ws`, or the client
     * uses HTTP.
     */
    WebSocket?: WebSocketLike | undefined;
    /** The fetch to use. Default: the global one. */
    fetch?: typeof fetch | undefined;
    /**
     * Whether to go where a node says that others are, when it is lost or drains. Default true; false for nodes behind a
     * load balancer, whose own addresses clients cannot reach.
     */
    follow?: boolean | undefined;
    /** How long to wait between tries to connect. */
    backoff?: Backoff | undefined;
    /**
     * How long a try to connect may take, until the node's welcome, and then until it has said who the client is; not
     * counted is the time that the function `token` takes. Default 10,000.
     */
    connectTimeout?: number | undefined;
    /** After how long without a sign of life the node is asked for one. Default 60,000. */
    silence?: number | undefined;
    /** How many messages may wait to be sent, above all while offline. Default 1,024; together at most 16 MiB. */
    queue?: number | undefined;
    /** How long a call may take if it does not say. Default 30,000. */
    timeout?: number | undefined;
}
/** How to choose among the servers of an address; see "Strategies" in docs/reference/wire.md. */
export type Strategy = "first" | "round-robin" | "random" | "least-busy" | "prefer-local" | "prefer-zone" | ({
    by: "sticky";
    key: string;
} & Candidates) | ({
    by: "instance";
    instance: string;
} & Candidates) | (string & {}) | ({
    by?: string;
    [field: string]: unknown;
} & Candidates);
/** Which servers come into question at all. */
export interface Candidates {
    /** The servers of all nodes (the default), of the node that the caller is connected to, or of that node's zone. */
    scope?: "mesh" | "node" | "zone" | undefined;
    /** A range of semantic versions, such as `^1.2`, `>=1.2 <2` or `1.x`. */
    version?: string | undefined;
    /** It does no harm to execute the call twice, so a node may repeat it when its server is lost. */
    idempotent?: boolean | undefined;
}
/** What every message may have. */
export interface MessageOptions {
    /** Passed on as they are. `traceparent` and `tracestate` are W3C trace context. */
    headers?: Readonly<Record<string, string>> | undefined;
    /** A word for the application. */
    type?: string | undefined;
    /** Sent along, for a middleware `secret`. It does not say who the client is: that is the option `token` of connect. */
    authorization?: string | undefined;
    /** Takes the message back: the promise rejects with `canceled`, and the node is told. */
    signal?: AbortSignal | undefined;
    /** How long to wait for the answer, in milliseconds, with the time spent waiting for a connection. */
    timeout?: number | undefined;
    /** Reject with `not_ready` instead of waiting when there is no connection. */
    online?: boolean | undefined;
    /**
     * It does no harm to do it twice. If the connection drops before the answer, it is sent again with the same id
     * instead of failing with `connection_lost`, as long as its time is not over; and nodes may repeat it when they lose
     * its server.
     */
    idempotent?: boolean | undefined;
}
/** Options of a call. */
export interface CallOptions extends MessageOptions {
    strategy?: Strategy | undefined;
    /** Called with each part before the reply. Without it parts are dropped. */
    onPart?: ((part: unknown) => void) | undefined;
}
/** Options of a stream. */
export interface StreamOptions extends MessageOptions {
    strategy?: Strategy | undefined;
    /** How many parts may wait to be read; one more ends the stream with `slow_consumer`. Default 1,024. */
    buffer?: number | undefined;
}
/** Options of a gather. */
export interface GatherOptions<Out = unknown> extends MessageOptions {
    /** `all` (the default): every server. `majority`: end when more than half gave the same answer. */
    strategy?: "all" | "majority" | undefined;
    /** Fewer good answers than that is the error `no_quorum`. */
    quorum?: number | undefined;
    /** End after so many good answers and cancel the rest. */
    first?: number | undefined;
    /** Called with each answer as it comes. */
    onAnswer?: ((answer: Answer<Out>) => void) | undefined;
}
/** Options of a send. A send without `ack` and `timeout` waits for a connection as long as it takes. */
export interface SendOptions extends MessageOptions {
    /** Wait until the node has handed the message to its receiver. */
    ack?: boolean | undefined;
}
