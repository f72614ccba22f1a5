/** Near-duplicates in the page's Plan view: what they are by themselves, and the card that finds them in Chromium. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import Papa from "papaparse";
import { Encoder } from "../../dist/encoder-node.js";
import { nearDuplicates } from "../../www/page/plan/duplicates.js";
import { npy } from "../../www/page/plan/npy.js";
import { findChromium } from "./browser.mjs";
import { findEncoder, leastCosine, manifestOf } from "./encoder-files.mjs";
import { assertPresentable, DESKTOP, LOOKS, startSite } from "./site.mjs";

/** Many texts in software, on a busy machine. */
const PATIENCE_MS = 240_000;

/** Vectors of unit length near few directions, from a seed. */
function vectors(count, dimensions, spread) {
  let state = 9;
  const next = () => (state = (state * 16807) % 2147483647) / 2147483647 - 0.5;
  const centers = Array.from({ length: 40 }, () => Array.from({ length: dimensions }, next));
  const all = new Float32Array(count * dimensions);
  for (let i = 0; i < count; i++) {
    const vector = centers[i % 40].map((value) => value + spread * next());
    const length = Math.hypot(...vector);
    vector.forEach((value, k) => (all[i * dimensions + k] = value / length));
  }
  return all;
}

test("near-duplicates are those that every pair, compared whole, makes them", async () => {
  for (const [count, dimensions, spread, threshold] of [[300, 384, 0.23, 0.95], [300, 384, 0.33, 0.9], [200, 20, 0.4, 0.85], [50, 384, 0.1, 1], [1, 384, 1, 0.9]]) {
    const all = vectors(count, dimensions, spread);
    const cosine = (i, j) => all.subarray(i * dimensions, (i + 1) * dimensions).reduce((sum, value, k) => sum + value * all[j * dimensions + k], 0);
    const [kept, expected] = [[], []];
    for (let i = 0; i < count; i++) {
      const near = kept.map((j) => [cosine(i, j), j]).filter(([value]) => value >= threshold - 1e-5).sort(([a, i], [b, j]) => b - a || i - j);
      expected.push(near[0]?.[1] ?? i);
      if (near.length === 0) kept.push(i);
    }
    const { of, cosine: found } = await nearDuplicates(all, dimensions, threshold);
    assert.deepEqual([...of], expected, `${count}, ${threshold}`);
    of.forEach((j, i) => assert.ok(i === j ? found[i] === 1 : Math.abs(found[i] - cosine(i, j)) < 1e-5));
    if (threshold < 1 && count > 1) assert.ok(kept.length > 30 && kept.length < count, `${kept.length}`);
  }
});

test("near-duplicates are found with progress, and cancelled", async () => {
  const all = vectors(3000, 32, 2);
  const progress = [];
  await nearDuplicates(all, 32, 0.999, { progress: (each) => progress.push(each) });
  assert.ok(progress.length > 3 && progress.every(({ total }) => total === 3000));
  await assert.rejects(nearDuplicates(all, 32, 0.999, { pause: () => Promise.reject(new Error("stop")) }), /stop/);
});

/** The shape and the numbers of a file of NumPy's. */
function parsed(bytes) {
  assert.equal(bytes.subarray(0, 8).toString("latin1"), "\x93NUMPY\x01\x00");
  const start = 10 + bytes.readUInt16LE(8);
  assert.equal(start % 64, 0);
  const header = bytes.toString("latin1", 10, start);
  const [, rows, columns] = /^\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \} *\n$/.exec(header);
  return { rows: Number(rows), columns: Number(columns), values: new Float32Array(new Uint8Array(bytes.subarray(start)).buffer) };
}

test("the file of embeddings is one of NumPy's", async () => {
  const values = Float32Array.from({ length: 12 }, (_, i) => i / 7);
  assert.deepEqual(parsed(Buffer.from(await npy(values, 4).arrayBuffer())), { rows: 3, columns: 4, values });
});

const executable = findChromium();
const encoder = findEncoder();
const skip = executable === undefined || encoder === undefined;

/** Prompts, some of them twice, some in other words. */
const PROMPTS = [
  "How tall is Mount Everest?",
  "Write a SQL query for the ten products that are returned most often.",
  "How tall is Mount Everest?",
  "Translate to German: the parcel is late.",
  "How tall is Mt. Everest?",
  "Write a haiku about a lost sock.",
  "Translate to German: the parcel is late!",
  "Which size should I take if I am between two sizes?",
];

