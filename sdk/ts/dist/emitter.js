/** Typed events. */
export class Emitter {
    #listeners = {};
    /** Has `fn` called at each event, until the returned function is called or the signal aborts. */
    on(event, fn, options = {}) {
        const set = (this.#listeners[event] ??= new Set());
        set.add(fn);
        const off = () => {
            set.delete(fn);
            options.signal?.removeEventListener("abort", off);
        };
        if (options.signal?.aborted)
            off();
        else
            options.signal?.addEventListener("abort", off);
        return off;
    }
    /** Calls the listeners; says whether there was one. A listener that throws does not keep the others from it. */
    emit(event, value) {
        const set = this.#listeners[event];
        if (!set?.size)
            return false;
        for (const fn of [...set]) {
            try {
                if (set.has(fn))
                    fn(value);
            }
            catch (err) {
                queueMicrotask(() => { throw err; }); // reported as uncaught, as by EventTarget
            }
        }
        return true;
    }
}
