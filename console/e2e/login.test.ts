import { join } from "node:path";
import type { BrowserContext } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Rope } from "../../sdk/ts/dist/index.js";
import { startBrowser } from "./browser";
import { note, password, serveNotes, startLogin, startSite, startTwo, Tab, watchNotes, type LoginNode, type Site } from "./login";

let browser: BrowserContext;

beforeAll(async () => {
  browser = await startBrowser();
  browser.setDefaultTimeout(30_000);
});

afterAll(() => browser?.close());

describe.each(["token", "server"] as const)("with sessions of form %s", (form) => {
  let sites: [Site, Site];
  let nodes: [LoginNode, LoginNode];
  let notes: Rope;
  let first: Tab;

  beforeAll(async () => {
    sites = [await startSite(), await startSite()];
    nodes = await startTwo(form, { users: join(inject("scratch"), `users-${form}.db`), origins: sites.map((s) => s.url) });
    for (const [i, site] of sites.entries()) site.lead(nodes[i]!.port);
    const [pier] = nodes;
    pier.add("ben");
    pier.add("anna", { role: "editor" });
    pier.add("notary", { role: "clerk" });
    notes = await serveNotes(pier.port, "notary");
    first = await Tab.open(browser, sites[0].url);
  });

  afterAll(async () => {
    await first?.page.close();
    await notes?.close();
    for (const s of sites ?? []) s.close();
    await Promise.all((nodes ?? []).map(({ node }) => node.end("SIGTERM")));
  });

  describe("one connection", () => {
    let connection: string;

    it("is nobody's, and refused by a rule that it is told", async () => {
      connection = await first.connection();
      await first.says("#who", "You are not logged in.");
      expect(await first.read()).toMatch(/may not call notes:\/read.*Rule "editors read" allows it if claims\.role == 'editor'/s);
    });

    it("stays nobody's with a wrong password", async () => {
      await first.logIn("ben", "wrong horse battery");
      await first.says("#problem", "the name or the password is wrong");
      await first.logIn("nobody", "wrong horse battery");
      await first.says("#problem", "the name or the password is wrong");
      await first.says("#who", "You are not logged in.");
    });

    it("is somebody's with the right one, and still refused", async () => {
      await first.logIn("ben");
      await first.says("#who", "You are ben.");
      await first.says("#until", /^Until \d/);
      expect(await first.read()).toContain('Rule "editors read"');
    });

    it("is let through as soon as a service gives the role", async () => {
      await first.page.click("#promote");
      await first.says("#who", "You are ben, editor.");
      expect(await first.read()).toContain(note);
    });

    it("is let through at once when an editor logs in", async () => {
      await first.page.click("#logout");
      await first.says("#who", "You are not logged in.");
      await first.says('#events [data-kind="ended"]', "logged out");
      expect(await first.read()).toContain('Rule "editors read"');
      await first.logIn("anna");
      await first.says("#who", "You are anna, editor.");
      expect(await first.read()).toContain(note);
    });

    it("was the same all the time", async () => {
      expect(await first.connection()).toBe(connection);
      expect(first.sockets).toHaveLength(1);
      expect(first.errors).toEqual([]);
    });
  });

  describe("a session", () => {
    it("is there when the page is loaded again", async () => {
      await first.page.reload();
      await first.says("#who", "You are anna, editor.");
      expect(await first.read()).toContain(note);
    });

    it("goes on at another node when the connection is cut", async () => {
      await first.page.click("#logout");
      await first.says("#who", "You are not logged in.");
      await first.logIn("ben");
      await first.page.click("#promote");
      await first.says("#who", "You are ben, editor.");
      await first.says("#line", "Connected to pier");
      sites[0].lead(nodes[1].port);
      sites[0].cut();
      await first.says("#line", "Connected to quay");
      await first.says("#who", "You are ben, editor.");
      expect(await first.read()).toContain(note);
      sites[0].lead(nodes[0].port);
      sites[0].cut();
      await first.says("#line", "Connected to pier");
      await first.says("#who", "You are ben, editor.");
    });
  });

  describe("logging out everywhere", () => {
    let second: Tab;

    it("needs somebody who is logged in twice, at two nodes", async () => {
      second = await Tab.open(browser, sites[1].url);
      await second.says("#line", "Connected to quay");
      await second.says("#who", "You are not logged in.");
      await second.logIn("ben");
      await second.page.click("#promote");
      await second.says("#who", "You are ben, editor.");
      expect(await second.read()).toContain(note);
    });

    it("is told to the other tab, which is refused from then on", async () => {
      const connection = await second.connection();
      await first.page.click("#everywhere");
      await first.says("#who", "You are not logged in.");
      await second.says('#events [data-kind="revoked"]', "Somebody ended your session: logged out everywhere.");
      await second.says("#who", "You are not logged in.");
      expect(await second.read()).toContain('Rule "editors read"');
      expect(await second.connection()).toBe(connection);
      expect(second.sockets).toHaveLength(1);
      expect(second.errors).toEqual([]);
    });

    it("makes old tokens worthless at all nodes", async () => {
      await second.page.reload();
      await second.says("#line", "Connected to quay");
      await second.says("#who", "You are not logged in.");
      expect(await second.read()).toContain('Rule "editors read"');
    });

    it("is no lock: who logs in again is in", async () => {
      await second.logIn("ben");
      await second.says("#who", "You are ben.");
      await second.page.close();
    });
  });

  describe("a passkey", () => {
    it("is added by who is logged in", async () => {
      await first.logIn("ben");
      await first.says("#who", "You are ben.");
      await first.page.click("#add-passkey");
      await first.says("#done", "You can log in with this passkey from now on.");
    });

    it("logs in without a name and a password", async () => {
      await first.page.click("#logout");
      await first.says("#who", "You are not logged in.");
      await first.page.click("#with-passkey");
      await first.says("#who", "You are ben.");
    });

    it("logs in at the other node, too", async () => {
      await first.page.click("#logout");
      sites[0].lead(nodes[1].port);
      sites[0].cut();
      await first.says("#line", "Connected to quay");
      await first.page.click("#with-passkey");
      await first.says("#who", "You are ben.");
      expect(first.errors).toEqual([]);
    });
  });

  describe("what runs", () => {
    it("ends with the session of who watches", async () => {
      const { code } = await watchNotes(nodes[1].port, "anna");
      const second = await Tab.open(browser, sites[0].url);
      await second.logIn("anna");
      await second.says("#who", "You are anna, editor.");
      await second.page.click("#everywhere");
      expect(await code).toBe("unauthenticated");
      await second.page.close();
    });

    it("is not served any more when its clerk is logged out, and again when the clerk is back", async () => {
      const second = await Tab.open(browser, sites[1].url);
      const told = new Promise((done) => notes.onSession(({ kind }) => done(kind)));
      await second.logIn("notary");
      await second.says("#who", "You are notary, clerk.");
      await second.page.click("#everywhere");
      expect(await told).toBe("revoked");
      await second.logIn("anna");
      await second.says("#who", "You are anna, editor.");
      await expect.poll(() => second.read()).toContain("everybody who served notes:/read is gone");
      await notes.call("login:/password", { user: "notary", password });
      await expect.poll(() => second.read()).toContain(note);
      await second.page.close();
    });
  });
});

describe("a session with an end", () => {
  it("is warned of, refreshed as long as it may be, and then over", async () => {
    const site = await startSite();
    const short = await startLogin({
      name: "sandglass", users: join(inject("scratch"), "users.db"), origins: [site.url],
      sessions: { lifetime: "6s", warn: "2s", limit: "12s" },
    });
    site.lead(short.port);
    short.add("anna", { role: "editor" });
    const tab = await Tab.open(browser, site.url);
    try {
      await tab.logIn("anna");
      await tab.says("#who", "You are anna, editor.");
      const until = await tab.page.innerText("#until");
      await tab.says('#events [data-kind="ending"]', "Your session ends soon.");
      await expect.poll(() => tab.page.innerText("#until"), { timeout: 10_000 }).not.toBe(until);
      await tab.says('#events [data-kind="ended"]', /Your session is over: its time is over/);
      await tab.says("#who", "You are not logged in.");
      await tab.logIn("anna", password);
      await tab.says("#who", "You are anna, editor.");
      expect(tab.sockets).toHaveLength(1);
    } finally {
      site.close();
      await short.node.end("SIGTERM");
    }
  });
});
