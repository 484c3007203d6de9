import { type Backoff } from "./close.js";
import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded, Message } from "./message.js";
/** Who somebody is for the nodes, as far as one may know. Times are in milliseconds of Date.now(). */
export interface Session {
    /** Tells sessions apart. It is no secret, and no proof of anything. */
    readonly id: string;
    /** Who it is; "" if nobody has logged in. */
    readonly subject: string;
    /** Who said so; "" for the mesh itself. */
    readonly issuer: string;
    /** The claims that the client may see. */
    readonly public: Readonly<Record<string, unknown>>;
    /** The claims that only nodes and trusted services see; always empty for the client whose session it is. */
    readonly secret: Readonly<Record<string, unknown>>;
    /** When it began. */
    readonly since: number | undefined;
    /** When it ends if nothing happens; undefined: never. */
    readonly expires: number | undefined;
}
/** What became of the client's session. */
export interface SessionEvent {
    /**
     * `changed`: this is the session now, or its end has moved. `ending`: it ends soon; unless the option `refresh` is
     * false the client refreshes it. `ended`: its time is over, it was closed, or the node did not take its token on a new
     * connection. `revoked`: somebody ended it. After the last two the client is nobody.
     */
    readonly kind: "changed" | "ending" | "ended" | "revoked";
    /** What it is now; undefined for nobody. */
    readonly session: Session | undefined;
    /** Why it ended, for people; may be empty. */
    readonly reason: string;
    /** Why the token was refused on a new connection, or why the session could not be refreshed. */
    readonly error: RopewalkError | undefined;
}
/** What a handler wants of its caller's session. */
export interface SessionPatch {
    /** Logs in, or with "" out. */
    subject?: string | undefined;
    /** Whoever it is has just proved it again: the session begins anew under another id. */
    renew?: boolean | undefined;
    /** Public claims to add or replace. */
    set?: Readonly<Record<string, unknown>> | undefined;
    /** Secret claims to add or replace. */
    secret?: Readonly<Record<string, unknown>> | undefined;
    /** Claims to remove. */
    delete?: readonly string[] | undefined;
    /** How long after its last use the session ends, in milliseconds. */
    idle?: number | undefined;
    /** Ends it. */
    end?: boolean | undefined;
}
/** Where a token may be kept. */
export type TokenStore = "none" | "session" | "local";
type Source = () => string | undefined | Promise<string | undefined>;
/** What an identity needs of the client. */
export interface IdentityHost {
    /** Sends a call that is repeated on the next connection; `take` gets the reply before anything that comes after it. */
    call(m: Message, take: (m: Decoded, line: Line) => void): Promise<void>;
    /** Sends a call by a connection that is not in use yet. */
    ask(m: Message, line: Line): Promise<Decoded>;
    /** The connection in use. */
    line(): Line | undefined;
    tell(e: SessionEvent): void;
    /** The session is another one: what was refused may be allowed now. */
    changed(): void;
}
/** What an identity is made with. */
export interface IdentityConfig {
    token: string | Source | undefined;
    cookie: boolean;
    refresh: boolean;
    store: TokenStore;
    /** The host that tokens are kept for. */
    host: string;
    backoff: Backoff;
}
/** Reads a session as it is on the wire. */
export declare function readSession(v: unknown): Session | undefined;
/** Who the client is, and will be on its next connection. */
export declare class Identity {
    #private;
    /** Opens the session on the next connection; "" if there is none. */
    token: string;
    session: Session | undefined;
    constructor(cfg: IdentityConfig, host: IdentityHost);
    /** Has the client be who a token says. */
    open(token: string): Promise<Session | undefined>;
    /** Has the session last longer. */
    refresh(): Promise<Session | undefined>;
    /** Logs out. */
    close(everywhere: boolean): Promise<void>;
    /** The client is closed. */
    end(): void;
    /**
     * Tells a node who the client is, by a connection that is not in use yet. Resolves with what is to be done when it is;
     * undefined: there is nothing to tell.
     */
    greet(line: Line): Promise<() => void> | undefined;
    /** There is a connection on which nobody is known. */
    unknown(error?: RopewalkError): void;
    /** Takes what the node says by itself. */
    told(body: unknown, line: Line): void;
}
/** Adds a change to those before it. */
export declare function mergePatch(to: SessionPatch, p: SessionPatch): SessionPatch;
/** A change as it is on the wire. */
export declare function wirePatch({ idle, ...p }: SessionPatch): object;
export {};
