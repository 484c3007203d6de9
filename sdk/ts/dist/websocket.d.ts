import { type Sink, type Target, type Transport } from "./transport.js";
/** Connects by WebSocket. */
export declare function dialWebSocket(url: URL, target: Target, sink: Sink): Transport;
