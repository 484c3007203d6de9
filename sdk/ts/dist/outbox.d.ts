import { RopewalkError } from "./error.js";
import type { Line } from "./line.js";
import type { Message } from "./message.js";
/** A message on its way out. */
export interface Outgoing {
    readonly message: Message;
    /** Its place among all; 0 for what means something on one connection only. */
    readonly order: number;
    /** Called right before it is encoded. */
    ready(): void;
    /** Called when it was given to the network. */
    sent(line: Line): void;
    /** Called if it never will be. */
    fail(err: RopewalkError): void;
}
/** Where messages go. */
export interface Network {
    /** Sends a message; false if that is not possible now. */
    write(o: Outgoing): boolean;
    /** Bytes that wait in the socket. */
    buffered(): number;
}
/**
 * The bounded queue in front of the connection. Every call and send passes it, so there is one order: while there is
 * no connection they wait here and keep their ids.
 */
export declare class Outbox {
    #private;
    constructor(limit: number, network: Network);
    /** Takes a message to be sent as soon as possible. It throws `overloaded` when the queue is full. */
    push(o: Outgoing): void;
    /** Has messages wait again, each in its place, to be sent by the next flush. */
    again(back: readonly Outgoing[]): void;
    /** Takes a message back. */
    remove(o: Outgoing): void;
    /** Resolves when the network keeps up, or the connection is gone; undefined if nobody has to wait. */
    room(): Promise<void> | undefined;
    /** Sends what can be sent. */
    flush(): void;
    /** Fails everything. */
    fail(err: RopewalkError): void;
    get length(): number;
}
