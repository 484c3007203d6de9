import { RopewalkError } from "@ropewalk/client";
import { describe, expect, it } from "vitest";
import { empty, read, receive, send, settle, textOf } from "../src/model/inbox";
import { advance, begin, finish, idle, percent, stop } from "../src/model/report";
import { marked, present, serversOf, standing, update } from "../src/model/roster";
import { blank, kept, own, record, share } from "../src/model/tap";
import type { Tapped } from "../src/model/wire";

describe("the roster", () => {
  const here = (...ids: string[]) => ids.map((id) => ({ id, paths: 4, inFlight: 0, joined: 0, left: 0 }));

  it("takes servers from the routes that pass", () => {
    const server = (id: string, inFlight: number) => ({ id, local: true, inFlight });
    const list = [
      { name: "math", path: "/a", servers: [server("n", 0), server("s", 2)] },
      { name: "math", path: "/b", servers: [server("n", 1)] },
      { name: "text", path: "/up", servers: [server("t", 0)] },
    ];
    expect(serversOf(list, (r) => r.name === "math")).toEqual([
      { id: "n", paths: 2, inFlight: 1, joined: 0, left: 0 }, { id: "s", paths: 1, inFlight: 2, joined: 0, left: 0 },
    ]);
  });

  it("marks nobody at the first look", () => {
    expect(update(undefined, here("a", "b"), 1000).map((s) => standing(s, 1000))).toEqual(["here", "here"]);
  });

  it("marks who comes and who goes, for a while", () => {
    const first = update(undefined, here("a"), 1000);
    const second = update(first, here("a", "b"), 2000);
    expect(second.map((s) => standing(s, 2000))).toEqual(["here", "joined"]);
    const third = update(second, here("b"), 3000);
    expect(third.map((s) => [s.id, standing(s, 3000)])).toEqual([["a", "left"], ["b", "joined"]]);
    expect(present(third).map((s) => s.id)).toEqual(["b"]);
    const later = update(third, here("b"), 3000 + marked);
    expect(later.map((s) => [s.id, standing(s, 3000 + marked)])).toEqual([["b", "here"]]);
  });

  it("marks who comes back", () => {
    const gone = update(update(undefined, here("a"), 1000), here(), 2000);
    expect(update(gone, here("a"), 3000).map((s) => standing(s, 3000))).toEqual(["joined"]);
  });
});

describe("a report", () => {
  const part = (step: number, note = "Reading") => ({ step, of: 4, percent: 25 * step, note });

  it("advances, and keeps each note once", () => {
    let run = begin("");
    expect(percent(run)).toBe(0);
    run = advance(advance(advance(run, part(1), "s"), part(2), ""), part(3, "Binding"), "");
    expect(run).toMatchObject({ phase: "running", server: "s", notes: ["Reading", "Binding"] });
    expect(percent(run)).toBe(75);
  });

  it("ends with its summary", () => {
    const run = finish(begin(""), { title: "T", steps: 4, seconds: 1 });
    expect(run.phase).toBe("done");
    expect(percent(run)).toBe(100);
  });

  it("tells a cancel from a failure", () => {
    expect(stop(begin(""), new RopewalkError("canceled", "")).phase).toBe("canceled");
    expect(stop(begin(""), new RopewalkError("service_lost", "")).phase).toBe("failed");
  });

  it("ignores parts that come late", () => {
    const run = stop(begin(""), new RopewalkError("canceled", ""));
    expect(advance(run, part(1), "")).toBe(run);
    expect(advance(idle, part(1), "")).toBe(idle);
  });
});

