import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { startBrowser } from "./browser";
import { Process } from "./process";

// Two nodes: the first has the contents, the second has a page only. A tab at each.
const started: Process[] = [];
let browser: BrowserContext;
let here: Tab;
let there: Tab;
let content: string;

/** A tab that shows the live view. */
class Tab {
  readonly errors: string[] = [];
  private constructor(readonly page: Page) {
    page.on("pageerror", (e) => this.errors.push(String(e)));
    page.on("console", (m) => {
      if (m.type() === "error") this.errors.push(m.text());
    });
  }

  static async open(url: string): Promise<Tab> {
    const tab = new Tab(await browser.newPage());
    await tab.page.goto(url);
    await tab.page.click(".views >> text=Live");
    await tab.page.locator(".board.live").waitFor();
    return tab;
  }

  shows(selector: string, want: RegExp | string): Promise<void> {
    return this.page.locator(selector).filter({ hasText: want }).first().waitFor();
  }

  goals(): Promise<string[]> {
    return this.page.locator("#score .goals").allInnerTexts();
  }

  row(id: number): Locator {
    return this.page.locator(`#departures tr[data-id="${id}"]`);
  }
}

async function dev(dir: string, ...more: string[]): Promise<{ url: string; cluster: string }> {
  const node = new Process(["dev", "--listen", "127.0.0.1:0", "--cluster", "127.0.0.1:0", ...more], dir);
  started.push(node);
  const [, url = ""] = await node.says(/ready \S+ (http:\S+)/);
  const [, cluster = ""] = await node.says(/serve --join (\S+)/);
  return { url, cluster };
}

beforeAll(async () => {
  const project = mkdtempSync(join(inject("scratch"), "live-"));
  content = join(project, "content/demo_app");
  const first = await dev(project);
  const bare = mkdtempSync(join(inject("scratch"), "bare-"));
  writeFileSync(join(bare, "note.txt"), "no project is made here");
  const second = await dev(bare, "--name", "second", "--join", first.cluster);
  browser = await startBrowser();
  here = await Tab.open(first.url);
  there = await Tab.open(second.url);
});

afterAll(async () => {
  await browser?.close();
  await Promise.all(started.map((p) => p.end("SIGKILL")));
});

describe("the score", () => {
  it("is on both nodes what the file says", async () => {
    for (const tab of [here, there]) {
      await tab.shows("#score .pulse", "live");
      expect(await tab.goals()).toEqual(["0", "0"]);
    }
  });

  it("follows the file that is edited in the other tab", async () => {
    await here.page.fill("#score-editor textarea", '"Home 2 : Away 1"');
    await here.page.press("#score-editor textarea", "Control+s");
    await expect.poll(() => there.goals()).toEqual(["2", "1"]);
    await here.shows("#score-editor [role=status]", "Saved");
    expect(JSON.parse(readFileSync(join(content, "Resources/score.json"), "utf8"))).toBe("Home 2 : Away 1");
  });

  it("counts goals, from the node that does not have the file, too", async () => {
    await there.page.locator("#score .team button").last().click();
    await expect.poll(() => here.goals()).toEqual(["2", "2"]);
    await here.shows("#changes li", "Home 2 : Away 2");
  });

  it("follows an editor on the machine", async () => {
    writeFileSync(join(content, "Resources/score.json"), '"Home 3 : Away 2"\n');
    await expect.poll(() => there.goals()).toEqual(["3", "2"]);
  });

  it("says what is wrong where it is written, and only there", async () => {
    await here.page.fill("#score-editor textarea", '"Home 4 :');
    await here.page.click("#score-editor button[type=submit]");
    await here.shows("#score-editor .problem", "bad_content");
    expect(await there.page.locator("#score-editor .problem").count()).toBe(0);
    expect(await there.goals()).toEqual(["3", "2"]);
  });

  it("tells that somebody else was faster, and takes theirs", async () => {
    await here.page.fill("#score-editor textarea", '"Home 9 : Away 9"');
    await there.page.locator("#score .team button").first().click();
    await here.shows("#score-editor [role=status]", "Somebody else");
    await here.page.click("#score-editor >> text=Take theirs");
    expect(await here.page.inputValue("#score-editor textarea")).toBe('"Home 4 : Away 2"');
  });
});

