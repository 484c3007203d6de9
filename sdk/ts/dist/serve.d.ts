import { RopewalkError } from "./error.js";
import { type FeedOptions, type WatchHandler } from "./feed.js";
import { type Session, type SessionPatch } from "./identity.js";
import type { Line } from "./line.js";
import { type Decoded, type Message } from "./message.js";
/** What a handler is told beside its input. */
export interface Context<Part = unknown> {
    /** Aborts when the caller cancels or goes away, when its time is over, and when the connection drops. */
    readonly signal: AbortSignal;
    /** Sends a part. It resolves when the network keeps up, and rejects when nobody waits any more. */
    send(part: Part): Promise<void>;
    /** The address of who asks. */
    readonly from: string;
    /** The address that was asked. */
    readonly to: string;
    readonly method: string;
    readonly path: string;
    /** What follows the question mark, as it came. */
    readonly query: string;
    /** The segments of the path in the places of {name}. */
    readonly params: Readonly<Record<string, string>>;
    readonly headers: Readonly<Record<string, string>>;
    /** The application's word. */
    readonly type: string;
    /** The caller's session, as far as this service may see it; undefined for nobody. */
    readonly session: Session | undefined;
    /**
     * Has the caller's session changed when the handler replies; one that fails changes nothing. Of several changes the
     * later go over the earlier. The service needs the permission "session" of the node; without it nothing changes.
     */
    changeSession(patch: SessionPatch): void;
    /** When the caller stops waiting, in milliseconds of Date.now(); undefined for a send, which nobody waits for. */
    readonly deadline: number | undefined;
}
/**
 * Answers a path: returns the reply, or is an async generator that yields parts and returns the reply. What it throws
 * is the answer too: a RopewalkError as it is, anything else as `internal`.
 */
export type Handler<In = any, Out = unknown, Part = any> = (input: In, ctx: Context<Part>) => Out | Promise<Out> | AsyncGenerator<Part, Out, void>;
/** A handler with what others may know about its path. */
export interface Route<In = any, Out = unknown, Part = any> {
    handler: Handler<In, Out, Part>;
    description?: string | undefined;
    /** JSON Schema of the input. The node checks each call against it; the handler gets only what fits. */
    in?: object | undefined;
    /** JSON Schema of the reply, for node:/schema: for readers. */
    out?: object | undefined;
    /** To run it twice does no harm, so that nodes may repeat a call whose server they lost. */
    idempotent?: boolean | undefined;
}
/** A route that can be watched; see {@link Service.watch}. */
export interface WatchRoute<P = any, T = unknown> extends FeedOptions {
    watch: WatchHandler<P, T>;
    /** Takes what is published to the route; undefined: the content is to be deleted. What it returns is the answer. */
    publish?: Handler | undefined;
    /** Answers a call of the route. */
    handler?: Handler | undefined;
}
/** What others may know about a service, and its limits. */
export interface ServeOptions {
    version?: string | undefined;
    description?: string | undefined;
    metadata?: Readonly<Record<string, unknown>> | undefined;
    /** How many calls may run at once; one more is answered with `overloaded`. Default 1,024. */
    concurrency?: number | undefined;
    /** How many topics, each with its parameters, may be watched at once; one more is `overloaded`. Default 10,000. */
    topics?: number | undefined;
}
/** What a service needs of the client. */
export interface Host {
    /** Sends something that means nothing on another connection; false if it is too large, which the node is told. */
    post(m: Message, line: Line): boolean;
    /** Resolves when the network keeps up. */
    room(): Promise<void> | undefined;
    /** Messages can be sent now. */
    open(): boolean;
    /** Sends a message and waits for its answer. */
    ask(m: Message): Promise<unknown>;
    /** Tells the application of an error that nobody waits for. */
    report(err: RopewalkError): void;
    /** The service is over. */
    stopped(s: Service): void;
}
/** A service that this client offers. It is offered again after each reconnect, until it is stopped. */
export declare class Service {
    #private;
    readonly name: string;
    /** Resolves when all paths are served for the first time; rejects if the node refuses one. */
    readonly ready: Promise<void>;
    /**
     * Offers a route that can be watched. The handler is an async generator that yields the content, and each that it
     * becomes, or with `events` each event. It is run once for all who watch the same path with the same parameters, and
     * its signal aborts when nobody does any more. What it yields last stays the content when it ends; what it throws, and
     * each RopewalkError that it yields, is told in place of a content. A new watch gets the content at once.
     */
    watch<P = any, T = unknown>(pattern: string, handler: WatchHandler<P, T>, options?: Omit<WatchRoute<P, T>, "watch">): this;
    /**
     * Takes the paths back, lets the calls that run finish, and resolves. What still runs after `timeout` milliseconds
     * (default 10,000) is answered with `shutting_down`.
     */
    stop({ timeout }?: {
        timeout?: number | undefined;
    }): Promise<void>;
}
/** The services of a client. */
export declare class Services {
    readonly all: Set<Service>;
    /** Gives a call to the service that has a handler for it. */
    call(m: Decoded, line: Line, host: Host): void;
    /** Gives a send to a service; false if none has a handler for it. */
    send(m: Decoded, line: Line): boolean;
    cancel(id: string, line: Line): void;
}
