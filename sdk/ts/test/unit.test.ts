import { describe, expect, it } from "vitest";
import { BatchReader, encodeBatch } from "../src/batch.js";
import { connect } from "../src/client.js";
import { wait } from "../src/close.js";
import { fromWire, RopewalkError, toWire } from "../src/error.js";
import { bytes, decode, encode, encodeBody } from "../src/message.js";
import { parseAddress, Routes } from "../src/pattern.js";

const text = (b: Uint8Array | string): string => (typeof b === "string" ? b : new TextDecoder().decode(b));

describe("frames", () => {
  it.each<[string, unknown, string, string]>([
    ["no body", undefined, '{"vrb":"call","to":"x:/"}', '{"vrb":"call","to":"x:/"}'],
    ["null", null, '{"vrb":"call","to":"x:/"}\nnull', '{"vrb":"call","to":"x:/","bdy":null}'],
    ["an object", { a: 1 }, '{"vrb":"call","to":"x:/"}\n{"a":1}', '{"vrb":"call","to":"x:/","bdy":{"a":1}}'],
    ["bytes", new Uint8Array([104, 105]),
      '{"vrb":"call","to":"x:/","cty":"application/octet-stream"}\nhi', '{"vrb":"call","to":"x:/","cty":"application/octet-stream","bdy":"aGk="}'],
    ["no bytes", new Uint8Array(0),
      '{"vrb":"call","to":"x:/","cty":"application/octet-stream"}\n', '{"vrb":"call","to":"x:/","cty":"application/octet-stream","bdy":""}'],
  ])("%s is written as on the wire, and read back", (_, body, split, json) => {
    const m = { verb: "call", to: "x:/", body: encodeBody(body) };
    const s = encode(m, "split");
    expect(s).toBeInstanceOf(Uint8Array);
    expect(text(s)).toBe(split);
    expect(decode(s, "split").body).toEqual(body);
    expect(decode(split, "split").body).toEqual(body); // text frames are taken alike
    const j = encode(m, "json");
    expect(j).toBe(json);
    expect(decode(j, "json").body).toEqual(body);
    expect(decode(new TextEncoder().encode(json), "json").body).toEqual(body);
  });

  it("writes short names, and reads long ones too", () => {
    const m = {
      verb: "send", to: "a:/", from: "b:/", mid: "1", rmid: "2", headers: { h: "v" }, timeout: 1.5, type: "t", token: "k",
      strategy: "all", ack: true,
    };
    const short = { vrb: "send", to: "a:/", frm: "b:/", mid: "1", rmid: "2", hdr: { h: "v" }, tmo: 1.5, typ: "t", aut: "k", str: "all", ack: true };
    const long = {
      verb: "send", to: "a:/", from: "b:/", mid: "1", rmid: "2", headers: { h: "v" }, timeout: 1.5, type: "t", authorization: "k",
      strategy: "all", acknowledge: true,
    };
    expect(JSON.parse(text(encode(m, "split")))).toEqual(short);
    expect(decode(JSON.stringify(short), "split")).toMatchObject(m);
    expect(decode(JSON.stringify(long), "json")).toMatchObject(m);
  });

  it("fills the verb in: reply if there is an rmid, else call", () => {
    expect(decode('{"rmid":1}', "json")).toEqual({ verb: "reply", rmid: "1" });
    expect(decode('{"to":"x:/"}', "json").verb).toBe("call");
  });

  it("takes bytes after the line feed for the body, whatever they are", () => {
    const frame = new Uint8Array([...new TextEncoder().encode('{"cty":"a/b"}\n'), 10, 0, 255, 10]);
    const got = decode(frame, "split").body as Uint8Array;
    expect([...got]).toEqual([10, 0, 255, 10]);
    expect(got).toHaveProperty("contentType", "a/b");
  });

  it.each(["", "x", "[]", "null", "7", '"a"'])("refuses the envelope %j", (frame) => {
    expect(() => decode(frame, "split")).toThrow();
    expect(() => decode(frame, "json")).toThrow();
  });

  it("keeps the envelope of a message whose body cannot be read", () => {
    expect(decode('{"rmid":"1"}\n{', "split")).toMatchObject({ rmid: "1", unreadable: expect.any(Error) });
    expect(decode('{"rmid":"1","cty":"a/b","bdy":"§"}', "json")).toMatchObject({ rmid: "1", unreadable: expect.any(Error) });
    expect(decode(new Uint8Array([...new TextEncoder().encode('{"rmid":"1"}\n"'), 0xff, 34]), "split").unreadable).toBeDefined();
  });

  it("never does anything else than read or throw, whatever arrives", () => {
    let seed = 1;
    const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
    const good = new TextEncoder().encode('{"vrb":"reply","rmid":"a-1","cty":null,"hdr":{"a":"b"}}\n{"x":[1,"é"]}');
    for (let i = 0; i < 20_000; i++) {
      const frame = good.slice(0, random(good.length + 1));
      for (let k = random(4); k > 0 && frame.length; k--) frame[random(frame.length)] = random(256);
      for (const framing of ["split", "json"] as const) {
        try {
          expect(typeof decode(frame, framing).verb).not.toBe("undefined");
        } catch (err) {
          expect(err).toBeInstanceOf(Error);
          if (!(err instanceof SyntaxError || err instanceof TypeError)) throw err;
        }
      }
    }
  });

  it("bytes are not copied, and take a part of a buffer for what it is", () => {
    const buf = new Uint8Array([1, 2, 3, 4]);
    const part = bytes(buf.subarray(1, 3), "a/b");
    expect([...part]).toEqual([2, 3]);
    buf[1] = 9;
    expect(part[0]).toBe(9);
    expect([...bytes(buf.buffer)]).toEqual([1, 9, 3, 4]);
  });
});

