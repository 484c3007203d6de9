import { describe, expect, it } from "vitest";
import { difference, leaves, lineOf, readChart, readScore, same, scored, writeScore } from "../src/model/live";

describe("score", () => {
  it("is read and written", () => {
    const s = readScore("Home 1 : Away 12")!;
    expect(s).toEqual({ home: "Home", away: "Away", goals: [1, 12] });
    expect(writeScore(scored(scored(s, 0), 1))).toBe("Home 2 : Away 13");
    expect(readScore(" FC Bergen  0:Real Oslo 3 ")).toEqual({ home: "FC Bergen", away: "Real Oslo", goals: [0, 3] });
    for (const bad of ["", "Home : Away", "1 : 2", 7, null, { home: 1 }, "Home 1", "Home 1000 : Away 0"]) expect(readScore(bad), String(bad)).toBeUndefined();
  });
});

it("a flight leaves later", () => {
  expect(leaves({ planned: "07:15", delay: 12 })).toBe("07:27");
  expect(leaves({ planned: "23:50", delay: 20 })).toBe("00:10");
  expect(leaves({ planned: "soon", delay: 1 })).toBe("soon");
});

describe("chart", () => {
  it("is read, with what can be shown of it", () => {
    expect(readChart({ title: 1, labels: [1, "b"], series: [{ name: "x", values: [1, "2"] }, { values: [null, Infinity] }] })).toEqual({
      title: "", labels: ["1", "b"], series: [{ name: "x", values: [1, null] }, { name: "Series 2", values: [null, null] }],
    });
  });

  it("says what is missing", () => {
    for (const none of [null, 1, "a", {}, []]) expect(readChart(none)).toMatch(/labels/);
    expect(readChart({ labels: [] })).toMatch(/series/);
    expect(readChart({ labels: [], series: [{ values: [] }, null] })).toMatch(/series 2/);
  });
});

it("an error may say its line", () => {
  expect(lineOf({ line: 3 })).toBe(3);
  for (const none of [undefined, null, {}, { line: "3" }, { line: 0 }]) expect(lineOf(none)).toBeUndefined();
});

describe("difference", () => {
  const rows = [{ id: 1, gate: "A" }, { id: 2, gate: "B" }];
  it.each([
    ["one member of one row", rows, [rows[0], { id: 2, gate: "C" }], '[1] {"gate":"C"}'],
    ["a new row", rows, [...rows, { id: 3, gate: "D" }], '+1 {"id":3,"gate":"D"}'],
    ["a row less", rows, [rows[1]], "−1"],
    ["a row less, and another one", rows, [{ id: 4 }], '−1 {"id":4}'],
    ["all rows", [1, 2], [3, 4], "[3,4]"],
    ["an order", rows, [...rows].reverse(), JSON.stringify([...rows].reverse())],
    ["members", { a: 1, b: { c: 2 } }, { a: 1, b: { c: 3 } }, '{"b":{"c":3}}'],
    ["a text", "Home 1 : Away 0", "Home 2 : Away 0", '"Home 2 : Away 0"'],
    ["another kind", rows, null, "null"],
    ["nothing", { a: 1 }, undefined, ""],
  ])("%s", (_, before, after, want) => {
    expect(difference(before, after)).toBe(want);
  });
});

it("contents are the same, JSON or bytes", () => {
  expect(same({ a: [1] }, { a: [1] })).toBe(true);
  expect(same({ a: [1] }, { a: [2] })).toBe(false);
  expect(same(new Uint8Array([1, 2]), new Uint8Array([1, 2]))).toBe(true);
  expect(same(new Uint8Array([1, 2]), new Uint8Array([1, 3]))).toBe(false);
  expect(same(undefined, null)).toBe(false);
});
