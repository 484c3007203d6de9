import { RopewalkError } from "./error.js";
/** Gives bytes, or the UTF-8 bytes of a text, a content type. Bytes are not copied. */
export function bytes(data, contentType = "application/octet-stream") {
    const view = typeof data === "string" ? encoder.encode(data)
        : data instanceof ArrayBuffer ? new Uint8Array(data)
            : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return Object.defineProperty(view, "contentType", { value: contentType });
}
export const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const lineFeed = 10;
// Left: our field; right: its short name on the wire, which is what we write. The long names of UMF are read too.
const fields = [
    ["verb", "vrb"], ["to", "to"], ["from", "frm"], ["mid", "mid"], ["rmid", "rmid"], ["headers", "hdr"],
    ["timeout", "tmo"], ["type", "typ"], ["token", "aut"], ["session", "ses"], ["strategy", "str"], ["ack", "ack"],
    ["topic", "tpc"], ["epoch", "epo"], ["offset", "off"], ["fault", "flt"], ["publisher", "pub"],
];
const longNames = { aut: "authorization", ack: "acknowledge", ses: "ses" };
/** What is wrong with a value of the application that JSON cannot say. */
export function notJSON(what, cause) {
    return new RopewalkError("invalid_input", `${what} is not JSON: ${cause.message}`, { cause });
}
/** Encodes a body; undefined is no body. It throws an error of code `invalid_input` for what JSON cannot say. */
export function encodeBody(body) {
    if (body instanceof Uint8Array || body instanceof ArrayBuffer) {
        return { raw: bytes(new Uint8Array(body).slice(), body.contentType) };
    }
    let json;
    try {
        json = JSON.stringify(body);
        if (!json && body !== undefined)
            throw new TypeError(`it is a ${typeof body}`); // no body may mean to delete
    }
    catch (cause) {
        throw notJSON("the body", cause);
    }
    return json === undefined ? undefined : { json };
}
/** Encodes a message: text for JSON frames, bytes for split ones. */
export function encode(m, framing) {
    const out = {};
    for (const [ours, short] of fields) {
        if (m[ours] !== undefined)
            out[short] = m[ours];
    }
    const { body } = m;
    if (body && "raw" in body)
        out["cty"] = body.raw.contentType;
    const head = JSON.stringify(out);
    if (framing === "json") {
        if (!body)
            return head;
        return `${head.slice(0, -1)},"bdy":${"json" in body ? body.json : JSON.stringify(toBase64(body.raw))}}`;
    }
    if (!body)
        return encoder.encode(head);
    return "json" in body ? encoder.encode(head + "\n" + body.json) : joined([encoder.encode(head + "\n"), body.raw]);
}
/** Decodes a frame. It throws if the envelope cannot be read. */
export function decode(frame, framing) {
    let head = frame;
    let body;
    if (framing === "split") {
        const end = typeof frame === "string" ? frame.indexOf("\n") : frame.indexOf(lineFeed);
        if (end >= 0) {
            head = typeof frame === "string" ? frame.slice(0, end) : frame.subarray(0, end);
            body = typeof frame === "string" ? frame.slice(end + 1) : frame.subarray(end + 1);
        }
    }
    const env = JSON.parse(text(head));
    if (typeof env !== "object" || env === null || Array.isArray(env))
        throw new SyntaxError("not an object");
    const m = {};
    for (const [ours, short] of fields) {
        const v = env[short] ?? env[longNames[short] ?? ours];
        if (v != null)
            m[ours] = v;
    }
    for (const id of ["mid", "rmid"]) {
        if (m[id] !== undefined)
            m[id] = String(m[id]);
    }
    m.verb ??= m.rmid === undefined ? "call" : "reply";
    const type = (env["cty"] ?? env["contentType"]);
    try {
        m.body = framing === "split" ? splitBody(body, type) : jsonBody(env, type);
    }
    catch (err) {
        m.unreadable = err;
    }
    return m;
}
function splitBody(body, type) {
    if (body === undefined)
        return undefined;
    if (type != null)
        return bytes(body, type);
    return body.length === 0 ? undefined : JSON.parse(text(body));
}
function jsonBody(env, type) {
    const body = "bdy" in env ? env["bdy"] : env["body"];
    return type != null && body !== undefined ? bytes(fromBase64(String(body)), type) : body;
}
export function text(data) {
    return typeof data === "string" ? data : decoder.decode(data);
}
export function joined(pieces) {
    const out = new Uint8Array(pieces.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const p of pieces) {
        out.set(p, at);
        at += p.length;
    }
    return out;
}
function toBase64(data) {
    let s = "";
    // In slices: String.fromCharCode takes its input as arguments, and their number is limited.
    for (let i = 0; i < data.length; i += 8192)
        s += String.fromCharCode(...data.subarray(i, i + 8192));
    return btoa(s);
}
export function fromBase64(s) {
    return Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
}
