import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { short } from "../web/src/model/address";
import { idOf, open, startBrowser, type Watched } from "./browser";
import { startNode, startServer, type Process } from "./process";

let node: Process;
let url: string;
let port: number;
let browser: BrowserContext;
let watched: Watched;
let page: Page;

beforeAll(async () => {
  ({ node, url, port } = await startNode());
  browser = await startBrowser();
  watched = await open(browser, url);
  page = watched.page;
});

afterAll(async () => {
  await browser?.close();
  await node?.end("SIGTERM");
});

/** The text of an element, when it matches. */
async function text(selector: string, want: RegExp | string, on = page): Promise<string> {
  const found = on.locator(selector).filter({ hasText: want }).first();
  await found.waitFor();
  return found.innerText();
}

const bar = (): Promise<number> => page.locator("#report-bar").getAttribute("aria-valuenow").then(Number);

describe("calls", () => {
  it("multiplies", async () => {
    await page.fill("#mul-a", "12");
    await page.fill("#mul-b", "3.5");
    await page.press("#mul-b", "Enter");
    await text("#mul .value", "42");
    expect(await text("#mul .origin", / in /)).toMatch(/from\s+this node\s+in [\d.]+ (µs|ms|s)/);
  });

  it("changes text", async () => {
    await page.fill("#up-text", "crème brûlée");
    await page.click("#up button");
    await text("#up .value", "CRÈME BRÛLÉE");
  });

  it("shows an error with its code and what to do", async () => {
    await page.fill("#any-address", "math:/decimal/mull");
    await page.press("#any-address", "Escape");
    await page.press("#any-body", "Control+Enter");
    const shown = await text("#any .problem", "no_service");
    expect(shown).toContain("math:/decimal/mul?"); // did you mean
  });

  it("completes an address, and begins a body for it", async () => {
    await page.fill("#any-address", "decimal/su");
    await page.press("#any-address", "ArrowDown");
    await page.press("#any-address", "Enter");
    await expect.poll(() => page.inputValue("#any-address")).toBe("math:/decimal/sub");
    await expect.poll(() => page.inputValue("#any-body")).toBe('{"a":1,"b":1}');
    await page.click("#any button.primary");
    await text("#any .json", /^0$/);
  });

  it("does not send what is no JSON", async () => {
    await page.fill("#any-body", "hello");
    await text("#any-problem", "quotation marks");
    expect(await page.locator("#any button.primary").isDisabled()).toBe(true);
  });

  it("calls what the tree offers", async () => {
    await page.click('#tree button:has-text("/up")');
    await expect.poll(() => page.inputValue("#any-body")).toBe('"text"');
    await page.click("#any button.primary");
    await text("#any .json", '"TEXT"');
  });
});

describe("a second server process", () => {
  let server: Process | undefined;
  let id: string;

  afterAll(async () => server?.end("SIGKILL"));

  it("joins by the command that the page shows", async () => {
    await page.click(".command button");
    const command = await page.evaluate(() => navigator.clipboard.readText());
    expect(command).toMatch(new RegExp(`hello --url ws://127.0.0.1:${port}$`));
    ({ server, id } = await startServer(port));
    await page.locator(`th[data-server="${id}"][data-standing="joined"]`).waitFor();
    await text("#servers-count", "2 servers");
  });

  it("answers a gather beside the first", async () => {
    await page.fill("#gather-a", "8");
    await page.fill("#gather-b", "2");
    await page.click("#gather form button");
    await text("#gather-summary", /^8 answers in/);
    const rows = await page.locator(".matrix tbody tr").evaluateAll((trs) =>
      trs.map((tr) => Array.from(tr.children).map((c) => c.querySelector(".text")?.textContent ?? c.textContent)));
    expect(rows).toEqual([["/decimal/add", "10", "10"], ["/decimal/div", "4", "4"], ["/decimal/mul", "16", "16"], ["/decimal/sub", "6", "6"]]);
  });

  it("shows errors of single servers in their place", async () => {
    await page.fill("#gather-b", "0");
    await page.press("#gather-b", "Enter");
    await text("#gather-summary", /^6 answers, 2 errors in/);
    expect(await page.locator('td[data-kind="error"]').allInnerTexts()).toEqual([
      expect.stringContaining("invalid_input"), expect.stringContaining("invalid_input"),
    ]);
  });

  it("is killed while a report runs on it, and another takes over", async () => {
    await page.selectOption("#report-server", id);
    await page.fill("#report-steps", "100");
    await page.click("#report-start");
    await expect.poll(bar).toBeGreaterThan(5);
    await text("#report-result .origin", short(id));
    await server?.end("SIGKILL");
    await text("#report-result .problem", "service_lost");
    await page.locator(`th[data-server="${id}"][data-standing="left"]`).waitFor();
    await text("#servers-count", "1 server");

    await page.fill("#report-steps", "20");
    expect(await page.innerText("#report-start")).toBe("Run again");
    await page.click("#report-start");
    await text('#report-result[data-phase="done"]', "20 steps");
    await text("#report-result .origin", "this node");
    expect(await bar()).toBe(100);
  });
});

describe("a long report", () => {
  it("moves its bar, and stops when it is canceled", async () => {
    await page.fill("#report-steps", "500");
    await page.click("#report-start");
    await page.locator("#report-cancel").waitFor();
    await expect.poll(bar).toBeGreaterThan(0);
    const before = await bar();
    await expect.poll(bar).toBeGreaterThan(before);
    await page.click("#report-cancel");
    await text('#report-result[data-phase="canceled"]', /Canceled/);
    expect(await bar()).toBeLessThan(100);
    await text('.tape [data-verb="error"]', "canceled");
    expect(await page.locator("#report-start").innerText()).toBe("Run again");
  });
});

