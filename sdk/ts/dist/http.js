import { BatchReader, encodeBatch } from "./batch.js";
import { fromWire, RopewalkError } from "./error.js";
import { encoder } from "./message.js";
import { withScheme } from "./transport.js";
// How often a request is tried again before the connection counts as lost. The numbers in the headers make that safe.
const tries = 3;
const retryDelay = 300;
// How many bytes several frames together may have in one request: a node takes more than one frame of the largest
// size, but not much.
const maxPost = 256 << 10;
/** Connects by HTTP: messages from the node on one endless response, or by long-polling; messages to it by POST. */
export class HTTPTransport {
    #base;
    #fetch;
    #sink;
    #abort = new AbortController();
    #token = "";
    #out = [];
    #pending = 0; // bytes in #out and in the request under way
    #seq = 0;
    #sending;
    #over = false;
    constructor(kind, url, target, sink) {
        this.#base = new URL("/ropewalk/v1/", withScheme(url, "http"));
        this.#fetch = target.fetch;
        this.#sink = sink;
        void this.#run(kind, target.framing);
    }
    send(frame) {
        const data = typeof frame === "string" ? encoder.encode(frame) : frame;
        this.#out.push(data);
        this.#pending += data.length;
        if (this.#token)
            this.#flush();
    }
    buffered() {
        return this.#pending;
    }
    close() {
        void Promise.resolve(this.#sending).then(() => {
            if (!this.#over)
                this.#end({ code: 1000, reason: "bye" });
        });
    }
    abort() {
        this.#end();
    }
    #end(end) {
        if (this.#over)
            return;
        this.#over = true;
        this.#abort.abort();
        // So that the node knows at once. keepalive: it is sent even if the page goes away.
        if (this.#token)
            void this.#request("POST", "close", {}, undefined, { keepalive: true, signal: null }).catch(() => { });
        if (end)
            this.#sink.closed(end);
    }
    async #run(kind, framing) {
        let unreachable = true;
        try {
            const res = await this.#request("POST", "open?framing=" + framing, {});
            unreachable = false;
            this.#token = (await res.json()).connection;
            this.#sink.heard();
            if (this.#out.length)
                this.#flush();
            await (kind === "stream" ? this.#stream() : this.#poll());
        }
        catch (err) {
            this.#fail(err, unreachable && !(err instanceof RopewalkError));
        }
    }
    async #stream() {
        const res = await this.#request("GET", "stream", {});
        if (!res.body)
            throw new TypeError("no streams here");
        const reader = res.body.getReader();
        const batch = new BatchReader();
        for (;;) {
            const { done, value } = await reader.read();
            if (done)
                return this.#end({ code: 1006, reason: "the stream ended" });
            this.#deliver(batch.push(value));
        }
    }
    async #poll() {
        for (let ack = "0"; !this.#over;) {
            const data = await this.#retried(async () => {
                const res = await this.#request("POST", "poll", { "Ropewalk-Ack": ack });
                const all = await res.arrayBuffer();
                ack = res.headers.get("Ropewalk-Batch") ?? ack;
                return new Uint8Array(all);
            });
            this.#sink.heard();
            this.#deliver(new BatchReader().push(data));
        }
    }
    #deliver(frames) {
        for (const f of frames) {
            if (this.#over)
                return;
            if (f.length)
                this.#sink.frame(f);
            else
                this.#sink.heard();
        }
    }
    #flush() {
        this.#sending ??= this.#post().catch((err) => this.#fail(err)).finally(() => { this.#sending = undefined; });
    }
    async #post() {
        while (this.#out.length && !this.#over) {
            let n = 1;
            let size = this.#out[0].length;
            for (let f; (f = this.#out[n]) && size + f.length <= maxPost; n++)
                size += f.length;
            const batch = encodeBatch(this.#out.splice(0, n));
            const seq = String(++this.#seq);
            await this.#retried(() => this.#request("POST", "send", { "Ropewalk-Seq": seq }, batch));
            this.#pending -= size;
            this.#sink.heard();
        }
    }
    async #retried(request) {
        for (let n = 1;; n++) {
            try {
                return await request();
            }
            catch (err) {
                if (err instanceof RopewalkError || this.#over || n === tries)
                    throw err;
                await new Promise((done) => setTimeout(done, retryDelay * n));
            }
        }
    }
    /** One request. It rejects with a RopewalkError if the node answered with an error, else with what fetch rejects. */
    async #request(method, path, headers, body, more = {}) {
        const h = { ...headers };
        if (this.#token)
            h["Ropewalk-Connection"] = this.#token;
        if (body)
            h["Content-Type"] = "application/vnd.ropewalk.batch";
        const fetch = this.#fetch; // a method call would give it a wrong this
        const res = await fetch(new URL(path, this.#base), {
            method, headers: h, body: body ?? null, cache: "no-store", signal: this.#abort.signal, ...more,
        });
        if (res.ok)
            return res;
        const info = await res.json().catch(() => undefined);
        if (typeof info?.code === "string")
            throw fromWire(info);
        throw res.status >= 500 ? new TypeError(`status ${res.status}`) // of something in between; worth another try
            : new RopewalkError(byStatus[res.status] ?? "connection_lost", `the node answered ${res.status} to ${path}`, { remote: true });
    }
    #fail(err, unreachable = false) {
        this.#end({
            code: 1006,
            reason: err instanceof Error ? err.message : String(err),
            error: err instanceof RopewalkError ? err : undefined,
            unreachable,
        });
    }
}
const byStatus = { 401: "unauthenticated", 403: "forbidden" };
