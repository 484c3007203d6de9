import { deltas } from "./delta.js";
import { Topic } from "./topic.js";
import { Watch } from "./watch.js";
// How many topics are asked for at once. A node takes only so many requests of a connection at a time.
const together = 256;
/** The topics that this client watches, and its own. */
export class Topics {
    client;
    #all = new Map(); // by address and parameters
    #named = new Map(); // by connection and what the node calls them
    #wanted = new Set();
    #asking = 0;
    #queue = [];
    constructor(client) {
        this.client = client;
    }
    watch(address, options, callback) {
        const topic = this.#topic(address, options);
        const w = new Watch(topic, options, callback);
        topic.join(w);
        return w;
    }
    /** What is known of a topic without asking. */
    peek(address, params) {
        const found = this.#all.get(keyOf(address, params))?.shown();
        if (found || !address.startsWith("app:"))
            return found;
        const [parent, field] = parentOf(address);
        const content = parent && this.#all.get(keyOf(parent, undefined))?.shown()?.content;
        if (typeof content !== "object" || content === null || !Object.hasOwn(content, field))
            return undefined;
        return { content: content[field], address, epoch: "", offset: 0, publisher: undefined, gap: false, optimistic: false };
    }
    /** Makes a content that of a topic of this client's own. */
    set(address, content) {
        const [parent, field] = parentOf(address);
        if (parent) {
            const whole = this.#topic(parent, {});
            const before = whole.shown()?.content;
            const others = typeof before === "object" && before !== null ? Object.entries(before).filter(([k]) => k !== field) : [];
            whole.set(Object.fromEntries(content === undefined ? others : [...others, [field, content]]), false);
        }
        const t = this.#topic(address, {});
        t.set(content, true);
        if (!t.watched)
            this.drop(t);
    }
    /** How many topics are known. */
    get size() {
        return this.#all.size;
    }
    /** The contents of this client's own topics, the newest last. */
    *own() {
        for (const t of this.#all.values()) {
            const u = t.local ? t.shown() : undefined;
            if (u)
                yield u;
        }
    }
    /** Shows a content that is being published. */
    overlay(address, content, published) {
        void this.#all.get(keyOf(address, undefined))?.overlay(content, published);
    }
    /** There is a connection: what is watched is asked for by it. */
    up() {
        for (const t of this.#all.values())
            if (!t.local)
                this.#wanted.add(t);
        this.#pump();
    }
    /** A connection is gone. */
    lost(line) {
        for (const t of [...this.#all.values()])
            t.lost(line);
    }
    /** The session is another one. */
    again() {
        for (const t of this.#all.values())
            t.again();
    }
    /** The node has something new of a topic, or ends a watch. */
    take(line, m) {
        const t = this.#named.get(nameOf(line, m.topic ?? ""));
        if (m.verb === "unsubscribe")
            t?.ended(m, line);
        else
            t?.take(m); // else we have just unsubscribed
    }
    /** There will be no connection any more. */
    end(err) {
        for (const t of [...this.#all.values()])
            t.end(err);
        this.#all.clear();
    }
    later(fn) {
        if (this.#queue.push(fn) === 1)
            queueMicrotask(() => this.#deliver());
    }
    want(t) {
        this.#wanted.add(t);
        this.#pump();
    }
    name(t, line, name) {
        this.#named.set(nameOf(line, name), t);
    }
    unname(line, name) {
        this.#named.delete(nameOf(line, name));
    }
    drop(t) {
        this.#wanted.delete(t);
        if (t.local && t.shown())
            return;
        if (this.#all.get(t.key) === t)
            this.#all.delete(t.key);
    }
    #deliver() {
        for (let i = 0; i < this.#queue.length; i++)
            this.#queue[i](); // what comes meanwhile too
        this.#queue = [];
    }
    #pump() {
        for (const t of this.#wanted) {
            const line = this.client.line();
            if (!line || this.#asking >= together)
                return;
            this.#wanted.delete(t);
            this.#asking++;
            void t.ask(line).finally(() => {
                this.#asking--;
                this.#pump();
            });
        }
    }
    #topic(address, { params, delta }) {
        const key = keyOf(address, params);
        let t = this.#all.get(key);
        if (!t) {
            const used = key === address ? undefined : JSON.parse(key.slice(address.length)); // a copy: the caller's may change
            t = new Topic(key, address, used, delta === true ? deltas : delta || undefined, this);
            const known = t.local ? this.peek(address, undefined) : undefined;
            if (known)
                t.set(known.content, false);
            this.#all.set(key, t);
        }
        return t;
    }
}
// The order of parameters does not matter.
function keyOf(address, params) {
    const sorted = (_, v) => typeof v === "object" && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v;
    const text = JSON.stringify(params ?? {}, sorted);
    return text === "{}" ? address : `${address} ${text}`;
}
function nameOf(line, name) {
    return `${line.id} ${name}`;
}
/** Of `app:form#name`: `app:form` and `name`. */
function parentOf(address) {
    const at = address.indexOf("#");
    return at < 0 ? ["", ""] : [address.slice(0, at), address.slice(at + 1)];
}