describe("batches", () => {
  const frames = ["a", "", "x".repeat(1000), "\n7\n", "é"].map((s) => new TextEncoder().encode(s));

  it.each([1, 2, 3, 7, 10_000])("are read from pieces of %i bytes", (size) => {
    const batch = encodeBatch(frames);
    const reader = new BatchReader();
    const got: string[] = [];
    for (let at = 0; at < batch.length; at += size) got.push(...reader.push(batch.slice(at, at + size)).map(text));
    expect(got).toEqual(frames.map(text));
  });

  it.each(["x\n", "-1\n", "1.5\n", "\n", "12345678901", "0x1\n"])("refuses the length %j", (s) => {
    expect(() => new BatchReader().push(new TextEncoder().encode(s))).toThrow(SyntaxError);
  });
});

describe("addresses and patterns", () => {
  it.each([
    ["math:/decimal/mul", { instance: "", name: "math", method: "", path: "/decimal/mul", query: "" }],
    ["7f-3k@math:/", { instance: "7f-3k", name: "math", method: "", path: "/", query: "" }],
    ["math:", { instance: "", name: "math", method: "", path: "/", query: "" }],
    ["orders:[get]/v1/x?q=1?:/", { instance: "", name: "orders", method: "get", path: "/v1/x", query: "q=1?:/" }],
    ["a:/b:c@d", { instance: "", name: "a", method: "", path: "/b:c@d", query: "" }],
  ])("%s is taken apart", (address, parts) => expect(parseAddress(address)).toEqual(parts));

  it.each<[string, string | undefined, Record<string, string>?]>([
    ["/decimal/mul", "/decimal/mul"],
    ["/decimal/add", "/decimal/{op}", { op: "add" }],
    ["/other/add", "/*/add"],
    ["/other/sub", "/**"],
    ["/decimal/a/b", "/decimal/**"],
    ["/decimal", "/**"],
    ["/", "/"],
  ])("%s leads to %s", (path, pattern, params = {}) => {
    const routes = new Routes<string>();
    for (const p of ["/**", "/*/add", "/decimal/**", "/", "/decimal/{op}", "/decimal/mul"]) routes.add(p, p);
    expect(routes.find(path)).toEqual({ value: pattern, params });
  });

  it("nothing leads nowhere", () => {
    const routes = new Routes<string>();
    routes.add("/a/{x}/c", "");
    for (const p of ["/", "/a", "/a/b", "/a/b/d", "/a/b/c/d"]) expect(routes.find(p)).toBeUndefined();
  });
});

describe("errors", () => {
  it("survive the wire", () => {
    const wire = { code: "conflict", message: "m", hint: "h", path: "/p", details: { a: 1 }, retryable: true, retryAfter: 2 };
    expect(toWire(fromWire(wire))).toEqual(wire);
    expect(fromWire(wire)).toMatchObject({ remote: true, retryAfter: 2000, name: "RopewalkError" });
  });

  it.each([undefined, null, 7, "x", [], {}, { code: 1, message: {} }])("are made of anything: %j", (body) => {
    expect(fromWire(body)).toMatchObject({ code: "internal", message: "an error without a message" });
  });

  it("of others do not leave with their text", () => {
    expect(toWire(new TypeError("secret"))).toEqual({ code: "internal", message: "the service failed" });
    expect(toWire(new RopewalkError("conflict", "m"))).toEqual({ code: "conflict", message: "m" });
  });
});

it("full jitter stays below its bound", () => {
  for (let i = 0; i < 100; i++) {
    expect(wait(i, { base: 100, max: 1000 })).toBeLessThanOrEqual(Math.min(1000, 100 * 2 ** i));
    expect(wait(i, {})).toBeGreaterThanOrEqual(0);
  }
});

it("options in the place of the URL are a mistake", () => {
  expect(() => connect({ token: "x" } as unknown as string)).toThrow("options come second");
});
