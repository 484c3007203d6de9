import { RopewalkError } from "./error.js";

/** The verbs of docs/reference/wire.md. */
export type Verb =
  | "call" | "part" | "reply" | "error" | "cancel" | "send" | "serve" | "unserve" | "welcome" | "drain"
  | "nodes" | "session" | "get" | "subscribe" | "unsubscribe" | "publish" | "update" | "gap";

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
export type Encoded = { readonly json: string } | { readonly raw: Bytes };

/**
 * Bytes that are not JSON, with their content type. Anything that takes a body takes a plain Uint8Array or
 * ArrayBuffer too and calls it `application/octet-stream`; a body that is not JSON arrives as Bytes.
 */
export type Bytes = Uint8Array<ArrayBuffer> & { readonly contentType: string };

/** Gives bytes, or the UTF-8 bytes of a text, a content type. Bytes are not copied. */
export function bytes(data: Uint8Array | ArrayBuffer | string, contentType = "application/octet-stream"): Bytes {
  const view = typeof data === "string" ? encoder.encode(data)
    : data instanceof ArrayBuffer ? new Uint8Array(data)
      : new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return Object.defineProperty(view, "contentType", { value: contentType }) as Bytes;
}

export const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const lineFeed = 10;

// Left: our field; right: its short name on the wire, which is what we write. The long names of UMF are read too.
const fields = [
  ["verb", "vrb"], ["to", "to"], ["from", "frm"], ["mid", "mid"], ["rmid", "rmid"], ["headers", "hdr"],
  ["timeout", "tmo"], ["type", "typ"], ["token", "aut"], ["session", "ses"], ["strategy", "str"], ["ack", "ack"],
  ["topic", "tpc"], ["epoch", "epo"], ["offset", "off"], ["fault", "flt"], ["publisher", "pub"],
] as const;
const longNames: Record<string, string> = { aut: "authorization", ack: "acknowledge", ses: "ses" };

/** What is wrong with a value of the application that JSON cannot say. */
export function notJSON(what: string, cause: unknown): RopewalkError {
  return new RopewalkError("invalid_input", `${what} is not JSON: ${(cause as Error).message}`, { cause });
}

/** Encodes a body; undefined is no body. It throws an error of code `invalid_input` for what JSON cannot say. */
export function encodeBody(body: unknown): Encoded | undefined {
  if (body instanceof Uint8Array || body instanceof ArrayBuffer) {
    return { raw: bytes(new Uint8Array(body).slice(), (body as Partial<Bytes>).contentType) };
  }
  let json: string | undefined;
  try {
    json = JSON.stringify(body) as string | undefined;
    if (!json && body !== undefined) throw new TypeError(`it is a ${typeof body}`); // no body may mean to delete
  } catch (cause) {
    throw notJSON("the body", cause);
  }
  return json === undefined ? undefined : { json };
}

/** Encodes a message: text for JSON frames, bytes for split ones. */
export function encode(m: Message, framing: Framing): string | Uint8Array<ArrayBuffer> {
  const out: Record<string, unknown> = {};
  for (const [ours, short] of fields) {
    if (m[ours] !== undefined) out[short] = m[ours];
  }
  const { body } = m;
  if (body && "raw" in body) out["cty"] = body.raw.contentType;
  const head = JSON.stringify(out);
  if (framing === "json") {
    if (!body) return head;
    return `${head.slice(0, -1)},"bdy":${"json" in body ? body.json : JSON.stringify(toBase64(body.raw))}}`;
  }
  if (!body) return encoder.encode(head);
  return "json" in body ? encoder.encode(head + "\n" + body.json) : joined([encoder.encode(head + "\n"), body.raw]);
}

/** Decodes a frame. It throws if the envelope cannot be read. */
export function decode(frame: string | Uint8Array, framing: Framing): Decoded {
  let head = frame;
  let body: string | Uint8Array | undefined;
  if (framing === "split") {
    const end = typeof frame === "string" ? frame.indexOf("\n") : frame.indexOf(lineFeed);
    if (end >= 0) {
      head = typeof frame === "string" ? frame.slice(0, end) : frame.subarray(0, end);
      body = typeof frame === "string" ? frame.slice(end + 1) : frame.subarray(end + 1);
    }
  }
  const env = JSON.parse(text(head)) as Record<string, unknown>;
  if (typeof env !== "object" || env === null || Array.isArray(env)) throw new SyntaxError("not an object");
  const m = {} as Decoded;
  for (const [ours, short] of fields) {
    const v = env[short] ?? env[longNames[short] ?? ours];
    if (v != null) m[ours] = v as never;
  }
  for (const id of ["mid", "rmid"] as const) {
    if (m[id] !== undefined) m[id] = String(m[id]);
  }
  m.verb ??= m.rmid === undefined ? "call" : "reply";
  const type = (env["cty"] ?? env["contentType"]) as string | undefined;
  try {
    m.body = framing === "split" ? splitBody(body, type) : jsonBody(env, type);
  } catch (err) {
    m.unreadable = err;
  }
  return m;
}

function splitBody(body: string | Uint8Array | undefined, type: string | undefined): unknown {
  if (body === undefined) return undefined;
  if (type != null) return bytes(body, type);
  return body.length === 0 ? undefined : JSON.parse(text(body)) as unknown;
}

function jsonBody(env: Record<string, unknown>, type: string | undefined): unknown {
  const body = "bdy" in env ? env["bdy"] : env["body"];
  return type != null && body !== undefined ? bytes(fromBase64(String(body)), type) : body;
}

export function text(data: string | Uint8Array): string {
  return typeof data === "string" ? data : decoder.decode(data);
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(pieces.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of pieces) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function toBase64(data: Uint8Array): string {
  let s = "";
  // In slices: String.fromCharCode takes its input as arguments, and their number is limited.
  for (let i = 0; i < data.length; i += 8192) s += String.fromCharCode(...data.subarray(i, i + 8192));
  return btoa(s);
}

export function fromBase64(s: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
}
