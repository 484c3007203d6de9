/** Typed events. */
export declare class Emitter<E> {
    #private;
    /** Has `fn` called at each event, until the returned function is called or the signal aborts. */
    on<K extends keyof E>(event: K, fn: (event: E[K]) => void, options?: {
        signal?: AbortSignal | undefined;
    }): () => void;
    /** Calls the listeners; says whether there was one. A listener that throws does not keep the others from it. */
    protected emit<K extends keyof E>(event: K, value: E[K]): boolean;
}
