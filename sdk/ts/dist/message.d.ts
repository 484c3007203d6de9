import { RopewalkError } from "./error.js";
/** The verbs of docs/reference/wire.md. */
export type Verb = "call" | "part" | "reply" | "error" | "cancel" | "send" | "serve" | "unserve" | "welcome" | "drain" | "nodes" | "session" | "get" | "subscribe" | "unsubscribe" | "publish" | "update" | "gap";
/** How the bytes of a message are laid out on the wire. */
export type Framing = "split" | "json";
/** The envelope of a message. Times are in seconds, as on the wire. */
export interface Envelope {
    verb: Verb | (string & {});
    to?: string | undefined;
    from?: string | undefined;
    mid?: string | undefined;
    rmid?: string | undefined;
    headers?: Readonly<Record<string, string>> | undefined;
    timeout?: number | undefined;
    type?: string | undefined;
    token?: string | undefined;
    /** Of a request the session of its caller, of a reply what is to become of that. */
    session?: unknown;
    strategy?: unknown;
    ack?: boolean | undefined;
    /** What the node calls a topic on this connection. */
    topic?: string | undefined;
    /** Names the count of offset. */
    epoch?: string | undefined;
    offset?: number | undefined;
    /** There is no content now, and the body is that of an error. */
    fault?: boolean | undefined;
    publisher?: unknown;
}
/** A message to be sent. */
export interface Message extends Envelope {
    body?: Encoded | undefined;
}
/** A message that arrived. */
export interface Decoded extends Envelope {
    /** A JSON value, Bytes for any other content, or undefined for no body. */
    body?: unknown;
    /** Why the body could not be read. */
    unreadable?: unknown;
}
/** A body as it travels: JSON text or bytes. It is made when a message is accepted, so later changes do not matter. */
export type Encoded = {
    readonly json: string;
} | {
    readonly raw: Bytes;
};
/**
 * Bytes that are not JSON, with their content type. Anything that takes a body takes a plain Uint8Array or
 * ArrayBuffer too and calls it `application/octet-stream`; a body that is not JSON arrives as Bytes.
 */
export type Bytes = Uint8Array<ArrayBuffer> & {
    readonly contentType: string;
};
/** Gives bytes, or the UTF-8 bytes of a text, a content type. Bytes are not copied. */
export declare function bytes(data: Uint8Array | ArrayBuffer | string, contentType?: string): Bytes;
export declare const encoder: TextEncoder;
/** What is wrong with a value of the application that JSON cannot say. */
export declare function notJSON(what: string, cause: unknown): RopewalkError;
/** Encodes a body; undefined is no body. It throws an error of code `invalid_input` for what JSON cannot say. */
export declare function encodeBody(body: unknown): Encoded | undefined;
/** Encodes a message: text for JSON frames, bytes for split ones. */
export declare function encode(m: Message, framing: Framing): string | Uint8Array<ArrayBuffer>;
/** Decodes a frame. It throws if the envelope cannot be read. */
export declare function decode(frame: string | Uint8Array, framing: Framing): Decoded;
export declare function text(data: string | Uint8Array): string;
export declare function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
export declare function fromBase64(s: string): Uint8Array<ArrayBuffer>;
