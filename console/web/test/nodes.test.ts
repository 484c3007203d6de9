import { describe, expect, it } from "vitest";
import { aimed, arranged, covers, nodeOf, nthHue, reachable, serversAt, spread, tagOf, title, type NodeStatus } from "../src/model/nodes";
import type { ServiceInfo } from "../src/model/wire";

const time = "2026-01-01T00:00:00Z";

function node(name: string, tag: string, more: Partial<NodeStatus> = {}): NodeStatus {
  return { id: tag.padEnd(32, "0"), name, state: "alive", started: time, since: time, ...more };
}

const dev = node("dev", "aaaaaaaa", { self: true });
const harbor = node("harbor", "bbbbbbbb");
const lost = node("anchor", "cccccccc", { state: "lost" });
const nodes = [harbor, lost, dev];
const onHarbor = "bbbbbbbb0123456789abc";

const services: ServiceInfo[] = [
  { name: "math", path: "/decimal/mul", servers: [dev.id, onHarbor].map((id) => ({ id, local: false, inFlight: 0 })) },
  { name: "math", path: "/{op}", servers: [{ id: onHarbor, local: false, inFlight: 0 }] },
];

describe("nodes", () => {
  it("are found by their id, and by those of their clients", () => {
    expect(tagOf(onHarbor)).toBe("bbbbbbbb");
    expect(tagOf(harbor.id)).toBe("");
    expect(tagOf("client of old")).toBe("");
    expect(nodeOf(nodes, onHarbor)).toBe(harbor);
    expect(nodeOf(nodes, dev.id)).toBe(dev);
    expect(nodeOf(nodes, "dddddddd0123456789abc")).toBeUndefined();
    expect(nodeOf(nodes, "")).toBeUndefined();
  });

  it("stand in order: the own one, the others, the lost ones", () => {
    expect(arranged(nodes)).toEqual([dev, harbor, lost]);
    expect(reachable(nodes)).toEqual([harbor, dev]);
  });

  it("that are back are not shown as lost", () => {
    const again = node("anchor", "ffffffff", { started: "2026-01-01T00:00:09Z" });
    expect(arranged([...nodes, again])).toEqual([dev, again, harbor]);
    const twin = node("anchor", "ffffffff", { started: "2025-01-01T00:00:09Z" });
    expect(arranged([...nodes, twin])).toEqual([dev, twin, harbor, lost]);
  });

  it("with the same name are told apart, but not from one that is lost", () => {
    expect(title(nodes, dev)).toBe("dev");
    expect(title([dev, node("dev", "eeeeeeee")], dev)).toBe("dev aaaa");
    expect(title([dev, node("dev", "eeeeeeee", { state: "lost" })], dev)).toBe("dev");
  });

  it("have colours of their own, and none is red", () => {
    const hues = Array.from({ length: 8 }, (_, i) => nthHue(i));
    expect(hues.every((h) => h >= 60 && h < 330)).toBe(true);
    for (const [i, h] of hues.entries()) {
      for (const other of hues.slice(0, i)) expect(Math.abs(h - other)).toBeGreaterThan(14);
    }
  });

  it("have servers", () => {
    expect(serversAt(nodes, services, "math:/decimal/mul", harbor.id)).toEqual([onHarbor]);
    expect(serversAt(nodes, services, "math:/add?x=1", harbor.id)).toEqual([onHarbor]);
    expect(serversAt(nodes, services, "math:/add", dev.id)).toEqual([]);
    expect(spread(nodes, [dev.id, onHarbor, "bbbbbbbb0123456789abd", "elsewhere"]))
      .toEqual([{ node: dev, servers: 1 }, { node: harbor, servers: 2 }]);
  });
});

it.each([
  ["/a/b", "/a/b", true], ["/a/b", "/a", false], ["/a", "/a/b", false], ["/a/{x}", "/a/b", true], ["/a/*", "/a/b?n=1", true],
  ["/a/**", "/a/b/c", true], ["/", "/", true], ["/", "/a", false],
])("the pattern %s covers %s: %s", (pattern, path, want) => expect(covers(pattern, path)).toBe(want));

describe("a call to a node", () => {
  const to = (address: string, id: string) => aimed(nodes, services, address, id, () => 0);

  it("goes to a server there", () => {
    expect(to("math:/decimal/mul", harbor.id)).toBe(`${onHarbor}@math:/decimal/mul`);
    expect(to("math:/decimal/mul", dev.id)).toBe(`${dev.id}@math:/decimal/mul`);
  });

  it("goes to the node itself if it has none", () => {
    expect(to("node:/info", harbor.id)).toBe(`${harbor.id}@node:/info`);
    expect(to("text:/up", harbor.id)).toBe(`${harbor.id}@text:/up`);
  });

  it("goes where the address says", () => {
    expect(to("math:/decimal/mul", "")).toBe("math:/decimal/mul");
    expect(to("x@math:/decimal/mul", harbor.id)).toBe("x@math:/decimal/mul");
  });
});
