import { fromWire, type RopewalkError } from "./error.js";
import { bytes, fromBase64 } from "./message.js";

/** Who was asked. */
export interface Asked {
  /** Id of the server. */
  server: string;
  /** Name of its node, if that is not the one that this client is connected to. */
  node?: string;
  name: string;
  path: string;
}

/** What one server answered: `error` is set if it failed, else `body`, which may be undefined. */
export interface Answer<T = unknown> extends Asked {
  /** Milliseconds. */
  took: number;
  body?: T;
  error?: RopewalkError;
}

/** What a gather gives. */
export interface Gathered<T = unknown> {
  /** In the order in which they came. */
  answers: Answer<T>[];
  /** Who had not answered when the gather ended. */
  missing: Asked[];
  /** How many were asked. */
  servers: number;
  /** The bodies of the good answers. */
  values: T[];
}

/** How the wire says it. */
export interface WireAnswer extends Asked {
  took?: number;
  body?: unknown;
  contentType?: string;
  error?: unknown;
}

/** Makes a result of the reply to a gather. */
export function gathered<T>(body: unknown): Gathered<T> {
  const b = (body ?? {}) as { answers?: WireAnswer[]; missing?: Asked[]; servers?: number };
  const answers = (b.answers ?? []).map((a) => answer<T>(a));
  return {
    answers,
    missing: b.missing ?? [],
    servers: b.servers ?? answers.length,
    values: answers.filter((a) => !a.error).map((a) => a.body as T),
  };
}

/** Makes an answer of what came for it. */
export function answer<T>(a: WireAnswer): Answer<T> {
  const { server, node, name, path } = a;
  const out: Answer<T> = { server, name, path, took: (a.took ?? 0) * 1000 };
  if (node) out.node = node;
  if (a.error !== undefined) out.error = fromWire(a.error);
  else if (a.contentType) out.body = bytes(fromBase64(String(a.body)), a.contentType) as T;
  else out.body = a.body as T;
  return out;
}
