import { RopewalkError, toWire } from "./error.js";
import { readSession } from "./identity.js";
import { encodeBody } from "./message.js";
/**
 * An event of one address, for those who watch many by a pattern such as ticker:/*: what a handler of events yields in
 * place of the event. Its path parameters are then * too, or ** for any rest. An event of an address that nobody watches
 * goes to nobody.
 */
export class At {
    path;
    event;
    /** The path is as in the address: /ACME of ticker:/ACME. */
    constructor(path, event) {
        this.path = path;
        this.event = event;
    }
}
/** One run of a handler, for all who watch the same. */
class Run {
    key;
    events;
    readers = new Set();
    abort = new AbortController();
    last;
    constructor(key, events) {
        this.key = key;
        this.events = events;
    }
}
/** What is watched of a service. */
export class Feeds {
    #host;
    #limit;
    #runs = new Map();
    #reads = new Map(); // by connection and id
    constructor(host, limit) {
        this.#host = host;
        this.#limit = limit;
    }
    /** Answers a get or subscribe. */
    read(m, line, address, route, found) {
        const reader = { id: m.mid ?? "", line, once: m.verb === "get" };
        if (reader.once && route.events)
            return this.#end(reader, new RopewalkError("unimplemented", `${m.to} has events, and no content to get`, { path: m.to }));
        if (!route.events && /\/\*\*?(\/|$)/.test(address.path)) {
            return this.#end(reader, new RopewalkError("bad_address", `${m.to} cannot be watched by a pattern`, { path: m.to, hint: "Watch each address." }));
        }
        const session = route.personal ? readSession(m.session) : undefined;
        const params = m.body?.params ?? {};
        // The node says the same parameters in the same order.
        const key = JSON.stringify([address.path, address.query, params, session?.id]);
        let run = this.#runs.get(key);
        if (!run && this.#runs.size >= this.#limit) {
            return this.#end(reader, new RopewalkError("overloaded", "too many topics of the service are watched", { retryable: true }));
        }
        const fresh = !run;
        run ??= new Run(key, route.events ?? false);
        run.readers.add(reader);
        this.#runs.set(key, run);
        this.#reads.set(idOf(reader.id, line), { run, reader });
        if (run.last && !run.events)
            this.#tell(run, reader, run.last);
        if (!fresh)
            return;
        const { signal } = run.abort;
        void this.#run(run, m.to ?? "", address.name, () => route.watch({ ...params, ...found }, { signal, to: m.to ?? "", path: address.path, query: address.query, session }));
    }
    /** Somebody does not watch any more. */
    cancel(id, line) {
        const read = this.#reads.get(idOf(id, line));
        if (read)
            this.#leave(read.run, read.reader);
        return read !== undefined;
    }
    /** A connection is gone. */
    lost(line) {
        for (const { run, reader } of [...this.#reads.values()])
            if (reader.line === line)
                this.#leave(run, reader);
    }
    /** Ends all. */
    end(err) {
        for (const run of [...this.#runs.values()])
            this.#fail(run, err);
    }
    async #run(run, to, name, start) {
        const { signal } = run.abort;
        try {
            const contents = start()[Symbol.asyncIterator]();
            signal.addEventListener("abort", () => void contents.return?.()?.catch(() => { }));
            for (let r; !(r = await contents.next()).done && !signal.aborted;) {
                let v = r.value;
                const bad = v instanceof RopewalkError;
                const at = run.events && v instanceof At ? `${name}:${v.path}` : undefined;
                if (v instanceof At)
                    v = v.event;
                run.last = { body: encodeBody(bad ? toWire(v) : v ?? null), fault: bad || undefined, to: at };
                for (const reader of [...run.readers])
                    this.#tell(run, reader, run.last);
                await this.#host.room();
            }
        }
        catch (err) {
            if (signal.aborted)
                return;
            this.#fail(run, err);
            if (!(err instanceof RopewalkError)) {
                this.#host.report(new RopewalkError("internal", `the handler of ${to} failed: ${String(err)}`, { cause: err, path: to }));
            }
        }
    }
    #tell(run, reader, { body, fault, to }) {
        const { id, line, once } = reader;
        const sent = this.#host.post({ verb: !once ? "part" : fault ? "error" : "reply", rmid: id, body, to, fault: once ? undefined : fault }, line);
        if (once || !sent)
            this.#leave(run, reader);
    }
    #leave(run, reader) {
        this.#reads.delete(idOf(reader.id, reader.line));
        if (!run.readers.delete(reader) || run.readers.size)
            return;
        this.#runs.delete(run.key);
        run.abort.abort(new RopewalkError("canceled", "nobody watches any more"));
    }
    #fail(run, err) {
        for (const reader of [...run.readers]) {
            this.#end(reader, err);
            this.#leave(run, reader);
        }
    }
    #end({ id, line }, err) {
        this.#host.post({ verb: "error", rmid: id, body: encodeBody(toWire(err)) }, line);
    }
}
function idOf(id, line) {
    return `${line.id} ${id}`;
}
