import { fromAbort, fromWire, RopewalkError } from "./error.js";
// The longest that a timer can wait.
const forever = 2 ** 31 - 1;
// How much longer than a gather lasts its answer may take: at the deadline the node sends what it has.
const grace = 1000;
/** A message that was accepted and waits for its answer, or, if it wants none, to be sent. */
export class Pending {
    message;
    order;
    #desk;
    #options;
    #deadline;
    #timer;
    #resolve;
    #reject;
    #line; // by which it was sent
    #parts = 0;
    #over = false;
    /** Resolves with the final answer, rejects with what went wrong. */
    done;
    /** The address of who answered last; "" before the first part or answer. */
    from = "";
    /** Takes the parts. */
    onPart;
    /** Takes the reply, before anything that comes after it. */
    onReply;
    constructor(desk, message, order, options) {
        this.message = message;
        this.order = order;
        this.#desk = desk;
        this.#options = options;
        this.done = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        if (!options.patient)
            this.#start();
        options.signal?.addEventListener("abort", this.#aborted);
    }
    get wantsAnswer() {
        return this.message.verb !== "send" || this.message.ack === true;
    }
    ready() {
        if (this.#options.patient)
            this.#start();
        // At least a millisecond: the node refuses 0, and our timer is about to fire.
        if (this.#deadline !== undefined)
            this.message.timeout = Math.max(this.#deadline - Date.now(), 1) / 1000;
    }
    sent(line) {
        if (!this.wantsAnswer)
            return this.#settle(() => this.#resolve({ verb: "reply" }));
        this.#line = line;
        line.hold();
    }
    /** An answer came by a connection. */
    answer(line, m) {
        if (line !== this.#line)
            return; // it was sent again since
        this.from = m.from ?? "";
        if (m.verb === "error")
            return this.fail(fromWire(m.body));
        if (m.unreadable !== undefined) {
            return this.cancel(new RopewalkError("bad_message", "the body of an answer cannot be read", { cause: m.unreadable }));
        }
        if (m.verb !== "part") {
            this.onReply?.(m, line);
            return this.#settle(() => this.#resolve(m));
        }
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
    /** A connection is gone. Says whether it has to be sent again on the next one. */
    lost(line, err) {
        if (this.#line !== line)
            return false;
        if (this.#options.idempotent && this.#back())
            return true;
        this.fail(err);
        return false;
    }
    /** The node refused it because it drains, so nothing was done. Says whether it has to be sent again on the next. */
    refused(line) {
        return this.#line === line && this.order > 0 && !this.#options.online && this.#back();
    }
    #start() {
        const { timeout } = this.#options;
        if (timeout === undefined)
            return;
        this.#deadline = Date.now() + timeout;
        this.#timer = setTimeout(this.#due, Math.min(timeout, forever));
    }
    #back() {
        if (this.#parts)
            return false;
        if (this.#options.patient)
            clearTimeout(this.#timer);
        this.#line.free();
        this.#line = undefined;
        return true;
    }
    #due = () => {
        const { strategy } = this.message;
        const by = strategy?.by ?? strategy;
        if (this.#line && (by === "all" || by === "majority"))
            this.#timer = setTimeout(this.#late, grace);
        else
            this.#late();
    };
    #late = () => {
        const { timeout } = this.#options;
        this.cancel(this.#line
            ? new RopewalkError("deadline_exceeded", `no answer from ${this.message.to} within ${timeout} ms`)
            : new RopewalkError("deadline_exceeded", `no connection to the node within ${timeout} ms`, { hint: "Look at rope.state and at the event error; is the node running, and is the URL right?", retryable: true }));
    };
    #aborted = () => this.cancel(fromAbort(this.#options.signal?.reason));
    #settle(how, tell = false) {
        if (this.#over)
            return;
        this.#over = true;
        clearTimeout(this.#timer);
        this.#options.signal?.removeEventListener("abort", this.#aborted);
        this.#desk.over(this, tell && this.order && this.message.verb !== "send" ? this.#line : undefined);
        this.#line?.free();
        how();
    }
}
