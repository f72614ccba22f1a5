/** The page's Plan view in Chromium: files of every kind, estimates, plans, exports. */
import assert from "node:assert/strict";
import { open as openFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import Papa from "papaparse";
import { Router } from "../../dist/node.js";
import { WORK } from "../../www/page/plan/batch.js";
import { sampleFile } from "../../www/page/plan/sample.js";
import { findChromium, resultFile } from "./browser.mjs";
import { assertPresentable, DESKTOP, LOOKS, startSite } from "./site.mjs";

/** Ten thousand prompts on a busy machine. */
const PATIENCE_MS = 240_000;

const executable = findChromium();

describe("page: plan", { skip: executable === undefined }, () => {
  let site, router;

  before(async () => {
    site = await startSite(executable);
    router = await Router.load();
  });

  after(async () => {
    router?.free();
    await site?.close();
  });

  async function open(options = DESKTOP) {
    const opened = await site.open({ ...options, hash: "#plan" });
    await opened.page.getByRole("button", { name: "Choose a file" }).waitFor();
    return { ...opened, slot: (name) => opened.page.locator(`#plan [data-slot=${name}]`) };
  }

  const give = ({ slot }, name, content) => slot("file").setInputFiles({ name, mimeType: "", buffer: Buffer.from(content) });

  /** Confirms the columns and waits for the first plan. */
  async function estimate({ page, slot }) {
    await page.getByRole("button", { name: "Estimate", exact: true }).click();
    await page.locator("#plan .here").waitFor({ timeout: PATIENCE_MS });
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    return slot("estimated").textContent();
  }

  /** A plan of a file, its columns as they are guessed. */
  async function plan(name, content, options) {
    const opened = await open(options);
    await give(opened, name, content);
    await estimate(opened);
    return opened;
  }

  /** Does something and waits for the plan that comes of it. */
  async function replan({ page }, action) {
    await page.evaluate(() => {
      globalThis.planned = false;
      new MutationObserver((_, observer) => {
        observer.disconnect();
        globalThis.planned = true;
      }).observe(document.querySelector("#plan [data-slot=elapsed]"), { childList: true });
    });
    await action();
    await page.waitForFunction(() => globalThis.planned);
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
  }

  /** What a button saves: its name and text. */
  async function saved({ page }, button) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  }

  const savedPlan = async (opened) => JSON.parse((await saved(opened, "Save the plan")).text);
  const savedRows = async (opened) => Papa.parse((await saved(opened, "Save the assignment")).text, { header: true, skipEmptyLines: true }).data;

  /** The same plan by the package itself. */
  function planInNode(prompts, requirements) {
    const batch = router.estimateBatch(prompts);
    return { ...router.plan({ ...batch, ...requirements }, { work: WORK }), ids: batch.ids };
  }

  test("the sample is planned as the package plans it", async () => {
    const opened = await open();
    await opened.page.getByRole("button", { name: "Try the sample" }).click();
    await opened.page.locator("#plan .here").waitFor();
    const prompts = (await sampleFile().text()).split("\n").map((line) => JSON.parse(line));
    assert.match(await opened.slot("estimated").textContent(), new RegExp(`^sample.jsonl: ${prompts.length} prompts estimated on \\d+ models, in 4 groups`));

    const { requirements, plan, assignment } = await savedPlan(opened);
    const here = planInNode(prompts.map(({ text }) => text), { quality_target: requirements.quality_target });
    assert.equal(plan.status, here.status);
    assert.ok(Math.abs(plan.cost_usd - here.cost_usd) <= 1e-9 * here.cost_usd, `${plan.cost_usd}, ${here.cost_usd}`);
    assert.deepEqual(assignment.map(({ query_id: id, model }) => [id, model]), prompts.map(({ query_id: id }, i) => [id, here.ids[here.assignment[i]]]));
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("what is saved adds up to what is shown, and reaches the target", async () => {
    const opened = await plan("Fragen.csv", csv(60));
    const { name, text } = await saved(opened, "Save the assignment");
    assert.equal(name, "Fragen-assignment.csv");
    const { data: rows, meta } = Papa.parse(text, { header: true, skipEmptyLines: true });
    assert.deepEqual(meta.fields, ["query_id", "model", "quality", "cost_usd", "group"]);
    assert.equal(rows.length, 60);
    const { requirements, plan: summary, versions } = await savedPlan(opened);
    assert.equal(versions.catalog, router.versions.catalog);
    const sum = (field) => rows.reduce((total, row) => total + Number(row[field]), 0);
    assert.ok(Math.abs(sum("cost_usd") - summary.cost_usd) < 1e-9 * summary.cost_usd);
    assert.ok(sum("quality") / 60 >= requirements.quality_target - 1e-9);
    const figures = await opened.slot("figures").innerText();
    assert.ok(figures.includes(`${(summary.quality * 100).toFixed(1)}\u00a0%`), figures);
    const [shown] = /\$[\d.,]+/.exec(figures);
    assert.ok(Math.abs(Number(shown.slice(1)) / summary.cost_usd - 1) < 0.06, `${shown} shown, ${summary.cost_usd} saved`);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("csv, tsv, jsonl and text, also gzipped, pasted and dropped", async () => {
    const opened = await open();
    const { page, slot } = opened;
    const lines = ["What is the capital of Peru?", "Add 17, 23 and 4.", "Say \"hello\" in Welsh."];
    const json = lines.map((text, i) => JSON.stringify({ query_id: `q${i}`, text }));
    json.push(JSON.stringify({ query_id: "q3", messages: [{ role: "user", content: "Name a prime above 90." }] }));
    const files = [
      ["a.csv", Papa.unparse({ fields: ["n", "question"], data: lines.map((line, i) => [i, line]) }), 3, "question"],
      ["b.tsv", `id\tprompt\r\n${lines.slice(0, 2).map((line, i) => `${i}\t${line}`).join("\r\n")}`, 2, "prompt"],
      ["c.jsonl", `${json.join("\n")}\n`, 4, "text"],
      ["d.jsonl.gz", gzipSync(json.join("\n")), 4, "text"],
      ["e.csv.gz", gzipSync(csv(5)), 5, "prompt"],
      ["f.txt", lines.join("\n"), 3, "prompt"],
      ["g.csv", Buffer.from(`\ufeff${csv(4)}`, "utf16le"), 4, "prompt"],
      ["h.csv", `title,story\nA,${"A long story. ".repeat(9)}\nB,${"Another. ".repeat(9)}\n`, 2, "story"],
    ];
    for (const [name, content, count, column] of files) {
      await give(opened, name, content);
      await slot("found").getByText(`${name}, `).waitFor();
      assert.equal(await page.locator("#plan-prompt").inputValue(), column, name);
      await estimate(opened);
      await slot("estimated").getByText(`${name}: ${count} prompts estimated`).waitFor();
      assert.equal(await slot("bad").isVisible(), false, name);
    }

    await page.getByRole("button", { name: "Another file" }).click();
    await page.getByText("Or paste prompts").click();
    await page.getByLabel("Prompts, one per line").fill(lines.join("\n"));
    await page.getByRole("button", { name: "Use this text" }).click();
    await slot("found").getByText("pasted text, ").waitFor();
    assert.equal(await page.getByLabel("Format").inputValue(), "lines");
    await estimate(opened);
    await slot("estimated").getByText("pasted text: 3 prompts").waitFor();

    await page.getByRole("button", { name: "Another file" }).click();
    await slot("drop").evaluate((target, text) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([text], "dropped.csv"));
      for (const type of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
    }, csv(6));
    await slot("found").getByText("dropped.csv, ").waitFor();
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("a half-broken csv: bad rows are told by row and column, the good ones kept", async () => {
    const broken = [
      "id,prompt,team",
      "1,What is 2 + 2?,a",
      "2,\"She said \"hi\" and left\",a",
      "3,\"a quote that never ends,b",
      "4,Kept after the open quote,b",
      "5,too few",
      "6,,a",
      "1,Twice the same identifier,b",
      "8,\"several\nlines, \"\"quoted\"\"\",a",
      "9,caf\xe9 in Latin-1,a",
      "10,The last one,b",
    ].join("\n");
    const opened = await open();
    await give(opened, "broken.csv", Buffer.from(broken, "latin1"));
    await opened.page.getByLabel("Group", { exact: true }).selectOption("team");
    await estimate(opened);
    assert.match(await opened.slot("estimated").textContent(), /^broken\.csv: 4 prompts estimated on \d+ models, in 2 groups/);
    assert.equal(await opened.slot("bad-count").textContent(), "6 rows were left out");
    await opened.slot("bad-count").click();
    await opened.page.screenshot({ path: resultFile("plan-broken.png"), fullPage: true });
    const { data: told } = Papa.parse((await saved(opened, "Save them all")).text, { header: true, skipEmptyLines: true });
    assert.deepEqual(told.map(({ row, column }) => [Number(row), column]), [[3, "prompt"], [4, "prompt"], [6, ""], [7, "prompt"], [8, "id"], [10, "prompt"]]);
    assert.match(told[2].reason, /2 cells where the header has 3/);
    assert.match(told[4].reason, /same as in row 2/);
    assert.match(told[5].reason, /not valid UTF-8/);
    const list = await opened.slot("bad-list").locator("li").allTextContents();
    assert.equal(list.length, 6);
    assert.match(list[4], /^Row 8: id is the same as in row 2/);
    assert.deepEqual((await savedRows(opened)).map((row) => row.query_id), ["1", "4", "8", "10"]);

    // The router's own objections count too, and so do those of JSON.
    await give(opened, "mixed.jsonl", [
      '{"query_id":"a","text":"What is a fjord?"}', "{no json", '["list"]', '{"query_id":"b","text":7}',
      '{"query_id":"c","messages":[{"role":5}]}', '{"query_id":"d","messages":[{"role":"user","content":"Name a bay."}]}',
    ].join("\n"));
    await opened.slot("found").getByText("mixed.jsonl, ").waitFor();
    await estimate(opened);
    const rows = await opened.slot("bad-list").locator("li").allTextContents();
    assert.deepEqual(rows.map((line) => parseInt(line.slice(4), 10)), [2, 3, 4, 5], rows.join("\n"));
    assert.deepEqual((await savedRows(opened)).map((row) => row.query_id), ["a", "d"]);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("what is no list of prompts is refused by name, and so is what is too large", async () => {
    const opened = await open();
    const alert = opened.page.locator("#plan").getByRole("alert");
    const png = Buffer.from("\x89PNG\r\n\x1a\n0000", "latin1");
    for (const [name, content, code, says] of [
      ["picture.png", png, "unsupported_type", "a PNG image"],
      ["paper.pdf", "%PDF-1.7 ...", "unsupported_type", "a PDF document"],
      ["sheet.xlsx", "PK\x03\x04 ...", "unsupported_type", "Excel"],
      ["table.parquet", "PAR1....", "unsupported_type", "a Parquet file"],
      ["renamed.csv", Buffer.from([1, 2, 0, 4, 0, 9]), "unsupported_type", "a binary file"],
      ["packed.csv.gz", gzipSync("PK\x03\x04 ..."), "unsupported_type", "a zip archive"],
      ["array.json", '[{"text":"hi"}]', "unsupported_type", "one JSON array"],
      ["empty.csv", "", "empty_file", "is empty"],
      ["damaged.jsonl.gz", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(40, 7)]), "bad_file", "damaged"],
    ]) {
      await give(opened, name, content);
      await alert.getByText(code).waitFor();
      await alert.getByText(says).waitFor();
      if (code !== "bad_file") assert.ok((await alert.textContent()).includes(name), name);
    }

    // 500 MB that are nowhere: it is refused before it is read.
    const large = join(site.folder, "large.csv");
    const handle = await openFile(large, "w");
    await handle.truncate(500e6);
    await handle.close();
    await opened.slot("file").setInputFiles(large);
    await alert.getByText("large.csv has 500 MB; up to 200 MB are read").waitFor();
    // What unpacks to more than that is given up on the way.
    const bomb = join(site.folder, "bomb.csv.gz");
    const line = `${"a long question ".repeat(30_000)}\n`;
    await writeFile(bomb, gzipSync(Buffer.concat([Buffer.from("prompt\n"), Buffer.alloc(210e6, line)])));
    await opened.slot("file").setInputFiles(bomb);
    await opened.page.getByRole("button", { name: "Estimate", exact: true }).click();
    await alert.getByText("bomb.csv.gz unpacks to more than 200 MB").waitFor({ timeout: 60_000 });
    // The view is as before, and takes the next file.
    await give(opened, "fine.csv", csv(3));
    await estimate(opened);
    assert.equal(await alert.isVisible(), false);
    await opened.close();
  });

  test("10,000 prompts: cancelled, what is done is planned; then the rest", async () => {
    const opened = await open();
    const { page, slot } = opened;
    await give(opened, "many.csv.gz", gzipSync(csv(10_000)));
    await page.getByRole("button", { name: "Estimate", exact: true }).click();
    await page.waitForFunction(() => /^([2-9]\d\d|\d,\d+) of 10,000 prompts, [\d,]+ a second, .* left$/.test(document.querySelector("#plan [data-slot=doing]").textContent), null, { timeout: PATIENCE_MS });
    await page.getByRole("button", { name: "Cancel" }).click();
    await slot("again").waitFor();
    const [, some] = /many\.csv\.gz: ([\d,]+) of 10,000 prompts estimated/.exec(await slot("estimated").textContent());
    const part = Number(some.replace(",", ""));
    assert.ok(part >= 200 && part < 10_000, some);
    await page.locator("#plan .here").waitFor();
    assert.equal((await savedPlan(opened)).plan.queries, part);

    await slot("again").click();
    await slot("estimated").getByText("many.csv.gz: 10,000 prompts estimated").waitFor({ timeout: PATIENCE_MS });
    await page.locator("#plan .outcome[aria-busy=false]").waitFor({ timeout: PATIENCE_MS });
    await page.locator("#plan .here").waitFor();
    const rows = await savedRows(opened);
    assert.equal(rows.length, 10_000);
    const { requirements, plan: summary } = await savedPlan(opened);
    const quality = rows.reduce((sum, row) => sum + Number(row.quality), 0) / rows.length;
    assert.ok(quality >= requirements.quality_target - 1e-9);
    assert.ok(Math.abs(rows.reduce((sum, row) => sum + Number(row.cost_usd), 0) / summary.cost_usd - 1) < 1e-9);
    await page.screenshot({ path: resultFile("plan-many.png"), fullPage: true });
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("groups keep their floors, models their limits, the batch its budget", async () => {
    const prompts = questions(90);
    const opened = await plan("mix.csv", csv(90));
    const { page, slot } = opened;
    const before = await savedPlan(opened);
    const { name: group, quality: had } = [...before.plan.groups].sort((a, b) => a.quality - b.quality)[0];
    const floor = Math.ceil(had * 100 + 1) / 100;
    await replan(opened, async () => {
      await page.getByLabel(`Floor of ${group}, percent`).fill(String(Math.round(floor * 100)));
      await page.keyboard.press("Enter");
    });
    const floored = await savedPlan(opened);
    assert.ok(floored.plan.groups.find(({ name }) => name === group).quality >= floor - 1e-9);
    assert.ok(floored.plan.cost_usd >= before.plan.cost_usd);

    const [most] = floored.plan.models;
    const limit = most.queries >> 1;
    const input = page.locator(`#plan input[data-key="${most.model}"]`);
    await replan(opened, async () => {
      await input.fill(String(limit));
      await page.keyboard.press("Enter");
    });
    assert.equal(await input.evaluate((element) => element === document.activeElement), true, "the input keeps the focus");
    const limited = await savedPlan(opened);
    assert.ok(limited.plan.models.find(({ model }) => model === most.model).queries <= limit);
    assert.ok(limited.plan.cost_usd >= floored.plan.cost_usd);
    // The very same from the package.
    const batch = router.estimateBatch(prompts);
    const names = [...new Set(prompts.map((_, i) => groupOf(i)))];
    const here = router.plan({
      ...batch,
      quality_target: limited.requirements.quality_target,
      workloads: Float64Array.from(batch.ids, (id) => (id === most.model ? limit : Infinity)),
      groups: Uint32Array.from(prompts, (_, i) => names.indexOf(groupOf(i))),
      floors: Float64Array.from(names, (name) => (name === group ? floor : 0)),
    }, { work: WORK });
    assert.ok(Math.abs(here.cost_usd - limited.plan.cost_usd) <= 1e-9 * here.cost_usd, `${here.cost_usd}, ${limited.plan.cost_usd}`);

    const budget = before.plan.cost_usd * 3;
    await replan(opened, () => page.getByLabel("Spend a budget, get the most").check());
    await replan(opened, () => page.getByLabel("Budget for the batch").fill(String(budget)));
    const rich = await savedPlan(opened);
    assert.equal(rich.requirements.quality_target, undefined);
    assert.ok(rich.plan.cost_usd <= budget * (1 + 1e-9));
    assert.ok(rich.plan.quality > limited.plan.quality);
    await page.screenshot({ path: resultFile("plan-budget.png"), fullPage: true });

    await replan(opened, () => slot("demands").getByRole("button", { name: "Reset" }).click());
    assert.deepEqual((await savedPlan(opened)).plan.cost_usd, before.plan.cost_usd);
    assert.equal(await slot("infeasible").isVisible(), false);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("the policy says which models take part", async () => {
    const opened = await plan("few.csv", csv(30));
    const { page } = opened;
    const before = await savedPlan(opened);
    const [{ model }] = before.plan.models;
    const provider = model.split("/")[0];
    await page.getByText("Providers", { exact: true }).click();
    await replan(opened, () => page.getByRole("checkbox", { name: new RegExp(`^${provider} \\d+$`) }).uncheck());
    const without = await savedPlan(opened);
    assert.ok(without.plan.models.every((share) => !share.model.startsWith(`${provider}/`)));
    assert.ok(without.plan.cost_usd >= before.plan.cost_usd * (1 - 1e-9) || without.requirements.quality_target < before.requirements.quality_target);
    await replan(opened, () => page.locator("#plan-allow").fill("openai/*"));
    assert.ok((await savedPlan(opened)).plan.models.every((share) => share.model.startsWith("openai/")));
    await page.locator("#plan-allow").fill("nobody/*");
    await opened.slot("why").getByText("no model is left").waitFor();
    assert.equal(await page.getByRole("button", { name: "Save the assignment" }).isDisabled(), true);
    await opened.close();
  });

  test("where there is no plan, the reason, and a button that makes one possible", async () => {
    const opened = await plan("none.csv", csv(40));
    const { page, slot } = opened;
    const before = await savedPlan(opened);
    const remedy = slot("remedy");
    const budget = page.locator("#plan-budget");

    await replan(opened, () => budget.fill(String(before.plan.cost_usd / 1.5)));
    assert.match(await slot("why").textContent(), /budget buys a mean quality of [\d.]+.% at most/);
    await page.screenshot({ path: resultFile("plan-infeasible.png"), fullPage: true });
    await replan(opened, () => remedy.click());
    assert.equal(await slot("infeasible").isVisible(), false);
    assert.ok((await savedPlan(opened)).plan.cost_usd <= before.plan.cost_usd / 1.5 + 1e-12);

    await replan(opened, () => budget.fill("0.0000001"));
    assert.match(await slot("why").textContent(), /cheapest plan costs/);
    await replan(opened, () => remedy.click());
    await replan(opened, () => budget.fill(""));

    const [{ model }] = (await savedPlan(opened)).plan.models;
    const group = page.getByLabel("Floor of sums, percent");
    await replan(opened, async () => {
      await group.fill("99.99");
      await page.keyboard.press("Enter");
    });
    assert.match(await slot("why").textContent(), /can be met at once/);
    await replan(opened, () => remedy.click());
    assert.equal(await slot("infeasible").isVisible(), false);
    await replan(opened, async () => {
      await page.locator(`#plan input[data-key="${model}"]`).fill("0");
      await page.keyboard.press("Enter");
    });
    assert.ok(!(await savedPlan(opened)).plan.models.some((share) => share.model === model && share.queries > 0));

    await replan(opened, () => page.locator("#plan-allow").fill(model));
    assert.match(await slot("why").textContent(), /With these limits of calls 0 of 40/);
    await replan(opened, () => remedy.click());
    // That model alone does not reach the floor, which is the next reason.
    if (await slot("infeasible").isVisible()) await replan(opened, () => remedy.click());
    assert.equal(await slot("infeasible").isVisible(), false);
    assert.ok((await savedPlan(opened)).plan.models.every((share) => share.model === model));
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("the plot and the keyboard set the target", async () => {
    const opened = await plan("keys.csv", csv(30));
    const { page } = opened;
    const slider = page.getByLabel("Mean quality of the batch");
    const before = await slider.inputValue();
    await slider.focus();
    await replan(opened, () => page.keyboard.press("ArrowLeft"));
    assert.ok(Number(await slider.inputValue()) < Number(before));
    await page.locator("#plan .plot-svg").scrollIntoViewIfNeeded();
    const box = await page.locator("#plan .plot-svg").boundingBox();
    await replan(opened, () => page.mouse.click(box.x + box.width / 2, box.y + box.height * 0.3));
    const target = Number(await slider.inputValue());
    assert.notEqual(target, Number(before));
    const { plan: summary } = await savedPlan(opened);
    assert.ok(summary.quality >= target - 1e-9);
    await page.locator("#plan .outcome").getByRole("status").filter({ hasText: "mean quality" }).waitFor({ state: "attached" });
    await opened.close();
  });

  test("estimates of another catalog are marked, and made again", async () => {
    const opened = await plan("again.csv", csv(20));
    const { page, slot } = opened;
    const before = await savedPlan(opened);
    await page.getByRole("link", { name: "Learn" }).click();
    const learn = page.locator("#learn");
    await learn.locator("#rate-model").selectOption(before.plan.models[0].model);
    await learn.getByRole("button", { name: /^Wrong/ }).click();
    await learn.locator(".rated .pill").waitFor();
    await page.getByRole("link", { name: "Plan" }).click();
    await page.getByText("The catalog has changed since these estimates.").waitFor();
    await page.getByRole("button", { name: "Estimate again" }).click();
    await page.locator("#plan .here").waitFor();
    await slot("stale").waitFor({ state: "hidden" });
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    assert.notEqual((await savedPlan(opened)).plan.quality, before.plan.quality);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("a free model stands at the left edge of every plot", async () => {
    const opened = await open();
    const { page } = opened;
    await page.getByRole("link", { name: "Models", exact: true }).click();
    // The view takes files once it is loaded.
    await page.locator("#models tbody tr").first().waitFor();
    const catalog = router.catalog();
    for (const model of catalog.models.slice(0, 2)) Object.assign(model, { cost: { input: 0, output: 0 }, free: true });
    await page.locator("#models [data-slot=import-file]").setInputFiles({ name: "catalog.json", mimeType: "", buffer: Buffer.from(JSON.stringify(catalog)) });
    await page.getByText("2 changes to the shipped catalog").waitFor();

    await page.getByRole("link", { name: "Try", exact: true }).click();
    await page.locator("#decision [data-slot=model]").filter({ hasText: /\w/ }).waitFor();
    await page.locator("#try .plot-svg").waitFor();
    await page.getByRole("link", { name: "Plan", exact: true }).click();
    await give(opened, "free.csv", csv(30));
    await estimate(opened);
    assert.deepEqual(await page.locator("svg").evaluateAll((all) => all.map((svg) => svg.outerHTML).filter((html) => /NaN|Infinity/.test(html))), []);
    const edge = await page.locator("#plan .constant circle").evaluateAll((dots) => Math.min(...dots.map((dot) => Number(dot.getAttribute("cx")))));
    assert.equal(edge, 46);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("a spreadsheet takes no cell of the file for a formula", async () => {
    const opened = await plan("sly.csv", Papa.unparse({ fields: ["id", "prompt", "group"], data: [["=1+1", "Say hi.", "@SUM(A1)"], ["-2", "Say ho.", "+3"], ["plain", "Say so.", "g"]] }));
    const rows = await savedRows(opened);
    assert.deepEqual(rows.map((row) => [row.query_id, row.group]), [["'=1+1", "'@SUM(A1)"], ["'-2", "'+3"], ["plain", "g"]]);
    await opened.close();
  });

  for (const [look, options] of Object.entries(LOOKS)) {
    test(`accessible and in its frame: ${look}`, async () => {
      const opened = await open(options);
      const { page, slot } = opened;
      await page.getByText("Or paste prompts").click();
      await assertPresentable(page, `plan-empty-${look}`);
      await give(opened, "prompts.csv", csv(40));
      await slot("found").getByText("prompts.csv, ").waitFor();
      await assertPresentable(page, `plan-columns-${look}`);
      await estimate(opened);
      await page.getByText("Providers", { exact: true }).click();
      await assertPresentable(page, `plan-${look}`);
      assert.deepEqual(opened.problems, []);
      await opened.close();
    });
  }
});

const groupOf = (i) => ["sums", "facts", "texts"][i % 3];

/** Prompts of three kinds, none like another. */
function questions(count) {
  return Array.from({ length: count }, (_, i) => [
    `A shop sells ${i + 3} lamps for ${7 + (i % 90)} euros each and gives ${i % 40} percent off. What does it take in?`,
    `In which year did event number ${i * 37} of the town's chronicle happen if the first was in ${1200 + (i % 700)} and one follows every ${1 + (i % 9)} months?`,
    `Rewrite politely, variant ${i}: "Send the ${["invoice", "contract", "parcel", "offer"][i % 4]} number ${i} now, or we are done."`,
  ][i % 3]);
}

function csv(count) {
  return Papa.unparse({ fields: ["query_id", "prompt", "group"], data: questions(count).map((question, i) => [`q${i}`, question, groupOf(i)]) });
}
