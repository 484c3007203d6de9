import type { BrowserContext, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idOf, knows, open, startBrowser, type Watched } from "./browser";
import { call, startJoined, startNode, startServer, type Process } from "./process";

let dev: Awaited<ReturnType<typeof startNode>>;
let browser: BrowserContext;
let watched: Watched;
let page: Page;
const started: Process[] = [];

beforeAll(async () => {
  dev = await startNode();
  started.push(dev.node);
  browser = await startBrowser();
  watched = await open(browser, dev.url);
  page = watched.page;
});

afterAll(async () => {
  await browser?.close();
  await Promise.all(started.map((p) => p.end("SIGKILL")));
});

/** A node that joins, and a service process that is connected to it. */
async function join(name: string, at: string) {
  const joined = await startJoined(name, at);
  const { server, id } = await startServer(joined.port);
  started.push(joined.node, server);
  return { ...joined, server, id };
}

const tile = (name: string, more = ""): Locator => page.locator(`.tile[data-node="${name}"]${more}`);
const shows = (selector: string, want: RegExp | string): Promise<void> => page.locator(selector).filter({ hasText: want }).first().waitFor();

/** Multiplies, and waits for the product. */
async function multiply(a: number, b: number): Promise<string> {
  await page.fill("#mul-a", String(a));
  await page.fill("#mul-b", String(b));
  await page.press("#mul-b", "Enter");
  await shows("#mul .value", String(a * b));
  return page.locator("#mul .origin").innerText();
}

async function gather(want: RegExp): Promise<void> {
  await page.click("#gather form button");
  await shows("#gather-summary", want);
}

describe("two nodes", () => {
  let harbor: Awaited<ReturnType<typeof join>>;

  it("are shown, when the second was started by the command that the page shows", async () => {
    await shows(".connection", "Connected to dev");
    await shows("#nodes-count", "1 node");
    await page.click("#nodes .copy");
    const command = await page.evaluate(() => navigator.clipboard.readText());
    expect(command).toMatch(new RegExp(`serve --join ${dev.cluster}$`));
    harbor = await join("harbor", dev.cluster);
    await tile("harbor", '[data-state="alive"]').waitFor();
    await tile("dev", '[data-self="true"]').waitFor();
    await shows("#nodes-count", "2 nodes");
    await shows('.tile[data-node="harbor"]', /1 client.*routes/);
  });

  it("are one: services of both are used", async () => {
    await page.locator(`th[data-server="${harbor.id}"]`, { hasText: "on harbor" }).waitFor();
    await gather(/^8 answers in/);
    await shows("#tree summary", /math:.*dev.*harbor/s);
  });

  it("can be chosen for calls", async () => {
    await page.selectOption("#call-node", { label: "on harbor" });
    expect(await multiply(3, 4)).toMatch(/from.*on harbor/s);
    await page.selectOption("#call-node", { label: "on dev" });
    expect(await multiply(3, 5)).toMatch(/from\s+dev\s+in/);
    await page.fill("#any-address", "node:/info");
    await page.selectOption("#call-node", { label: "on harbor" });
    await page.fill("#any-body", "");
    await page.press("#any-body", "Control+Enter");
    await shows("#any .json", '"name": "harbor"');
    await page.selectOption("#call-node", "");
  });

  it("show the clients and messages of each other", async () => {
    await page.locator(`.chip:has(input[value="${harbor.id}"])`, { hasText: "on harbor" }).waitFor();
    await call(harbor.port, "text:/up", '"from the other side"');
    await shows('.tape [data-verb="call"] .seen', "harbor");
    await shows('.tape [data-verb="reply"]', "FROM THE OTHER SIDE");
  });

  it("lose the one that joined: that is seen, its call fails at once, and the first goes on", async () => {
    await page.selectOption("#report-server", harbor.id);
    await page.fill("#report-steps", "500");
    await page.click("#report-start");
    await shows("#report-result .origin", "on harbor");
    await harbor.node.end("SIGKILL");
    await shows("#report-result .problem", "node_lost");
    await tile("harbor", '[data-state="lost"]').waitFor();
    await shows("#nodes-count", /1 node, 1 lost/);
    expect(await multiply(6, 7)).toContain("from");
    expect(await page.innerText("#node")).toBe("dev");
    expect(await page.locator(".moved").count()).toBe(0);
  });

  it("have their services come back on the other one", async () => {
    await shows("#servers-count", "2 servers");
    await gather(/^8 answers in/);
    await harbor.server.end("SIGTERM");
    await shows("#servers-count", "1 server");
  });

  afterAll(() => {
    expect(watched.sockets).toHaveLength(1);
    expect(watched.errors).toEqual([]);
  });
});

describe("the node that served the page", () => {
  let quay: Awaited<ReturnType<typeof join>>;

  it("is killed, and the page goes on at the other one", async () => {
    const told = knows(watched, "quay");
    quay = await join("quay", dev.cluster);
    await told;
    await tile("quay", '[data-state="alive"]').waitFor();
    await page.locator(`th[data-server="${quay.id}"]`).waitFor();
    const before = await idOf(page);
    await dev.node.end("SIGKILL");
    await shows("#node", "quay");
    await shows(".moved", "dev is gone; this page is on quay now");
    await shows(".connection", /moved from dev at \d\d:\d\d:\d\d/);
    await tile("quay", '[data-self="true"]').waitFor();
    await tile("dev", '[data-state="lost"]').waitFor();
    expect(await idOf(page)).not.toBe(before);
  });

  it("is not needed for anything but the page itself", async () => {
    const answer = await fetch(`http://127.0.0.1:${quay.port}/`);
    expect(answer.headers.get("content-type")).not.toContain("html");
    expect(await multiply(8, 9)).toMatch(/from/);
    await shows("#servers-count", "1 server");
    await gather(/^4 answers in/);
    await page.selectOption("#report-server", "");
    await page.fill("#report-steps", "5");
    await page.click("#report-start");
    await shows('#report-result[data-phase="done"]', "5 steps");
    await page.click("#traffic .side button:has-text('Clear')");
    await page.fill("#up-text", "still here");
    await page.press("#up-text", "Enter");
    await shows('.tape [data-verb="reply"]', "STILL HERE");
    expect(await page.innerText("#command")).toContain(`ws://127.0.0.1:${quay.port}`);
  });

  it("tells that it is back, and takes the page back when somebody wants that", async () => {
    dev = await startNode({ port: dev.port, join: quay.cluster });
    started.push(dev.node);
    await shows('.moved[data-back="true"]', "dev is back");
    expect(await page.innerText("#node")).toBe("quay");
    await page.click(".moved button");
    await shows("#node", "dev");
    await tile("quay", '[data-state="alive"]').waitFor();
    await page.locator(".moved").waitFor({ state: "detached" });
    expect(await multiply(2, 21)).toMatch(/from/);
    expect(watched.errors).toEqual([]);
  });
});
