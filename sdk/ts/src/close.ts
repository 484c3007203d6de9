import { RopewalkError } from "./error.js";

/** Whether to come back after a connection ended, by its close code. */
export type ComeBack = "now" | "later" | "no";

/** The table of docs/reference/wire.md, "Close codes". */
export function comeBack(code: number): ComeBack {
  if (code === 1001) return "now";
  if (code === 1000 || code === 1002 || code === 1003 || code === 1007 || code === 1009) return "no";
  return code >= 4100 && code <= 4199 ? "no" : "later";
}

/** What the end of a connection means for those who waited for something on it. */
export function closeError(code: number, reason: string): RopewalkError {
  const what = reason ? `${reason} (${code})` : `close code ${code}`;
  switch (code) {
    case 4101:
      return new RopewalkError("unauthenticated", `the node refused the connection: ${what}`,
        { hint: "Give a valid token to connect.", remote: true });
    case 4102:
      return new RopewalkError("forbidden", `the node refused the connection: ${what}`, { remote: true });
    case 1009:
      return new RopewalkError("too_large", `a frame was too large for the node: ${what}`, { remote: true });
    default:
      return new RopewalkError("connection_lost", `the connection went away: ${what}`,
        { hint: "The client connects again by itself. What was under way may have been executed; what is idempotent is sent again." });
  }
}

/** How long to wait between tries to connect, in milliseconds. */
export interface Backoff {
  /** Upper bound of the first wait; doubles with each try. Default 250. */
  base?: number;
  /** Upper bound of every wait. Default 30,000. */
  max?: number;
}

/**
 * Full jitter: anything between nothing and the bound, so that the clients of a node that was restarted do not come
 * back all at once.
 */
export function wait(attempt: number, b: Backoff): number {
  return Math.random() * Math.min(b.max ?? 30_000, (b.base ?? 250) * 2 ** Math.min(attempt, 30));
}