describe("two tabs", () => {
  let other: Watched;

  beforeAll(async () => {
    const opened = browser.waitForEvent("page");
    await page.click("#messages a");
    await (await opened).close(); // the link works; this one is watched from its beginning
    other = await open(browser, url);
  });

  it("have ids of their own", async () => {
    expect(await idOf(other.page)).not.toBe(await idOf(page));
  });

  it("send each other messages", async () => {
    const me = await idOf(page);
    const them = await idOf(other.page);
    await page.bringToFront();
    await page.click(`.chip:has(input[value="${them}"])`);
    await page.fill("#compose", "hello over there");
    await page.press("#compose", "Enter");
    await text('.message.out[data-state="delivered"]', "hello over there");
    await text("#unread", "1 new", other.page);
    await expect.poll(() => other.page.title()).toBe("(1) Ropewalk");
    expect(await text(".message.in", "hello over there", other.page)).toContain(short(me));

    await other.page.bringToFront();
    await other.page.click(".message.in button"); // answer the sender
    await other.page.fill("#compose", "hello back");
    await other.page.press("#compose", "Enter");
    await expect.poll(() => other.page.title()).toBe("Ropewalk");
    expect(await text(".message.in", "hello back")).toContain(short(them));
  });

  it("hear what goes to everybody", async () => {
    await page.bringToFront();
    await page.click('.chip:has(input[value="*"])');
    await page.fill("#compose", "dinner is ready");
    await page.click(".compose button");
    expect(await text(".message.in", "dinner is ready", other.page)).toContain("to everybody");
  });

  it("learn that the other one is gone", async () => {
    const them = await idOf(other.page);
    await page.click(`.chip:has(input[value="${them}"])`);
    await other.page.close();
    await page.locator('.chip[data-gone="true"]').waitFor();
    await page.fill("#compose", "still there?");
    await page.press("#compose", "Enter");
    await text('.message.out[data-state="failed"]', "no_client");
  });

  afterAll(() => expect(other.errors).toEqual([]));
});

describe("the live view", () => {
  it("shows what passes, and stands still when it is told to", async () => {
    await page.click("#traffic .side button:has-text('Clear')");
    await page.click("#mul button");
    await text('.tape [data-verb="reply"]', "math:/decimal/mul");
    await page.click("#pause");
    const lines = await page.locator(".tape li").count();
    await page.fill("#up-text", "unseen");
    await page.click("#up button");
    await text("#up .value", "UNSEEN");
    await page.click("#pause");
    await page.fill("#up-text", "seen");
    await page.click("#up button");
    await text('.tape [data-verb="call"]', /text:\/up/);
    expect(await page.locator(".tape li", { hasText: "unseen" }).count()).toBe(0);
    expect(await page.locator(".tape li").count()).toBeGreaterThan(lines);
  });
});

describe("the look", () => {
  const wide = { width: 1440, height: 900 };

  afterAll(() => page.setViewportSize(wide));

  it.each([[390, 844], [800, 1000], [1199, 800], [1440, 900]])("fits %s by %s", async (width, height) => {
    await page.setViewportSize({ width, height });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  });

  it("shows all cards at once on a large screen", async () => {
    await page.setViewportSize(wide);
    expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBe(wide.height);
    for (const id of ["nodes", "call", "gather", "messages", "report", "traffic"]) expect(await page.locator(`#${id}`).isVisible()).toBe(true);
  });

  it("follows the system, until somebody chooses", async () => {
    const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await ground();
    expect(dark).not.toBe(light);
    const button = page.getByRole("button", { name: /^Colours/ });
    await button.click();
    expect(await ground()).toBe(light);
    await button.click();
    await button.click();
    expect(await ground()).toBe(dark);
    await page.emulateMedia({ colorScheme: "light" });
  });

  it("can be used by the keyboard alone", async () => {
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    const reached = new Set<string>();
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement?.id ?? ""));
    }
    for (const id of ["mul-a", "up-text", "any-address", "any-body", "gather-a", "command", "compose", "report-server", "report-start", "pause"]) {
      expect([...reached]).toContain(id);
    }
  });
});

describe("all of this", () => {
  it("went over one WebSocket, and asked nobody else", () => {
    expect(watched.sockets).toHaveLength(1);
    expect(watched.sockets[0]?.url()).toBe(`ws://127.0.0.1:${port}/`);
    expect(watched.foreign).toEqual([]);
    expect(watched.errors).toEqual([]);
  });
});

describe("a node that stops", () => {
  it("is said to be gone, and what was called waits until it is back", async () => {
    const before = await idOf(page);
    await node.end("SIGTERM");
    await page.locator('.connection[data-state="offline"]').waitFor();
    await text(".offline", "is not there at the moment");
    await page.fill("#mul-a", "5");
    await page.click("#mul button");
    await text("#mul .result", "Waiting for the connection");

    ({ node } = await startNode({ port }));
    await page.locator('.connection[data-state="connected"]').waitFor();
    await text("#mul .value", "17.5");
    await expect.poll(() => idOf(page)).not.toBe(before);
    await page.locator(".offline").waitFor({ state: "detached" });
    expect(watched.sockets.filter((s) => !s.isClosed())).toHaveLength(1);
    expect(watched.errors).toEqual([]);
  });
});
