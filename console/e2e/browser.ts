import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { chromium, type BrowserContext, type Page, type WebSocket } from "playwright-core";
import { inject } from "vitest";

// Nothing but the node is asked for anything.
const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** A browser with a profile of its own. CHROMIUM says which. */
export function startBrowser(): Promise<BrowserContext> {
  return chromium.launchPersistentContext(mkdtempSync(join(inject("scratch"), "profile-")), {
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    args: flags,
    viewport: { width: 1440, height: 900 },
    permissions: ["clipboard-read", "clipboard-write"],
  });
}

/** What a page did that a person does not see. */
export interface Watched {
  page: Page;
  sockets: WebSocket[];
  /** Errors of its scripts and violations of its policy. */
  errors: string[];
  /** Requests to other servers. */
  foreign: string[];
}

/** Opens the page and waits until it is connected and has looked around. */
export async function open(browser: BrowserContext, url: string): Promise<Watched> {
  const page = await browser.newPage();
  const w: Watched = { page, sockets: [], errors: [], foreign: [] };
  page.on("websocket", (s) => w.sockets.push(s));
  page.on("pageerror", (e) => w.errors.push(String(e)));
  page.on("console", (m) => {
    if (m.type() === "error" && !/ERR_CONNECTION_REFUSED|WebSocket connection to/.test(m.text())) w.errors.push(m.text());
  });
  page.on("request", (r) => {
    if (!r.url().startsWith(url)) w.foreign.push(r.url());
  });
  await page.goto(url);
  await page.locator('.connection[data-state="connected"]').waitFor();
  await page.locator("th[data-server]").first().waitFor();
  return w;
}

/** The id of the page as a client. */
export async function idOf(page: Page): Promise<string> {
  return (await page.locator(".me .who").getAttribute("title")) ?? "";
}

/** Resolves when the page is told that it could connect to a node, too: a second after that node has joined. */
export function knows({ sockets }: Watched, name: string): Promise<void> {
  return new Promise((resolve) => sockets.at(-1)?.on("framereceived", ({ payload }) => {
    const text = String(payload);
    if (text.startsWith('{"vrb":"nodes"') && text.includes(`"name":"${name}"`)) resolve();
  }));
}
