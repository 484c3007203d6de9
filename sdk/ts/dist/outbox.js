import { RopewalkError } from "./error.js";
// How many bytes of bodies may wait.
const maxBytes = 16 << 20;
function sizeOf({ message: { body } }) {
    return !body ? 0 : "json" in body ? body.json.length : body.raw.length;
}
// While this many bytes wait in the socket, which has no bound, messages wait here, where there is one.
const highWater = 1 << 20;
// A socket does not tell when it has sent something, so we look.
const lookEvery = 10;
/**
 * The bounded queue in front of the connection. Every call and send passes it, so there is one order: while there is
 * no connection they wait here and keep their ids.
 */
export class Outbox {
    #limit;
    #network;
    #queue = [];
    #timer;
    #room = [];
    constructor(limit, network) {
        this.#limit = limit;
        this.#network = network;
    }
    /** Takes a message to be sent as soon as possible. It throws `overloaded` when the queue is full. */
    push(o) {
        const bytes = this.#queue.reduce((n, w) => n + sizeOf(w), sizeOf(o));
        if (this.#queue.length >= this.#limit || (this.#queue.length && bytes > maxBytes)) {
            throw new RopewalkError("overloaded", `${this.#queue.length} messages wait to be sent already`, { hint: "Wait for the connection, or raise the option queue.", retryable: true });
        }
        this.#queue.push(o);
        if (!this.#timer)
            this.flush();
    }
    /** Has messages wait again, each in its place, to be sent by the next flush. */
    again(back) {
        this.#queue = [...back, ...this.#queue].sort((a, b) => a.order - b.order);
    }
    /** Takes a message back. */
    remove(o) {
        const at = this.#queue.indexOf(o);
        if (at >= 0)
            this.#queue.splice(at, 1);
    }
    /** Resolves when the network keeps up, or the connection is gone; undefined if nobody has to wait. */
    room() {
        if (this.#network.buffered() < highWater)
            return undefined;
        this.#timer ??= setTimeout(() => this.flush(), lookEvery);
        return new Promise((done) => this.#room.push(done));
    }
    /** Sends what can be sent. */
    flush() {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        for (let o; (o = this.#queue[0]) && this.#network.buffered() < highWater;) {
            if (!this.#network.write(o))
                break;
            if (this.#queue[0] === o)
                this.#queue.shift(); // else it has been settled, and taken back, already
        }
        if (this.#network.buffered() >= highWater)
            this.#timer = setTimeout(() => this.flush(), lookEvery);
        else
            for (const done of this.#room.splice(0))
                done();
    }
    /** Fails everything. */
    fail(err) {
        for (const o of this.#queue.splice(0))
            o.fail(err);
        this.flush();
    }
    get length() {
        return this.#queue.length;
    }
}
