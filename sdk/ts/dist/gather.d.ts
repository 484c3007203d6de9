import { type RopewalkError } from "./error.js";
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
export declare function gathered<T>(body: unknown): Gathered<T>;
/** Makes an answer of what came for it. */
export declare function answer<T>(a: WireAnswer): Answer<T>;