describe("the table", () => {
  it("follows a row that is edited in the other tab", async () => {
    await there.row(5).waitFor();
    await here.row(3).click();
    await here.page.fill("#change-gate", "Z9");
    await here.page.fill("#change-delay", "35");
    await here.page.selectOption("#change-status", "delayed");
    await here.page.click("#change button[type=submit]");
    await there.row(3).filter({ hasText: "Z9" }).filter({ hasText: "delayed 35 min" }).filter({ hasText: "08:40" }).waitFor();
    await there.page.locator('tr[data-id="3"][class^="changed"]').waitFor();
    expect(await there.page.locator('tr[data-id="4"][class^="changed"]').count()).toBe(0);
    await here.page.locator("#change").waitFor({ state: "detached" });
  });

  it("shows what the database refuses at the row", async () => {
    await there.row(4).click();
    await there.page.fill("#change-delay", "9000");
    await there.page.click("#change button[type=submit]");
    await there.shows("#change .problem", "invalid_input");
    await there.page.click("#change button:has-text(\"Cancel\")");
    await here.row(4).filter({ hasText: "on time" }).waitFor();
  });

  it("filters, and the filtered table is live, too", async () => {
    await there.page.fill("#departures .search", "lisbon");
    await expect.poll(() => there.page.locator("#departures tbody tr").count()).toBe(2);
    await here.row(10).click();
    await here.page.selectOption("#change-status", "boarding");
    await here.page.click("#change button[type=submit]");
    await there.row(10).filter({ hasText: "boarding" }).waitFor();
    await there.page.fill("#departures .search", "nowhere");
    await there.shows("#departures .nothing", "No flight");
    await there.page.fill("#departures .search", "");
  });
});

describe("the table by keyboard", () => {
  it("goes from a flight to its row, and back", async () => {
    const flight = here.row(4).getByRole("button");
    const focused = (selector: string): Promise<unknown> => here.page.locator(`${selector}:focus`).waitFor();
    await flight.focus();
    await here.page.keyboard.press("Enter");
    await focused("#change-gate");
    await here.page.keyboard.press("Escape");
    await focused("#departures tr[data-id='4'] button");
    await here.page.keyboard.press("Enter");
    await focused("#change-gate");
    await here.page.keyboard.type("X9");
    await here.page.keyboard.press("Enter");
    await there.row(4).filter({ hasText: "X9" }).waitFor();
    await focused("#departures tr[data-id='4'] button");
  });
});

describe("the chart", () => {
  it("is drawn of what the script gives, and follows the rows", async () => {
    for (const tab of [here, there]) {
      await tab.page.locator("#chart .plot[data-points='10'] canvas").waitFor();
      expect(await tab.page.getAttribute("#chart .canvas", "aria-label")).toContain("35");
    }
  });

  it("follows the script that is edited in the other tab", async () => {
    const text = await here.page.inputValue("#script-editor textarea");
    await here.page.fill("#script-editor textarea", text.replace("Minutes late", "Late by"));
    await here.page.press("#script-editor textarea", "Control+s");
    await there.shows("#chart figcaption", "Late by");
    await expect.poll(() => there.page.inputValue("#script-editor textarea")).toContain("Late by");
  });

  it("shows the error of the script at its line, in both tabs, and recovers", async () => {
    const text = await there.page.inputValue("#script-editor textarea");
    await there.page.fill("#script-editor textarea", text.replace("return {", "nothing();\n  return {"));
    await there.page.click("#script-editor button[type=submit]");
    for (const tab of [here, there]) {
      await tab.shows("#script-editor .problem", "script_failed");
      await tab.shows("#script-editor .gutter span[data-wrong=true]", /^17\s*$/);
      await tab.shows("#chart .pulse", "error");
    }
    await here.page.fill("#script-editor textarea", text);
    await here.page.press("#script-editor textarea", "Control+s");
    for (const tab of [here, there]) await tab.shows("#chart .pulse", "live");
  });
});

it.each([[390, 844], [800, 1000], [1199, 800], [1440, 900]])("fits %i by %i", async (width, height) => {
  await there.page.setViewportSize({ width, height });
  expect(await there.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  const inside = await there.page.evaluate(() => Array.from(document.querySelectorAll(".board.live .card")).every((c) => {
    const { left, right } = c.getBoundingClientRect();
    return left >= 0 && right <= innerWidth;
  }));
  expect(inside).toBe(true);
  await there.row(3).getByRole("button").click();
  const overlapping = await there.page.locator("#change :is(input, select, button)").evaluateAll((all) => {
    const boxes = all.map((e) => e.getBoundingClientRect());
    return boxes.some((a, i) => boxes.slice(i + 1).some((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
  });
  expect(overlapping).toBe(false);
  await there.page.getByRole("button", { name: "Cancel", exact: true }).click();
});

it("the views change without another connection, and without an error", async () => {
  await here.page.click(".views >> text=Calls");
  await here.page.locator("#call").waitFor();
  await here.page.goBack();
  await here.shows("#score .pulse", "live");
  expect(here.errors).toEqual([]);
  expect(there.errors).toEqual([]);
});
