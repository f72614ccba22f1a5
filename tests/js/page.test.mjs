/** The page in Chromium, as built for a static host: what it shows, and what it never asks for. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildWww } from "../../src/js/tools/www.mjs";
import { accessibilityViolations, findChromium, launch, resultFile, serve } from "./browser.mjs";

const DESKTOP = { width: 1280, height: 900 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const executable = findChromium();

describe("page", { skip: executable === undefined }, () => {
  let folder, site, browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pennyroute-page-"));
    await buildWww({ out: folder });
    site = await serve(folder);
    browser = await launch(executable);
  });

  after(async () => {
    await browser?.close();
    await site?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A page that has decided once, and all that went wrong or abroad since it was opened. */
  async function open(options = { viewport: DESKTOP }) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const problems = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("request", (request) => request.url().startsWith(site.url) || problems.push(`request to ${request.url()}`));
    await page.goto(site.url);
    await page.locator(".plot-svg").waitFor();
    return { page, problems, close: () => context.close() };
  }

  const receipt = async (page) => JSON.parse(await page.locator("#receipt-json").textContent());

  /** Does something and returns the receipt that comes of it. */
  async function next(page, action) {
    const { id } = await receipt(page);
    await action();
    await page.waitForFunction((old) => !document.getElementById("receipt-json").textContent.includes(old), id);
    return receipt(page);
  }

  test("a prompt is decided as it is typed, and every figure is shown", async () => {
    const { page, problems, close } = await open();
    const decision = await next(page, () => page.getByLabel("Prompt", { exact: true }).fill("What is 17 times 23?"));
    assert.equal(typeof decision.model, "string");
    const card = page.locator("#decision");
    assert.ok(decision.model.includes(await card.locator("[data-slot=model]").textContent()));
    assert.equal(await card.locator("[data-slot=reason]").textContent(), decision.reason);
    assert.match(await card.locator("[data-slot=elapsed]").textContent(), /^decided in \d/);
    assert.equal(await card.locator("[data-slot=fallback-list] li").count(), Math.min(3, decision.fallbacks.length));
    await card.getByRole("status").filter({ hasText: "Quality" }).waitFor({ state: "attached" });

    const models = await page.locator("tbody tr").count();
    assert.ok(models >= 1 + decision.alternatives.length);
    // Every model with an estimate is a point; some excluded ones have none.
    const points = await page.locator(".plot-svg circle").count();
    assert.ok(points >= 1 + decision.alternatives.length && points <= models, `${points} points, ${models} models`);
    assert.match(await page.locator(".plot-svg").getAttribute("aria-description"), /Chosen: /);
    assert.deepEqual(problems, []);
    await close();
  });

  test("the policy decides with the prompt", async () => {
    const { page, problems, close } = await open();
    const slider = page.getByLabel("Quality target");
    const before = await page.locator("#quality-cost").textContent();
    const cheap = await next(page, async () => slider.fill(await slider.getAttribute("min")));
    assert.notEqual(await page.locator("#quality-cost").textContent(), before);
    const best = await next(page, async () => slider.fill(await slider.getAttribute("max")));
    assert.ok(best.quality.estimate > cheap.quality.estimate);
    assert.ok(best.cost_usd.estimate > cheap.cost_usd.estimate);

    const provider = best.model.split("/")[0];
    const denied = await next(page, () => page.getByLabel("Deny").fill(`${provider}/*`));
    assert.ok(!denied.model.startsWith(`${provider}/`));
    assert.ok(denied.excluded.some(({ model, code }) => model === best.model && code === "not_allowed"));
    const excluded = page.locator("tr.excluded", { hasText: "not allowed" });
    assert.ok(await excluded.count() > 0);

    const capped = await next(page, () => page.getByLabel("Most per call").fill(String(cheap.cost_usd.estimate * 2)));
    assert.ok(capped.excluded.some(({ code }) => code === "over_cap"));
    const none = await next(page, () => page.getByLabel("Allow only").fill("nobody/*"));
    assert.equal(none.model, null);
    assert.equal(await page.locator("[data-slot=code]").textContent(), "no candidate");

    const reset = await next(page, () => page.getByRole("button", { name: "Reset" }).click());
    assert.notEqual(reset.model, null);
    assert.equal(reset.target.cap_usd, null);
    await page.getByLabel("Reads images").check();
    await page.locator("tr.excluded", { hasText: "lacks a capability" }).first().waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("errors are shown with their code, and go away", async () => {
    const { page, close } = await open();
    await page.getByLabel("Floor for this answer").fill("-3");
    const alert = page.getByRole("alert");
    assert.match(await alert.locator("code").textContent(), /^bad_/);
    await page.getByLabel("Floor for this answer").fill("");
    await alert.waitFor({ state: "hidden" });
    await close();
  });

  test("a router that cannot be loaded says so and can be tried again", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    let broken = true;
    await context.route("**/artifacts.bin", (route) => (broken ? route.fulfill({ status: 404 }) : route.continue()));
    await page.goto(site.url);
    await page.getByRole("alert").getByText("bad_artifact").waitFor();
    broken = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator(".plot-svg").waitFor();
    await context.close();
  });

  test("the table sorts from the keyboard", async () => {
    const { page, close } = await open();
    const header = page.getByRole("button", { name: "Quality", exact: true });
    await header.focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("th[aria-sort]").getAttribute("aria-sort"), "descending");
    const shares = async () => (await page.locator("tbody td:nth-child(2)").allInnerTexts()).map(parseFloat).filter(Number.isFinite);
    assert.deepEqual(await shares(), (await shares()).sort((a, b) => b - a));
    await page.keyboard.press("Enter");
    assert.deepEqual(await shares(), (await shares()).sort((a, b) => a - b));
    await close();
  });

  for (const [name, options, example] of [
    ["light", { viewport: DESKTOP }, "Mail"],
    ["dark", { viewport: DESKTOP, colorScheme: "dark" }, "Proof"],
    ["phone", PHONE, "Code review"],
  ]) {
    test(`accessible and in its frame: ${name}`, async () => {
      const { page, problems, close } = await open(options);
      await next(page, () => page.getByRole("button", { name: example }).click());
      await page.screenshot({ path: resultFile(`page-${name}.png`), fullPage: true });
      assert.deepEqual(await accessibilityViolations(page), []);
      const [width, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(width <= inner, `scrolls sideways: ${width} > ${inner}`);
      assert.deepEqual(problems, []);
      await close();
    });
  }
});
