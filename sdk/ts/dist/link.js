import { closeError, comeBack, wait } from "./close.js";
import { RopewalkError } from "./error.js";
import { HTTPTransport } from "./http.js";
import { decode } from "./message.js";
import { dialWebSocket } from "./websocket.js";
// A connection that lived for less than this does not count as a success: the next wait grows.
const stable = 5_000;
// How long an answer to a probe may take.
const probeTimeout = 8_000;
// A transport that has worked is given this many tries before others get one: the node is likelier down than blocked.
const loyalty = 3;
// How long a second-best transport is preferred because it worked.
const memory = 600_000;
/** Keeps one connection to a node alive: connects, comes back, changes the transport. Messages are its owner's. */
export class Link {
    #cfg;
    #owner;
    #state = "connecting";
    #transport;
    #finish; // ends the connection under way, for the link
    #wake; // ends the wait before the next try
    #best;
    /** While waiting: when the next try is. */
    retryAt;
    #welcomed = false;
    #misses = 0;
    #heard = 0;
    #probed = 0; // when the unanswered probe was sent; 0 if there is none
    #tick;
    #patience; // with a close that the node does not answer
    constructor(cfg, owner) {
        this.#cfg = cfg;
        this.#owner = owner;
        this.#best = recall(cfg.url);
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
        for (let attempt = 0; !this.#ending();) {
            this.#set("connecting");
            const end = await this.#round();
            const lived = end.since !== undefined && Date.now() - end.since >= stable;
            if (lived)
                attempt = 0;
            const next = verdict(end);
            err = end.error ?? (end.since === undefined ? this.#unreachable(end) : closeError(end.code, end.reason));
            if (this.#ending() || next === "no")
                break;
            const pause = lived && next === "now" ? 0 : Math.max(wait(attempt++, this.#cfg.backoff), err.retryAfter);
            this.retryAt = Date.now() + pause;
            this.#set("waiting");
            this.#owner.down(err, false);
            if (pause)
                await this.#sleep(pause);
            this.retryAt = undefined;
        }
        this.#set("closed");
        this.#owner.down(err, true);
    }
    /** Whether messages can be sent now. */
    get open() {
        return this.#welcomed;
    }
    /** Sends a frame; only while connected. */
    send(frame) {
        this.#transport.send(frame);
    }
    /** Bytes that wait for the network. */
    buffered() {
        return this.#transport?.buffered() ?? 0;
    }
    /** Something changed that makes it worth to look at once: the network, the page, the person. */
    hint() {
        if (this.#state === "waiting")
            this.#wake?.();
        else if (this.#state === "connected" && !this.#probed)
            this.#probe();
    }
    /** Gives up the connection and makes a new one at once. */
    restart(reason) {
        this.#drop({ code: 1001, reason });
        this.#wake?.();
    }
    /** Stops accepting work; {@link close} follows. */
    closing() {
        if (this.#state !== "closed")
            this.#set("closing");
        this.#wake?.();
    }
    /** Ends the connection for good after what was sent, or after `timeout` milliseconds. */
    close(timeout) {
        this.closing();
        this.#transport?.close();
        const finish = this.#finish;
        if (finish)
            this.#patience = setTimeout(() => finish({ code: 1000, reason: "bye" }), timeout);
    }
    #unreachable(end) {
        if (comeBack(end.code) === "no")
            return closeError(end.code, end.reason);
        return new RopewalkError("connection_lost", `no connection to ${this.#cfg.url.href}: ${end.reason || "it was refused"}`, { hint: "Is the node running, and is the URL right? The client goes on trying." });
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
    /** Tries the transports in turn; returns when a connection that worked is over, or when none works. */
    async #round() {
        let end;
        let blocked = false;
        for (const kind of this.#candidates()) {
            if (end && kind !== "websocket" && blocked)
                continue;
            end = await this.#connection(kind);
            if (end.since !== undefined || this.#ending() || verdict(end) === "no")
                return end;
            blocked = end.unreachable === true;
        }
        this.#misses++;
        return end ?? {
            code: 4100, reason: "", since: undefined,
            error: new RopewalkError("not_ready", "no transport works here: neither WebSocket nor fetch is available"),
        };
    }
    #candidates() {
        const c = this.#cfg;
        const able = c.transports.filter((k) => (k === "websocket" ? c.WebSocket : c.fetch) !== undefined);
        const best = this.#best;
        if (!best || !able.includes(best.kind) || (best.kind !== able[0] && Date.now() - best.at > memory))
            return able;
        return this.#misses < loyalty ? [best.kind] : [best.kind, ...able.filter((k) => k !== best.kind)];
    }
    /** One connection, from the first byte to its end. */
    #connection(kind) {
        return new Promise((resolve) => {
            let since;
            let over = false;
            const finish = (end) => {
                if (over)
                    return;
                over = true;
                clearTimeout(timer);
                clearTimeout(this.#patience); // it would keep a process from ending
                clearInterval(this.#tick);
                this.#transport?.abort();
                this.#transport = this.#finish = undefined;
                this.#welcomed = false;
                resolve({ ...end, since });
            };
            const timer = setTimeout(() => finish({ code: 1006, reason: "no welcome in time" }), this.#cfg.connectTimeout);
            const sink = {
                frame: (data) => {
                    if (over)
                        return;
                    this.#alive();
                    const m = this.#decode(data);
                    if (!m)
                        return;
                    if (m.verb !== "welcome")
                        return this.#owner.message(m);
                    clearTimeout(timer);
                    since = Date.now();
                    this.#up(kind, m);
                },
                heard: () => this.#alive(),
                closed: finish,
            };
            this.#finish = finish;
            this.#probed = 0;
            try {
                this.#transport = kind === "websocket" ? dialWebSocket(this.#cfg, sink) : new HTTPTransport(kind, this.#cfg, sink);
            }
            catch (err) { // a URL that WebSocket refuses, or a page that may not use it
                finish({ code: 1006, reason: err.message });
            }
        });
    }
    #decode(data) {
        try {
            return decode(data, this.#cfg.framing);
        }
        catch (err) {
            this.#owner.badFrame(err);
            return undefined;
        }
    }
    #up(kind, m) {
        if (this.#best?.kind !== kind || Date.now() - this.#best.at > memory)
            this.#best = { kind, at: Date.now() };
        this.#misses = 0;
        remember(this.#cfg.url, this.#best);
        this.#tick = setInterval(() => this.#check(), Math.min(this.#cfg.silence, probeTimeout) / 2);
        this.#welcomed = true;
        this.#owner.up((m.body ?? {}));
        this.#set("connected"); // last, so that who hears of it finds the new id
    }
    #alive() {
        this.#heard = Date.now();
        this.#probed = 0;
    }
    // A browser does not show us pings, so silence has to be broken by a question.
    #check() {
        const now = Date.now();
        if (this.#probed && now - this.#probed >= probeTimeout)
            this.#drop({ code: 1001, reason: "the node does not answer" });
        else if (!this.#probed && now - this.#heard >= this.#cfg.silence)
            this.#probe();
    }
    #probe() {
        this.#probed = Date.now();
        this.#owner.probe();
    }
    #drop(end) {
        this.#finish?.(end);
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
