import { fromAbort, fromWire, RopewalkError } from "./error.js";
// The longest that a timer can wait.
const forever = 2 ** 31 - 1;
/** A message that was accepted and waits for its answer, or, if it wants none, to be sent. */
export class Pending {
    message;
    #desk;
    #options;
    #deadline;
    #timer;
    #resolve;
    #reject;
    #sent = false;
    #parts = 0;
    #over = false;
    /** Resolves with the final answer, rejects with what went wrong. */
    done;
    /** The address of who answered last; "" before the first part or answer. */
    from = "";
    /** Takes the parts. */
    onPart;
    constructor(desk, message, options) {
        this.message = message;
        this.#desk = desk;
        this.#options = options;
        this.done = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        const { timeout, signal } = options;
        if (timeout !== undefined) {
            this.#deadline = Date.now() + timeout;
            this.#timer = setTimeout(() => this.cancel(this.#late(timeout)), Math.min(timeout, forever));
        }
        signal?.addEventListener("abort", this.#aborted);
    }
    get wantsAnswer() {
        return this.message.verb !== "send" || this.message.ack === true;
    }
    ready() {
        // At least a millisecond: the node refuses 0, and our timer is about to fire.
        if (this.#deadline !== undefined)
            this.message.timeout = Math.max(this.#deadline - Date.now(), 1) / 1000;
    }
    sent() {
        this.#sent = true;
        if (!this.wantsAnswer)
            this.#settle(() => this.#resolve({ verb: "reply" }));
    }
    /** An answer came. */
    answer(m) {
        this.from = m.from ?? "";
        if (m.verb === "error")
            return this.fail(fromWire(m.body));
        if (m.fault !== undefined) {
            return this.cancel(new RopewalkError("bad_message", "the body of an answer cannot be read", { cause: m.fault }));
        }
        if (m.verb !== "part")
            return this.#settle(() => this.#resolve(m));
        this.#parts++;
        try {
            this.onPart?.(m.body);
        }
        catch (err) {
            this.cancel(err);
        }
    }
    fail(err) {
        this.#settle(() => this.#reject(err));
    }
    /** Ends it here, and on the node if it got there. */
    cancel(err) {
        this.#settle(() => this.#reject(err), true);
    }
    /** The connection is gone. Says whether it has to be sent again on the next one. */
    lost(err) {
        if (!this.#sent || this.#over)
            return false;
        if (this.#options.idempotent && !this.#parts) {
            this.#sent = false;
            return true;
        }
        this.fail(err);
        return false;
    }
    #late(timeout) {
        return this.#sent
            ? new RopewalkError("deadline_exceeded", `no answer from ${this.message.to} within ${timeout} ms`)
            : new RopewalkError("deadline_exceeded", `no connection to the node within ${timeout} ms`, { hint: "Look at rope.state and at the event error; is the node running, and is the URL right?", retryable: true });
    }
    #aborted = () => this.cancel(fromAbort(this.#options.signal?.reason));
    #settle(how, tell = false) {
        if (this.#over)
            return;
        this.#over = true;
        clearTimeout(this.#timer);
        this.#options.signal?.removeEventListener("abort", this.#aborted);
        this.#desk.over(this, tell && this.#sent && this.message.verb === "call");
        how();
    }
}
