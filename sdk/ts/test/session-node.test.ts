// Sessions with the real program.
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { SessionEvent } from "../src/index.js";
import { RealNode } from "./real-node.js";
import { client, stopAll } from "./setup.js";

const node = new RealNode({
  sessions: { tokens: { secret: "a secret that is long enough for all that comes" }, lifetime: "3s", warn: "1s" },
  permissions: {
    rules: [
      { effect: "deny", verbs: ["call"], addresses: ["echo:/**"], when: "!(has(claims.role) && claims.role == 'editor')" },
      { verbs: ["serve", "session"], addresses: ["door:/**"], when: "session.subject == 'helper'" },
      { verbs: ["admin"], addresses: ["node:/**"], when: "session.subject == 'chief'" },
    ],
  },
});
beforeAll(async () => void await node.start(), 120_000);
afterEach(stopAll);
afterAll(() => node.end());

const token = (subject: string, ...more: string[]): string => node.run("token", "new", "--subject", subject, ...more);

it("somebody logs in by a service, is refreshed, and goes on after a restart", async () => {
  const helper = client(node.url, { token: () => token("helper", "--lifetime", "1h") });
  const door = helper.rope.serve("door", {
    "/in": (user: string, ctx) => ctx.changeSession({ subject: user, set: { role: "editor" }, secret: { pin: 7 } }),
    "/pin": (_: unknown, ctx) => ctx.session?.secret["pin"],
    "/out": (_: unknown, ctx) => ctx.changeSession({ end: true }),
  });
  await door.ready;
  const { rope } = client(node.url);
  const events: SessionEvent[] = [];
  rope.onSession((e) => events.push(e));
  await expect(rope.call("echo:/", 1)).rejects.toMatchObject({ code: "unauthenticated" });
  await rope.call("door:/in", "anna");
  expect(rope.session).toMatchObject({ subject: "anna", public: { role: "editor" }, secret: {} });
  expect(await rope.call("echo:/", 1)).toBe(1);
  expect(await rope.call("door:/pin")).toBe(7);
  const { id, expires } = rope.session!;
  await expect.poll(() => rope.session?.expires).toBeGreaterThan(expires!);
  expect(events.map((e) => e.kind)).toEqual(expect.arrayContaining(["changed", "ending"]));

  await node.stop();
  await node.start();
  expect(await rope.call("echo:/", 2, { idempotent: true })).toBe(2);
  expect(rope.session?.id).toBe(id);
  await expect.poll(() => rope.call("door:/pin").catch((err: { code: string }) => err.code)).toBe(7);
  await rope.call("door:/out");
  expect([rope.session, rope.token, events.at(-1)?.kind]).toEqual([undefined, "", "ended"]);
  await expect(rope.call("echo:/", 1)).rejects.toMatchObject({ code: "unauthenticated" });
}, 60_000);

it("a session that is revoked, and a forged token, make somebody nobody", async () => {
  const good = token("berta", "--claim", "role=editor");
  const { rope } = client(node.url, { token: good });
  const chief = client(node.url, { token: token("chief") }).rope;
  const events: SessionEvent[] = [];
  rope.onSession((e) => events.push(e));
  expect(await rope.call("echo:/", 1)).toBe(1);
  await expect(rope.openSession(good.slice(0, -8) + "AAAAAAAA")).rejects.toMatchObject({ code: "unauthenticated" });
  expect(rope.session?.subject).toBe("berta");
  await expect(rope.call("node:/session/revoke", { subject: "chief" })).rejects.toMatchObject({ code: "forbidden" });
  await chief.call("node:/session/revoke", { session: rope.session!.id, reason: "stolen" });
  await expect.poll(() => events.at(-1)).toMatchObject({ kind: "revoked", reason: "stolen", session: undefined });
  await expect(rope.call("echo:/", 1)).rejects.toMatchObject({ code: "unauthenticated" });
  const again = client(node.url, { token: good });
  await again.rope.ready();
  expect(again.rope.session).toBeUndefined();
});
