import { fromAbort, RopewalkError } from "./error.js";
/**
 * A watch of a topic. It is told of the content and every change by its callback; without one it is read:
 * `for await (const update of watch)`, which ends the watch with the loop.
 */
export class Watch {
    /**
     * Resolves when the watch is armed: every change after this comes. Rejects if it ends before, or the node refuses
     * it; it may be armed later all the same. It need not be awaited.
     */
    ready;
    #topic;
    #options;
    #callback;
    #buffer;
    #resolve;
    #reject;
    #waiting = [];
    #wake = [];
    #error;
    #lossy = false; // something before the next update was lost
    #closed = false;
    /** @internal Of an event topic: the last event that it has, or is about to be told of; undefined until it is armed. */
    position;
    /** @internal */
    constructor(topic, options, callback) {
        this.#topic = topic;
        this.#options = options;
        this.#callback = callback;
        this.#buffer = options.buffer ?? 1024;
        this.ready = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        this.ready.catch(() => { }); // onError and the loop tell it too
        options.signal?.addEventListener("abort", this.#aborted);
    }
    get address() {
        return this.#topic.address;
    }
    /** What was seen last is what the node has, as far as one can know. */
    get live() {
        return !this.#closed && this.#topic.live;
    }
    /** The newest content, or event, that came for this topic. */
    get current() {
        return this.#topic.shown();
    }
    /** Ends it: nothing comes any more. What waits to be read is dropped. */
    close() {
        this.end();
    }
    [Symbol.asyncIterator]() {
        return {
            next: async () => {
                while (!this.#waiting.length) {
                    if (this.#error) {
                        const err = this.#error;
                        this.end();
                        throw err;
                    }
                    if (this.#closed)
                        return { done: true, value: undefined };
                    await new Promise((wake) => this.#wake.push(wake));
                }
                return { done: false, value: this.#waiting.shift() };
            },
            return: async () => {
                this.end();
                return { done: true, value: undefined };
            },
        };
    }
    /** @internal */
    get history() {
        return this.#options.history ?? 0;
    }
    /** @internal */
    get linger() {
        return this.#options.linger ?? 0;
    }
    /** @internal */
    armed() {
        this.#resolve();
    }
    /** @internal */
    update(u) {
        if (this.#closed)
            return;
        const next = this.#lossy ? { ...u, gap: true } : u;
        this.#lossy = false;
        if (this.#callback)
            return this.#run(() => this.#callback(next));
        if (!this.#topic.events) {
            this.#waiting = [];
            this.#error = undefined; // it is over
        }
        else if (this.#waiting.length >= this.#buffer) {
            this.#waiting.shift();
            if (this.#waiting[0])
                this.#waiting[0] = { ...this.#waiting[0], gap: true };
        }
        this.#waiting.push(next);
        this.#wake.shift()?.();
    }
    /** @internal Something is wrong, but the watch goes on. */
    fail(err, refused = false) {
        if (this.#closed)
            return;
        if (refused)
            this.#reject(err);
        const { onError } = this.#options;
        if (onError)
            return this.#run(() => onError(err));
        if (this.#callback)
            return this.#topic.report(err);
        this.#error = err;
        this.#wakeAll();
    }
    /** @internal */
    lost(gap) {
        if (this.#closed)
            return;
        this.#lossy = true;
        this.#run(() => this.#options.onGap?.(gap));
    }
    /** @internal */
    alive(live) {
        if (!this.#closed)
            this.#run(() => this.#options.onLive?.(live));
    }
    /** @internal */
    end(err) {
        if (this.#closed)
            return;
        if (err)
            this.fail(err, true);
        this.#closed = true;
        if (!err)
            this.#waiting = [];
        this.#reject(new RopewalkError("canceled", "the watch was ended"));
        this.#options.signal?.removeEventListener("abort", this.#aborted);
        this.#topic.leave(this);
        this.#wakeAll();
    }
    #aborted = () => {
        this.#error = fromAbort(this.#options.signal?.reason);
        this.#waiting = [];
        this.end();
    };
    #wakeAll() {
        for (const wake of this.#wake.splice(0))
            wake();
    }
    #run(fn) {
        try {
            fn();
        }
        catch (err) {
            queueMicrotask(() => { throw err; }); // reported as uncaught, as by EventTarget
        }
    }
}
