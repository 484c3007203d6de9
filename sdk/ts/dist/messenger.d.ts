import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import { type Decoded, type Framing, type Message } from "./message.js";
import type { MessageOptions } from "./options.js";
import { Outbox } from "./outbox.js";
import { Pending, type Desk, type PendingOptions } from "./pending.js";
/** What a messenger needs of the client. */
export interface MessengerHost {
    /** The connection for new messages. */
    line(): Line | undefined;
    /** New messages can be sent now. */
    open(): boolean;
    /** Throws what keeps a message from being accepted. */
    check(options: MessageOptions): void;
}
/** What a messenger is made with. */
export interface MessengerConfig {
    framing: Framing;
    /** How many messages may wait to be sent. */
    queue: number;
    /** How long an answer may take, in milliseconds. */
    timeout: number;
}
/** What this client says, and what waits for an answer. */
export declare class Messenger implements Desk {
    #private;
    readonly outbox: Outbox;
    /** The largest frame that the node takes. */
    limit: number;
    constructor(cfg: MessengerConfig, host: MessengerHost);
    /** Makes a message that waits for its turn, and for an answer if it wants one. */
    pending(verb: string, to: string, body: unknown, o: PendingOptions, more?: Partial<Message>): Pending;
    /** Has it sent in its turn. */
    begin(p: Pending, options: MessageOptions): void;
    /** Calls the node about the session. That does no harm twice. */
    about(m: Message, take: (m: Decoded, line: Line) => void): Promise<void>;
    /** Calls the node by a connection that is not in use yet, for at most so many milliseconds. */
    greet(m: Message, line: Line, timeout: number): Promise<Decoded>;
    /** Sends a message that means something on this connection only; `done` is its answer, which `take` gets first. */
    ask(m: Message, line?: Line, take?: (m: Decoded, line: Line) => void): Pending;
    /**
     * Sends a message that means something on this connection only. Its body was made by a handler, so it may be too
     * large; then it is false, and the other end gets an error.
     */
    post(m: Message, line?: Line): boolean;
    /** A part or a final answer came. Says whether something waits for it. */
    answer(line: Line, m: Decoded): boolean;
    /** A node that drains refuses a message. Says whether it will be sent again on the next connection. */
    refused(line: Line, m: Decoded): boolean;
    /** A connection is gone. What may be sent again waits for the next. */
    lost(line: Line, err: RopewalkError): void;
    /** Ends all that waits for an answer. */
    cancel(err: RopewalkError): void;
    over(p: Pending, line: Line | undefined): void;
}
