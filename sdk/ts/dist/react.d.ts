/**
 * React hooks over a client. They take it from a {@link RopeProvider}.
 *
 * @packageDocumentation
 */
import { type ReactElement, type ReactNode } from "react";
import type { CallOptions, Incoming, Rope, RopewalkError, Session, State, StreamOptions } from "./index.js";
/** Gives a client to the hooks below it. Who made the client closes it. */
export declare function RopeProvider(props: {
    rope: Rope;
    children?: ReactNode;
}): ReactElement;
/** The client. */
export declare function useRope(): Rope;
/** What {@link useConnection} tells. */
export interface Connection {
    state: State;
    /** The id of the client; "" before the first connection. */
    id: string;
    /** The node that it is, or was last, connected to. */
    node: {
        readonly id: string;
        readonly name: string;
    };
    /** The last error that the client told of as an event. */
    error: RopewalkError | undefined;
}
/** The state of the connection, kept up to date. */
export declare function useConnection(): Connection;
/** Who the client is, kept up to date; undefined: nobody. */
export declare function useSession(): Session | undefined;
/** What {@link useCall} tells. */
export interface CallState<Out> {
    /** The last reply; it stays while the next call is under way. */
    data: Out | undefined;
    error: RopewalkError | undefined;
    loading: boolean;
    /** Calls again. */
    run: () => void;
}
/** Options of {@link useCall}. */
export interface UseCallOptions extends Omit<CallOptions, "signal"> {
    /** Do not call; what is under way is canceled. */
    skip?: boolean | undefined;
}
/**
 * Calls an address when the component appears and whenever the address or the input changes; what is under way is
 * canceled then, and when the component goes. Inputs are compared as JSON.
 */
export declare function useCall<Out = unknown>(address: string, input?: unknown, options?: UseCallOptions): CallState<Out>;
/** What {@link useStream} tells. */
export interface StreamState<Part, Out> {
    /** The parts that came, the latest last. */
    parts: readonly Part[];
    reply: Out | undefined;
    error: RopewalkError | undefined;
    running: boolean;
    /** Starts the stream; one that runs is canceled first. */
    start: (input?: unknown) => void;
    /** Cancels the stream; the error is then `canceled`. */
    cancel: () => void;
}
/** Options of {@link useStream}. */
export interface UseStreamOptions extends Omit<StreamOptions, "signal"> {
    /** How many parts are kept, the latest. Default 1,000. */
    keep?: number | undefined;
}
/** A stream that is started by hand, such as by a button. It is canceled when the component goes. */
export declare function useStream<Part = unknown, Out = unknown>(address: string, options?: UseStreamOptions): StreamState<Part, Out>;
/** Has `fn` called with each message that somebody sends to this client, while the component is there. */
export declare function useMessages<T = unknown>(fn: (message: Incoming<T>) => void): void;
