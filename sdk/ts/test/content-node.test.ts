// Contents of the real node: files, a query and a script, watched and published by clients.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Broker } from "../src/broker.js";
import { bytes, connect, type Bytes, type Rope, type Update, type WebSocketLike } from "../src/index.js";
import { RealNode, Wire } from "./real-node.js";

const root = mkdtempSync(join(tmpdir(), "ropewalk-content-"));
const grants = [{ paths: ["/**"], query: ["main"], get: ["json:/**"] }];
const node = new RealNode({ permissions: { preset: "dev" }, content: { root, script: { grants } } });
const ropes: Rope[] = [];

function write(name: string, text: string): void {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function dial(url = node.url): Rope {
  const rope = connect(url, { WebSocket: WebSocket as unknown as WebSocketLike, backoff: { base: 10, max: 50 } });
  rope.on("error", () => {});
  ropes.push(rope);
  return rope;
}

beforeAll(async () => {
  write("demo/score.json", '"Home 0 : Away 0"');
  write("demo/setup.sql", "create table items (id integer primary key, name text not null, n integer not null);");
  write("demo/add.sql", "-- @param id integer\n-- @param n integer\ninsert into items (id, name, n) values (:id, 'item ' || :id || ' with a long name, so that a change is smaller than the whole', :n) on conflict (id) do update set n = excluded.n;");
  write("demo/clear.sql", "delete from items;");
  write("demo/items.sql", "-- @key id\n-- @param least integer = 0\nselect id, name, n from items where n >= :least order by id;");
  write("demo/sum.ts", 'export default async () => {\n  const [row] = await db.query("select coalesce(sum(n), 0) as n from items");\n  return { sum: row.n };\n};\n');
  await node.start();
  await dial().publish("query:/demo/setup.sql", {});
});
afterEach(async () => void await Promise.all(ropes.splice(0).map((r) => r.close({ timeout: 500 }))));
afterAll(async () => {
  await node.end();
  rmSync(root, { recursive: true, force: true });
});

it("what is published one after the other is done in that order", async () => {
  const rope = dial();
  for (let round = 0; round < 5; round++) {
    const done: number[] = [];
    await Promise.all(Array.from({ length: 20 }, (_, i) => [
      rope.publish("json:/demo/order.json", i).then(() => done.push(i)),
      rope.publish("query:/demo/add.sql", { id: 0, n: i }),
    ]).flat());
    expect(done).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(await rope.get("json:/demo/order.json")).toBe(19);
    expect(await rope.get("query:/demo/items.sql")).toMatchObject([{ id: 0, n: 19 }]);
  }
  await rope.publish("query:/demo/clear.sql", {});
});

it("a file: published, edited by somebody else, broken, mended, deleted", async () => {
  const rope = dial();
  const told: unknown[] = [];
  await rope.watch("json:/demo/score.json", {}, (u) => told.push(u.optimistic ? [u.content] : u.content), (e) => told.push(e.code)).ready;
  const other: unknown[] = [];
  await dial().watch("json:/demo/score.json", {}, (u) => other.push(u.content)).ready;
  await rope.publish("json:/demo/score.json", "Home 1 : Away 0", { optimistic: true });
  await expect.poll(() => told).toEqual(["Home 0 : Away 0", ["Home 1 : Away 0"], "Home 1 : Away 0"]);
  await expect.poll(() => other).toEqual(["Home 0 : Away 0", "Home 1 : Away 0"]);
  expect(JSON.parse(readFileSync(join(root, "demo/score.json"), "utf8"))).toBe("Home 1 : Away 0");
  write("demo/score.json", "{broken");
  await expect.poll(() => told.at(-1)).toBe("bad_content");
  write("demo/score.json", "{\"now\": \"an object\"}");
  await expect.poll(() => told.at(-1)).toEqual({ now: "an object" });
  await rope.publish("json:/demo/score.json", undefined);
  await expect.poll(() => told.at(-1)).toBe("not_found");
  await rope.publish("json:/demo/score.json", "back");
  await expect.poll(() => told.at(-1)).toBe("back");
});

it("bytes", async () => {
  const rope = dial();
  await rope.publish("file:/demo/image.png", bytes(new Uint8Array([0, 255, 10, 13]), "image/png"));
  const got = await rope.get<Bytes>("file:/demo/image.png");
  expect([...got]).toEqual([0, 255, 10, 13]);
  expect(got.contentType).toBe("image/png");
});

describe("a query", () => {
  it("follows its rows, by changes of rows, over connections that break", async () => {
    const wire = new Wire(node);
    const rope = dial(await wire.start());
    const got: Update<{ id: number; n: number }[]>[] = [];
    const w = rope.watch<{ id: number; n: number }[]>("query:/demo/items.sql", { params: { least: 0 }, delta: ["rows"] }, (u) => got.push(u));
    await w.ready;
    const writer = dial();
    await writer.publish("query:/demo/add.sql", Array.from({ length: 20 }, (_, i) => ({ id: i, n: i })));
    await expect.poll(() => got.at(-1)?.content.length).toBe(20);
    const before = got.at(-1)!.content;
    await writer.publish("query:/demo/add.sql", { id: 7, n: 70 });
    await expect.poll(() => got.at(-1)?.content[7]!.n).toBe(70);
    const after = got.at(-1)!.content;
    expect(after.filter((row, i) => row !== before[i]).map((row) => row.id)).toEqual([7]); // one row came
    for (let i = 0; i < 10; i++) {
      if (i % 4 === 1) wire.cut();
      await writer.publish("query:/demo/add.sql", { id: 3, n: 1000 + i });
    }
    await expect.poll(() => got.at(-1)?.content[3]!.n).toBe(1009);
    expect(got.at(-1)!.content).toEqual(await writer.get("query:/demo/items.sql"));
    const seen = got.map((u) => `${u.epoch} ${u.offset}`);
    expect(new Set(seen).size).toBe(seen.length);
    await rope.close();
    await wire.stop();
  });

  it("feeds a script", async () => {
    const rope = dial();
    const got: { sum: number }[] = [];
    await rope.watch<{ sum: number }>("script:/demo/sum.ts", {}, (u) => got.push(u.content)).ready;
    await expect.poll(() => got.length).toBe(1);
    await rope.publish("query:/demo/add.sql", { id: 100, n: 5 });
    await expect.poll(() => got.at(-1)!.sum).toBe(got[0]!.sum + 5);
  });
});

it("the broker finds all of it by partial addresses", async () => {
  const broker = new Broker(dial(), { app: "demo" });
  const told: unknown[] = [];
  const token = broker.subscribe("/score.json", (topic, content) => told.push([topic, content]));
  broker.subscribe("/nothing.json", () => {}, (topic, e) => told.push([topic, e.code]));
  await expect.poll(() => told.length).toBe(2);
  expect(told).toContainEqual(["json:/demo/nothing.json", "not_found"]);
  await broker.publish("/score.json", { by: "broker" });
  await expect.poll(() => told).toContainEqual(["json:/demo/score.json", { by: "broker" }]);
  broker.subscribe<{ id: number }[]>("/items.sql", (_, rows) => told.push(rows.map((r) => r.id)), undefined, { least: 1000 });
  await expect.poll(() => told.at(-1)).toEqual([3]);
  broker.unsubscribe(token);
  broker.close();
});
