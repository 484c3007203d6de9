// Logs in to the example at the given URL, in the given browser. main_test.go runs it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "../../console/node_modules/playwright-core/index.mjs";

const [url, executablePath, password] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "ropewalk-login-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
browser.setDefaultTimeout(20_000);

/** Opens the page with an authenticator of its own that says yes to everything. */
async function open() {
  const page = await browser.newPage();
  const sockets = [];
  page.on("pageerror", (error) => console.error("the page fails:", error));
  page.on("console", (message) => console.error("the page says:", message.text()));
  page.on("websocket", (socket) => sockets.push(socket));
  const devtools = await browser.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  await page.goto(url);
  const says = (id, text) => page.locator(`#${id}`).filter({ hasText: text }).waitFor();
  const logIn = async (name) => {
    await page.fill("#user", name);
    await page.fill("#password", password);
    await page.click("#login button");
    await says("who", `You are ${name}`);
  };
  await says("who", "You are not logged in.");
  return { page, sockets, says, logIn };
}

try {
  const first = await open();
  const { page, says } = first;
  await page.click("#read");
  await says("problem", /\S/);
  await page.fill("#user", "ben");
  await page.fill("#password", "wrong horse battery");
  await page.click("#login button");
  await says("problem", "the name or the password is wrong");
  await first.logIn("ben");
  await page.click("#read");
  await says("problem", /\S/);
  await page.click("#promote");
  await says("who", "You are ben, editor.");
  await page.click("#read");
  await says("notes", "The night watch has the key.");

  await page.click("#add-passkey");
  await says("done", "from now on");
  await page.click("#logout");
  await says("who", "You are not logged in.");
  await page.click("#with-passkey");
  await says("who", "You are ben.");
  if (first.sockets.length !== 1) throw new Error(`${first.sockets.length} connections were made`);

  const second = await open();
  await second.logIn("ben");
  await second.page.click("#everywhere");
  await second.says("who", "You are not logged in.");
  await says("who", "You are not logged in.");
  await page.click("#read");
  await says("problem", /\S/);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
