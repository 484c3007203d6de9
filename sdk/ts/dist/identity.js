import { wait } from "./close.js";
import { RopewalkError } from "./error.js";
const base = "node:/session";
const refused = "the node does not take its token";
/** Reads a session as it is on the wire. */
export function readSession(v) {
    const s = v;
    if (typeof s?.["id"] !== "string" || !s["id"])
        return undefined;
    const text = (name) => (s[name] ?? "");
    const claims = (name) => (s[name] ?? {});
    return {
        id: s["id"], subject: text("subject"), issuer: text("issuer"), public: claims("public"), secret: claims("secret"),
        since: s.since && s.since * 1000, expires: s.expires && s.expires * 1000,
    };
}
/** Who the client is, and will be on its next connection. */
export class Identity {
    #host;
    #cfg;
    #source;
    #storage;
    #closed = false; // logged out: the source is not asked
    #opening = false; // see #reopen
    #again = false;
    #refreshing = false;
    #futile; // when the session ends, and no refresh moves that
    #over = false;
    #asking; // of the source
    #pauses = new Set(); // what ends them
    /** Opens the session on the next connection; "" if there is none. */
    token = "";
    session;
    constructor(cfg, host) {
        this.#cfg = cfg;
        this.#host = host;
        const { token } = cfg;
        if (typeof token === "function")
            this.#source = token;
        this.#storage = storage(cfg.store);
        this.token = (typeof token === "string" && token) || this.#kept();
    }
    /** Has the client be who a token says. */
    open(token) {
        return this.#ask("/open", undefined, token);
    }
    /** Has the session last longer. */
    refresh() {
        return this.#ask("/refresh");
    }
    /** Logs out. */
    async close(everywhere) {
        await this.#ask("/close", everywhere ? { everywhere } : undefined);
    }
    /** The client is closed. */
    end() {
        this.#over = true;
        for (const stop of this.#pauses)
            stop();
    }
    /**
     * Tells a node who the client is, by a connection that is not in use yet. Resolves with what is to be done when it is;
     * undefined: there is nothing to tell.
     */
    greet(line) {
        const { token } = this;
        const source = this.#closed ? undefined : this.#source;
        return token || source || this.#cfg.cookie ? this.#greet(line, token, source) : undefined;
    }
    async #greet(line, before, source) {
        const closed = this.#closed;
        let token = before;
        let news;
        let err;
        const open = async () => {
            err = undefined;
            const m = await this.#host.ask({ verb: "call", to: token ? base + "/open" : base, token: token || undefined }, line);
            if (m.verb === "error")
                err = m.body;
            else
                news = (m.body ?? {});
            if (err && err.code !== "unauthenticated")
                throw err;
        };
        if (token || !source)
            await open();
        const kept = this.#kept();
        if (!news && token && kept && kept !== token) { // another tab has had the session last longer
            token = kept;
            await open();
        }
        for (let tries = 0; source && !news && tries < 2; tries++) { // twice: it may have kept one for too long
            const fresh = await this.#fromSource();
            if (!fresh || (fresh === token && tries))
                break;
            token = fresh;
            await open();
        }
        return () => {
            if (this.token !== before || this.#closed !== closed)
                this.#reopen(0); // by a connection that drains, meanwhile
            else if (news?.session)
                this.#somebody({ ...news, token: news.token || token }, true);
            else
                this.unknown(err);
        };
    }
    /** There is a connection on which nobody is known. */
    unknown(error) {
        this.#nobody("ended", error ? refused : "there is no token for this connection", error);
        if (error)
            this.#reopen(1);
    }
    /** Takes what the node says by itself. */
    told(body, line) {
        const n = (body ?? {});
        const here = this.#here(line);
        if (n.event === "changed")
            return this.#somebody(n, here);
        if (!here)
            return; // the node of the connection in use says so too
        if (n.event === "ending")
            return this.#ending(n);
        if (n.event !== "ended" && n.event !== "revoked")
            return;
        const kept = n.expired && this.#kept();
        if (kept && kept !== this.token)
            this.#keep(kept); // by another tab, which has had it last longer
        else
            this.#nobody(n.event, n.reason ?? "");
        if (n.expired)
            this.#reopen(0);
        else if (n.event === "ended")
            this.#closed = true;
    }
    get #key() {
        return "ropewalk token " + this.#cfg.host;
    }
    #here(line) {
        const now = this.#host.line();
        return !now || now === line;
    }
    async #ask(path, body, token) {
        let session;
        await this.#host.call({ verb: "call", to: base + path, token, body: body && { json: JSON.stringify(body) } }, (m, line) => {
            if (path === "/close") {
                this.#closed = true;
                return this.#nobody("ended", "logged out");
            }
            const n = (m.body ?? {});
            this.#somebody({ ...n, token: n.token || token }, this.#here(line));
            session = readSession(n.session);
        });
        return session;
    }
    // One question at a time: it may be a person who is asked, and the connection may be lost meanwhile.
    #fromSource() {
        return this.#asking ??= (async () => {
            try {
                return await this.#source();
            }
            catch (cause) {
                throw new RopewalkError("not_ready", "there is no token to connect with: " + String(cause?.message ?? cause), { hint: "See why the option token fails.", retryable: true, cause });
            }
        })().finally(() => { this.#asking = undefined; });
    }
    #somebody(n, here) {
        this.#closed = false;
        const before = this.token;
        if (n.token)
            this.#keep(n.token);
        if (!here && n.token)
            return this.#reopen(0);
        const next = readSession(n.session);
        if (before === this.token && JSON.stringify(next) === JSON.stringify(this.session))
            return;
        this.session = next;
        this.#tell("changed");
        this.#host.changed();
    }
    #nobody(kind, reason, error) {
        const had = this.session ?? error;
        this.#keep("");
        this.session = this.#futile = undefined;
        if (had)
            this.#tell(kind, reason, error);
    }
    #tell(kind, reason = "", error) {
        this.#host.tell({ kind, session: this.session, reason, error });
    }
    /** What is kept, by this tab or another one; "" for nothing. */
    #kept() {
        try {
            return this.#storage?.getItem(this.#key) ?? "";
        }
        catch { // storage is forbidden
            return "";
        }
    }
    #keep(token) {
        if (token === this.token)
            return;
        this.token = token;
        try {
            if (token)
                this.#storage?.setItem(this.#key, token);
            else
                this.#storage?.removeItem(this.#key);
        }
        catch { /* full, or forbidden: it is kept for as long as the page */ }
    }
    #ending(n) {
        this.session = readSession(n.session) ?? this.session;
        this.#tell("ending");
        if (this.#cfg.refresh && !this.#refreshing && this.session && this.session.expires !== this.#futile)
            void this.#refresh(this.session);
    }
    async #refresh({ id, expires = Infinity }) {
        this.#refreshing = true;
        for (let attempt = 0; !this.#over && this.session?.id === id; attempt++) {
            try {
                const next = await this.refresh();
                if ((next?.expires ?? Infinity) <= expires)
                    this.#futile = expires; // its limit; to ask again changes nothing
                break;
            }
            catch (err) {
                if (this.session?.id !== id)
                    break; // it is over
                if (err.code === "unauthenticated" || Date.now() > expires) {
                    this.#tell("ending", "", err);
                    break;
                }
            }
            await this.#pause(attempt);
        }
        this.#refreshing = false;
    }
    /** Has the client be somebody on the connection in use, as its token says or one of its source. */
    #reopen(attempt) {
        if (this.#opening)
            this.#again = true;
        else if (this.#mayOpen())
            void this.#keepOpening(attempt);
    }
    #mayOpen() {
        return !this.#over && (this.token !== "" || (this.#source !== undefined && !this.#closed));
    }
    async #keepOpening(attempt) {
        this.#opening = true;
        do {
            if (attempt++)
                await this.#pause(attempt);
            this.#again = false;
            let { token } = this;
            try {
                token ||= (await this.#fromSource()) ?? "";
                if (token)
                    await this.open(token);
                if (!this.#again)
                    break;
            }
            catch (err) {
                const e = err;
                if (e.code === "unauthenticated" && token === this.token)
                    this.#nobody("ended", refused, e);
            }
        } while (this.#again || (this.#host.line() && this.#mayOpen())); // the next connection begins with it
        this.#opening = false;
    }
    #pause(attempt) {
        return new Promise((done) => {
            const stop = () => {
                clearTimeout(timer);
                this.#pauses.delete(stop);
                done();
            };
            const timer = setTimeout(stop, wait(attempt, this.#cfg.backoff));
            this.#pauses.add(stop);
        });
    }
}
function storage(kind) {
    try {
        return kind === "session" ? sessionStorage : kind === "local" ? localStorage : undefined;
    }
    catch { // not in a browser, or it is forbidden
        return undefined;
    }
}
/** Adds a change to those before it. */
export function mergePatch(to, p) {
    const without = (c, names) => Object.fromEntries(Object.entries(c ?? {}).filter(([name]) => !names.includes(name)));
    const gone = p.delete ?? [];
    return {
        subject: p.subject ?? to.subject,
        set: { ...without(to.set, [...gone, ...Object.keys(p.secret ?? {})]), ...p.set },
        secret: { ...without(to.secret, [...gone, ...Object.keys(p.set ?? {})]), ...p.secret },
        delete: [...(to.delete ?? []), ...gone],
        idle: p.idle ?? to.idle,
        renew: p.renew || to.renew,
        end: p.end || to.end,
    };
}
/** A change as it is on the wire. */
export function wirePatch({ idle, ...p }) {
    return { ...p, idle: idle === undefined ? undefined : idle / 1000 };
}
