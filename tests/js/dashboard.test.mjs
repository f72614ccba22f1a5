// The owner's dashboard in Chromium: under its policy, with and without the key, light and dark.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";
import { accessibilityViolations, findChromium, launch, resultFile } from "./browser.mjs";

const chromium = findChromium();
const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));

let simulator;
let gateway;
let browser;

before(async () => {
  if (!chromium) return;
  simulator = await startSimulator({ latencyMs: 5, chunkMs: 0 });
  gateway = await startGateway({ vars: { ...simulatedProviders(catalog, simulator.url), METRICS_KEY: "metrics-key" } });
  browser = await launch(chromium);
});

after(async () => {
  await browser?.close();
  await gateway?.close();
  await simulator?.close();
});

const chat = (more) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "Why is the sky blue?" }], ...more }),
  }).then((response) => response.text());

test("shows the metrics to whoever has the key, and to nobody else", { skip: !chromium }, async () => {
  for (const quality of [0.6, 0.7, 0.8, 0.9]) for (const stream of [false, true]) await chat({ stream, pennyroute: { quality } });
  await chat({ simulate: "500" });
  await chat({ model: "anthropic/nothing" });
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  const requested = [];
  page.on("request", (request) => requested.push(request.url()));
  const response = await page.goto(`${gateway.url}/dashboard`);
  assert.match(response.headers()["content-security-policy"], /^default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; connect-src 'self';/);
  assert.ok(await page.isHidden("#shown"));
  assert.deepEqual(await accessibilityViolations(page), []);
  await page.fill("#key", "wrong");
  await page.click("text=Show");
  await page.waitForSelector("text=not the owner’s");
  assert.match(wrong.shift() ?? "", /401/, "the browser's own word on the refusal");
  await page.fill("#key", "metrics-key");
  await page.click("text=Show");
  await page.waitForSelector("#shown:not([hidden])");
  const total = async (name) => page.locator("#totals div", { hasText: name }).locator("dd").innerText();
  assert.match(await total("Requests"), /^10\n10\.0 % failed/);
  assert.match(await total("Cost"), /^\$0\.0\d+$/);
  const rows = (title) => page.locator("section", { hasText: title }).locator("tbody tr").allInnerTexts();
  assert.ok((await rows("Decisions by model")).length >= 2);
  assert.ok((await rows("Failed attempts")).every((row) => /\t500\t1$/.test(row)));
  assert.match((await rows("Latency")).join("\n"), /Ours\t≤ .*\nProvider’s\t≤ /);
  mkdirSync(dirname(resultFile("x")), { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.screenshot({ path: resultFile(`dashboard-${colorScheme}.png`), fullPage: true });
  }
  await page.setViewportSize({ width: 360, height: 800 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out of a narrow screen");
  assert.deepEqual(await accessibilityViolations(page), []);
  await page.screenshot({ path: resultFile("dashboard-narrow.png"), fullPage: true });
  await page.reload();
  await page.waitForSelector("#shown:not([hidden])");
  await page.click("text=Forget key");
  assert.ok(await page.isHidden("#shown"));
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(wrong, []);
  assert.ok(requested.every((url) => url.startsWith(gateway.url) || url === "data:,"), requested.join());
});
