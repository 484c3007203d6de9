/** Calls `hint` when the page learns that the network may be back, or comes to the front; returns what ends that. */
export declare function watchHints(hint: () => void): () => void;
