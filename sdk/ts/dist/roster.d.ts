/** A URL at which a client may connect. */
export interface Place {
    readonly url: URL;
    /** By the program; else a node has told of it. */
    given: boolean;
    /** The id of the node that is, or was last, found there. */
    node?: string | undefined;
}
/** A node in the list that nodes tell their clients. */
export interface NodeRef {
    id?: string;
    name?: string;
    urls?: readonly string[];
}
/**
 * The places that a client knows, and the order in which it tries them: at first those given, in their order; after
 * that in turns, each place once a turn, in random order, so that the clients of a node that is lost spread over the
 * others. Where a node was just lost comes last, and the page's own host first.
 */
export declare class Roster {
    #private;
    /** `home`: the first URL is that of the page's own host. */
    constructor(urls: readonly URL[], home: boolean, follow: boolean);
    /** Where to try now. `hop`: for the first time since a connection that lasted, so that no wait is needed. */
    next(): {
        place: Place;
        hop: boolean;
    };
    /** Begins a turn after a connection. `good`: it lasted, or ended as it should, so that all others are worth a hop. */
    left(place: Place, good: boolean): void;
    /** Whether there are other nodes than the one at a place. */
    others(place: Place): boolean;
    /** Takes the list of a node that the client is connected to at a place. */
    learn(at: Place, list: unknown): void;
}
