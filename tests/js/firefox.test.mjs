// The package and the page in headless Firefox.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildWww } from "../../src/js/tools/www.mjs";
import { resultFile, serve } from "./browser.mjs";
import { findFirefox, launchFirefox } from "./firefox.mjs";
import { assertAgrees, requests, root, summary } from "./hosts.mjs";

const executable = findFirefox();

/** A module that exports `summaries(bodies)`: what a router in Firefox decides for them. */
const SUMMARIES = `
  import { Router } from "/dist/browser.js";
  const summary = ${summary};
  export async function summaries(bodies) {
    const router = await Router.load();
    const all = Object.fromEntries(bodies.map(({ name, request }) => [name, summary(router.route(request))]));
    router.free();
    return all;
  }`;

const WORKER = `
  import { summaries } from "/summaries.js";
  onmessage = async ({ data }) => postMessage(await summaries(data));`;

describe("Firefox", { skip: executable === undefined }, () => {
  let folder, browser, packageSite, pageSite;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "pennyroute-firefox-"));
    packageSite = await serve(root, { "/": "<!doctype html><title>test</title>", "/summaries.js": SUMMARIES, "/worker.js": WORKER });
    pageSite = await serve(await buildWww({ out: folder }));
    browser = await launchFirefox(executable);
  });

  after(async () => {
    await browser?.close();
    await packageSite?.close();
    await pageSite?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("decides in a page as the native build does", async () => {
    const tab = await browser.newPage();
    await tab.goto(packageSite.url);
    assertAgrees(await tab.evaluate(async (bodies) => (await import("/summaries.js")).summaries(bodies), requests()));
    await tab.close();
  });

  test("decides in a module web worker as the native build does", async () => {
    const tab = await browser.newPage();
    await tab.goto(packageSite.url);
    assertAgrees(await tab.evaluate((bodies) => new Promise((resolve, reject) => {
      const worker = new Worker("/worker.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message ?? "the worker's module did not load"));
      worker.postMessage(bodies);
    }), requests()));
    await tab.close();
  });

  test("the page decides as it is typed, without an error or a request to another origin", async () => {
    const tab = await browser.newPage();
    await tab.setViewport({ width: 1280, height: 900 });
    const problems = watch(tab);
    await tab.goto(pageSite.url);
    await tab.locator(".plot-svg").wait();

    const first = await receipt(tab);
    await tab.locator("#prompt").fill("What is 17 times 23?");
    await tab.waitForFunction((id) => !document.getElementById("receipt-json").textContent.includes(id), {}, first.id);
    const decision = await receipt(tab);
    const shown = await tab.$eval("#decision [data-slot=model]", (node) => node.textContent);
    assert.ok(shown && decision.model.includes(shown), `${shown} is shown, ${decision.model} was chosen`);

    const picture = resultFile("page-firefox.png");
    mkdirSync(dirname(picture), { recursive: true });
    await tab.screenshot({ path: picture, fullPage: true });
    assert.deepEqual(problems, []);
    await tab.close();
  });

  test("its other views work: a plan, a price, a rating, and all of it erased", async () => {
    const tab = await browser.newPage();
    await tab.setViewport({ width: 1280, height: 900 });
    const problems = watch(tab);
    const press = (selector) => tab.locator(selector).click();
    await tab.goto(`${pageSite.url}/#plan`);
    await press("#plan [data-slot=sample]");
    await tab.locator("#plan [data-slot=models] tbody tr").wait();

    await press("nav [href='#models']");
    await press("#models tbody .open");
    await tab.locator("#edit-input").fill("7.1255");
    await press("#models .edit .primary");
    await tab.locator("#models tr.changed ::-p-text($7.1255)").wait();
    assert.equal(await tab.$("dialog[open]"), null);

    await press("nav [href='#learn']");
    await tab.locator("#learn [data-slot=decision] .chosen").wait();
    await press("#learn [data-slot=right]");
    await tab.locator("#learn .track .level-chart").wait();
    await tab.locator("#kept ::-p-text(1 change to the catalog, 1 rating with its prompt)").wait();
    await tab.reload();
    await tab.locator("#learn .track .level-chart").wait();

    await press("#kept-erase");
    await press("#erase [value=erase]");
    await tab.waitForFunction(() => document.getElementById("kept").textContent === "Everything is erased.");
    await tab.waitForFunction(() => document.querySelector("#learn .track") === null);
    assert.equal(await tab.evaluate(async () => (await indexedDB.databases()).length), 0);
    assert.deepEqual(problems, []);
    await tab.close();
  });

  /** Errors, warnings and requests to other origins of a tab from now on, as they come. */
  function watch(tab) {
    const problems = [];
    tab.on("console", (message) => ["error", "warn"].includes(message.type()) && problems.push(message.text()));
    tab.on("pageerror", (error) => problems.push(error.message));
    tab.on("request", (request) => /^(blob|data):/.test(request.url()) || request.url().startsWith(pageSite.url) || problems.push(`request to ${request.url()}`));
    return problems;
  }
});

async function receipt(tab) {
  return JSON.parse(await tab.$eval("#receipt-json", (node) => node.textContent));
}
