import { closeError, comeBack, wait } from "./close.js";
import { RopewalkError } from "./error.js";
import { Line } from "./line.js";
import { Roster } from "./roster.js";
// A connection that lived for less than this does not count as a success: the next wait grows.
const stable = 5_000;
// The same for one whose node said that it stops.
const asked = 1_000;
// The first try at another node is short: one that died with its machine does not say so.
const hopTimeout = 3_000;
// How long a node that drains is given to close the connection if there is nowhere else to go.
const drainTimeout = 30_000;
// A transport that has worked is given this many tries before others get one: the node is likelier down than blocked.
const loyalty = 3;
// How long a second-best transport is preferred because it worked.
const memory = 600_000;
/**
 * Keeps a connection to a node alive, one of those that it knows: connects, comes back, changes the transport, goes
 * elsewhere. While a node drains there is a second connection. Messages are its owner's.
 */
export class Link {
    #cfg;
    #owner;
    #roster;
    #lines = new Set(); // those that have not ended
    #state = "connecting";
    #wake; // ends the wait before the next try
    #best;
    #misses = 0;
    /** Where new messages go; undefined while there is no connection. */
    line;
    /** When the next try is; undefined while one is under way. */
    retryAt;
    constructor(cfg, owner) {
        this.#cfg = cfg;
        this.#owner = owner;
        this.#roster = new Roster(cfg.urls, cfg.home, cfg.follow);
        this.#best = recall(cfg.urls[0]);
    }
    get state() {
        return this.#state;
    }
    /** The transport in use, or that of the last connection. */
    get kind() {
        return this.#best?.kind;
    }
    /** Connects, and stays connected until close or until the node says not to come back. */
    async run() {
        let err = closeError(1000, "bye");
        let lost;
        let { place, hop } = this.#roster.next();
        for (let attempt = 0; !this.#ending();) {
            this.retryAt = undefined;
            if (!this.line)
                this.#set("connecting");
            const { line, end } = await this.#round(place, hop);
            lost = end && line;
            const lived = line ? Date.now() - line.since : 0;
            if (lived >= stable)
                attempt = 0;
            if (line)
                this.#roster.left(place, lived >= stable || (lived >= asked && (!end || end.code === 1001)));
            let pause = 0;
            let next = "now";
            if (end) {
                next = verdict(end);
                // What is said where we were only told to go is no verdict: the program did not choose it.
                if (next === "no" && !line && !place.given)
                    next = "later";
                err = end.error ?? (line ? closeError(end.code, end.reason) : this.#unreachable(place, end));
            }
            if (next === "no")
                for (const l of this.#lines)
                    l.drop(end);
            if (this.#ending() || next === "no")
                break;
            ({ place, hop } = this.#roster.next());
            if (!hop && !(lived >= stable && end && next === "now"))
                pause = Math.max(wait(attempt++, this.#cfg.backoff), end ? err.retryAfter : 0);
            this.retryAt = Date.now() + pause;
            if (!this.line)
                this.#set("waiting");
            if (lost)
                this.#owner.gone(lost, err);
            if (end)
                this.#owner.down(err, false);
            if (pause)
                await this.#sleep(pause);
        }
        await Promise.all([...this.#lines].map((l) => l.ended));
        this.#set("closed");
        if (lost)
            this.#owner.gone(lost, err);
        this.#owner.down(err, true);
    }
    /** Whether new messages can be sent now. */
    get open() {
        return this.line !== undefined && this.line.open && !this.line.draining;
    }
    /** Something changed that makes it worth to look at once: the network, the page, the person. */
    hint() {
        this.#wake?.();
        if (this.line?.open)
            this.line.probe();
    }
    /** Gives up the connection and makes a new one at once. */
    restart(reason) {
        for (const l of this.#lines)
            if (l === this.line || !l.open)
                l.drop({ code: 1001, reason });
        this.#wake?.();
    }
    /** Stops accepting work; {@link close} follows. */
    closing() {
        if (this.#state !== "closed")
            this.#set("closing");
        this.#wake?.();
    }
    /** Ends all for good after what was sent, or after `timeout` milliseconds. */
    close(timeout) {
        this.closing();
        for (const l of this.#lines)
            l.bye(timeout);
    }
    /** The node at the other end of a connection starts nothing new on it. */
    drain(line) {
        if (line.draining)
            return;
        line.draining = true;
        if (line === this.line && this.#roster.others(line.place))
            return line.move();
        this.#leave(line);
        const timer = setTimeout(() => line.drop({ code: 1001, reason: "the node drains" }), drainTimeout);
        void line.ended.then(() => clearTimeout(timer));
    }
    /** A node has told which nodes there are. */
    learn(line, nodes) {
        this.#roster.learn(line.place, nodes);
    }
    message(line, m) {
        this.#owner.message(line, m);
    }
    badFrame(cause) {
        this.#owner.badFrame(cause);
    }
    probe(line) {
        this.#owner.probe(line);
    }
    greet(line) {
        return this.#owner.greet(line);
    }
    welcome(line, m) {
        const { kind, place } = line;
        const welcome = (m.body ?? {});
        if (this.#best?.kind !== kind || Date.now() - this.#best.at > memory)
            this.#best = { kind, at: Date.now() };
        this.#misses = 0;
        remember(this.#cfg.urls[0], this.#best);
        line.node = welcome.node?.id ?? "";
        place.node = welcome.node?.id;
        this.#roster.learn(place, welcome.nodes);
        const before = this.line;
        this.line = line;
        const announced = this.#owner.up(welcome);
        this.#set("connected"); // last, so that who hears of it finds the new id
        if (before)
            void announced.then(() => this.#leave(before));
    }
    // What was on its way to us comes before the answer to the farewell.
    #leave(line) {
        void this.#owner.farewell(line).then(() => line.leave());
    }
    #unreachable(place, end) {
        if (comeBack(end.code) === "no")
            return closeError(end.code, end.reason);
        return new RopewalkError("connection_lost", `no connection to ${place.url.href}: ${end.reason || "it was refused"}`, { hint: "Is the node running, and is the URL right? The client goes on trying." });
    }
    #ending() {
        return this.#state === "closing" || this.#state === "closed";
    }
    #set(state) {
        if (state === this.#state || (this.#ending() && state !== "closed" && state !== "closing"))
            return;
        this.#state = state;
        this.#owner.state(state);
    }
    /**
     * Tries the transports in turn. Returns when a connection that worked is over, or new messages had better go
     * elsewhere (then without an end), or when none works (then without a line).
     */
    async #round(place, hop) {
        let end;
        let blocked = false;
        const { connectTimeout } = this.#cfg;
        const timeout = hop && this.#best ? Math.min(connectTimeout, hopTimeout) : connectTimeout;
        for (const kind of this.#candidates()) {
            if (end && kind !== "websocket" && blocked)
                continue;
            const line = new Line(kind, place, this.#cfg, timeout, this);
            this.#lines.add(line);
            void line.ended.then(() => this.#lines.delete(line));
            await line.opened;
            if (line.since !== undefined)
                return this.#stay(line);
            end = await line.ended;
            if (line.welcomed || this.#ending() || verdict(end) === "no")
                return { end };
            blocked = end.unreachable === true;
        }
        this.#misses++;
        return {
            end: end ?? {
                code: 4100, reason: "",
                error: new RopewalkError("not_ready", "no transport works here: neither WebSocket nor fetch is available"),
            },
        };
    }
    async #stay(line) {
        const end = await Promise.race([line.ended, line.moved]);
        if (end) {
            this.#forget(line);
            return { line, end };
        }
        void line.ended.then((late) => {
            if (this.#forget(line))
                this.#set(this.#wake ? "waiting" : "connecting");
            this.#owner.gone(line, closeError(late.code, late.reason));
        });
        return { line };
    }
    #forget(line) {
        if (this.line !== line)
            return false;
        this.line = undefined;
        return true;
    }
    #candidates() {
        const c = this.#cfg;
        const able = c.transports.filter((k) => (k === "websocket" ? c.WebSocket : c.fetch) !== undefined);
        const best = this.#best;
        if (!best || !able.includes(best.kind) || (best.kind !== able[0] && Date.now() - best.at > memory))
            return able;
        return this.#misses < loyalty ? [best.kind] : [best.kind, ...able.filter((k) => k !== best.kind)];
    }
    #sleep(ms) {
        return new Promise((resolve) => {
            const done = () => {
                clearTimeout(timer);
                this.#wake = undefined;
                resolve();
            };
            const timer = setTimeout(done, ms);
            this.#wake = done;
        });
    }
}
function verdict(end) {
    const code = end.error?.code;
    return code === "unauthenticated" || code === "forbidden" ? "no" : comeBack(end.code);
}
// What worked is kept for the life of the page's tab, so that a reload does not try a blocked WebSocket again.
const storageKey = (url) => "ropewalk " + url.host;
function recall(url) {
    try {
        return JSON.parse(sessionStorage.getItem(storageKey(url)) ?? "null") ?? undefined;
    }
    catch { // not in a browser, or storage is forbidden
        return undefined;
    }
}
function remember(url, best) {
    try {
        sessionStorage.setItem(storageKey(url), JSON.stringify(best));
    }
    catch { /* as above */ }
}
