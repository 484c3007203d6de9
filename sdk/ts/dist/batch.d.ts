/** Frames of a batch, each preceded by its length in decimal and a line feed. */
export declare function encodeBatch(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
/** Takes a batch apart as its bytes arrive. */
export declare class BatchReader {
    #private;
    /** Returns the frames that are complete with these bytes; empty ones, which only keep alive, too. */
    push(chunk: Uint8Array): Uint8Array[];
}
