/** The kinds of changes that the client understands, as the wire calls them. */
export declare const deltas: readonly ["merge", "patch", "rows"];
/** Says whether a content type is that of a change. */
export declare function isChange(contentType: string | undefined): boolean;
/** Applies a change. It throws if that does not fit the content. */
export declare function apply(contentType: string, content: unknown, change: Uint8Array): unknown;
/** Whether two JSON values are the same. */
export declare function same(a: unknown, b: unknown): boolean;
