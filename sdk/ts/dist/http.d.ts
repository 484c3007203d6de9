import { type Sink, type Target, type Transport } from "./transport.js";
/** Connects by HTTP: messages from the node on one endless response, or by long-polling; messages to it by POST. */
export declare class HTTPTransport implements Transport {
    #private;
    constructor(kind: "stream" | "poll", url: URL, target: Target, sink: Sink);
    send(frame: string | Uint8Array): void;
    buffered(): number;
    close(): void;
    abort(): void;
}
