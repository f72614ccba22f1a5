/** *Learn*: ratings move abilities, are taken back, kept, taken elsewhere and erased. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findChromium } from "./browser.mjs";
import { LOOKS, assertPresentable, startSite, watch } from "./site.mjs";

const executable = findChromium();
const PROMPT = "Name the capital of Assyria, and say why it moved.";

describe("Learn", { skip: executable === undefined }, () => {
  let site;

  before(async () => {
    site = await startSite(executable);
  });
  after(() => site?.close());

  async function open(options) {
    const opened = await site.open({ hash: "#learn", ...options });
    const view = opened.page.locator("#learn");
    await view.locator("[data-slot=decision] .chosen").waitFor();
    return { ...opened, view };
  }

  /** Asks about a prompt, and waits until its decision stands. */
  async function ask(view, text) {
    await view.getByLabel("Prompt", { exact: true }).fill(text);
    await view.locator("[data-slot=decision][aria-busy=false]").waitFor();
  }

  /** Rates, and waits until what it taught is drawn. */
  async function rate(view, action, total) {
    await action();
    await view.locator(".track").filter({ hasText: `of ${total} right` }).waitFor();
  }

  const lastLevel = async (view) => parseFloat(await view.locator(".track strong").first().textContent());

  test("ratings move the ability, from the keyboard too, and the last one is taken back", async () => {
    const { page, view, problems, close } = await open();
    await ask(view, PROMPT);
    const prompt = view.getByLabel("Prompt", { exact: true });
    await prompt.focus();
    await rate(view, () => page.keyboard.press("Control+Shift+Enter"), 1);
    const first = await lastLevel(view);
    await rate(view, () => view.getByRole("button", { name: /^Wrong/ }).click(), 2);
    const second = await lastLevel(view);
    assert.ok(second < first, `${second} after two wrong answers, ${first} after one`);
    await view.locator("[data-slot=decision] .moved").waitFor();
    assert.match(await view.locator(".level-chart").getAttribute("aria-label"), /^before: .*; after 1: .*; after 2: /);
    await prompt.focus();
    await rate(view, () => page.keyboard.press("Control+Enter"), 3);
    assert.ok(await lastLevel(view) >= second);
    assert.deepEqual(await view.locator(".rated .pill").allTextContents(), ["right", "wrong", "wrong"]);

    await rate(view, () => view.getByRole("button", { name: "Undo the last" }).click(), 2);
    assert.equal(await lastLevel(view), second);
    await view.getByRole("button", { name: "Erase the ratings" }).click();
    await view.locator(".track").waitFor({ state: "detached" });
    assert.deepEqual(problems, []);
    await close();
  });

  test("quick ratings all count, and keys held down rate once", async () => {
    const { page, view, problems, close } = await open();
    await ask(view, PROMPT);
    await rate(view, () => view.getByRole("button", { name: /^Right/ }).evaluate((button) => {
      for (let i = 0; i < 3; i++) button.click();
    }), 3);
    assert.equal(await view.locator(".rated .pill").count(), 3);
    await view.getByLabel("Prompt", { exact: true }).focus();
    await page.keyboard.down("Control");
    await page.keyboard.down("Enter");
    await page.keyboard.down("Enter");
    await page.keyboard.up("Control");
    await view.locator(".track").filter({ hasText: "4 of 4 right" }).waitFor();
    // Two at once take back one each, and the focus goes on to a rating that is left.
    await view.getByRole("button", { name: "Undo the last" }).evaluate((button) => {
      for (let i = 0; i < 2; i++) button.click();
    });
    await view.locator(".track").filter({ hasText: "2 of 2 right" }).waitFor();
    const remove = view.getByRole("button", { name: /^Remove the rating/ });
    await rate(view, () => remove.first().press("Enter"), 1);
    assert.match(await page.evaluate(() => document.activeElement.ariaLabel), /^Remove the rating/);
    await remove.press("Enter");
    await view.locator(".track").waitFor({ state: "detached" });
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^Right/);
    assert.deepEqual(problems, []);
    await close();
  });

  test("the decision is by the policy, and another price is no effect of ratings", async () => {
    const { page, view, problems, close } = await open();
    await ask(view, PROMPT);
    const chosen = await view.getByLabel("Answered by").inputValue();
    await page.getByRole("link", { name: "Try", exact: true }).click();
    await page.locator("#deny").fill(chosen);
    await page.locator("#deny").blur();
    await page.getByRole("link", { name: "Learn", exact: true }).click();
    const name = view.locator("[data-slot=decision] .chosen, [data-slot=decision] .byline .provider");
    await page.waitForFunction((id) => document.getElementById("rate-model").value !== id, chosen);
    const [model, maker] = [await view.getByLabel("Answered by").inputValue(), await name.last().textContent()];
    assert.ok(model.startsWith(maker.split(" ")[0]), `${model} by ${maker}`);

    await page.getByRole("link", { name: "Models", exact: true }).click();
    await page.locator("#models tbody tr").first().waitFor();
    await page.locator("#models").getByLabel("Search by name").fill(model);
    await page.locator("#models tbody .open").first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Output", { exact: true }).fill("900");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("link", { name: "Learn", exact: true }).click();
    await page.waitForFunction((id) => document.getElementById("rate-model").value !== id, model);
    assert.equal(await view.locator("[data-slot=decision] .moved").count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test("ratings are kept over a reload, and hold in another tab", async () => {
    const { page, context, view, problems, close } = await open();
    await ask(view, PROMPT);
    await rate(view, () => view.getByRole("button", { name: /^Right/ }).click(), 1);
    const level = await lastLevel(view);
    await page.reload();
    await view.locator(".track").waitFor();
    assert.equal(await lastLevel(view), level);
    await page.locator("#kept").filter({ hasText: "1 rating with its prompt" }).waitFor();

    const second = await context.newPage();
    const others = watch(second, site.url);
    await second.goto(`${site.url}/#learn`);
    const there = second.locator("#learn");
    await there.locator(".track").waitFor();
    await there.getByRole("button", { name: /^Right/ }).click();
    await view.locator(".rated li").nth(1).waitFor();
    assert.deepEqual([problems, others], [[], []]);
    await close();
  });

  test("ratings go out as jsonl and for the command, and come back in", async () => {
    const { page, view, problems, close } = await open();
    await ask(view, PROMPT);
    const model = await view.getByLabel("Answered by").inputValue();
    await rate(view, () => view.getByRole("button", { name: /^Right/ }).click(), 1);
    await rate(view, () => view.getByRole("button", { name: /^Wrong/ }).click(), 2);
    const read = async (download) => [download.suggestedFilename(), await readFile(await download.path(), "utf8")];

    const [download] = await Promise.all([page.waitForEvent("download"), view.getByRole("button", { name: "Export (jsonl)" }).click()]);
    const [name, jsonl] = await read(download);
    const rows = jsonl.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(rows.map(({ prompt, model, correct }) => ({ prompt, model, correct })), [{ prompt: PROMPT, model, correct: true }, { prompt: PROMPT, model, correct: false }]);

    const named = (name) => page.waitForEvent("download", { predicate: (each) => each.suggestedFilename() === name });
    const [, ...files] = await Promise.all([view.getByRole("button", { name: "Export for pennyroute fit" }).click(), named("queries.jsonl"), named("outcomes.csv")]);
    const forFit = Object.fromEntries(await Promise.all(files.map(read)));
    assert.deepEqual(JSON.parse(forFit["queries.jsonl"]), { query_id: "q1", text: PROMPT });
    assert.equal(forFit["outcomes.csv"], `query_id,model,correct,output_tokens\nq1,${model},1,\nq1,${model},0,\n`);

    await view.getByRole("button", { name: "Erase the ratings" }).click();
    await view.locator(".track").waitFor({ state: "detached" });
    await view.locator("[data-slot=file]").setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(`${jsonl}{"model":"${model}","correct":true}\n`) });
    await view.locator(".track").filter({ hasText: "1 of 2 right" }).waitFor();
    await view.locator("[data-slot=bad]").filter({ hasText: "Row 3, prompt: is missing" }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("prompts tried are kept only where the user wants it", async () => {
    const { page, view, problems, close } = await open();
    const tryIt = async (example) => {
      await page.getByRole("link", { name: "Try", exact: true }).click();
      await page.getByRole("button", { name: example }).click();
      await page.getByRole("link", { name: "Learn", exact: true }).click();
    };
    await tryIt("Proof");
    await view.getByText("Prompts tried").click();
    assert.equal(await view.locator(".prompts li").count(), 0);
    await view.getByLabel("Keep the prompts I try").check();
    await tryIt("Mail");
    await view.locator(".prompts button").filter({ hasText: "landlord" }).click();
    assert.match(await view.getByLabel("Prompt", { exact: true }).inputValue(), /landlord/);
    await view.getByLabel("Keep the prompts I try").uncheck();
    assert.equal(await view.locator(".prompts li").count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test("what is wrong with a rating is said", async () => {
    const { view, close } = await open();
    await view.getByLabel("Prompt", { exact: true }).fill(" ");
    await view.getByRole("button", { name: /^Right/ }).click();
    await view.getByRole("alert").filter({ hasText: "needs the prompt" }).waitFor();
    await close();
  });

  test("erase everything leaves nothing", async () => {
    const { page, view, problems, close } = await open();
    await ask(view, PROMPT);
    await rate(view, () => view.getByRole("button", { name: /^Right/ }).click(), 1);
    await page.locator("#offline").filter({ hasText: "Works offline" }).waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save it as a file" }).click()]);
    const text = await readFile(await download.path(), "utf8");
    const left = () => page.evaluate(async () => ({
      databases: (await indexedDB.databases()).length,
      caches: (await caches.keys()).length,
      workers: (await navigator.serviceWorker.getRegistrations()).length,
      local: localStorage.length + sessionStorage.length,
      cookies: document.cookie,
    }));
    assert.deepEqual(await left(), { databases: 1, caches: 1, workers: 1, local: 0, cookies: "" });
    const dialog = page.getByRole("dialog", { name: "Erase everything?" });
    await page.getByRole("button", { name: "Erase everything" }).click();
    await dialog.getByRole("button", { name: "Keep" }).click();
    assert.equal((await left()).databases, 1);
    await page.getByRole("button", { name: "Erase everything" }).click();
    await dialog.getByRole("button", { name: "Erase", exact: true }).click();
    await page.locator("#kept").filter({ hasText: "Everything is erased." }).waitFor();
    assert.deepEqual(await left(), { databases: 0, caches: 0, workers: 0, local: 0, cookies: "" });
    await view.locator(".track").waitFor({ state: "detached" });
    await page.reload();
    await page.locator("#kept").filter({ hasText: "Nothing of yours is kept" }).waitFor();

    // What was saved before brings all of it back, and a newer page's file is refused.
    const restore = (kept) => page.locator("#restore-file").setInputFiles({ name: "kept.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(kept)) });
    await restore({ ...JSON.parse(text), version: 2 });
    await page.locator("#restore-error").filter({ hasText: "unsupported_version" }).waitFor();
    const folder = await mkdtemp(join(tmpdir(), "pennyroute-large-"));
    try {
      await writeFile(join(folder, "large.json"), "");
      await truncate(join(folder, "large.json"), 101e6);
      await page.locator("#restore-file").setInputFiles(join(folder, "large.json"));
      await page.locator("#restore-error").filter({ hasText: "too_large" }).filter({ hasText: "101 MB; up to 100 MB" }).waitFor();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    await restore(JSON.parse(text));
    await view.locator(".track").filter({ hasText: "1 of 1 right" }).waitFor();
    await page.locator("#restore-error").waitFor({ state: "hidden" });
    await page.reload();
    await page.locator("#kept").filter({ hasText: "1 rating with its prompt" }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  for (const [name, options] of Object.entries(LOOKS)) {
    test(`accessible and in its frame: ${name}`, async () => {
      const { page, view, problems, close } = await open(options);
      await ask(view, PROMPT);
      let total = 0;
      for (const verdict of ["Right", "Wrong", "Right", "Right"]) await rate(view, () => view.getByRole("button", { name: new RegExp(`^${verdict}`) }).click(), ++total);
      await view.getByLabel("Answered by").selectOption({ index: 7 });
      await view.getByRole("button", { name: /^Wrong/ }).click();
      await view.locator(".track").nth(1).waitFor();
      await view.getByText("Prompts tried").click();
      await view.getByLabel("Keep the prompts I try").check();
      await assertPresentable(page, `page-learn-${name}`);
      assert.deepEqual(problems, []);
      await close();
    });
  }
});
