// Delays a flight on the editor's page at the given URL, in the given browser, and sees the boards follow.
// main_test.go runs it.
import { chromium } from "../../console/node_modules/playwright-core/index.mjs";

const [url, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

async function open(path) {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => { console.error("the page fails:", error); process.exitCode = 1; });
  page.on("console", (message) => console.error("the page says:", message.text()));
  await page.goto(url + path);
  await page.locator("#rows tr").first().waitFor();
  return page;
}

/** The row of a flight, known by its time, its place and its origin. */
const row = (page, n) => page.locator("#rows tr").nth(n);
const says = (where, text) => where.filter({ hasText: text }).waitFor();
const check = (ok, what) => { if (!ok) throw new Error(what); };

try {
  const boards = [await open("/"), await open("/?date=2001-01-03")];
  const editor = await open("/editor.html");
  const minutes = async (page, n) => Number((await row(page, n).locator(".status").textContent()).match(/\d+/)?.[0] ?? 0);

  for (let i = 0; i < 3; i++) {
    const before = await row(editor, 2).locator(".expected").textContent();
    await row(editor, 2).getByText("+60", { exact: true }).click();
    await row(editor, 2).locator(".expected").filter({ hasNotText: before }).waitFor();
  }
  await says(row(editor, 2), "Delayed");
  const late = await minutes(editor, 2);
  check(late > 100, `it is ${late} minutes late`);
  for (const board of boards) await says(row(board, 2).locator(".status"), `Delayed ${late} min`);
  check(await row(boards[0], 2).evaluate((tr) => tr.classList.contains("flash")), "the row does not flash");
  check(!(await row(boards[0], 3).evaluate((tr) => tr.classList.contains("flash"))), "another row flashes");

  // By keyboard: the button that was used keeps the focus when its row has changed.
  const later = row(editor, 2).getByRole("button", { name: /^\+5: 5 minutes later; / });
  await later.focus();
  for (const minutes of [late + 5, late + 10]) {
    await row(editor, 2).and(editor.locator("[aria-busy=false]")).waitFor(); // a row takes one change at a time
    await editor.keyboard.press("Enter");
    await says(row(editor, 2).locator(".status"), `Delayed ${minutes} min`);
    check(await later.evaluate((b) => b === document.activeElement), "the focus is lost");
  }

  // Filters: fewer rows, another chart; and all again.
  const [board] = boards;
  const all = await board.locator("#count").textContent();
  await board.getByLabel("Late only").check();
  await board.locator("#count").filter({ hasNotText: all }).waitFor();
  // The figures and the rows are two topics, which come one after the other.
  await board.waitForFunction(() => {
    const some = Number(document.querySelector("#count").textContent);
    return some > 0 && document.querySelectorAll("#rows tr").length === some;
  });
  check((await board.locator("#rows tr:not(.late)").count()) === 0, "a flight that is not late");
  await board.getByPlaceholder("City or code").fill("nowhere at all");
  await board.locator("#empty").waitFor();
  await board.getByPlaceholder("City or code").fill("");
  await board.getByLabel("Late only").uncheck();
  await says(board.locator("#count"), all);

  // Nothing has to be pushed sideways to be seen.
  for (const page of [editor, board]) {
    for (const width of [390, 736, 800, 992, 1000, 1152, 1200, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      const hidden = await page.locator(".board").evaluate((e) => Math.max(e.scrollWidth - e.clientWidth, document.body.scrollWidth - innerWidth));
      check(hidden <= 0, `${page.url()}: ${hidden} of ${width} pixels are out of sight`);
    }
  }

  // Back to what the data have.
  await row(editor, 2).getByText("Reset").click();
  for (const page of [editor, ...boards]) await row(page, 2).and(page.locator(":not(.changed)")).waitFor();
} finally {
  await browser.close();
}
