// Globals of the web platform that QuickJS has not, as far as scripts need them.
(function () {
  "use strict";
  class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") {
      const out = [];
      for (const ch of String(text)) {
        let c = ch.codePointAt(0);
        if (c >= 0xd800 && c <= 0xdfff) c = 0xfffd;
        if (c < 0x80) out.push(c);
        else if (c < 0x800) out.push(0xc0 | (c >> 6), 0x80 | (c & 63));
        else if (c < 0x10000) out.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
        else out.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
      }
      return new Uint8Array(out);
    }
  }
  const view = (data) => data === undefined ? new Uint8Array(0)
    : ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  class TextDecoder {
    constructor(label = "utf-8") {
      if (!/^utf-?8$/i.test(label)) throw new RangeError("only utf-8 is supported");
    }
    get encoding() { return "utf-8"; }
    decode(data) {
      const b = view(data);
      const parts = [];
      let i = b[0] === 0xef && b[1] === 0xbb && b[2] === 0xbf ? 3 : 0;
      while (i < b.length) {
        const c = b[i++];
        const n = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
        if (n === 0) { parts.push(String.fromCharCode(c)); continue; }
        let p = n < 0 ? -1 : c & (0x3f >> n);
        let k = 0;
        while (p >= 0 && k < n && (b[i + k] & 0xc0) === 0x80) p = (p << 6) | (b[i + k++] & 63);
        const whole = n > 0 && k === n && p >= [0, 0x80, 0x800, 0x10000][n] && p < 0x110000 && (p < 0xd800 || p > 0xdfff);
        i += n > 0 ? k : 0;
        parts.push(whole ? String.fromCodePoint(p) : "\ufffd");
      }
      return parts.join("");
    }
  }

  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const btoa = (text) => {
    text = String(text);
    let out = "";
    for (let i = 0; i < text.length; i += 3) {
      const [a, b, c] = [text.charCodeAt(i), text.charCodeAt(i + 1), text.charCodeAt(i + 2)];
      if (a > 255 || b > 255 || c > 255) throw new RangeError("a character is over 255");
      const n = (a << 16) | ((b || 0) << 8) | (c || 0);
      out += digits[n >> 18] + digits[(n >> 12) & 63] + (i + 1 < text.length ? digits[(n >> 6) & 63] : "=") + (i + 2 < text.length ? digits[n & 63] : "=");
    }
    return out;
  };
  const atob = (text) => {
    text = String(text).replace(/[\t\n\f\r ]/g, "").replace(/={1,2}$/, "");
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw new RangeError("this is no base64");
    const out = [];
    let n = 0, bits = 0;
    for (let i = 0; i < text.length; i++) {
      n = ((n << 6) | digits.indexOf(text[i])) & 0xffff;
      bits += 6;
      if (bits >= 8) out.push(String.fromCharCode((n >> (bits -= 8)) & 255));
    }
    return out.join("");
  };

  const structuredClone = (value) => {
    const seen = new Map();
    const copy = (v) => {
      if (typeof v === "function" || typeof v === "symbol") throw new TypeError(`a ${typeof v} cannot be cloned`);
      if (typeof v !== "object" || v === null) return v;
      if (seen.has(v)) return seen.get(v);
      const keep = (c) => { seen.set(v, c); return c; };
      if (v instanceof Date) return keep(new Date(v.getTime()));
      if (v instanceof RegExp) return keep(new RegExp(v.source, v.flags));
      if (v instanceof ArrayBuffer) return keep(v.slice(0));
      if (ArrayBuffer.isView(v)) {
        const b = copy(v.buffer);
        return keep(v instanceof DataView ? new DataView(b, v.byteOffset, v.byteLength) : new v.constructor(b, v.byteOffset, v.length));
      }
      if (v instanceof Map) { const m = keep(new Map()); for (const [k, x] of v) m.set(copy(k), copy(x)); return m; }
      if (v instanceof Set) { const s = keep(new Set()); for (const x of v) s.add(copy(x)); return s; }
      if (v instanceof Promise || v instanceof WeakMap || v instanceof WeakSet) throw new TypeError("this cannot be cloned");
      if (v instanceof Error) { const e = keep(new Error(v.message)); e.name = v.name; e.stack = v.stack; return e; }
      const o = keep(Array.isArray(v) ? new Array(v.length) : {});
      for (const k of Object.keys(v)) o[k] = copy(v[k]);
      return o;
    };
    return copy(value);
  };

  const encode = (s) => encodeURIComponent(s).replace(/%20/g, "+").replace(/[!'()~]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
  const decode = (s) => { s = s.replace(/\+/g, " "); try { return decodeURIComponent(s); } catch { return s; } };
  class URLSearchParams {
    #list = [];
    #changed;
    constructor(init = "", changed) {
      this.#changed = changed;
      if (typeof init === "string") {
        for (const part of init.replace(/^\?/, "").split("&")) {
          if (part === "") continue;
          const i = part.indexOf("=");
          this.#list.push(i < 0 ? [decode(part), ""] : [decode(part.slice(0, i)), decode(part.slice(i + 1))]);
        }
      } else {
        for (const [k, v] of init?.[Symbol.iterator] ? init : Object.entries(init ?? {})) this.#list.push([String(k), String(v)]);
      }
    }
    get size() { return this.#list.length; }
    append(k, v) { this.#list.push([String(k), String(v)]); this.#changed?.(); }
    delete(k) { this.#list = this.#list.filter(([n]) => n !== String(k)); this.#changed?.(); }
    get(k) { return this.#list.find(([n]) => n === String(k))?.[1] ?? null; }
    getAll(k) { return this.#list.filter(([n]) => n === String(k)).map(([, v]) => v); }
    has(k) { return this.#list.some(([n]) => n === String(k)); }
    set(k, v) {
      const i = this.#list.findIndex(([n]) => n === String(k));
      if (i < 0) return this.append(k, v);
      this.#list = this.#list.filter(([n], j) => n !== String(k) || j === i);
      this.#list[i][1] = String(v);
      this.#changed?.();
    }
    sort() { this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); this.#changed?.(); }
    forEach(f) { for (const [k, v] of this.#list) f(v, k, this); }
    *entries() { for (const [k, v] of this.#list) yield [k, v]; }
    *keys() { for (const [k] of this.#list) yield k; }
    *values() { for (const [, v] of this.#list) yield v; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#list.map(([k, v]) => `${encode(k)}=${encode(v)}`).join("&"); }
  }

  const form = /^([a-z][a-z0-9+.-]*:)\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[0-9a-f:.]+\]|[^:/?#@\s]+)(?::(\d{1,5}))?([^?#]*)(\?[^#]*)?(#.*)?$/i;
  const ports = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443" };
  const tidy = (path) => {
    const out = [];
    const parts = path.split("/").slice(1);
    parts.forEach((p, i) => {
      const last = i === parts.length - 1;
      if (p === "..") { out.pop(); if (last) out.push(""); }
      else if (p === ".") { if (last) out.push(""); }
      else out.push(p);
    });
    return "/" + out.join("/");
  };
  const escape = (s) => encodeURI(s).replace(/%25/g, "%").replace(/#/g, "%23");
  class URL {
    #params;
    constructor(text, base) {
      text = String(text).trim();
      let m = form.exec(text);
      if (!m && base !== undefined) {
        const b = new URL(base);
        const whole = text.startsWith("//") ? b.protocol + text
          : text.startsWith("/") ? b.origin + text
          : text.startsWith("?") ? b.origin + b.pathname + text
          : text.startsWith("#") ? b.origin + b.pathname + b.search + text
          : b.origin + b.pathname.replace(/[^/]*$/, "") + text;
        m = form.exec(whole);
      }
      if (!m) throw new TypeError(`this is no URL: ${text.slice(0, 200)}`);
      this.protocol = m[1].toLowerCase();
      this.username = m[2] ?? "";
      this.password = m[3] ?? "";
      this.hostname = m[4].toLowerCase();
      this.port = m[5] === undefined || m[5] === ports[this.protocol] ? "" : String(Number(m[5]));
      this.pathname = tidy(escape(m[6] || "/").replace(/\?/g, "%3F"));
      this.search = m[7] === undefined || m[7] === "?" ? "" : escape(m[7]);
      this.hash = m[8] === undefined || m[8] === "#" ? "" : encodeURI(m[8]).replace(/%25/g, "%");
    }
    static canParse(text, base) { try { new URL(text, base); return true; } catch { return false; } }
    get host() { return this.hostname + (this.port && ":" + this.port); }
    get origin() { return `${this.protocol}//${this.host}`; }
    get searchParams() {
      return this.#params ??= new URLSearchParams(this.search, () => {
        const s = this.#params.toString();
        this.search = s && "?" + s;
      });
    }
    get href() {
      const who = this.username && this.username + (this.password && ":" + this.password) + "@";
      return `${this.protocol}//${who}${this.host}${this.pathname}${this.search}${this.hash}`;
    }
    toString() { return this.href; }
    toJSON() { return this.href; }
  }
  return { TextEncoder, TextDecoder, atob, btoa, structuredClone, URL, URLSearchParams };
})