describe("page: near-duplicates", { skip }, () => {
  let site, bare;

  before(async () => {
    [site, bare] = await Promise.all([startSite(executable, { encoder }), startSite(executable, { encoder: "/nowhere" })]);
  });

  after(() => Promise.all([site?.close(), bare?.close()]));

  async function plan(prompts, options = DESKTOP, at = site) {
    const opened = await at.open({ ...options, hash: "#plan" });
    const { page } = opened;
    const asked = [];
    page.context().on("request", (request) => asked.push(new URL(request.url()).pathname));
    const card = page.locator("#plan details.embed");
    const slot = (name) => page.locator(`#plan [data-slot=${name}]`);
    await page.getByRole("button", { name: "Choose a file" }).waitFor();
    const rows = prompts.map((prompt, i) => [`q${i}`, prompt]);
    await slot("file").setInputFiles({ name: "shop.csv", mimeType: "", buffer: Buffer.from(Papa.unparse({ fields: ["query_id", "prompt"], data: rows })) });
    await page.getByRole("button", { name: "Estimate", exact: true }).click();
    await page.locator("#plan .here").waitFor({ timeout: PATIENCE_MS });
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    return { ...opened, card, slot, asked };
  }

  async function embed({ page, card, slot }) {
    await card.locator("> summary").click();
    await card.getByRole("button", { name: /^Embed \d+ prompts/ }).click();
    await slot("embed-result").waitFor({ timeout: PATIENCE_MS });
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
  }

  async function saved({ page }, button) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
    return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
  }

  const savedRows = async (opened) => Papa.parse(String((await saved(opened, "Save the assignment")).bytes), { header: true, skipEmptyLines: true }).data;
  const savedPlan = async (opened) => JSON.parse(String((await saved(opened, "Save the plan")).bytes));

  test("prompts that ask the same are found, left out of the plan, and get the model of the one they repeat", async () => {
    const opened = await plan(PROMPTS);
    const { page, slot, asked } = opened;
    assert.ok(!asked.some((path) => /encoder|gpu/.test(path)), "nothing is loaded before it is asked for");
    const before = await savedPlan(opened);
    assert.equal(before.plan.queries, PROMPTS.length);
    await embed(opened);
    assert.ok(asked.includes(`/encoder/${manifestOf(encoder).files.onnx.path}`));
    assert.match(await slot("embed-found").textContent(), /^3 of 8 prompts repeat an earlier one/);
    assert.match(await slot("embed-figures").textContent(), /On the CPU[\d,]+ texts\/s8 prompts/);
    await page.getByText("Which they are").click();
    assert.deepEqual(await slot("embed-list").locator("li > span:first-child").allTextContents().then((all) => all.map((each) => each.replace(/[\d.]+ to/, "to"))),
      ["q2, to q0", "q4, to q0", "q6, to q3"]);

    await page.getByLabel("Leave them out of the plan").check();
    await slot("embed-left").getByText("3 of them left out").waitFor();
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    const after = await savedPlan(opened);
    assert.deepEqual([after.plan.queries, after.plan.left_out], [5, 3]);
    assert.ok(after.plan.cost_usd < before.plan.cost_usd);
    assert.deepEqual(after.assignment.flatMap(({ query_id: id, repeats }) => (repeats ? [[id, repeats]] : [])), [["q2", "q0"], ["q4", "q0"], ["q6", "q3"]]);
    const rows = await savedRows(opened);
    assert.equal(rows.length, PROMPTS.length);
    for (const [i, j] of [[2, 0], [4, 0], [6, 3]]) assert.equal(rows[i].model, rows[j].model);

    // At a cosine of 1 only the very same is left, and the plan follows.
    await page.getByLabel("Near from a cosine of").fill("1");
    await page.keyboard.press("Enter");
    await slot("embed-left").getByText("1 of them left out").waitFor();
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    await page.locator("#plan [data-slot=figures]").getByText(/of 7 answers/).waitFor();
    // Of two in a row the last one counts.
    await slot("embed-threshold").evaluate((input) => {
      for (const value of ["0.5", "0.95"]) {
        input.value = value;
        input.dispatchEvent(new Event("change"));
      }
    });
    await page.locator("#plan [data-slot=figures]").getByText(/of 5 answers/).waitFor();
    assert.match(await slot("embed-left").textContent(), /^3 of them left out/);
    await page.getByLabel("Leave them out of the plan").uncheck();
    await page.locator("#plan [data-slot=figures]").getByText(/of 8 answers/).waitFor();
    assert.deepEqual((await savedPlan(opened)).plan.models, before.plan.models);
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("the embeddings are saved as the package makes them", async (t) => {
    const opened = await plan(PROMPTS);
    await embed(opened);
    const { name, bytes } = await saved(opened, "Save the embeddings");
    assert.equal(name, "shop-embeddings.npy");
    const { rows, columns, values } = parsed(bytes);
    assert.equal(rows, PROMPTS.length);
    const node = await Encoder.load({ from: join(encoder, "manifest.json"), path: "cpu" });
    t.after(() => node.free());
    const { embeddings, dimensions } = await node.embed(PROMPTS);
    assert.equal(columns, dimensions);
    assert.ok(leastCosine(values, embeddings, dimensions) > 0.9999);
    await opened.close();
  });

  test("cancelled, it can be begun again; another file begins anew", async () => {
    const many = Array.from({ length: 400 }, (_, i) => `Question ${i}: ${PROMPTS[i % PROMPTS.length]} `.repeat(4));
    const opened = await plan(many);
    const { page, card, slot } = opened;
    await card.locator("> summary").click();
    await card.getByRole("button", { name: "Embed 400 prompts" }).click();
    await slot("embed-doing").getByText(/of 400 prompts/).waitFor({ timeout: PATIENCE_MS });
    // The plan is planned on meanwhile.
    await page.getByLabel("Spend at most").fill("1");
    await page.locator("#plan .outcome[aria-busy=false]").waitFor();
    await card.getByRole("button", { name: "Cancel" }).click();
    await card.getByRole("button", { name: "Embed 400 prompts" }).waitFor();
    assert.equal(await slot("embed-result").isVisible(), false);
    assert.equal(await slot("embed-error").isVisible(), false);
    await slot("file").setInputFiles({ name: "few.txt", mimeType: "", buffer: Buffer.from(PROMPTS.slice(0, 3).join("\n")) });
    await page.getByRole("button", { name: "Estimate", exact: true }).click();
    await card.getByRole("button", { name: "Embed 3 prompts" }).click({ timeout: PATIENCE_MS });
    await slot("embed-found").getByText("1 of 3 prompts repeats").waitFor({ timeout: PATIENCE_MS });
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  test("a page that was built without the encoder takes its files from the user, and says what is wrong with them", async () => {
    const opened = await plan(PROMPTS, DESKTOP, bare);
    const { card, slot } = opened;
    await card.locator("> summary").click();
    await slot("embed-from").getByText("This page was built without it").waitFor();
    assert.equal(await slot("embed-start").isDisabled(), true);
    const files = Object.values(manifestOf(encoder).files).map(({ path }) => join(encoder, path));
    await slot("embed-files").setInputFiles(files);
    await slot("embed-error").getByText("manifest.json is not among them").waitFor();
    await slot("embed-files").setInputFiles([join(encoder, "manifest.json"), ...files.filter((path) => !path.endsWith(".onnx"))]);
    await slot("embed-start").click();
    await slot("embed-error").getByText("from.onnx").waitFor();
    await slot("embed-files").setInputFiles([join(encoder, "manifest.json"), ...files]);
    await slot("embed-from").getByText("From 4 files of yours").waitFor();
    await slot("embed-start").click();
    await slot("embed-found").getByText("3 of 8 prompts").waitFor({ timeout: PATIENCE_MS });
    assert.deepEqual(opened.problems, []);
    await opened.close();
  });

  for (const [look, options] of Object.entries(LOOKS)) {
    test(`accessible and in its frame: ${look}`, async () => {
      const opened = await plan(PROMPTS, options);
      const { page, card, slot } = opened;
      await card.locator("> summary").click();
      await slot("embed-from").getByText("23 MB").waitFor();
      await assertPresentable(page, `plan-embed-before-${look}`);
      await card.getByRole("button", { name: /^Embed \d+ prompts/ }).click();
      await slot("embed-result").waitFor({ timeout: PATIENCE_MS });
      await page.getByText("Which they are").click();
      await page.getByLabel("Leave them out of the plan").check();
      await page.locator("#plan .outcome[aria-busy=false]").waitFor();
      await assertPresentable(page, `plan-embed-${look}`);
      assert.deepEqual(opened.problems, []);
      await opened.close();
    });
  }
});

describe("page: near-duplicates on the GPU", { skip }, () => {
  test("both paths are measured, and the switch is obeyed", async () => {
    const site = await startSite(executable, { encoder, gpu: true });
    try {
      const { page, problems } = await site.open({ ...DESKTOP, hash: "#plan" });
      const slot = (name) => page.locator(`#plan [data-slot=${name}]`);
      await slot("file").setInputFiles({ name: "few.txt", mimeType: "", buffer: Buffer.from(PROMPTS.join("\n")) });
      await page.getByRole("button", { name: "Estimate", exact: true }).click();
      await page.locator("#plan .here").waitFor({ timeout: PATIENCE_MS });
      await page.locator("#plan details.embed > summary").click();
      for (const [choice, says] of [["GPU", "On the GPU, as you asked."], ["CPU", "On the CPU, as you asked."], ["The faster of both", /^On the [CG]PU, [\d.,]+ times as fast for 8 short texts/]]) {
        await page.getByRole("radio", { name: choice }).check();
        await page.getByRole("button", { name: "Embed 8 prompts" }).click();
        await slot("embed-why").getByText(says).waitFor({ timeout: PATIENCE_MS });
        assert.match(await slot("embed-figures").textContent(), /On the [CG]PU[\d,.]+ texts\/s.*On the [CG]PU[\d,.]+ texts\/s/);
        assert.match(await slot("embed-found").textContent(), /^3 of 8 prompts/);
      }
      await assertPresentable(page, "plan-embed-gpu");
      assert.deepEqual(problems, []);
    } finally {
      await site.close();
    }
  });
});
