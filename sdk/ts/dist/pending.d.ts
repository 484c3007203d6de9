import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Decoded, Message } from "./message.js";
import type { MessageOptions } from "./options.js";
import type { Outgoing } from "./outbox.js";
/** What a pending message needs of the client. */
export interface Desk {
    /** It is settled. `line`: there the node still works on it, and should be told that nobody waits any more. */
    over(p: Pending, line: Line | undefined): void;
}
/** Options of a message, as the client itself knows them. */
export interface PendingOptions extends MessageOptions {
    /** It waits for a connection as long as it takes; the time counts from when it was sent. */
    patient?: boolean | undefined;
}
/** A message that was accepted and waits for its answer, or, if it wants none, to be sent. */
export declare class Pending implements Outgoing {
    #private;
    readonly message: Message;
    readonly order: number;
    /** Resolves with the final answer, rejects with what went wrong. */
    readonly done: Promise<Decoded>;
    /** The address of who answered last; "" before the first part or answer. */
    from: string;
    /** Takes the parts. */
    onPart: ((body: unknown) => void) | undefined;
    /** Takes the reply, before anything that comes after it. */
    onReply: ((m: Decoded, line: Line) => void) | undefined;
    constructor(desk: Desk, message: Message, order: number, options: PendingOptions);
    get wantsAnswer(): boolean;
    ready(): void;
    sent(line: Line): void;
    /** An answer came by a connection. */
    answer(line: Line, m: Decoded): void;
    fail(err: unknown): void;
    /** Ends it here, and on the node if it got there. */
    cancel(err: unknown): void;
    /** A connection is gone. Says whether it has to be sent again on the next one. */
    lost(line: Line, err: RopewalkError): boolean;
    /** The node refused it because it drains, so nothing was done. Says whether it has to be sent again on the next. */
    refused(line: Line): boolean;
}
