import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { Broker, type BrokerError, type TopicCallback } from "../src/broker.js";
import { RopewalkError } from "../src/index.js";
import type { Conn, Wire } from "./fake-node.js";
import { start, stopAll, turn } from "./setup.js";

afterEach(stopAll);

async function open() {
  const s = await start();
  const broker = new Broker(s.rope, { app: "demo_app", linger: 0, delta: false });
  const got: unknown[][] = [];
  const note = (name: string): TopicCallback => (topic, content) => got.push([name, topic, content]);
  const fail = (name: string) => (topic: string, e: BrokerError): void => void got.push([name, topic, e.code]);
  return { ...s, broker, got, note, fail };
}

async function arm(conn: Conn, bdy: unknown, more: Wire = {}): Promise<Wire> {
  const m = await conn.take("subscribe");
  conn.reply(m, bdy, { tpc: m.to!, epo: "e", off: 1, ...more });
  return m;
}

describe("addresses", () => {
  it("are resolved as they always were", async () => {
    const { broker } = await open();
    broker.app = "demo_app";
    await broker.publish("cms.file", "demo_app/Pages/home.json");
    const lines = readFileSync(new URL("testdata/topic_resolution.jsonl", import.meta.url), "utf8").trim().split("\n");
    const vectors = lines.map((l) => JSON.parse(l) as { dir: string; frame?: { input: string; resolved: string; without_field: string } })
      .filter((l) => l.dir === "note" && l.frame && "input" in l.frame).map((l) => l.frame!);
    expect(vectors.length).toBeGreaterThan(25);
    for (const v of vectors) {
      expect(broker.resolve(v.input, false), v.input).toBe(v.resolved);
      expect(broker.resolve(v.input), v.input).toBe(v.without_field);
    }
  });

  it("take the place of names from the values of topics", async () => {
    const { broker } = await open();
    await broker.publish("id", 7);
    await broker.publish("who", { a: 1 });
    expect(broker.resolve("query:/${appName}/u${id}.sql${none}${appName}")).toBe("query:/demo_app/u7.sql");
    expect(broker.resolve("x:/${who}")).toBe('x:/{"a":1}');
    broker.app = "$&";
    expect(broker.resolve("x:/${appName}")).toBe("x:/$&");
    expect([broker.getFieldName("form#a"), broker.getFieldName("form")]).toEqual(["a", ""]);
  });
});

describe("topics of the page", () => {
  it("are told later, in order, and keep their values", async () => {
    const { broker, conn, got, note } = await open();
    const a = broker.subscribe("form.name", note("a"));
    void broker.publish("form.name", "Ann");
    void broker.publish("form.name", "Bob");
    expect(got).toEqual([]);
    await turn();
    const b = broker.subscribe("form.name", note("b"));
    await turn();
    expect(got).toEqual([["a", "app:form.name", "Ann"], ["a", "app:form.name", "Bob"], ["b", "app:form.name", "Bob"]]);
    broker.unsubscribeAll([a, a, undefined, broker.subscribe(undefined, note("none"))]);
    broker.unsubscribe(a);
    void broker.publish("form.name", "Eve");
    await turn();
    expect(got.at(-1)).toEqual(["b", "app:form.name", "Eve"]);
    expect(got.length).toBe(4);
    broker.unsubscribe(b);
    expect(broker.getCurrentData("form.name")).toBe("Eve");
    broker.unsubscribe(broker.subscribe("form.name", note("c")), true);
    expect(broker.getCurrentData("form.name")).toBeUndefined();
    expect(conn.got).toEqual([]);
  });

  it("have fields and validations, and are read by prefix", async () => {
    const { broker, got, note } = await open();
    broker.subscribe("form2#age", note("age"));
    broker.subscribe("form2", note("whole"));
    void broker.publish("form2#age", 42);
    await turn();
    expect(got).toEqual([["age", "app:form2#age", 42]]);
    expect(broker.getCurrentData("form2")).toEqual({ age: 42 });
    const bad = (_: string, v: unknown): boolean => v === "";
    void broker.publish("login.user", "u", bad);
    void broker.publish("login.password", "", bad);
    expect(broker.getData("login")).toEqual({ user: "u", password: "" });
    expect(broker.validationFailed("login")).toBe(true);
    void broker.publish("login.password", "p");
    expect(broker.validationFailed("login")).toBe(false);
    void broker.publish("login.password", "");
    void broker.delete("login.password");
    expect(broker.validationFailed("login")).toBe(false);
  });

  it("app:all: has them all", async () => {
    const { broker, conn, got, note } = await open();
    void broker.publish("a", "x".repeat(200));
    broker.subscribe("json:/demo_app/s.json", note("s"));
    await arm(conn, { n: 1 });
    await expect.poll(() => got.length).toBe(1);
    broker.subscribe("app:all:", note("all"));
    void broker.publish("b", 1);
    await turn();
    const [name, , all] = got.at(-1)!;
    expect(name).toBe("all");
    expect(all).toEqual([
      { topic: "json:/demo_app/s.json", value: '{"n":1}' }, { topic: "app:b", value: "1" }, { topic: "app:a", value: '"' + "x".repeat(159) },
    ]);
  });
});

