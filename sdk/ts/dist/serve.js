import { fromAbort, RopewalkError, toWire } from "./error.js";
import { Feeds } from "./feed.js";
import { mergePatch, readSession, wirePatch } from "./identity.js";
import { encodeBody } from "./message.js";
import { parseAddress, Routes } from "./pattern.js";
/** A service that this client offers. It is offered again after each reconnect, until it is stopped. */
export class Service {
    name;
    /** Resolves when all paths are served for the first time; rejects if the node refuses one. */
    ready;
    #host;
    #routes = new Routes();
    #feeds;
    #about;
    #announcements = [];
    #concurrency;
    #runs = new Map();
    #barred = new Set(); // what the node has taken back
    #lacking = false; // it has refused something
    #announcing = 0;
    #idle = [];
    #resolve;
    #reject;
    /** @internal */
    constructor(host, name, handlers, options) {
        this.name = name;
        this.#host = host;
        this.#concurrency = options.concurrency ?? 1024;
        this.#about = options;
        this.#feeds = new Feeds(host, options.topics ?? 10_000);
        for (const [pattern, h] of Object.entries(handlers))
            this.#add(pattern, typeof h === "function" ? { handler: h } : h);
        this.ready = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        this.ready.catch(() => { }); // reported as an event too
    }
    /**
     * Offers a route that can be watched. The handler is an async generator that yields the content, and each that it
     * becomes, or with `events` each event. It is run once for all who watch the same path with the same parameters, and
     * its signal aborts when nobody does any more. What it yields last stays the content when it ends; what it throws, and
     * each RopewalkError that it yields, is told in place of a content. A new watch gets the content at once.
     */
    watch(pattern, handler, options = {}) {
        const added = this.#add(pattern, { ...options, watch: handler });
        if (this.#host.open())
            void this.announce([added]);
        return this;
    }
    #add(pattern, route) {
        const { version, description, metadata } = this.#about;
        this.#routes.add(pattern, route);
        const shape = route;
        const added = {
            to: `${this.name}:${pattern}`,
            info: { version, description: route.description ?? description, in: shape.in, out: shape.out, metadata,
                idempotent: shape.idempotent, validate: shape.in ? true : undefined, topic: "watch" in route ? wireTopic(route) : undefined },
        };
        this.#announcements.push(added);
        return added;
    }
    /**
     * Takes the paths back, lets the calls that run finish, and resolves. What still runs after `timeout` milliseconds
     * (default 10,000) is answered with `shutting_down`.
     */
    async stop({ timeout = 10_000 } = {}) {
        const announced = this.#announcements.splice(0); // it is not offered on later connections, either
        const asked = announced.map((a) => this.#host.ask({ verb: "unserve", to: a.to }));
        await Promise.allSettled(asked); // refused, or no connection: then they are not served either
        await this.drain(timeout);
        this.#host.stopped(this);
    }
    /** @internal Waits until no call runs, at most so many milliseconds. */
    async drain(timeout) {
        this.#feeds.end(new RopewalkError("shutting_down", "the service stops", { retryable: true }));
        if (!this.#runs.size)
            return;
        const timer = setTimeout(() => this.abort(new RopewalkError("shutting_down", "the service stops", { retryable: true })), timeout);
        await new Promise((done) => this.#idle.push(done));
        clearTimeout(timer);
    }
    /** @internal Tells the node of all paths, on each new connection, or of some. */
    async announce(some = this.#announcements) {
        if (some === this.#announcements)
            this.#lacking = false;
        this.#announcing++;
        try {
            await Promise.all(some.filter((a) => !this.#barred.has(a.to)).map((a) => this.#host.ask({ verb: "serve", to: a.to, body: encodeBody(a.info) })));
            if (this.#announcing === 1)
                this.#resolve();
        }
        catch (err) {
            const { code } = err;
            if (code === "connection_lost" || code === "shutting_down")
                return; // the next connection brings another try
            this.#lacking = true;
            this.#reject(err);
            if (code !== "canceled")
                this.#host.report(err);
        }
        finally {
            this.#announcing--;
        }
    }
    /** @internal The node has taken a path back: it is not announced until the session changes. Says whether it is ours. */
    bar(to) {
        const ours = this.#announcements.some((a) => a.to === to);
        if (ours)
            this.#barred.add(to);
        return ours;
    }
    /** @internal The session is another one: what was refused or taken back may be served now. */
    again() {
        if (!this.#barred.size && !this.#lacking)
            return;
        this.#barred.clear();
        void this.announce();
    }
    /** @internal Runs the handler of a request, if a route of ours fits. */
    handle(m, address, line) {
        const found = this.#routes.find(address.path);
        if (!found)
            return false;
        const { value: route, params } = found;
        const reads = m.verb === "get" || m.verb === "subscribe";
        const handler = m.verb === "publish" ? route.publish : route.handler;
        if (reads && "watch" in route)
            this.#feeds.read(m, line, address, route, params);
        else if (handler && !reads)
            void this.#run(m, line, address, handler, params);
        else if (m.verb === "send")
            return false;
        else
            this.#host.post({ verb: "error", rmid: m.mid, body: encodeBody(toWire(cannot(m))) }, line);
        return true;
    }
    /** @internal Ends one request. */
    cancel(id, line) {
        const run = this.#runs.get(keyOf("call", id, line));
        run?.abort.abort(new RopewalkError("canceled", "canceled by the caller", { remote: true }));
        return run !== undefined || this.#feeds.cancel(id, line);
    }
    /** @internal Ends all calls. */
    abort(err) {
        for (const run of this.#runs.values())
            run.abort.abort(err);
    }
    /** @internal A connection is gone. */
    lost(err, line) {
        for (const run of this.#runs.values())
            if (run.line === line)
                run.abort.abort(err);
        this.#feeds.lost(line);
    }
    async #run(m, line, address, handler, params) {
        const id = m.mid ?? "";
        let patch;
        const answer = (verb, body) => {
            if (m.verb === "send")
                return;
            const session = verb === "reply" && patch ? wirePatch(patch) : undefined;
            this.#host.post({ verb, rmid: id, body: encodeBody(body), session }, line);
        };
        if (this.#runs.size >= this.#concurrency) {
            return answer("error", toWire(new RopewalkError("overloaded", "the service has too many calls to answer", { retryable: true })));
        }
        const abort = new AbortController();
        const { signal } = abort;
        const key = keyOf(m.verb === "send" ? "send" : "call", id, line);
        this.#runs.set(key, { line, abort });
        line.hold();
        const timer = m.timeout === undefined ? undefined : setTimeout(() => abort.abort(new RopewalkError("deadline_exceeded", "the caller's time is over")), Math.min(m.timeout * 1000, 2 ** 31 - 1));
        const send = async (part) => {
            signal.throwIfAborted();
            answer("part", part);
            await this.#host.room();
        };
        try {
            const ctx = {
                signal, send, params, from: m.from ?? "", to: m.to ?? "", headers: m.headers ?? {}, type: m.type ?? "",
                session: readSession(m.session), changeSession: (p) => { patch = mergePatch(patch ?? {}, p); },
                method: address.method, path: address.path, query: address.query,
                deadline: m.timeout === undefined ? undefined : Date.now() + m.timeout * 1000,
            };
            const body = await unlessAborted(signal, this.#result(m, handler, ctx));
            answer("reply", body);
        }
        catch (err) {
            this.#failed(err, signal, m, answer);
        }
        finally {
            clearTimeout(timer);
            this.#runs.delete(key);
            line.free();
            if (!this.#runs.size)
                for (const done of this.#idle.splice(0))
                    done();
        }
    }
    async #result(m, handler, ctx) {
        if (m.unreadable !== undefined)
            throw new RopewalkError("bad_message", "the body is not JSON", { cause: m.unreadable });
        const result = handler(m.body, ctx);
        return isGenerator(result) ? partsOf(result, ctx) : result;
    }
    #failed(err, signal, m, answer) {
        if (signal.aborted && err === signal.reason) {
            // Of these the caller knows, or it cannot be reached.
            const { code } = fromAbort(err);
            if (code !== "canceled" && code !== "connection_lost")
                answer("error", toWire(err));
            return;
        }
        answer("error", toWire(err));
        if (!(err instanceof RopewalkError)) {
            this.#host.report(new RopewalkError("internal", `the handler of ${m.to} failed: ${String(err)}`, { cause: err, path: m.to }));
        }
    }
}
// Two connections may have calls of the same id.
function keyOf(verb, id, line) {
    return `${line.id} ${verb} ${id}`;
}
function isGenerator(v) {
    return typeof v?.next === "function" && Symbol.asyncIterator in v;
}
async function partsOf(parts, ctx) {
    try {
        for (;;) {
            const { done, value } = await parts.next();
            if (done)
                return value;
            await ctx.send(value);
        }
    }
    catch (err) {
        if (ctx.signal.aborted)
            void parts.return(undefined).catch(() => { });
        throw err;
    }
}
function wireTopic({ events, slow, history, presence, publisher, personal }) {
    const age = history?.age === undefined ? undefined : `${Math.round(history.age)}ms`;
    return { events, slow, history: history && { ...history, age }, presence, publisher, personal };
}
function cannot(m) {
    const what = { get: "watched", subscribe: "watched", publish: "published to" };
    return new RopewalkError("unimplemented", `${m.to} cannot be ${what[m.verb] ?? "called"}`, { path: m.to });
}
/** Stops waiting when the signal aborts: a handler that does not look at it must not hold the answer up. */
function unlessAborted(signal, result) {
    return new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        result.then(resolve, reject);
    });
}
/** The services of a client. */
export class Services {
    all = new Set();
    /** Gives a call to the service that has a handler for it. */
    call(m, line, host) {
        if (this.send(m, line))
            return;
        const error = new RopewalkError("not_found", `nothing is served at ${m.to}`, { path: m.to });
        host.post({ verb: "error", rmid: m.mid, body: encodeBody(toWire(error)) }, line);
    }
    /** Gives a send to a service; false if none has a handler for it. */
    send(m, line) {
        const address = parseAddress(m.to ?? "");
        for (const s of this.all)
            if (s.name === address.name && s.handle(m, address, line))
                return true;
        return false;
    }
    cancel(id, line) {
        for (const s of this.all)
            if (s.cancel(id, line))
                return;
    }
}
