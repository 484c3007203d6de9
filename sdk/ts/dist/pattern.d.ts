/** An address, taken apart. */
export interface Address {
    instance: string;
    name: string;
    method: string;
    path: string;
    query: string;
}
/** Takes an address apart. It does not judge it; the node has done that. */
export declare function parseAddress(address: string): Address;
/** What a service answers for. The most specific pattern that matches a path wins. */
export declare class Routes<T> {
    #private;
    add(pattern: string, value: T): void;
    /** The route that a path leads to, and what the path has in the places of {name}. */
    find(path: string): {
        value: T;
        params: Record<string, string>;
    } | undefined;
}
