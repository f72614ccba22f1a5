/** The page in Chromium, as built for a static host: its shell and *Try*. The other views have files of their own. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findChromium, serve } from "./browser.mjs";
import { LOOKS, assertPresentable, startSite, watch } from "./site.mjs";

const executable = findChromium();

describe("page", { skip: executable === undefined }, () => {
  let site;

  before(async () => {
    site = await startSite(executable);
  });
  after(() => site?.close());

  /** A page whose first decision is shown with all that belongs to it. */
  async function open(options) {
    const opened = await site.open(options);
    await opened.page.locator("#plot .plot-svg").waitFor();
    return { ...opened, view: opened.page.locator("#try") };
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
    const { page, view, problems, close } = await open();
    const decision = await next(page, () => view.getByLabel("Prompt", { exact: true }).fill("What is 17 times 23?"));
    assert.equal(typeof decision.model, "string");
    const card = page.locator("#decision");
    assert.ok(decision.model.includes(await card.locator("[data-slot=model]").textContent()));
    assert.equal(await card.locator("[data-slot=reason]").textContent(), decision.reason);
    assert.match(await card.locator("[data-slot=elapsed]").textContent(), /^decided in \d/);
    assert.equal(await card.locator("[data-slot=fallback-list] li").count(), Math.min(3, decision.fallbacks.length));
    await card.getByRole("status").filter({ hasText: "Quality" }).waitFor({ state: "attached" });

    const models = await page.locator("#table tbody tr").count();
    assert.ok(models >= 1 + decision.alternatives.length);
    // Every model with an estimate is a point; some excluded ones have none.
    const points = await page.locator("#plot .plot-svg circle").count();
    assert.ok(points >= 1 + decision.alternatives.length && points <= models, `${points} points, ${models} models`);
    assert.match(await page.locator("#plot .plot-svg").getAttribute("aria-description"), /Chosen: /);
    assert.deepEqual(problems, []);
    await close();
  });

  test("the policy decides with the prompt", async () => {
    const { page, view, problems, close } = await open();
    const slider = view.getByLabel("Quality target");
    const before = await page.locator("#quality-cost").textContent();
    const cheap = await next(page, async () => slider.fill(await slider.getAttribute("min")));
    assert.notEqual(await page.locator("#quality-cost").textContent(), before);
    const best = await next(page, async () => slider.fill(await slider.getAttribute("max")));
    assert.ok(best.quality.estimate > cheap.quality.estimate);
    assert.ok(best.cost_usd.estimate > cheap.cost_usd.estimate);

    const provider = best.model.split("/")[0];
    const denied = await next(page, () => view.getByLabel("Deny").fill(`${provider}/*`));
    assert.ok(!denied.model.startsWith(`${provider}/`));
    assert.ok(denied.excluded.some(({ model, code }) => model === best.model && code === "not_allowed"));
    const excluded = page.locator("#table tr.excluded", { hasText: "not allowed" });
    assert.ok(await excluded.count() > 0);

    const capped = await next(page, () => view.getByLabel("Most per call").fill(String(cheap.cost_usd.estimate * 2)));
    assert.ok(capped.excluded.some(({ code }) => code === "over_cap"));
    const none = await next(page, () => view.getByLabel("Allow only").fill("nobody/*"));
    assert.equal(none.model, null);
    assert.equal(await page.locator("[data-slot=code]").textContent(), "no candidate");

    const reset = await next(page, () => view.getByRole("button", { name: "Reset" }).click());
    assert.notEqual(reset.model, null);
    assert.equal(reset.target.cap_usd, null);
    await view.getByLabel("Reads images").check();
    await page.locator("#table tr.excluded", { hasText: "lacks a capability" }).first().waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("errors are shown with their code, and go away", async () => {
    const { page, view, close } = await open();
    await view.getByLabel("Floor for this answer").fill("-3");
    const alert = page.locator("#decision").getByRole("alert");
    assert.match(await alert.locator("code").textContent(), /^bad_/);
    await view.getByLabel("Floor for this answer").fill("");
    await alert.waitFor({ state: "hidden" });
    await close();
  });

  test("a router that cannot be loaded says so and can be tried again", async () => {
    let broken = true;
    const prepare = (context) => context.route("**/artifacts.bin", (route) => (broken ? route.fulfill({ status: 404 }) : route.continue()));
    const { page, close } = await site.open({ settled: false, prepare });
    await page.locator("#decision").getByRole("alert").getByText("bad_artifact").waitFor();
    broken = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator("#plot .plot-svg").waitFor();
    await close();
  });

  test("a worker that cannot be started says so and can be tried again", async () => {
    let broken = true;
    const prepare = (context) => context.route(/\/worker\.js$/, (route) => (broken ? route.fulfill({ status: 404 }) : route.continue()));
    const { page, close } = await site.open({ settled: false, prepare });
    const alert = page.locator("#decision").getByRole("alert").getByText("could not be started");
    await alert.waitFor();
    await page.getByRole("button", { name: "Try again" }).click();
    await alert.waitFor();
    broken = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator("#plot .plot-svg").waitFor();
    await close();
  });

  test("the table sorts from the keyboard", async () => {
    const { page, view, close } = await open();
    const header = view.getByRole("button", { name: "Quality", exact: true });
    await header.focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#table th[aria-sort]").getAttribute("aria-sort"), "descending");
    const shares = async () => (await page.locator("#table tbody td:nth-child(2)").allInnerTexts()).map(parseFloat).filter(Number.isFinite);
    assert.deepEqual(await shares(), (await shares()).sort((a, b) => b - a));
    await page.keyboard.press("Enter");
    assert.deepEqual(await shares(), (await shares()).sort((a, b) => a - b));
    await close();
  });

  test("what would change the decision is a press away", async () => {
    const { page, view, problems, close } = await open();
    const segments = view.locator(".strip button");
    await segments.nth(1).waitFor();
    const pressed = view.locator(".strip [aria-pressed=true]");
    assert.equal(await pressed.count(), 1);
    const { model } = await receipt(page);
    assert.ok(model.includes((await pressed.textContent()).split(" ")[0]));
    // Every other segment, pressed, brings the model that it names, from the keyboard as well.
    for (const i of [0, await segments.count() - 1]) {
      const name = (await segments.nth(i).textContent()).split(" ")[0];
      const decision = await next(page, () => segments.nth(i).press("Enter"));
      assert.ok(decision.model.includes(name), `${decision.model} is not ${name}`);
      await view.locator(`.strip button:nth-child(${i + 1})[aria-pressed=true]`).waitFor();
    }
    // And the table says of every candidate why it is not the one.
    assert.ok(await view.locator("#table tr.candidate .why").filter({ hasText: /better, worth|worse|dearer/ }).count() > 10);
    assert.deepEqual(problems, []);
    await close();
  });

  test("the policy is kept over a reload, and a link carries it", async () => {
    const { page, context, view, problems, close } = await open();
    await next(page, () => view.getByLabel("Deny").fill("openai/*"));
    await next(page, () => view.getByLabel("Answers in JSON").check());
    await page.locator("#kept").filter({ hasText: "your policy" }).waitFor();
    await page.reload();
    await page.locator("#plot .plot-svg").waitFor();
    assert.equal(await view.getByLabel("Deny").inputValue(), "openai/*");
    assert.ok(await view.getByLabel("Answers in JSON").isChecked());
    assert.ok((await receipt(page)).excluded.some(({ model, code }) => model.startsWith("openai/") && code === "not_allowed"));

    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await view.getByRole("button", { name: "Copy a link to it" }).click();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(link, /#try\?deny=openai%2F\*&json=1$/);
    const other = await site.open({ hash: `?${new URL(link).hash}` });
    assert.equal(await other.page.locator("#deny").inputValue(), "openai/*");
    // It counts until another is kept.
    await other.page.reload();
    await other.page.locator("#plot .plot-svg").waitFor();
    assert.equal(await other.page.locator("#deny").inputValue(), "openai/*");
    await other.page.locator("#deny").fill("anthropic/*");
    await other.page.locator("#deny").blur();
    await other.page.locator("#kept").filter({ hasText: "your policy" }).waitFor();
    await other.page.reload();
    await other.page.locator("#plot .plot-svg").waitFor();
    assert.equal(await other.page.locator("#deny").inputValue(), "anthropic/*");
    await other.close();
    assert.deepEqual(problems, []);
    await close();
  });

  test("views follow the address, the title and the focus follow the view", async () => {
    const { page, problems, close } = await open();
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    await page.getByRole("link", { name: "Models", exact: true }).press("Enter");
    await page.locator("#models tbody tr").first().waitFor();
    assert.equal(await focused(), "Models");
    assert.match(await page.title(), /^Models/);
    await page.getByRole("link", { name: "Learn", exact: true }).click();
    await page.locator("#rate-prompt").waitFor();
    assert.match(await page.title(), /^Learn/);
    await page.goBack();
    assert.match(await page.title(), /^Models/);
    assert.equal(await page.locator("nav [aria-current]").textContent(), "Models");
    await page.getByRole("link", { name: "Skip to the content" }).press("Enter");
    assert.equal(await focused(), "Models");
    assert.ok(await page.locator("#models").isVisible());
    await page.goForward();
    assert.ok(await page.locator("#learn").isVisible());
    // An element's address shows the view that it is in.
    await page.goto(`${site.url}/#candidates`);
    assert.ok(await page.locator("#try").isVisible());
    assert.deepEqual(problems, []);
    await close();
  });

  test("a view that cannot be loaded says so, and the others go on", async () => {
    const prepare = (context) => context.route(/\/models-[^/]*\.js$/, (route) => route.abort());
    const { page, close } = await open({ prepare });
    await page.getByRole("link", { name: "Models", exact: true }).click();
    await page.locator("#models").getByRole("alert").filter({ hasText: "could not be loaded" }).waitFor();
    await page.getByRole("link", { name: "Try", exact: true }).click();
    await next(page, () => page.getByRole("button", { name: "Proof" }).click());
    await close();
  });

  test("it works offline after the first visit, in every view, and a reload finds it whole", async () => {
    const { page, context, problems, close } = await open();
    await page.locator("#offline").filter({ hasText: "Works offline" }).waitFor();
    await context.setOffline(true);
    await page.reload();
    await page.locator("#plot .plot-svg").waitFor();
    for (const name of ["Plan", "Models", "Learn"]) {
      await page.getByRole("link", { name, exact: true }).click();
      assert.equal(await page.locator("main [role=alert]:visible").count(), 0);
    }
    await page.locator("#rate-model option").first().waitFor({ state: "attached" });
    assert.deepEqual(problems, []);
    await close();
  });

  test("it works in a folder of a host, and keeps to it", async () => {
    const parent = await mkdtemp(join(tmpdir(), "pennyroute-host-"));
    await cp(site.folder, join(parent, "tools/pennyroute"), { recursive: true });
    const host = await serve(parent, { "/tools/other.js": "" });
    const context = await site.browser.newContext();
    try {
      const page = await context.newPage();
      const problems = watch(page, host.url);
      await page.goto(`${host.url}/tools/pennyroute/`);
      await page.locator("#offline").filter({ hasText: "Works offline" }).waitFor();
      // Of another page, in the folder above.
      await page.evaluate(async () => {
        await caches.open("pennyroute /tools/ other");
        await navigator.serviceWorker.register("../other.js");
      });
      await context.setOffline(true);
      await page.reload();
      await page.locator("#plot .plot-svg").waitFor();
      await page.getByRole("button", { name: "Erase everything" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Erase", exact: true }).click();
      await page.locator("#kept").filter({ hasText: "Everything is erased." }).waitFor();
      assert.deepEqual(await page.evaluate(() => caches.keys()), ["pennyroute /tools/ other"]);
      const left = await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => new URL(scope).pathname));
      assert.deepEqual(left, ["/tools/"]);
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
      await host.close();
      await rm(parent, { recursive: true, force: true });
    }
  });

  test("a newer build is offered, and taken as a whole", async () => {
    const { page, context, problems, close } = await open();
    await page.locator("#offline").filter({ hasText: "Works offline" }).waitFor();
    const read = (name) => readFile(join(site.folder, name), "utf8");
    const digest = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;
    const [index, worker] = [await read("index.html"), await read("offline.js")];
    const [copy] = await page.evaluate(() => caches.keys());
    const build = copy.split(" ").at(-1);
    const newer = index.replace("Pick the cheapest", "Still pick the cheapest");
    const newerWorker = worker.replace(digest(index), digest(newer)).replace(build, "newer");
    try {
      // Halfway through an upload there are files of two builds: neither is the copy replaced nor is any of it shown.
      await writeFile(join(site.folder, "offline.js"), newerWorker);
      await page.evaluate(() => navigator.serviceWorker.getRegistration().then((registration) => registration.update())
        .then((registration) => new Promise((resolve) => {
          const { installing } = registration;
          if (installing === null) return resolve();
          installing.onstatechange = () => installing.state === "redundant" && resolve();
        })));
      assert.equal(await page.evaluate((key) => caches.match("index.html", { cacheName: key }).then(Boolean), copy), true);
      problems.length = 0; // the browser's own words on the file that does not match

      await writeFile(join(site.folder, "index.html"), newer);
      await page.reload();
      const other = await context.newPage();
      await other.goto(site.url);
      await other.locator("#plot .plot-svg").waitFor();
      await page.getByRole("button", { name: "Use it" }).waitFor();
      const described = () => page.locator("meta[name=description]").getAttribute("content");
      assert.match(await described(), /^Pick/);
      await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Use it" }).click()]);
      await page.locator("#plot .plot-svg").waitFor();
      assert.match(await described(), /^Still pick/);
      // The files of the other tab's build are gone with it.
      await Promise.all([other.waitForEvent("load"), other.getByRole("button", { name: "Load it again" }).click()]);
      assert.match(await other.locator("meta[name=description]").getAttribute("content"), /^Still pick/);
      await other.close();
      assert.deepEqual(await page.evaluate(() => caches.keys()), [copy.replace(build, "newer")]);
      await context.setOffline(true);
      await page.reload();
      await page.locator("#plot .plot-svg").waitFor();
      assert.deepEqual(problems, []);
    } finally {
      await writeFile(join(site.folder, "index.html"), index);
      await writeFile(join(site.folder, "offline.js"), worker);
    }
    await close();
  });

  test("where the host's policy blocks WebAssembly it says so, and how to allow it", async () => {
    const strict = await startSite(executable, { headers: { "content-security-policy": "script-src 'self'" } });
    try {
      const { page } = await strict.open({ settled: false });
      const alert = page.locator("#decision").getByRole("alert");
      await alert.getByText("wasm_blocked").waitFor();
      assert.match(await alert.textContent(), /wasm-unsafe-eval/);
    } finally {
      await strict.close();
    }
  });

  test("without storage it works, and says that nothing is kept", async () => {
    const prepare = (context) => context.addInitScript(() => {
      Object.defineProperty(globalThis, "indexedDB", { get: () => { throw new DOMException("no", "SecurityError"); } });
      Object.defineProperty(globalThis, "localStorage", { get: () => { throw new DOMException("no", "SecurityError"); } });
    });
    const { page, view, problems, close } = await open({ prepare });
    await page.getByRole("alert").filter({ hasText: /No more is kept: this browser denies it storage/ }).waitFor();
    await next(page, () => view.getByLabel("Deny").fill("openai/*"));
    assert.deepEqual(problems, []);
    await close();
  });

  test("full storage is told, and what was not kept still counts", async () => {
    const prepare = (context) => context.addInitScript(() => {
      IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };
    });
    const { page, view, context, problems, close } = await open({ prepare });
    await view.getByLabel("Answers in JSON").check();
    await page.getByRole("alert").filter({ hasText: "No more is kept: the storage of this browser is full" }).waitFor();
    assert.ok(await view.getByLabel("Answers in JSON").isChecked());
    // What another tab writes does not take it away.
    await page.evaluate(() => new Promise((resolve) => {
      const heard = new BroadcastChannel("pennyroute");
      heard.onmessage = resolve;
      const other = new BroadcastChannel("pennyroute");
      other.postMessage({ written: "policy" });
    }));
    await next(page, () => view.getByLabel("Deny").fill("openai/*"));
    assert.ok(await view.getByLabel("Answers in JSON").isChecked());
    assert.deepEqual(problems, []);
    await close();
  });

  test("two tabs keep one policy", async () => {
    const { page, view, context, problems, close } = await open();
    const second = await context.newPage();
    const others = watch(second, site.url);
    await second.goto(site.url);
    await second.locator("#plot .plot-svg").waitFor();
    await second.locator("#cap").fill("0.02");
    await second.locator("#cap").blur();
    await page.waitForFunction(() => document.getElementById("cap").value === "0.02");
    assert.equal(await view.getByLabel("Most per call").inputValue(), "0.02");

    // A rating in one leaves the policy of a link in the other, and what is being typed.
    const linked = await context.newPage();
    await linked.goto(`${site.url}/#try?deny=openai%2F*`);
    await linked.locator("#plot .plot-svg").waitFor();
    await second.goto(`${site.url}/#learn`);
    await second.locator("#learn [data-slot=decision] .chosen").waitFor();
    await second.getByRole("button", { name: /^Right/ }).click();
    await linked.locator("#kept").filter({ hasText: "1 rating" }).waitFor();
    assert.equal(await linked.locator("#deny").inputValue(), "openai/*");

    // What one erases is gone in all, and what is kept then is kept for all.
    await second.getByRole("button", { name: "Erase everything" }).click();
    await second.getByRole("dialog").getByRole("button", { name: "Erase", exact: true }).click();
    await page.waitForFunction(() => document.getElementById("cap").value === "");
    await page.locator("#cap").fill("0.03");
    await page.locator("#cap").blur();
    await linked.waitForFunction(() => document.getElementById("cap").value === "0.03");
    assert.deepEqual([problems, others], [[], []]);
    await close();
  });

  for (const [name, options] of Object.entries(LOOKS)) {
    test(`accessible and in its frame: ${name}`, async () => {
      const { page, view, problems, close } = await open(options);
      const example = { light: "Mail", dark: "Proof", phone: "Code review" }[name];
      await next(page, () => view.getByRole("button", { name: example }).click());
      await view.locator(".strip button").first().waitFor();
      await assertPresentable(page, `page-${name}`);
      assert.deepEqual(problems, []);
      await close();
    });
  }
});