describe("the inbox", () => {
  const at = new Date(0);

  it("counts what is new, and marks the first", () => {
    let box = receive(empty, "a@client:/", "me@client:/", { text: "one" }, at);
    box = receive(box, "b@client:/", "*@client:/", "two", at);
    expect(box).toMatchObject({ unread: 2, firstUnread: 1 });
    expect(box.entries.map((e) => [e.who, e.text, e.broadcast])).toEqual([["a", "one", false], ["b", "two", true]]);
  });

  it("leaves the mark until the next message", () => {
    const seen = read(receive(empty, "a@client:/", "", "x", at));
    expect(seen).toMatchObject({ unread: 0, firstUnread: 1 });
    expect(read(seen)).toBe(seen);
    expect(receive(seen, "a@client:/", "", "y", at)).toMatchObject({ unread: 1, firstUnread: 2 });
    expect(send(seen, "a", "z", at).firstUnread).toBe(0);
  });

  it("settles what was sent", () => {
    const box = send(empty, "a", "x", at);
    expect(box.entries[0]).toMatchObject({ state: "sending", broadcast: false });
    expect(settle(box, 1, "").entries[0]).toMatchObject({ state: "delivered" });
    expect(settle(box, 1, "no_client: gone").entries[0]).toMatchObject({ state: "failed", problem: "no_client: gone" });
  });

  it("is bounded", () => {
    let box = empty;
    for (let i = 0; i < 500; i++) box = receive(box, "a@client:/", "", i, at);
    expect(box.entries).toHaveLength(200);
    expect(box.entries.at(-1)?.text).toBe("499");
  });

  it.each([[{ text: "a" }, "a"], ["b", "b"], [{ text: 1 }, '{"text":1}'], [null, "null"], [undefined, "no body"]])(
    "shows %j", (body, want) => expect(textOf(body)).toBe(want));
});

describe("the tape", () => {
  const tapped = (to: string, more: Partial<Tapped> = {}): Tapped => ({ at: "2026-01-01T00:00:00Z", verb: "call", to, size: 2, ...more });

  it("shows the newest first", () => {
    const tape = record(blank, [tapped("math:/a"), tapped("x@client:/", { verb: "reply", route: "math:/a", took: 0.002, from: "s@math:/" })], false);
    expect(tape.lines.map((l) => [l.verb, l.address, l.from, l.took])).toEqual([["reply", "math:/a", "s", 2], ["call", "math:/a", "", 0]]);
  });

  it("leaves out what this page asks the node, unless it is wanted", () => {
    const batch = [tapped("node:/services"), tapped("x@client:/", { route: "node:/services" }), tapped("n@node:/info")];
    expect(batch.map((t) => own(t))).toEqual([true, true, true]);
    expect(own(tapped("x@client:/", { verb: "send", from: "n@node:/" }))).toBe(false);
    expect(record(blank, batch, false)).toBe(blank);
    expect(record(blank, batch, true).lines).toHaveLength(3);
  });

  it("leaves out what a gather of it ends with, which does not say what was asked", () => {
    const asked = record(blank, [tapped("node:/clients", { mid: "1" })], false);
    const end = (mid: string, verb = "reply") => tapped("x@client:/", { verb, mid, from: "n@node:/" });
    expect(record(asked, [end("1"), end("1", "error")], false).lines).toHaveLength(0);
    expect(record(asked, [end("2")], false).lines).toHaveLength(1);
    const many = Array.from({ length: 100 }, (_, i) => tapped("node:/clients", { mid: `m${i}` }));
    expect(record(asked, many, false).own.length).toBeLessThan(100);
  });

  it("says which node saw it", () => expect(record(blank, [tapped("math:/a", { node: "b" })], false).lines[0]?.node).toBe("b"));

  it.each([
    [1, 10, 1000, 1], // a few: all of them
    [1, 500, 50, 0.02], // 10,000 a second: a sample of 200
    [0.02, 200, 1000, 0.02], // that is how many came: it stays
    [0.02, 10, 1000, 1], // 500 a second: all of them again
    [0.02, 5000, 1000, 0.0008], // still too many
    [0.0005, 10, 1000, 0.01], // too few: more of them
    [1, 1e9, 1, 0.0001], // never nothing
    [1, 0, 0, 1],
  ])("of a share of %s with %s in %s ms asks for %s", (present, came, ms, want) => expect(share(present, came, ms)).toBeCloseTo(want, 6));

  it("is bounded, and says what is missing", () => {
    const tape = record(blank, Array.from({ length: 1000 }, () => tapped("math:/a", { missed: 1 })), false);
    expect(tape.lines).toHaveLength(kept);
    expect(tape).toMatchObject({ total: 1000, missed: 1000 });
    expect(tape.lines[0]?.key).toBe(1000);
  });
});
