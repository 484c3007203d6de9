import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { apply, isChange, same } from "../src/delta.js";

const encode = (v: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(v));
const patch = (content: unknown, ...operations: object[]): unknown => apply("application/json-patch+json", content, encode(operations));
const merge = (content: unknown, change: unknown): unknown => apply("application/merge-patch+json", content, encode(change));
const rows = (content: unknown, change: object): unknown => apply("application/vnd.ropewalk.rows+json", content, encode(change));

function freeze<T>(v: T): T {
  if (typeof v === "object" && v !== null) {
    Object.freeze(v);
    for (const x of Object.values(v)) freeze(x);
  }
  return v;
}

describe("changes that a node has made", () => {
  const lines = readFileSync(new URL("testdata/delta.jsonl", import.meta.url), "utf8").trim().split("\n");
  const all = lines.map((l) => JSON.parse(l) as { Type: string; Before: unknown; After: unknown; Change: unknown });
  it.each([...new Set(all.map((v) => v.Type))])("%s", (type) => {
    const vectors = all.filter((v) => v.Type === type);
    expect(vectors.length).toBeGreaterThan(50);
    for (const { Before, After, Change } of vectors) {
      const got = apply(type, freeze(Before), encode(Change));
      expect(same(got, After), JSON.stringify({ Before, Change, After, got })).toBe(true);
    }
  });
});

describe("JSON Patch", () => {
  // Of RFC 6902, appendix A.
  it.each([
    [{ foo: "bar" }, [{ op: "add", path: "/baz", value: "qux" }], { baz: "qux", foo: "bar" }],
    [{ foo: ["bar", "baz"] }, [{ op: "add", path: "/foo/1", value: "qux" }], { foo: ["bar", "qux", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "remove", path: "/baz" }], { foo: "bar" }],
    [{ foo: ["bar", "qux", "baz"] }, [{ op: "remove", path: "/foo/1" }], { foo: ["bar", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "replace", path: "/baz", value: "boo" }], { baz: "boo", foo: "bar" }],
    [{ foo: { bar: "baz", waldo: "fred" }, qux: { corge: "grault" } }, [{ op: "move", from: "/foo/waldo", path: "/qux/thud" }],
      { foo: { bar: "baz" }, qux: { corge: "grault", thud: "fred" } }],
    [{ foo: ["all", "grass", "cows", "eat"] }, [{ op: "move", from: "/foo/1", path: "/foo/3" }], { foo: ["all", "cows", "eat", "grass"] }],
    [{ baz: "qux", foo: ["a", 2, "c"] }, [{ op: "test", path: "/baz", value: "qux" }, { op: "test", path: "/foo/1", value: 2 }], { baz: "qux", foo: ["a", 2, "c"] }],
    [{ foo: "bar" }, [{ op: "add", path: "/child", value: { grandchild: {} } }], { foo: "bar", child: { grandchild: {} } }],
    [{ foo: "bar" }, [{ op: "add", path: "/baz", value: "qux", xyz: 123 }], { foo: "bar", baz: "qux" }],
    [{ "/": 9, "~1": 10 }, [{ op: "test", path: "/~01", value: 10 }], { "/": 9, "~1": 10 }],
    [{ foo: ["bar"] }, [{ op: "add", path: "/foo/-", value: ["abc", "def"] }], { foo: ["bar", ["abc", "def"]] }],
    [{ a: 1 }, [{ op: "replace", path: "", value: [1] }], [1]],
    [{ a: { b: 1 } }, [{ op: "copy", from: "/a", path: "/c" }], { a: { b: 1 }, c: { b: 1 } }],
    [{ a: null }, [{ op: "test", path: "/a", value: null }], { a: null }],
  ])("%j %j", (before, operations, after) => {
    expect(patch(freeze(before), ...operations)).toEqual(after);
  });

  it.each([
    [{ baz: "qux" }, { op: "test", path: "/baz", value: "bar" }],
    [{ foo: "bar" }, { op: "add", path: "/baz/bat", value: "qux" }],
    [{ "/": 9, "~1": 10 }, { op: "test", path: "/~01", value: "10" }],
    [{ a: 1 }, { op: "remove", path: "/b" }], [{ a: 1 }, { op: "replace", path: "/b", value: 1 }], [[1], { op: "remove", path: "/1" }],
    [[1], { op: "add", path: "/2", value: 1 }], [[1], { op: "replace", path: "/-", value: 1 }], [[1], { op: "remove", path: "/01" }],
    [[1], { op: "remove", path: "/length" }], [{}, { op: "remove", path: "/__proto__" }], [{}, { op: "replace", path: "/constructor/prototype/x", value: 1 }],
    [{}, { op: "burn", path: "/a" }], [{ a: 1 }, { op: "remove", path: "a" }], [{ a: 1 }, { op: "move", path: "/b" }], ["text", { op: "add", path: "/0", value: 1 }],
  ])("%j: refuses %j", (before, operation) => {
    expect(() => patch(freeze(before), operation)).toThrow(/does not fit/);
  });
});

