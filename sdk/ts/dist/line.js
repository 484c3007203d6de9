import { HTTPTransport } from "./http.js";
import { decode } from "./message.js";
import { dialWebSocket } from "./websocket.js";
// How long an answer to a probe may take.
const probeTimeout = 8_000;
// How many messages are kept until the node knows who the client is.
const maxEarly = 1024;
// How long a goodbye may take.
const byeTimeout = 5_000;
let count = 0;
/** One connection to a node, from the first byte to its end. */
export class Line {
    /** Tells it from all others. */
    id = ++count;
    kind;
    place;
    #owner;
    #target;
    #transport;
    #opened;
    #resolve;
    #move;
    /** The welcome has come. */
    welcomed = false;
    /** What is to be done when the connection is in use, after the node has heard who the client is. */
    greeted;
    /** Resolves when the welcome has come, or at the end. */
    opened = new Promise((r) => { this.#opened = r; });
    /** Resolves at the end. */
    ended = new Promise((r) => { this.#resolve = r; });
    /** Resolves when new messages had better go elsewhere. */
    moved = new Promise((r) => { this.#move = r; });
    /** When the welcome came; undefined if it never did. */
    since;
    /** The id of the node; "" before the welcome. */
    node = "";
    /** Messages can be sent. */
    open = false;
    /** The node starts nothing new here. */
    draining = false;
    #over = false;
    #busy = 0; // calls that were sent or are being answered by it
    #asked;
    #early = []; // what came while it was not open
    #leaving = false; // as soon as it is not busy
    #left = false;
    #heard = 0;
    #probed = 0; // when the unanswered probe was sent; 0 if there is none
    #timer; // first for the welcome, later with a node that does not say goodbye
    #tick;
    constructor(kind, place, target, timeout, owner) {
        this.kind = kind;
        this.place = place;
        this.#target = target;
        this.#owner = owner;
        this.#within(timeout, "no welcome in time");
        try {
            this.#transport = kind === "websocket" ? dialWebSocket(place.url, target, this) : new HTTPTransport(kind, place.url, target, this);
        }
        catch (err) { // a URL that WebSocket refuses, or a page that may not use it
            this.drop({ code: 1006, reason: err.message });
        }
    }
    /** Sends a frame; only while it is open. */
    send(frame) {
        this.#transport.send(frame);
    }
    /** Sends a call before the connection is in use, and resolves with the answer. Without one in time it is dropped. */
    ask(frame, mid, timeout) {
        return new Promise((done) => {
            this.#asked = { mid, done };
            this.#within(timeout, "the node does not say whether the token is good");
            this.send(frame);
        });
    }
    /** Bytes that wait for the network. */
    buffered() {
        return this.#transport?.buffered() ?? 0;
    }
    /** Something that was sent, or came, by this connection will be answered by it. */
    hold() {
        this.#busy++;
    }
    /** And was. */
    free() {
        this.#busy--;
        if (this.#leaving)
            this.leave();
    }
    /** Has new messages go elsewhere. */
    move() {
        this.#move();
    }
    /** Ends it as soon as nothing is under way on it. */
    leave() {
        this.#leaving = true;
        if (this.#busy || this.#left)
            return;
        this.#left = true;
        this.bye(byeTimeout);
    }
    /** Ends it after what was sent, or after `timeout` milliseconds. */
    bye(timeout) {
        if (this.#over)
            return;
        this.#within(timeout, "bye", 1000);
        this.#transport?.close();
    }
    /** Ends it at once. */
    drop(end) {
        if (this.#over)
            return;
        this.#over = true;
        this.open = false;
        clearTimeout(this.#timer);
        clearInterval(this.#tick);
        this.#transport?.abort();
        this.#opened();
        this.#resolve(this.#left ? { code: 1001, reason: "the node drains" } : end);
    }
    /** Sees whether the node is still there. */
    probe() {
        if (this.#probed)
            return;
        this.#probed = Date.now();
        this.#owner.probe(this);
    }
    frame(data) {
        if (this.#over)
            return;
        this.heard();
        let m;
        try {
            m = decode(data, this.#target.framing);
        }
        catch (err) {
            return this.#owner.badFrame(err);
        }
        if (m.verb !== "welcome") {
            if (this.since !== undefined)
                return this.#owner.message(this, m);
            if (this.#asked && m.rmid === this.#asked.mid)
                this.#asked.done(m);
            else if (this.#early.length < maxEarly)
                this.#early.push(m);
            return;
        }
        if (this.welcomed)
            return;
        this.welcomed = true;
        clearTimeout(this.#timer); // how long the program takes to find a token is its own affair
        const greeting = this.#owner.greet(this);
        if (!greeting)
            return this.#begin(m);
        greeting.then((then) => {
            this.greeted = then;
            this.#begin(m);
        }, (error) => this.drop({ code: error.code === "shutting_down" ? 1001 : 1006, reason: error.message, error }));
    }
    #begin(m) {
        if (this.#over)
            return;
        clearTimeout(this.#timer);
        this.since = Date.now();
        this.open = true;
        this.#tick = setInterval(() => this.#check(), Math.min(this.#target.silence, probeTimeout) / 2);
        this.#owner.welcome(this, m);
        for (const early of this.#early.splice(0))
            this.#owner.message(this, early);
        this.#opened();
    }
    #within(ms, reason, code = 1006) {
        clearTimeout(this.#timer); // the one before would keep a process from ending
        if (!this.#over)
            this.#timer = setTimeout(() => this.drop({ code, reason }), ms);
    }
    heard() {
        this.#heard = Date.now();
        this.#probed = 0;
    }
    closed(end) {
        this.drop(end);
    }
    // A browser does not show us pings, so silence has to be broken by a question.
    #check() {
        const now = Date.now();
        if (this.#probed && now - this.#probed >= probeTimeout)
            this.drop({ code: 1001, reason: "the node does not answer" });
        else if (now - this.#heard >= this.#target.silence)
            this.probe();
    }
}
