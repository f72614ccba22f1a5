/** *Models*: the catalog of the page, changed in every way that it offers, and wrong ones refused. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { findChromium, resultFile } from "./browser.mjs";
import { root } from "./hosts.mjs";
import { LOOKS, assertPresentable, startSite } from "./site.mjs";

const executable = findChromium();
const shipped = JSON.parse(await readFile(`${root}/models/catalog.json`, "utf8"));

describe("Models", { skip: executable === undefined }, () => {
  let site;

  before(async () => {
    site = await startSite(executable);
  });
  after(() => site?.close());

  async function open(options) {
    const opened = await site.open({ hash: "#models", ...options });
    const view = opened.page.locator("#models");
    await view.locator("tbody .open").first().waitFor();
    return { ...opened, view };
  }

  /** Gives a file to the input behind a button. */
  const give = (view, slot, name, content) => view.locator(`[data-slot=${slot}]`)
    .setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(typeof content === "string" ? content : JSON.stringify(content)) });

  /** What is saved by a press. */
  async function saved(page, button) {
    const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  }

  const alert = (view) => view.locator(".catalog [role=alert]:visible");

  test("the catalog is sorted and filtered from the keyboard", async () => {
    const { view, problems, close } = await open();
    const rows = view.locator("tbody tr");
    assert.equal(await rows.count(), shipped.models.length);
    const header = view.getByRole("button", { name: "Out", exact: true });
    await header.press("Enter");
    const prices = (await rows.locator("td:nth-child(4)").allInnerTexts()).map((text) => Number(text.replace(/[$,]/g, ""))).filter(Number.isFinite);
    assert.deepEqual(prices, prices.toSorted((a, b) => a - b));
    assert.equal(await view.locator("th[aria-sort]").getAttribute("aria-sort"), "ascending");

    await view.getByLabel("Provider").selectOption("anthropic");
    assert.equal(await rows.count(), shipped.models.filter(({ provider }) => provider === "anthropic").length);
    await view.getByLabel("Search by name").fill("haiku");
    const found = shipped.models.filter(({ id, provider }) => provider === "anthropic" && id.includes("haiku")).length;
    assert.equal(await rows.count(), found);
    await view.getByText(`${found} of ${shipped.models.length} models`).waitFor();
    await view.getByLabel("Search by name").fill("no such model");
    await view.getByText("No model of the catalog is like that.").waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("the models of the plan are told from the others", async () => {
    const { page, view, problems, close } = await open();
    await view.getByLabel("Which models").selectOption("In your plan");
    await view.getByText("No model of the catalog is like that.").waitFor();
    await page.getByRole("link", { name: "Plan", exact: true }).click();
    const plan = page.locator("#plan");
    await plan.getByRole("button", { name: "Try the sample" }).click();
    const used = plan.locator("[data-slot=models] tbody tr");
    await used.first().waitFor();
    const planned = await used.locator(".name").allTextContents();
    await page.getByRole("link", { name: "Models", exact: true }).click();
    assert.deepEqual((await view.locator("tbody .open .name").allTextContents()).sort(), planned.sort());
    assert.deepEqual(problems, []);
    await close();
  });

  test("a price is corrected, listed, kept over a reload, and undone", async () => {
    const { page, view, problems, close } = await open();
    const model = shipped.models[0];
    await view.getByRole("button", { name: model.base, exact: true }).click();
    const dialog = page.getByRole("dialog", { name: model.base });
    await dialog.getByText("on a query of average difficulty").waitFor();
    assert.equal(await dialog.locator(".skills li").count(), model.ability.mean.length - 1);
    await dialog.getByLabel("Input", { exact: true }).fill("-1");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByRole("alert").filter({ hasText: "Input: must be 0 or more" }).waitFor();
    // What the router refuses is said where it is seen.
    await dialog.getByLabel("Input", { exact: true }).fill("1e300");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByRole("alert").locator("code").filter({ hasText: "bad_" }).waitFor();
    await dialog.getByLabel("Input", { exact: true }).fill("7.1255");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
    await view.getByText("1 change to the shipped catalog").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.closest("tr")?.dataset.model), model.id);
    await view.getByText("1 change to the shipped catalog").click();
    await view.locator(".changes li").filter({ hasText: `input price $${model.cost.input} → $7.1255` }).waitFor();

    await page.reload();
    await view.locator("tr.changed").filter({ hasText: "$7.1255" }).waitFor();
    // Receipts do not claim the shipped catalog any more.
    assert.match(await page.locator("#versions").textContent(), /\+local/);
    await view.getByText("1 change to the shipped catalog").click();
    await view.getByRole("button", { name: `Undo the change of ${model.id}` }).click();
    await view.locator("tr.changed").waitFor({ state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.dataset.slot), "table");
    assert.deepEqual(problems, []);
    await close();
  });

  test("a price of zero is a price", async () => {
    const { page, view, problems, close } = await open();
    const model = shipped.models[0];
    await view.getByRole("button", { name: model.base, exact: true }).click();
    const dialog = page.getByRole("dialog", { name: model.base });
    await dialog.getByLabel("Input", { exact: true }).fill("0");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("link", { name: "Try", exact: true }).click();
    const row = page.locator(`#table tr[data-model="${model.id}"]`);
    await row.waitFor();
    assert.equal(await row.filter({ hasText: "price unknown" }).count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test("a model is added by published scores and chosen; what is wrong is said where it is", async () => {
    const { page, view, problems, close } = await open();
    await view.getByRole("button", { name: "Add a model" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a model" });
    const add = dialog.getByRole("button", { name: "Add", exact: true });
    await dialog.getByLabel("Id").fill("large");
    await add.click();
    await dialog.getByRole("alert").filter({ hasText: "`provider/model`" }).waitFor();
    assert.equal(await dialog.getByLabel("Id").getAttribute("aria-invalid"), "true");
    await dialog.getByLabel("Id").fill("acme/large");
    await dialog.getByLabel("Input, $ per million tokens", { exact: true }).fill("0.001");
    await dialog.getByLabel("Output, $ per million tokens", { exact: true }).fill("0.002");
    await dialog.getByLabel("Context").fill("100000");
    await dialog.getByLabel("Score 1: benchmark").selectOption("aa_gpqa_diamond");
    await dialog.getByLabel("Score 1: value").fill("171");
    await dialog.getByRole("alert").filter({ hasText: "171 is not a percentage" }).waitFor();
    assert.equal(await dialog.getByLabel("Score 1: value").getAttribute("aria-invalid"), "true");
    await dialog.getByLabel("Score 1: value").fill("91");
    await dialog.getByText(/By these scores: \d/).waitFor();
    await page.screenshot({ path: resultFile("page-models-add.png") });
    await add.click();
    await view.locator("tr.changed").filter({ hasText: "acme" }).waitFor();

    await page.getByRole("link", { name: "Try", exact: true }).click();
    await page.locator("#decision [data-slot=model]").filter({ hasText: "large" }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("a file of outcomes is fitted, its bad rows are told, and it counts once it is accepted", async () => {
    const { page, view, problems, close } = await open();
    const [{ id, base }] = shipped.models;
    const good = Array.from({ length: 30 }, (_, i) => `What is ${i} plus ${i}?,${id},false,`);
    const csv = ["prompt,model,correct,output_tokens", ...good, `Why?,nobody/model,true,`, `Why?,${id},perhaps,`, `Why?,${id},true,many`, `,${id},true,`].join("\n");
    await give(view, "learn-file", "outcomes.csv", csv);
    const dialog = page.getByRole("dialog", { name: "What the outcomes teach" });
    await dialog.getByText("30 outcomes of 1 model").waitFor();
    assert.deepEqual(await dialog.locator(".bad-rows li").allTextContents(), [
      "Row 32, model: the catalog has no `nobody/model`",
      "Row 33, correct: `perhaps` is not true, false or a grade from 0 to 1",
      "Row 34, output_tokens: `many` is no number of tokens",
      "Row 35, prompt: is missing",
    ]);
    const [before, fitted] = await dialog.locator(".side > :last-child").allTextContents();
    assert.ok(parseFloat(fitted) < parseFloat(before), `${fitted} after 30 wrong answers, ${before} before`);
    await assertPresentable(page, "page-models-outcomes");
    await dialog.getByRole("button", { name: "Discard" }).click();
    assert.equal(await view.locator("tr.changed").count(), 0);

    await give(view, "learn-file", "outcomes.jsonl", good.map((_, i) => JSON.stringify({ text: `What is ${i}?`, model: id, correct: 0 })).join("\n"));
    await dialog.getByRole("button", { name: "Accept" }).click();
    await view.locator("tr.changed").filter({ hasText: base }).filter({ hasText: "your outcomes" }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test("files that cannot be used are refused, each for its reason, and change nothing", async () => {
    const { view, problems, close } = await open();
    for (const [slot, name, content, code, words] of [
      ["import-file", "newer.json", { ...shipped, format: 2 }, "unsupported_version", "newer than 1"],
      ["import-file", "other.json", { hello: 1 }, "bad_catalog", "missing field"],
      ["import-file", "notes.txt", "no JSON at all", "bad_catalog", "no JSON"],
      ["import-file", "price.json", { ...shipped, models: [{ ...shipped.models[0], cost: { input: -1, output: 1 } }] }, "bad_number", "models[0].cost.input"],
      ["learn-file", "header.csv", "question,answer\n1,2\n", "bad_file", "no column with a prompt"],
      ["learn-file", "image.png", "\x89PNG\0\0", "unsupported_type", "a binary file"],
      ["learn-file", "none.csv", "prompt,model,correct\n", "no_outcomes", "no outcome that can be read"],
    ]) {
      await give(view, slot, name, content);
      await alert(view).filter({ hasText: words }).waitFor();
      assert.equal(await alert(view).locator("code").textContent(), code, name);
    }
    await view.locator("[data-slot=import-file]").evaluate((input) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(21e6)], "large.json"));
      input.files = data.files;
      input.dispatchEvent(new Event("change"));
    });
    await alert(view).filter({ hasText: "too_large" }).filter({ hasText: "21 MB; up to 20 MB" }).waitFor();
    assert.equal(await view.locator("tr.changed").count(), 0);
    assert.equal(await view.locator("tbody tr").count(), shipped.models.length);
    assert.deepEqual(problems, []);
    await close();
  });

  test("the catalog goes out, comes in changed, and goes back to the shipped one", async () => {
    const { page, view, problems, close } = await open();
    const { name, text } = await saved(page, view.getByRole("button", { name: "Export" }));
    assert.equal(name, "catalog.json");
    const catalog = JSON.parse(text);
    assert.deepEqual(catalog.models.map(({ id }) => id), shipped.models.map(({ id }) => id));
    await give(view, "import-file", name, catalog);
    await view.getByText(`${shipped.models.length} models`, { exact: true }).waitFor();
    assert.equal(await view.locator("tr.changed").count(), 0);

    const [first, second, ...others] = catalog.models;
    await give(view, "import-file", name, { ...catalog, models: [{ ...second, cost: { ...second.cost, output: 99 } }, ...others] });
    await view.getByText("2 changes to the shipped catalog").click();
    await view.locator(".changes li").filter({ hasText: "→ $99" }).waitFor();
    await view.locator(".changes li").filter({ hasText: "removed" }).filter({ hasText: first.base }).waitFor();
    assert.equal(await view.locator("tbody tr").count(), shipped.models.length - 1);
    await view.getByRole("button", { name: "Back to the shipped catalog" }).click();
    await view.getByText(`${shipped.models.length} models`, { exact: true }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  for (const [name, options] of Object.entries(LOOKS)) {
    test(`accessible and in its frame: ${name}`, async () => {
      const { page, view, problems, close } = await open(options);
      await assertPresentable(page, `page-models-${name}`);
      await view.locator("tbody .open").nth(2).click();
      await page.getByRole("dialog").locator("summary").first().click();
      await assertPresentable(page, `page-models-detail-${name}`);
      await page.keyboard.press("Escape");
      await view.getByRole("button", { name: "Add a model" }).click();
      await assertPresentable(page, `page-models-add-${name}`);
      assert.deepEqual(problems, []);
      await close();
    });
  }
});
