import { RopewalkError } from "@ropewalk/client";
import { describe, expect, it } from "vitest";
import { clientAddress, complete, hue, idOf, known, short, tree, webSocketURL } from "../src/model/address";
import { example, parseBody } from "../src/model/example";
import { count, duration, median, plain, pretty, size } from "../src/model/format";
import { cell, columns, rows, summary, type Outcome } from "../src/model/gather";
import { settings } from "../src/model/settings";
import type { Schema, ServiceInfo } from "../src/model/wire";

function route(name: string, path: string, ids: string[], description = ""): ServiceInfo {
  return { name, path, servers: ids.map((id) => ({ id, local: true, inFlight: 0, description })) };
}

describe("format", () => {
  it.each([
    [0.0004, "1 µs"], [0.25, "250 µs"], [1.25, "1.3 ms"], [42.4, "42 ms"], [1500, "1.5 s"], [119_000, "2 min"],
    [3 * 3_600_000, "3 h"], [72 * 3_600_000, "3 days"], [-1, "–"], [NaN, "–"],
  ])("duration %s is %s", (ms, want) => expect(duration(ms)).toBe(want));

  it.each([[0, "0 B"], [999, "999 B"], [1500, "1.5 kB"], [2_000_000, "2.0 MB"]])("size %s is %s", (n, want) => expect(size(n)).toBe(want));

  it("shows a text as it is and anything else as JSON", () => {
    expect(plain("a")).toBe("a");
    expect(plain({ a: 1 })).toBe('{"a":1}');
    expect(plain(null)).toBe("null");
    expect(plain(undefined)).toBe("no body");
  });

  it("breaks only long JSON into lines", () => {
    expect(pretty([1, 2])).toBe("[1,2]");
    expect(pretty({ text: "x".repeat(60) })).toContain("\n");
    expect(pretty(undefined)).toBe("no body");
  });

  it("counts", () => {
    expect(count(1, "server")).toBe("1 server");
    expect(count(0, "server")).toBe("0 servers");
  });

  it("finds the median", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([])).toBe(0);
  });
});

describe("addresses", () => {
  it("finds the id", () => {
    expect(idOf("7f3k@client:/")).toBe("7f3k");
    expect(idOf("math:/a@b")).toBe("");
    expect(idOf("math:/x")).toBe("");
    expect(idOf(clientAddress("ab"))).toBe("ab");
  });

  it("shortens long ids only", () => {
    expect(short("2945p8eigxz")).toBe("2945p8");
    expect(short("tiny")).toBe("tiny");
    expect(short("fdd81247mfprkz20ugaj4")).toBe("mfprkz"); // clients of one node begin alike
    expect(short("fdd812477602ef4a1231789308e8c9fb")).toBe("fdd812");
  });

  it("gives the same id the same hue", () => {
    expect(hue("a")).toBe(hue("a"));
    expect(hue("a")).not.toBe(hue("b"));
    expect(hue("2945p8eigxz")).toBeLessThan(360);
  });

  it.each([
    ["http://127.0.0.1:7420/", "ws://127.0.0.1:7420"], ["https://shop.example/x?y#z", "wss://shop.example"],
  ])("the WebSocket of %s is %s", (href, want) => expect(webSocketURL(href)).toBe(want));

  const all = known([
    route("node", "/info", ["n"]), route("text", "/up", ["n"], "a text in capitals"),
    route("math", "/decimal/mul", ["n", "s"], "a times b"), route("math", "/decimal/add", ["n"]),
  ]);

  it("lists what can be called, the node's own last", () => {
    expect(all.map((k) => k.address)).toEqual(["math:/decimal/add", "math:/decimal/mul", "text:/up", "node:/info"]);
    expect(all[1]).toMatchObject({ servers: ["n", "s"], description: "a times b" });
  });

  it("groups by service", () => {
    expect(tree(all).map((b) => [b.name, b.paths.length, b.servers])).toEqual([["math", 2, ["n", "s"]], ["text", 1, ["n"]], ["node", 1, ["n"]]]);
  });

  it.each([
    ["math", ["math:/decimal/add", "math:/decimal/mul"]], ["MUL", ["math:/decimal/mul"]], ["capitals", ["text:/up"]],
    ["zzz", []], [" text:/up ", ["text:/up"]],
  ])("completes %j", (typed, want) => expect(complete(all, typed).map((k) => k.address)).toEqual(want));

  it("offers everything for nothing, up to a limit", () => {
    expect(complete(all, "")).toHaveLength(4);
    expect(complete(all, "", 2)).toHaveLength(2);
  });
});