describe("JSON Merge Patch", () => {
  // Of RFC 7396, appendix A.
  it.each([
    [{ a: "b" }, { a: "c" }, { a: "c" }], [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }], [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }], [{ a: ["b"] }, { a: "c" }, { a: "c" }], [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }], [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [["a", "b"], ["c", "d"], ["c", "d"]], [{ a: "b" }, ["c"], ["c"]], [{ a: "foo" }, null, null], [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }], [[1, 2], { a: "b", c: null }, { a: "b" }], [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j %j", (before, change, after) => {
    expect(merge(freeze(before), change)).toEqual(after);
  });

  it("does not touch what it does not name, nor any prototype", () => {
    const before = freeze({ a: { x: 1 }, b: { y: [1] } });
    const after = merge(before, { a: { x: 2 } }) as typeof before;
    expect(after.b).toBe(before.b);
    const evil = JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}') as unknown;
    const got = merge({}, evil) as object;
    expect(Object.keys(got)).toEqual(["__proto__", "constructor"]);
    expect(Object.getPrototypeOf(got)).toBe(Object.prototype);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe("changes of rows", () => {
  const before = freeze([{ id: 1, v: "a" }, { id: 2, v: "b" }, { id: "2", v: "c" }]);

  it("keep the rows that they do not name", () => {
    const after = rows(before, { key: "id", remove: [1], set: [{ id: 3, v: "d" }, { id: 2, v: "B" }], order: [3], from: 1 }) as typeof before;
    expect(after).toEqual([{ id: 2, v: "B" }, { id: 3, v: "d" }, { id: "2", v: "c" }]);
    expect(after[2]).toBe(before[2]);
    expect(rows(before, { key: "id", order: ["2", 1] })).toEqual([before[2], before[0], before[1]]);
    expect(rows(before, { key: "id" })).toEqual(before);
  });

  it.each([{ key: "id", remove: [7] }, { key: "id", order: [7] }, { key: "id", remove: [1, 1] }, { key: "id", order: [1], from: 3 }])("refuse %j", (change) => {
    expect(() => rows(before, change)).toThrow(/does not fit/);
    expect(() => rows({ rows: [] }, change)).toThrow(/does not fit/);
  });
});

it("only three content types are changes", () => {
  expect(["application/json-patch+json", "application/json", undefined, "toString", "__proto__"].map(isChange)).toEqual([true, false, false, false, false]);
});

it("same compares values", () => {
  expect(same({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toBe(true);
  for (const [a, b] of [[{}, []], [[], {}], [{ a: 1 }, { b: 1 }], [{ a: undefined }, {}], [null, {}], [{}, null], [1, "1"], [[1], [1, 2]]]) {
    expect(same(a, b), JSON.stringify([a, b])).toBe(false);
  }
});
