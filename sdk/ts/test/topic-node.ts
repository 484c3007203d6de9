// What a node does in the tests of topics.
import { expect } from "vitest";
import type { Update } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";

export const score = "json:/demo/score.json";

/** Answers the next subscribe with a content. */
export async function arm(conn: Conn, bdy: unknown, more: Wire = {}): Promise<Wire> {
  const m = await conn.take("subscribe");
  conn.reply(m, bdy, { tpc: "t1", epo: "e", off: 1, ...more });
  return m;
}

export function update(conn: Conn, off: number, bdy: unknown, more: Wire = {}): void {
  conn.send({ vrb: "update", tpc: "t1", off, bdy, ...more });
}

export const patchOf = (v: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(v));
export const contents = (all: Update[]): unknown[] => all.map((u) => u.content);

export async function until(fits: () => boolean): Promise<void> {
  await expect.poll(fits).toBe(true);
}