describe("examples", () => {
  const cases: [string, Schema | undefined, unknown][] = [
    ["an object", { type: "object", properties: { a: { type: "number" }, s: { type: "string" }, b: { type: "boolean" } } }, { a: 1, s: "text", b: true }],
    ["nothing", undefined, undefined],
    ["an object without properties", { type: "object" }, undefined],
    ["a minimum", { type: "integer", minimum: 5 }, 5],
    ["a default", { type: "string", default: "x" }, "x"],
    ["an enumeration", { enum: ["inbound", "call"] }, "inbound"],
    ["an array", { type: "array", items: { type: "null" } }, [null]],
    ["several types", { type: ["null", "string"] }, "text"],
    ["a choice", { anyOf: [{ type: "boolean" }, { type: "string" }] }, true],
    ["a reference", { $ref: "#/$defs/p", $defs: { p: { type: "number" } } }, 1],
  ];
  it.each(cases)("of %s", (_, schema, want) => expect(example(schema)).toEqual(want));

  it("ends for a schema that refers to itself", () => {
    const loop: Schema = { $ref: "#/$defs/l", $defs: { l: { type: "array", items: { $ref: "#/$defs/l" } } } };
    expect(JSON.stringify(example(loop))).toMatch(/^\[+\]+$/);
  });

  it("reads bodies", () => {
    expect(parseBody('{"a":1}')).toEqual({ ok: true, body: { a: 1 } });
    expect(parseBody("  ")).toEqual({ ok: true, body: undefined });
    expect(parseBody("hello")).toMatchObject({ ok: false, problem: expect.stringContaining("quotation marks") as string });
    expect(parseBody("{")).toMatchObject({ ok: false });
  });
});

describe("a gather", () => {
  const error = new RopewalkError("invalid_input", "there is no such number", { hint: "Take another." });
  const o: Outcome = {
    answers: [
      { server: "n", name: "math", path: "/mul", took: 1, body: 16 },
      { server: "s", name: "math", path: "/div", took: 2, error },
    ],
    missing: [{ server: "s", name: "math", path: "/mul" }],
    running: false,
  };
  const server = (id: string) => ({ id, paths: 1, inFlight: 0, joined: 0, left: 0 });

  it("has a column for each server and a row for each path", () => {
    expect(columns([server("x"), server("n")], o)).toEqual(["x", "n", "s"]);
    expect(rows(["/sub", "/mul"], o)).toEqual(["/div", "/mul", "/sub"]);
  });

  it("tells answers, errors, silence and nothing apart", () => {
    expect(cell(o, "/mul", "n", plain)).toMatchObject({ kind: "answer", text: "16", took: 1 });
    expect(cell(o, "/div", "s", plain)).toMatchObject({ kind: "error", text: "invalid_input", more: "there is no such number Take another." });
    expect(cell(o, "/mul", "s", plain).kind).toBe("missing");
    expect(cell(o, "/sub", "n", plain).kind).toBe("none");
    expect(cell({ ...o, running: true }, "/sub", "n", plain).kind).toBe("waiting");
  });

  it("is summed up", () => {
    expect(summary(o)).toBe("1 answer, 1 error, 1 missing");
    expect(summary({ answers: [], missing: [], running: false })).toBe("0 answers");
  });
});

describe("settings", () => {
  it("are those of the page", () => {
    const text = JSON.stringify({ node: "dev", commands: [{ label: "Go", line: "go run . --url {url}" }] });
    expect(settings(text)).toEqual({ node: "dev", commands: [{ label: "Go", line: "go run . --url {url}" }], join: "ropewalk serve --join {cluster}" });
  });

  it.each(["", "{", "{}", '{"commands":[]}'])("has a default for %j", (text) => {
    expect(settings(text).commands).toEqual([{ label: "ropewalk", line: "ropewalk hello --url {url}" }]);
  });
});
