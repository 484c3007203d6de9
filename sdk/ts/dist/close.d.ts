import { RopewalkError } from "./error.js";
/** Whether to come back after a connection ended, by its close code. */
export type ComeBack = "now" | "later" | "no";
/** The table of docs/reference/wire.md, "Close codes". */
export declare function comeBack(code: number): ComeBack;
/** What the end of a connection means for those who waited for something on it. */
export declare function closeError(code: number, reason: string): RopewalkError;
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
export declare function wait(attempt: number, b: Backoff): number;
