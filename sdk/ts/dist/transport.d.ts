import type { RopewalkError } from "./error.js";
import type { Framing } from "./message.js";
/** The ways to a node, best first. */
export type TransportKind = "websocket" | "stream" | "poll";
/** One connection, as the link sees it. */
export interface Transport {
    /** Takes a frame; frames go out in order. */
    send(frame: string | Uint8Array<ArrayBuffer>): void;
    /** Bytes taken and not yet handed to the network. */
    buffered(): number;
    /** Ends the connection after what was sent; the sink is told when it is over. */
    close(): void;
    /** Drops the connection as it is. */
    abort(): void;
}
/** What a transport tells the link. */
export interface Sink {
    frame(data: string | Uint8Array): void;
    /** Something arrived that is no frame: the other end is alive. */
    heard(): void;
    /** Once, at the end. */
    closed(end: End): void;
}
/** How a connection ended. */
export interface End {
    /** A close code of WebSocket; 1006 if there was none. */
    code: number;
    reason: string;
    error?: RopewalkError | undefined;
    /** Not even an HTTP request came through, so other transports over HTTP need not be tried. */
    unreachable?: boolean;
}
/** What a transport needs to connect. */
export interface Target {
    framing: Framing;
    WebSocket: WebSocketLike | undefined;
    fetch: typeof fetch;
}
/** The constructor of WebSocket: the browser's, Node's from 22 on, or that of the package `ws`. */
export type WebSocketLike = new (url: string, protocols: string[]) => SocketLike;
/** The part of a WebSocket that the client uses. */
export interface SocketLike {
    binaryType: string;
    readonly readyState?: number;
    readonly bufferedAmount: number;
    onmessage: ((event: {
        data: unknown;
    } & any) => void) | null;
    onclose: ((event: {
        code: number;
        reason: string;
    } & any) => void) | null;
    onerror: ((event: any) => void) | null;
    send(data: any): void;
    close(code?: number, reason?: string): void;
}
/** The same place by another scheme: `http` or `ws`, with `s` if it had one. */
export declare function withScheme(url: URL, scheme: "http" | "ws"): URL;