describe("topics of the server", () => {
  it("are shared, also by those who come before the content; each has its own filter", async () => {
    const { broker, conn, got, note } = await open();
    const a = broker.subscribe("/x.json", note("a"));
    const b = broker.subscribe("json:/demo_app/x.json", note("b"));
    broker.subscribe("/q.sql", note("q1"), undefined, { id: 1 });
    const q2 = broker.subscribe("/q.sql", note("q2"), undefined, { id: 2 });
    expect((await arm(conn, 1)).to).toBe("json:/demo_app/x.json");
    expect((await arm(conn, "one", { tpc: "q1" })).bdy).toEqual({ params: { id: 1 } });
    expect((await arm(conn, "two", { tpc: "q2" })).bdy).toEqual({ params: { id: 2 } });
    await expect.poll(() => got.length).toBe(4);
    expect(got).toEqual([
      ["a", "json:/demo_app/x.json", 1], ["b", "json:/demo_app/x.json", 1],
      ["q1", "query:/demo_app/q.sql", "one"], ["q2", "query:/demo_app/q.sql", "two"],
    ]);
    broker.changeFilter(q2, { id: 1 }); // shares with the other now
    expect(await conn.take("unsubscribe")).toMatchObject({ tpc: "q2" });
    await turn();
    expect(got.at(-1)).toEqual(["q2", "query:/demo_app/q.sql", "one"]);
    broker.changeFilter("/q.sql", { id: 3 });
    expect((await arm(conn, "three", { tpc: "q3" })).bdy).toEqual({ params: { id: 3 } });
    await expect.poll(() => got.length).toBe(7);
    broker.unsubscribe(a);
    broker.unsubscribe(a);
    await turn();
    expect(broker.getCurrentData("/x.json")).toBe(1); // the other is still there
    broker.unsubscribe(b);
    expect(broker.getCurrentData("/x.json")).toBeUndefined(); // nothing is kept of what nobody watches
    broker.close();
    await expect.poll(() => conn.got.filter((m) => m.vrb === "unsubscribe").length).toBe(3);
  });

  it("tell every subscriber of errors, and app:errors: once", async () => {
    const { broker, conn, got, note, fail } = await open();
    const alerts: BrokerError[] = [];
    broker.subscribe<BrokerError>("app:errors:", (_, e) => alerts.push(e));
    broker.subscribe("/x.json", note("a"), fail("a!"));
    broker.subscribe("/x.json", note("b"), fail("b!"));
    await arm(conn, { code: "not_found", message: "there is no file <x>", hint: "Write it." }, { flt: true });
    await expect.poll(() => got.length).toBe(2);
    expect(got).toEqual([["a!", "json:/demo_app/x.json", "not_found"], ["b!", "json:/demo_app/x.json", "not_found"]]);
    await turn();
    expect(alerts).toEqual([{
      title: "Not found", detail: "there is no file <x>. Write it.", severity: "error", topic: "json:/demo_app/x.json", code: "not_found", hint: "Write it.",
    }]);
    expect(broker.lastError("/x.json")?.code).toBe("not_found");
    conn.send({ vrb: "update", tpc: "json:/demo_app/x.json", off: 2, bdy: 1 });
    await expect.poll(() => got.length).toBe(4);
    expect(broker.lastError("/x.json")).toBeUndefined();
    broker.error("/x.json", { title: "Mine", detail: "look" });
    broker.error("/x.json", new RopewalkError("conflict", "no", { retryable: true }));
    await turn();
    expect(alerts.slice(1)).toMatchObject([{ title: "Mine", severity: "error" }, { title: "Conflict", detail: "no", severity: "warning" }]);
    expect(got.slice(4)).toHaveLength(4);
    void broker.publish("app:errors:", undefined); // clears
    await turn();
    expect(alerts.at(-1)).toBeUndefined();
  });

  it("publish: who subscribes sees what the node has, and is told of a refusal", async () => {
    const { broker, conn, got, note, fail } = await open();
    broker.subscribe("/x.json", note("a"), fail("a!"));
    await arm(conn, "old");
    await expect.poll(() => got.length).toBe(1);
    void broker.publish("/x.json", "new");
    const m = await conn.take("publish");
    expect(m).toMatchObject({ to: "json:/demo_app/x.json", bdy: "new" });
    conn.send({ vrb: "error", rmid: m.mid!, bdy: { code: "forbidden", message: "no" } });
    await expect.poll(() => got.length).toBe(2);
    expect(got[1]).toEqual(["a!", "json:/demo_app/x.json", "forbidden"]);
    expect(broker.getCurrentData("/x.json")).toBe("old");
  });

  it("requests are calls: each answer goes to its own callback, once", async () => {
    const { broker, conn, got, note, fail } = await open();
    broker.sendRequest("/Database/save.js#x", note("a"), fail("a!"), { name: "Ann" });
    broker.sendRequest("/Database/save.js", note("b"), fail("b!"));
    const [m1, m2] = [await conn.take("call"), await conn.take("call")];
    expect(m1).toMatchObject({ to: "javascript:/demo_app/Database/save.js", bdy: { name: "Ann" } });
    expect("bdy" in m2).toBe(false);
    conn.reply(m1, { count: 1 });
    conn.send({ vrb: "error", rmid: m2.mid!, bdy: { code: "script_failed", message: "line 3" } });
    await expect.poll(() => got.length).toBe(2);
    expect(got).toEqual([["a", "javascript:/demo_app/Database/save.js", { count: 1 }], ["b!", "javascript:/demo_app/Database/save.js", "script_failed"]]);
    expect(broker.getCurrentData("app:errors:")).toMatchObject({ code: "script_failed" });
    expect(broker.getCurrentData("/Database/save.js")).toBeUndefined();
    const t = broker.sendRequest("/Database/slow.js", note("c"), fail("c!"));
    await conn.take("call");
    broker.unsubscribe(t);
    await conn.take("cancel");
    await turn();
    expect(got.length).toBe(2);
  });

  it("on a client that is closed: errors come by their callback, later, and nothing throws", async () => {
    const { rope, broker, got, note, fail } = await open();
    await rope.close({ timeout: 0 });
    const token = broker.subscribe("/x.json", note("a"), fail("a!"));
    broker.unsubscribe(broker.subscribe("/x.json", note("b"), fail("b!")));
    broker.sendRequest("/save.js", note("c"), fail("c!"));
    expect(got).toEqual([]);
    await expect.poll(() => got.length).toBe(2);
    expect(got).toEqual([["a!", "json:/demo_app/x.json", "not_ready"], ["c!", "javascript:/demo_app/save.js", "not_ready"]]);
    expect(broker.lastError("/x.json")).toMatchObject({ code: "not_ready", title: "Not ready" });
    expect(broker.getCurrentData("app:errors:")).toMatchObject({ code: "not_ready" });
    broker.changeFilter(token, { id: 1 });
    await turn();
    expect(got[2]).toEqual(["a!", "json:/demo_app/x.json", "not_ready"]);
    broker.unsubscribe(token);
    expect(broker.getCurrentData("/x.json")).toBeUndefined();
  });
});
