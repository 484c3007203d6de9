import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { startBrowser } from "./browser";
import { Process } from "./process";

// What becomes of what somebody is writing: when it is saved, when the node is away, when others write too.
let browser: BrowserContext;
let node: Process;
let project: string;
let port = 0;
let page: Page;

async function start(): Promise<void> {
  node = new Process(["dev", "--listen", `127.0.0.1:${port}`, "--cluster", "none"], project);
  port = Number((await node.says(/ready \S+ http:\S+:(\d+)/))[1]);
}

async function open(): Promise<Page> {
  const p = await browser.newPage();
  await p.goto(`http://127.0.0.1:${port}/`);
  await p.click(".views >> text=Live");
  await p.locator("#score .pulse[data-is=live]").waitFor();
  await p.locator("#departures tr[data-id]").first().waitFor();
  return p;
}

const says = (p: Page, selector: string, text: string | RegExp): Promise<void> => p.locator(selector, { hasText: text }).first().waitFor();
const score = (): unknown => JSON.parse(readFileSync(join(project, "content/demo_app/Resources/score.json"), "utf8"));
const status = "#score-editor [role=status]";

beforeAll(async () => {
  project = mkdtempSync(join(inject("scratch"), "edit-"));
  await start();
  browser = await startBrowser();
  page = await open();
});

afterAll(async () => {
  await browser?.close();
  await node?.end("SIGKILL");
});

it("the cursor stays where it is when a file is saved", async () => {
  const script = page.locator("#script-editor textarea");
  await script.evaluate((t: HTMLTextAreaElement) => {
    t.focus();
    t.setSelectionRange(30, 30);
  });
  await page.keyboard.type("Q");
  await page.keyboard.press("Control+s");
  await says(page, "#script-editor [role=status]", "Saved");
  await page.locator("#changes li", { hasText: "file:delays.ts" }).waitFor(); // what was saved has come back
  expect(await script.evaluate((t: HTMLTextAreaElement) => t.selectionStart)).toBe(31);
  await page.keyboard.press("Backspace");
  await page.keyboard.press("Control+s");
  await expect.poll(() => readFileSync(join(project, "content/demo_app/Scripts/delays.ts"), "utf8")).not.toContain("Q");
});

it("two who change one row each keep what they changed", async () => {
  const other = await open();
  for (const p of [page, other]) await p.locator('#departures tr[data-id="3"]').click();
  await other.fill("#change-delay", "15");
  await page.fill("#change-gate", "Q1");
  await page.press("#change-gate", "Enter");
  await expect.poll(() => other.inputValue("#change-gate")).toBe("Q1");
  expect(await other.inputValue("#change-delay")).toBe("15");
  await other.selectOption("#change-status", "delayed");
  await other.click("#change button[type=submit]");
  await says(page, '#departures tr[data-id="3"]', /Q1.*delayed 15 min/);
  await other.close();
});

it("a file that is no score, and large, leaves room for the others", async () => {
  const file = join(project, "content/demo_app/Resources/score.json");
  writeFileSync(file, JSON.stringify({ text: "x".repeat(100_000) }));
  await says(page, "#score .plain", /xxx…$/);
  expect(await page.evaluate(() => document.querySelector(".column")!.getBoundingClientRect().bottom <= document.querySelector(".bottom")!.getBoundingClientRect().top)).toBe(true);
  writeFileSync(file, '"Home 0 : Away 0"\n');
  await page.locator("#score .goals").first().waitFor();
});

it("what is written is still there after a look at the other view", async () => {
  await page.fill("#score-editor textarea", '"Home 3 : Away 3"');
  await page.click(".views >> text=Calls");
  await page.locator("#call").waitFor();
  await page.click(".views >> text=Live");
  await says(page, status, "Not saved yet.");
  expect(await page.inputValue("#score-editor textarea")).toBe('"Home 3 : Away 3"');
  await page.click("#score-editor >> text=Undo");
  expect(await page.inputValue("#score-editor textarea")).toBe('"Home 0 : Away 0"');
});

it("a goal that is refused is told, and not counted", async () => {
  const file = join(project, "content/demo_app/Resources/score.json");
  rmSync(file);
  mkdirSync(file); // nothing can be written there
  await page.locator("#score-editor .problem").waitFor();
  await page.locator("#score .team button").first().click();
  await page.locator("#score > [role=alert] .problem").waitFor();
  expect(await page.locator("#score .goals").first().innerText()).toBe("0");
  rmSync(file, { recursive: true });
  writeFileSync(file, '"Home 0 : Away 0"\n');
  await page.locator("#score .pulse[data-is=live]").waitFor();
});

it("what is typed while it is being saved stays, and what is undone is not saved", async () => {
  await node.end("SIGTERM");
  await page.locator("#score .pulse[data-is=stale]").waitFor();
  await page.fill("#script-editor textarea", "export default () => 1;");
  await page.press("#script-editor textarea", "Control+s");
  await page.fill("#score-editor textarea", '"Home 5 : Away 1"');
  await page.press("#score-editor textarea", "Control+s");
  await says(page, status, "when the node is back");
  await page.fill("#score-editor textarea", '"Home 5 : Away 7"');
  await page.click("#script-editor >> text=Undo");
  await page.locator('#departures tr[data-id="4"]').click();
  await page.fill("#change-gate", "Z1");
  await page.press("#change-gate", "Enter");
  await page.locator('#departures tr[data-id="5"]').click();
  await page.fill("#change-gate", "Z2");
  await start();
  await expect.poll(score).toBe("Home 5 : Away 1");
  await says(page, '#departures tr[data-id="4"]', "Z1");
  expect(await page.inputValue("#change-gate"), "the form of another row").toBe("Z2");
  await says(page, status, "Not saved yet.");
  expect(await page.inputValue("#score-editor textarea")).toBe('"Home 5 : Away 7"');
  await page.press("#score-editor textarea", "Control+s");
  await expect.poll(score).toBe("Home 5 : Away 7");
  expect(await page.inputValue("#script-editor textarea")).toContain("departures");
  expect(await page.locator("#changes li", { hasText: /^script:delays\.ts.*\{\}$/ }).count(), "what is as before is no change").toBe(0);
});
