import { closeError } from "./close.js";
import { fromWire, RopewalkError, toWire } from "./error.js";
import { encode, encodeBody, notJSON } from "./message.js";
import { Outbox } from "./outbox.js";
import { Pending } from "./pending.js";
/** What this client says, and what waits for an answer. */
export class Messenger {
    #host;
    #cfg;
    #waiting = new Map();
    // Keeps the ids of two clients apart in logs; they need to be unique only among the messages of one client. No
    // crypto.randomUUID: pages that came by plain HTTP do not have it.
    #prefix = Math.random().toString(36).slice(2, 10);
    #count = 0;
    outbox;
    /** The largest frame that the node takes. */
    limit = Infinity;
    constructor(cfg, host) {
        this.#cfg = cfg;
        this.#host = host;
        this.outbox = new Outbox(cfg.queue, {
            write: (o) => host.open() && this.#write(o),
            buffered: () => host.line()?.buffered() ?? 0,
        });
    }
    /** Makes a message that waits for its turn, and for an answer if it wants one. */
    pending(verb, to, body, o, more) {
        const message = {
            verb, to, mid: this.#mid(), headers: o.headers, type: o.type, token: o.authorization, body: encodeBody(body), ...more,
        };
        return new Pending(this, message, this.#count, o);
    }
    /** Has it sent in its turn. */
    begin(p, options) {
        try {
            this.#host.check(options);
            this.#waiting.set(p.message.mid, p);
            this.outbox.push(p);
        }
        catch (err) {
            p.fail(err);
        }
    }
    /** Calls the node about the session. That does no harm twice. */
    async about(m, take) {
        const options = { timeout: this.#cfg.timeout, idempotent: true };
        const p = new Pending(this, { ...m, mid: this.#mid() }, this.#count, options);
        p.onReply = take;
        this.begin(p, options);
        await p.done;
    }
    /** Calls the node by a connection that is not in use yet, for at most so many milliseconds. */
    async greet(m, line, timeout) {
        const mid = this.#mid();
        const got = await line.ask(encode({ ...m, mid, timeout: timeout / 1000 }, this.#cfg.framing), mid, timeout);
        return got.verb === "error" ? { verb: "error", body: fromWire(got.body) } : got;
    }
    /** Sends a message that means something on this connection only; `done` is its answer, which `take` gets first. */
    ask(m, line, take) {
        const p = new Pending(this, { ...m, mid: this.#mid() }, 0, { timeout: askTimeout });
        p.onReply = take;
        this.#waiting.set(p.message.mid, p);
        if (!this.#write(p, line))
            p.fail(closeError(1006, "no connection"));
        return p;
    }
    /**
     * Sends a message that means something on this connection only. Its body was made by a handler, so it may be too
     * large; then it is false, and the other end gets an error.
     */
    post(m, line) {
        let fits = true;
        this.#write({
            message: m,
            order: 0,
            ready: () => { },
            sent: () => { },
            fail: (err) => {
                fits = false;
                if (m.verb !== "error")
                    this.post({ verb: "error", rmid: m.rmid, body: encodeBody(toWire(err)) }, line);
            },
        }, line);
        return fits;
    }
    /** A part or a final answer came. Says whether something waits for it. */
    answer(line, m) {
        const p = this.#waiting.get(m.rmid ?? "");
        p?.answer(line, m);
        return p !== undefined;
    }
    /** A node that drains refuses a message. Says whether it will be sent again on the next connection. */
    refused(line, m) {
        const p = this.#waiting.get(m.rmid ?? "");
        if (!p?.refused(line))
            return false;
        this.outbox.again([p]);
        return true;
    }
    /** A connection is gone. What may be sent again waits for the next. */
    lost(line, err) {
        this.outbox.again([...this.#waiting.values()].filter((p) => p.lost(line, err)));
        this.outbox.flush(); // also lets go who waits for room
    }
    /** Ends all that waits for an answer. */
    cancel(err) {
        for (const p of [...this.#waiting.values()])
            if (p.wantsAnswer)
                p.cancel(err);
    }
    over(p, line) {
        this.#waiting.delete(p.message.mid);
        this.outbox.remove(p);
        if (line)
            this.post({ verb: "cancel", rmid: p.message.mid }, line);
    }
    #mid() {
        return `${this.#prefix}-${(++this.#count).toString(36)}`;
    }
    #write(o, line = this.#host.line()) {
        if (!line?.open)
            return false;
        o.ready();
        let frame;
        try {
            frame = encode(o.message, this.#cfg.framing);
        }
        catch (cause) {
            o.fail(notJSON("a field of the message", cause));
            return true;
        }
        // The length of a text is a lower bound of its bytes; the node has the last word.
        if (frame.length > this.limit) {
            o.fail(new RopewalkError("too_large", `the message has ${frame.length} bytes, and the node takes ${this.limit}`, { hint: "Send less at once, or raise the frame limit of the node.", path: o.message.to }));
            return true;
        }
        line.send(frame);
        o.sent(line);
        return true;
    }
}
// For what the client asks by itself.
const askTimeout = 30_000;
