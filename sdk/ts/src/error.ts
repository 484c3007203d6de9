/** The codes of docs/reference/errors.md. A node may know more of them than this version of the client. */
export type Code =
  | "bad_frame" | "bad_message" | "bad_address" | "unknown_verb" | "invalid_input" | "too_large" | "duplicate_id"
  | "unauthenticated" | "forbidden" | "no_service" | "no_client" | "not_found" | "conflict" | "revoked"
  | "bad_content" | "script_failed" | "limit_exceeded" | "source_down" | "storage_full"
  | "service_down" | "service_lost" | "node_lost" | "mesh_split" | "connection_lost" | "deadline_exceeded"
  | "canceled" | "no_quorum" | "not_ready"
  | "rate_limited" | "overloaded" | "too_many_calls" | "too_many_routes" | "too_many_topics"
  | "slow_consumer" | "circuit_open" | "shutting_down"
  | "internal" | "unimplemented";

/** What an error message carries. Times are in seconds, as everywhere on the wire. */
export interface WireError {
  code: string;
  message: string;
  hint?: string;
  path?: string;
  details?: unknown;
  retryable?: boolean;
  retryAfter?: number;
}

/** What {@link RopewalkError} knows beside its code and message. */
export interface ErrorInfo {
  hint?: string | undefined;
  path?: string | undefined;
  details?: unknown;
  retryable?: boolean | undefined;
  /** Milliseconds. */
  retryAfter?: number | undefined;
  remote?: boolean | undefined;
  cause?: unknown;
}

/**
 * What every failed operation rejects with. A handler of a service throws one to choose the code that its caller
 * sees; anything else that a handler throws reaches the caller as `internal`, without its text.
 */
export class RopewalkError extends Error {
  override readonly name = "RopewalkError";
  /** One word that says what went wrong: the same in Go, on the wire and here. */
  readonly code: Code | (string & {});
  /** What to do about it, one sentence; may be empty. */
  readonly hint: string;
  /** The field of the input, or the address, that is at fault; may be empty. */
  readonly path: string;
  /** For programs. */
  readonly details: unknown;
  /** The same request may succeed later, and was surely not executed or may be repeated safely. */
  readonly retryable: boolean;
  /** How long to wait at least before trying again, in milliseconds; 0 if unknown. */
  readonly retryAfter: number;
  /** Made by the node or a service; false if it was made here. */
  readonly remote: boolean;

  constructor(code: Code | (string & {}), message: string, info: ErrorInfo = {}) {
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
export function fromWire(body: unknown): RopewalkError {
  const e = (typeof body === "object" && body !== null ? body : {}) as Partial<WireError>;
  const text = (v: unknown): string => (typeof v === "string" ? v : "");
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
export function toWire(err: unknown): WireError {
  if (!(err instanceof RopewalkError)) return { code: "internal", message: "the service failed" };
  const out: WireError = { code: err.code, message: err.message };
  if (err.hint) out.hint = err.hint;
  if (err.path) out.path = err.path;
  if (err.details !== undefined) out.details = err.details;
  if (err.retryable) out.retryable = true;
  if (err.retryAfter) out.retryAfter = err.retryAfter / 1000;
  return out;
}

/** Makes the error of an aborted signal: a time-out if `AbortSignal.timeout` aborted it, else `canceled`. */
export function fromAbort(reason: unknown): RopewalkError {
  if (reason instanceof RopewalkError) return reason;
  return (reason as Error | undefined)?.name === "TimeoutError"
    ? new RopewalkError("deadline_exceeded", "no answer in time", { cause: reason })
    : new RopewalkError("canceled", "canceled by the caller", { cause: reason });
}
