/**
 * What every failed operation rejects with. A handler of a service throws one to choose the code that its caller
 * sees; anything else that a handler throws reaches the caller as `internal`, without its text.
 */
export class RopewalkError extends Error {
    name = "RopewalkError";
    /** One word that says what went wrong: the same in Go, on the wire and here. */
    code;
    /** What to do about it, one sentence; may be empty. */
    hint;
    /** The field of the input, or the address, that is at fault; may be empty. */
    path;
    /** For programs. */
    details;
    /** The same request may succeed later, and was surely not executed or may be repeated safely. */
    retryable;
    /** How long to wait at least before trying again, in milliseconds; 0 if unknown. */
    retryAfter;
    /** Made by the node or a service; false if it was made here. */
    remote;
    constructor(code, message, info = {}) {
        super(message, "cause" in info ? { cause: info.cause } : undefined);
        this.code = code;
        this.hint = info.hint ?? "";
        this.path = info.path ?? "";
        this.details = info.details;
        this.retryable = info.retryable ?? false;
        this.retryAfter = info.retryAfter ?? 0;
        this.remote = info.remote ?? false;
    }
}
/** Makes an error of a body that came from the other end, whatever is in it. */
export function fromWire(body) {
    const e = (typeof body === "object" && body !== null ? body : {});
    const text = (v) => (typeof v === "string" ? v : "");
    return new RopewalkError(text(e.code) || "internal", text(e.message) || "an error without a message", {
        hint: text(e.hint),
        path: text(e.path),
        details: e.details,
        retryable: e.retryable === true,
        retryAfter: typeof e.retryAfter === "number" ? e.retryAfter * 1000 : 0,
        remote: true,
    });
}
/** What of an error may be told to the other end. */
export function toWire(err) {
    if (!(err instanceof RopewalkError))
        return { code: "internal", message: "the service failed" };
    const out = { code: err.code, message: err.message };
    if (err.hint)
        out.hint = err.hint;
    if (err.path)
        out.path = err.path;
    if (err.details !== undefined)
        out.details = err.details;
    if (err.retryable)
        out.retryable = true;
    if (err.retryAfter)
        out.retryAfter = err.retryAfter / 1000;
    return out;
}
/** Makes the error of an aborted signal: a time-out if `AbortSignal.timeout` aborted it, else `canceled`. */
export function fromAbort(reason) {
    if (reason instanceof RopewalkError)
        return reason;
    return reason?.name === "TimeoutError"
        ? new RopewalkError("deadline_exceeded", "no answer in time", { cause: reason })
        : new RopewalkError("canceled", "canceled by the caller", { cause: reason });
}
