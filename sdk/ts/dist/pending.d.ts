import { RopewalkError } from "./error.js";
import type { Decoded, Message } from "./message.js";
import type { MessageOptions } from "./options.js";
import type { Outgoing } from "./outbox.js";
/** What a pending message needs of the client. */
export interface Desk {
    /** It is settled. `tell`: the node still works on it and should be told that nobody waits any more. */
    over(p: Pending, tell: boolean): void;
}
/** A message that was accepted and waits for its answer, or, if it wants none, to be sent. */
export declare class Pending implements Outgoing {
    #private;
    readonly message: Message;
    /** Resolves with the final answer, rejects with what went wrong. */
    readonly done: Promise<Decoded>;
    /** The address of who answered last; "" before the first part or answer. */
    from: string;
    /** Takes the parts. */
    onPart: ((body: unknown) => void) | undefined;
    constructor(desk: Desk, message: Message, options: MessageOptions);
    get wantsAnswer(): boolean;
    ready(): void;
    sent(): void;
    /** An answer came. */
    answer(m: Decoded): void;
    fail(err: unknown): void;
    /** Ends it here, and on the node if it got there. */
    cancel(err: unknown): void;
    /** The connection is gone. Says whether it has to be sent again on the next one. */
    lost(err: RopewalkError): boolean;
}
