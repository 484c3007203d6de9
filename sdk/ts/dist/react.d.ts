/**
 * React hooks over a client. They take it from a {@link RopeProvider}.
 *
 * @packageDocumentation
 */
import { type ReactElement, type ReactNode } from "react";
import type { CallOptions, Incoming, PublishOptions, Rope, RopewalkError, Session, State, StreamOptions, Update, WatchOptions } from "./index.js";
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
/** What {@link useTopic} tells. */
export interface TopicState<T> {
    /** The content, or the last event; it stays while there is no connection, or an error in its place. */
    content: T | undefined;
    /** The same, with all that is known of it. */
    update: Update<T> | undefined;
    /** What is wrong: there is no content now, or it may not be watched. The watch goes on. */
    error: RopewalkError | undefined;
    /** Nothing has come yet. */
    loading: boolean;
    /** What is shown may not be what the node has: there is no connection, or an error. */
    stale: boolean;
    /** Publishes another content, which is shown at once; if it is refused, the one before is shown again. */
    publish: (content: T | undefined, options?: PublishOptions) => Promise<unknown>;
}
/** Options of {@link useTopic}. */
export interface UseTopicOptions extends Pick<WatchOptions, "params" | "delta" | "history"> {
    /** Do not watch. */
    skip?: boolean | undefined;
    /** With other parameters, or another address, show what there was until the new content has come. */
    previous?: boolean | undefined;
    /** For how many milliseconds the topic is kept after the component went, in case it comes back. Default 1,000. */
    linger?: number | undefined;
}
/**
 * Watches a topic while the component is there. All components that watch the same share one subscription, and those
 * that come later have the content in their first render.
 */
export declare function useTopic<T = unknown>(address: string, options?: UseTopicOptions): TopicState<T>;
/** What {@link useEvents} tells. */
export interface EventsState<T> {
    /** The events that came, the latest last. */
    events: readonly Update<T>[];
    error: RopewalkError | undefined;
    /** Forgets them. */
    clear: () => void;
}
/** Options of {@link useEvents}. */
export interface UseEventsOptions extends Pick<WatchOptions, "params" | "history"> {
    /** How many are kept, the latest. Default 1,000. */
    keep?: number | undefined;
}
/** The events of a topic, or of all topics of a pattern, that came while the component is there. */
export declare function useEvents<T = unknown>(address: string, options?: UseEventsOptions): EventsState<T>;
