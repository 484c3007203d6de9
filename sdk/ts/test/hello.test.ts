// The services of examples/hello-ts, on the real program.
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { serve } from "../../../examples/hello-ts/src/services.js";
import type { Rope } from "../src/index.js";
import { RealNode } from "./real-node.js";
import { client, stopAll } from "./setup.js";

const node = new RealNode();
beforeAll(async () => void await node.start(), 120_000);
afterEach(stopAll);
afterAll(() => node.end());

async function open(): Promise<Rope> {
  const [{ rope: server }, { rope }] = [client(node.url), client(node.url)];
  await Promise.all(serve(server, 5).map((s) => s.ready));
  return rope;
}

it("math calculates", async () => {
  const rope = await open();
  const got = ["mul", "add", "sub", "div"].map((op) => rope.call(`math:/decimal/${op}`, { a: 2, b: 5 }));
  expect(await Promise.all(got)).toEqual([10, 7, -3, 0.4]);
  await expect(rope.call("math:/decimal/div", { a: 1, b: 0 })).rejects.toMatchObject({ code: "invalid_input" });
  await expect(rope.call("math:/decimal/mul", { a: 1 })).rejects.toMatchObject({ code: "invalid_input", path: "/b" });
  await expect(rope.call("math:/decimal/mul")).rejects.toMatchObject({ code: "invalid_input" }); // no body at all
  expect((await rope.gather("math:/decimal/*", { a: 2, b: 5 })).values.sort()).toEqual([-3, 0.4, 10, 7]);
});

it("text writes in capitals", async () => {
  const rope = await open();
  expect(await rope.call("text:/up", "grüße")).toBe("GRÜSSE");
  await expect(rope.call("text:/up", 7)).rejects.toMatchObject({ code: "invalid_input" });
});

it("report says how far it is, and stops when it is canceled", async () => {
  const rope = await open();
  const stream = rope.stream("report:/long", { steps: 4, title: "T" });
  const parts: unknown[] = [];
  for await (const p of stream) parts.push(p);
  expect(parts).toMatchObject([
    { step: 1, of: 4, percent: 25, note: "Reading the books" }, { step: 2, percent: 50 }, { step: 3, percent: 75 }, { step: 4, percent: 100 },
  ]);
  expect(await stream.reply).toMatchObject({ title: "T", steps: 4, seconds: expect.any(Number) });
  for await (const _ of rope.stream("report:/long")) break;
  const busy = async (): Promise<number> => (await rope.call<{ answering: number }[]>("node:/clients"))
    .reduce((n, c) => n + c.answering, 0);
  await expect.poll(busy).toBe(0);
  await expect(rope.call("report:/long", { steps: 1.5 })).rejects.toMatchObject({ code: "invalid_input", path: "/steps" });
});
