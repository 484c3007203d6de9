// What every script finds. It is run once in each machine, before the script,
// and evaluates to the function by which Go drives it; scripts never see that.
(function (host) {
  "use strict";
  const { parse, stringify } = JSON;
  const { InternalError } = globalThis;
  const waiting = new Map();
  let next = 0;
  let job;

  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });

  // An error with a code: what the caller or watcher of the script will see.
  class ScriptError extends Error {
    constructor(code, message, more) {
      super(message);
      this.code = String(code);
      if (more?.hint !== undefined) this.hint = String(more.hint);
      if (more?.details !== undefined) this.details = more.details;
    }
  }
  Object.defineProperty(ScriptError.prototype, "name", { value: "ScriptError", configurable: true, writable: true });

  class HostError extends Error {
    constructor(e) {
      super(e.message);
      this.code = e.code;
      if (e.hint) this.hint = e.hint;
      if (e.details !== undefined) this.details = e.details;
    }
  }
  Object.defineProperty(HostError.prototype, "name", { value: "HostError", configurable: true, writable: true });

  const ask = (name, ...args) => new Promise((resolve, reject) => {
    const id = ++next;
    const text = stringify(args);
    waiting.set(id, { resolve, reject, at: new Error().stack });
    host("ask", id, name, text);
  });
  // The same while the machine waits.
  const askNow = (name, ...args) => {
    const answer = parse(host("now", name, stringify(args)));
    if (answer.error) throw new HostError(answer.error);
    return answer.value;
  };
  const settle = (id, ok, text) => {
    const w = waiting.get(id);
    waiting.delete(id);
    if (ok) return w.resolve(text === "" ? undefined : parse(text));
    const e = new HostError(parse(text));
    e.stack = w.at; // where it was asked, not where the answer came in
    w.reject(e);
  };

  const show = (v) => {
    if (typeof v === "string") return v;
    if (v instanceof Error) return `${v.name}: ${v.message}`;
    try {
      const text = stringify(v);
      return text === undefined ? String(v) : text;
    } catch {
      return String(v);
    }
  };
  const logger = (level) => (...args) => { host("log", level, args.map(show).join(" ")); };
  const log = Object.freeze({ info: logger("info"), warn: logger("warn"), error: logger("error"), debug: logger("info"), log: logger("info") });
  define("log", log);
  define("console", log);
  define("ScriptError", ScriptError);

  const failed = (e) => {
    const f = { kind: "thrown", message: "" };
    // Without memory the error itself may be missing.
    if (e === null) return host("failed", '{"kind":"thrown","message":"null"}');
    if (e instanceof InternalError && e.message === "out of memory") return host("failed", '{"kind":"thrown","name":"InternalError","message":"out of memory"}');
    try {
      if (e instanceof Error) {
        f.name = String(e.name);
        f.message = String(e.message);
        f.stack = String(e.stack ?? "");
        if (e instanceof ScriptError || e instanceof HostError) {
          f.code = e.code;
          f.hint = e.hint;
          f.details = e.details;
        }
      } else {
        f.message = show(e);
      }
      host("failed", stringify(f));
    } catch {
      host("failed", '{"kind":"thrown","message":"an error that cannot be shown"}');
    }
  };
  const done = (v) => {
    const text = v === undefined ? "null" : stringify(v);
    if (typeof text !== "string") throw new TypeError(`a ${typeof v} is no JSON, so it cannot be the result`);
    host("done", text);
  };

  // A classic program speaks in JSON text: the older system's way.
  const classicDone = (v) => {
    if (v === null) return host("done", "{}");
    if (v === undefined) throw new TypeError("the script has no last value: end it with the JSON text of the result");
    if (typeof v !== "string") return done(v);
    if (v === "") return host("done", '""');
    try {
      parse(v);
    } catch (e) {
      throw new TypeError(`the last value of the script is no JSON text: ${e.message}`);
    }
    host("done", v);
  };

  const run = async (factory) => {
    let exports;
    await factory((m) => { exports = m; });
    const f = exports?.[job.export];
    if (typeof f !== "function") {
      if (job.export === "default" && f !== undefined) return f;
      host("failed", stringify({ kind: "missing", message: `the script has no export "${job.export}"` }));
      return undefined;
    }
    return job.export === "tick" ? f(job.ctx) : f(job.input, job.ctx);
  };

  const handle = (name, tx) => ({
    query: (sql, params) => ask("db.query", name, tx, String(sql), params ?? null),
    exec: (sql, params) => ask("db.exec", name, tx, String(sql), params ?? null),
  });
  const open = (name) => ({
    ...handle(name, 0),
    transaction: async (f) => {
      const tx = await ask("db.begin", name);
      let result;
      try {
        result = await f(handle(name, tx));
      } catch (e) {
        await ask("db.rollback", tx);
        throw e;
      }
      await ask("db.commit", tx);
      return result;
    },
  });
  const db = { ...open(""), use: (name) => Object.freeze(open(String(name))) };
  // They are made before there is a job, and shown to the scripts that may use them.
  const grants = {
    __proto__: null,
    db: Object.freeze(db),
    call: (address, body) => ask("call", String(address), body ?? null),
    publish: (address, body) => ask("publish", String(address), body ?? null),
    content: Object.freeze({
      get: (address, params) => ask("content.get", String(address), params ?? null),
    }),
    fetch: async (url, init) => {
      const headers = {};
      const given = init?.headers;
      for (const [k, v] of given?.entries?.() ?? Object.entries(given ?? {})) headers[k] = String(v);
      const body = init?.body;
      return response(await ask("fetch", String(url), {
        method: init?.method ?? "GET", headers, body: body === undefined || body === null ? undefined : String(body),
      }));
    },
  };

  const response = (r) => {
    const headers = new Map(Object.entries(r.headers));
    const bytes = () => Uint8Array.from(atob(r.base64), (c) => c.charCodeAt(0));
    const text = () => r.text ?? new TextDecoder().decode(bytes());
    return Object.freeze({
      url: r.url, status: r.status, ok: r.status >= 200 && r.status < 300,
      headers: Object.freeze({
        get: (name) => headers.get(String(name).toLowerCase()) ?? null,
        has: (name) => headers.has(String(name).toLowerCase()),
        entries: () => headers.entries(),
      }),
      text: async () => text(),
      json: async () => parse(text()),
      bytes: async () => (r.text === undefined ? bytes() : new TextEncoder().encode(r.text)),
    });
  };

  const classicDB = () => {
    const read = (text) => (text === undefined || text === "" ? {} : parse(text));
    const named = (sql, params) => {
      const query = String(sql).replace(/::([A-Za-z_][A-Za-z0-9_]*)/g, (_, name) => {
        const v = params[name];
        if (typeof v !== "string" || !/^([A-Za-z_][A-Za-z0-9_]*)?$/.test(v)) throw new TypeError(`the parameter ${name} is no identifier`);
        return v;
      });
      return [query, params];
    };
    // A question mark outside of quotes is the next parameter.
    const counted = (sql, params) => {
      let n = 0;
      const query = String(sql).replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|\?/g, (s) => (s === "?" ? `:p${++n}` : s));
      return [query, Object.fromEntries(Object.values(params).slice(0, n).map((v, i) => [`p${i + 1}`, v]))];
    };
    return {
      executeQuery: (sql, text) => stringify(askNow("db.query", "", 0, ...counted(sql, read(text)))),
      executeNamedParamsQuery: (sql, text) => stringify(askNow("db.query", "", 0, ...named(sql, read(text)))),
      executeNamedParamsUpdate: (sql, text) => askNow("db.exec", "", 0, ...named(sql, read(text))).rowsAffected,
      removeSpecialChars: (text) => String(text).replace(/[^a-zA-Z0-9_]/g, ""),
    };
  };

  const setup = (text) => {
    job = parse(text);
    const ctx = { ...job.context, log };
    if (job.session) {
      define("session", job.session);
      ctx.session = job.session;
    }
    // In ctx, too: a script that exports "call" hides the global of that name.
    for (const name of job.grants ?? []) {
      const f = name === "db" && job.classic ? Object.freeze({ ...db, ...classicDB() }) : grants[name];
      if (!f) continue;
      define(name, f);
      ctx[name] = f;
    }
    job.ctx = Object.freeze(ctx);
    if (!job.classic) return;
    const input = job.input === undefined ? "{}" : stringify(job.input);
    define("filter", job.export === "default" ? input : "");
    if (job.export !== "default") define("content", input);
    else if (!globalThis.content) define("content", "");
    define("username", job.session?.subject ?? "");
    define("java", { lang: { System: { out: { println: (text) => log.info(String(text)) } } } });
  };

  define("crypto", Object.freeze({
    randomUUID: () => askNow("crypto.uuid"),
    getRandomValues: (array) => {
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      const text = atob(askNow("crypto.random", bytes.length));
      for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
      return array;
    },
    sha256: (text) => askNow("crypto.sha256", String(text)),
    hmac: (key, text) => askNow("crypto.hmac", String(key), String(text)),
  }));

  // The rest of the web's globals is read when a script first asks for one.
  const lazy = ["TextEncoder", "TextDecoder", "atob", "btoa", "structuredClone", "URL", "URLSearchParams"];
  for (const name of lazy) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get: () => { web(); return globalThis[name]; },
      set: (value) => define(name, value),
    });
  }
  let loaded = false;
  const web = () => {
    if (loaded) return;
    loaded = true;
    const all = host("web")();
    for (const name of lazy) {
      if (Object.getOwnPropertyDescriptor(globalThis, name)?.get) define(name, all[name]);
    }
  };

  return (op, a, b, c) => {
    switch (op) {
      case "setup": return setup(a);
      case "run": run(a).then(done).catch(failed); return;
      case "finish":
        if (a instanceof Promise) a.then(classicDone).catch(failed);
        else try { classicDone(a); } catch (e) { failed(e); }
        return;
      case "settle": return settle(a, b, c);
    }
  };
})
