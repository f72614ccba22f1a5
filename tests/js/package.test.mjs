// The package in Node: what it does with good input, and with every kind of bad input. After each
// error the same router still routes.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { PennyrouteError, Router } from "pennyroute";
import { dist, repacked, root, withoutPredictor } from "./hosts.mjs";

const AT = "2026-11-20T12:00:00Z";
const request = { prompt: "Prove that the square root of two is irrational.", quality: 0.8, at: AT };
const artifacts = readFileSync(join(dist, "artifacts.bin"));

const router = await Router.load();
const usual = router.route(request);
const catalog = router.catalog();

/** Runs `act`, which must throw one PennyrouteError with `code`, and routes again. */
function refuses(code, act, message = /./) {
  assert.throws(act, (error) => {
    assert.ok(error instanceof PennyrouteError, `${error?.stack ?? error}`);
    assert.ok(error instanceof Error);
    assert.equal(error.name, "PennyrouteError");
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
  assert.equal(router.route(request).model, usual.model);
}

/** The same for a promise. */
async function rejects(code, promise, message = /./) {
  const error = await promise.then(() => assert.fail("loaded"), (error) => error);
  refuses(code, () => { throw error; }, message);
}

/** A copy of the catalog, changed. */
function changed(change) {
  const copy = structuredClone(catalog);
  change(copy);
  return copy;
}

/** The entry of a file in the manifest, rewritten for its content. */
function entry(path, bytes) {
  return { path, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

test("every export of the package is there", () => {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json")));
  // null: an entry that a host cannot have.
  const files = (target) => (typeof target === "string" ? [target] : Object.values(target ?? {}).flatMap(files));
  for (const file of files(exports)) assert.ok(existsSync(join(root, file)), file);
});

test("a decision is complete and plain", () => {
  const decision = router.route(request);
  assert.match(decision.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(decision.id, usual.id);
  assert.ok(decision.elapsed_us > 0);
  assert.ok(catalog.models.some(({ id }) => id === decision.model));
  assert.deepEqual(JSON.parse(JSON.stringify(decision)), decision);
  assert.deepEqual(Object.keys(decision), ["id", "model", "code", "reason", "quality", "cost_usd", "target", "in_distribution",
    "fallbacks", "alternatives", "excluded", "baseline", "saving_usd", "versions", "elapsed_us"]);
  assert.equal(decision.target.floor, null);
  assert.deepEqual(decision.versions, router.versions);
});

test("a string is a bare prompt, and undefined fields are absent", () => {
  assert.equal(router.route(request.prompt).model, router.route({ prompt: request.prompt }).model);
  const sparse = { ...request, messages: undefined, private: undefined, warm: undefined, tools: undefined };
  assert.equal(router.route(sparse).model, usual.model);
});

test("estimates name every priced model with an ability", () => {
  const { models: estimates, input_tokens, in_distribution } = router.estimate(request);
  assert.ok(estimates.length > 1 && input_tokens > 1 && typeof in_distribution === "boolean");
  const chosen = estimates.find(({ model }) => model === usual.model);
  assert.deepEqual(chosen.quality, usual.quality);
  assert.deepEqual(chosen.cost_usd, usual.cost_usd);
});

test("the frontier rises, and constants lie on or below it", () => {
  const frontier = router.frontier(AT);
  assert.ok(frontier.length > 1);
  for (let i = 1; i < frontier.length; i++) {
    assert.ok(frontier[i].lambda >= frontier[i - 1].lambda && frontier[i].quality >= frontier[i - 1].quality);
    assert.ok(frontier[i].cost_usd >= frontier[i - 1].cost_usd);
  }
  for (const { model, quality, cost_usd } of router.constants(AT)) {
    const atCost = frontier.filter((point) => point.cost_usd <= cost_usd * (1 + 1e-9)).at(-1);
    if (atCost) assert.ok(quality <= atCost.quality + 1e-3, `${model} beats the frontier`);
  }
});

test("a new model is fitted to outcomes, and routed to", () => {
  const added = changed(({ models }) => models.push({ ...models[0], id: "me/new", ability: null, length: null }));
  router.setCatalog(added);
  const outcomes = Array.from({ length: 30 }, (_, i) =>
    ({ prompt: `What is ${i} times ${i + 1}?`, model: "me/new", correct: i % 10 !== 0, output_tokens: 40 }));
  const fitted = router.fit(outcomes);
  const [model] = fitted.models;
  assert.deepEqual([fitted.models.length, model.model, model.outcomes, model.counted, model.prior, model.before],
    [1, "me/new", 30, 30, "prior", null]);
  assert.equal(model.ability.source, "fitted");
  assert.deepEqual(fitted.catalog.models.find(({ id }) => id === "me/new").ability, model.ability);
  // The router goes on as it was until it is told otherwise.
  const answered = () => router.estimate(request).models.find(({ model }) => model === "me/new");
  assert.equal(answered(), undefined);
  router.setCatalog(fitted.catalog);
  assert.ok(answered().quality.estimate > 0 && answered().quality.estimate < 1);

  // Grades, conversations, several models, and one outcome alone.
  const messages = [{ role: "user", content: "Hello" }];
  const other = catalog.models[1].id;
  const graded = router.fit([{ messages, model: "me/new", correct: 0.5 }, { messages, model: other, correct: 1, output_tokens: undefined }]);
  assert.deepEqual(graded.models.map(({ model, outcomes, counted }) => [model, outcomes, counted]), [["me/new", 1, 0], [other, 1, 0]]);
  assert.ok(graded.models.every(({ ability }) => [...ability.mean, ...ability.sd].every(Number.isFinite)));
  router.setCatalog(catalog);
});

test("bad outcomes are refused by their place", () => {
  const good = { prompt: "Hello", model: catalog.models[0].id, correct: 1 };
  const fit = (change) => () => router.fit([good, { ...good, ...change }]);
  refuses("bad_request", () => router.fit(), /outcomes/);
  refuses("bad_request", () => router.fit([]), /outcomes.*empty/);
  refuses("bad_request", fit({ correct: "yes" }), /outcomes\[1\]\.correct/);
  refuses("bad_number", fit({ correct: 1.5 }), /outcomes\[1\]\.correct: 1\.5/);
  refuses("bad_number", fit({ correct: NaN }), /outcomes\[1\]\.correct: NaN/);
  refuses("bad_number", fit({ output_tokens: -1 }), /outcomes\[1\]\.output_tokens/);
  refuses("bad_request", fit({ model: "nobody/nothing" }), /outcomes\[1\]\.model.*nobody\/nothing/);
  refuses("bad_request", fit({ model: undefined }), /outcomes\[1\]\.model/);
  refuses("bad_request", () => router.fit([null]), /outcomes\[0\]\.correct/);
  refuses("bad_request", fit({ prompt: undefined }), /outcomes\[1\]\.prompt/);
  refuses("bad_request", fit({ messages: [] }), /outcomes\[1\]\.prompt/);
});

test("cost(): by the usage that was counted, at the rates of its length and its moment", () => {
  const tiered = catalog.models.find(({ cost }) => cost?.tiers?.length === 1 && cost.cache_read > 0 && !cost.changes && !cost.hours);
  const { input, output, cache_read, tiers: [tier] } = tiered.cost;
  const short = router.cost(tiered.id, { input_tokens: 1000, cached_tokens: 400, output_tokens: 50 });
  assert.ok(Math.abs(short - (600 * input + 400 * cache_read + 50 * output) / 1e6) < 1e-15);
  const long = router.cost(tiered.id, { input_tokens: tier.above_input_tokens + 1, output_tokens: 0 });
  assert.ok(Math.abs(long - ((tier.above_input_tokens + 1) * tier.input) / 1e6) < 1e-12);
  const changed = catalog.models.find(({ cost }) => cost?.changes?.length === 1 && !cost.tiers && !cost.hours);
  const [{ from, input: later }] = changed.cost.changes;
  const million = (/** @type {string} */ at) => router.cost(changed.id, { input_tokens: 1e6, output_tokens: 0 }, at);
  assert.deepEqual([million("2020-01-01T00:00:00Z"), million(`${from}T12:00:00Z`)], [changed.cost.input, later]);
  refuses("bad_request", () => router.cost("nobody/nothing", { input_tokens: 1, output_tokens: 1 }), /nobody\/nothing/);
  refuses("bad_number", () => router.cost(tiered.id, { input_tokens: -1, output_tokens: 1 }), /input_tokens/);
  refuses("bad_request", () => router.cost(tiered.id, { input_tokens: 1 }), /output_tokens/);
  for (const usage of [undefined, null, 7]) refuses("bad_request", () => router.cost(tiered.id, usage), /usage/);
});

test("published scores give an ability", () => {
  const at = (gpqa) => router.abilityFromScores({ aa_gpqa_diamond: gpqa });
  const { ability, g, sd } = at(70);
  assert.equal(ability.source, "published");
  assert.equal(ability.mean.length, catalog.models.find((model) => model.ability).ability.mean.length);
  assert.ok(g > at(50).g && sd > 0 && ability.mean[0] > at(50).ability.mean[0]);
  refuses("bad_request", () => router.abilityFromScores({ gpqa: 70 }), /gpqa.*near: aa_gpqa_diamond/);
  refuses("bad_request", () => router.abilityFromScores({}), /empty/);
  refuses("bad_request", () => router.abilityFromScores({ aa_gpqa_diamond: "70" }), /aa_gpqa_diamond/);
  refuses("bad_number", () => router.abilityFromScores({ aa_gpqa_diamond: 101 }), /aa_gpqa_diamond: 101/);
});

test("a batch is planned", () => {
  const problem = {
    queries: 3, models: 2,
    cost_usd: Float64Array.of(1, 1, 1, 3, 4, 5), quality: Float64Array.of(0.5, 0.5, 0.5, 1, 1, 1),
    quality_target: 0.8,
  };
  const plan = router.plan(problem);
  assert.equal(plan.status, "optimal");
  assert.deepEqual([...plan.assignment], [1, 1, 0]);
  assert.equal(plan.cost_usd, 8);
  assert.ok(plan.bound_usd <= 8 && plan.bound_quality === undefined);

  const limited = router.plan({ ...problem, workloads: Float64Array.of(Infinity, 1) });
  assert.equal(limited.status, "infeasible");
  assert.match(limited.reason, /./);
  assert.equal(limited.assignment.length, 0);

  const forbidden = router.plan({ ...problem, cost_usd: Float64Array.of(1, 1, 1, NaN, 4, 5) });
  assert.deepEqual([...forbidden.assignment], [0, 1, 1]);

  const afford = router.plan({ ...problem, quality_target: undefined, budget_usd: 5 });
  assert.ok(afford.cost_usd <= 5 && afford.bound_quality >= afford.quality);
});

test("groups have floors, and their prices", () => {
  const plan = router.plan({
    queries: 4, models: 2,
    cost_usd: Float64Array.of(1, 1, 1, 1, 3, 4, 5, 6), quality: Float64Array.of(0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1),
    quality_target: 0.6, groups: Uint32Array.of(0, 0, 1, 1), floors: Float64Array.of(0.5, 0.7),
  });
  assert.deepEqual([...plan.assignment], [0, 0, 1, 0], "the second group gets the dear model, though the first is cheaper");
  assert.equal(plan.stopped, false);
  assert.equal(plan.duals.groups.length, 2);
});

test("a plan is watched, limited and ended", () => {
  const queries = 24, models = 6;
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const pairs = (value) => Float64Array.from({ length: queries * models }, (_, at) => value(Math.floor(at / queries)));
  const problem = {
    queries, models,
    quality: pairs((j) => 0.3 + 0.1 * j + 0.1 * random()), cost_usd: pairs((j) => (1 + random()) * 3 ** j * 1e-4),
    quality_target: 0.62, workloads: new Float64Array(models).fill(6),
    groups: Uint32Array.from({ length: queries }, (_, i) => i % 3), floors: Float64Array.of(0.61, 0.63, 0.62),
  };
  const stages = new Set();
  const proven = router.plan(problem, { onProgress: ({ stage, work_left }) => void stages.add(stage) && assert.ok(work_left >= 0) });
  assert.equal(proven.status, "optimal");
  assert.ok(stages.has("relaxation"));

  const quick = router.plan(problem, { work: 0 });
  assert.ok(quick.cost_usd >= proven.cost_usd * (1 - 1e-9) && quick.bound_usd <= proven.cost_usd * (1 + 1e-9));
  assert.equal(quick.stopped, quick.status === "feasible");

  refuses("cancelled", () => router.plan(problem, { onProgress: () => false }));
  const mine = new Error("mine");
  assert.throws(() => router.plan(problem, { onProgress: () => { throw mine; } }), (error) => error === mine);
  refuses("bad_request", () => router.plan(problem, { onProgress: 7 }), /onProgress/);
  refuses("bad_request", () => router.plan(problem, { work: "all" }), /`work`/);
  refuses("bad_request", () => router.plan({ ...problem, floors: undefined }), /floors/);
});

test("a bound is what the prices prove, on an odd number of queries", () => {
  const [queries, models] = [1001, 5];
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const pairs = (value) => Float64Array.from({ length: queries * models }, (_, at) => value(Math.floor(at / queries)));
  const cost_usd = pairs((j) => (0.5 + random()) * 4 ** j * 1e-5), quality = pairs((j) => 0.3 + 0.1 * j + 0.2 * random());
  const workloads = new Float64Array(models).fill(250), quality_target = 0.65;
  const { bound_usd, duals, gap, assignment } = router.plan({ queries, models, cost_usd, quality, workloads, quality_target });
  const lambda = (duals.quality * 100) / queries;
  let dual = lambda * quality_target * queries - duals.workloads.reduce((sum, mu) => sum + mu * 250, 0);
  let mean = 0;
  for (let i = 0; i < queries; i += 1) {
    const value = (j) => cost_usd[j * queries + i] - lambda * quality[j * queries + i] + duals.workloads[j];
    dual += Math.min(...Array.from({ length: models }, (_, j) => value(j)));
    mean += quality[assignment[i] * queries + i] / queries;
  }
  assert.ok(lambda > 0 && Math.abs(dual - bound_usd) < 1e-9 * dual, `${dual} ${bound_usd}`);
  assert.ok(gap < 1e-4 && mean > quality_target - 1e-9, `${gap} ${mean}`);
});

test("a curve is rising and convex", () => {
  const problem = {
    queries: 3, models: 2,
    cost_usd: Float64Array.of(1, 1, 1, 3, 4, 5), quality: Float64Array.of(0.5, 0.5, 0.5, 1, 1, 1),
    workloads: Float64Array.of(Infinity, 2),
  };
  const curve = router.curve(problem);
  assert.deepEqual(curve.map((point) => Math.round(point.cost_usd * 3)), [3, 5, 8]);
  assert.ok(curve.every(({ lambda }, i) => i === 0 || lambda > curve[i - 1].lambda));
  for (const points of [1, -1, 2.5, 2 ** 32 + 2, "10"]) refuses("bad_problem", () => router.curve(problem, points));
  const kept = { ...problem, quality_target: 0.6 };
  assert.deepEqual(router.plan(kept, null), router.plan(kept));
  assert.deepEqual(router.curve(problem, undefined, null), curve);
});

test("what is null in a request, or all options, is absent", async () => {
  const none = Object.fromEntries(["allow", "deny", "unhealthy", "warm", "reuse", "surcharges", "workloads"].map((name) => [name, null]));
  assert.equal(router.route({ ...request, ...none }).model, router.route(request).model);
  (await Router.load(null)).free();
});

test("wrong types in a request are named by their path", () => {
  for (const bad of [undefined, null, 7, true, [], {}, { messages: [] }]) refuses("bad_request", () => router.route(bad));
  refuses("bad_request", () => router.route({ prompt: 7 }), /prompt/);
  refuses("bad_request", () => router.route({ prompt: { toString: null } }), /prompt/);
  refuses("bad_request", () => router.route({ messages: "hello" }), /messages/);
  refuses("bad_request", () => router.route({ messages: [{ role: "user", content: "a" }, { role: "user", content: 7 }] }), /messages\[1\]\.content/);
  refuses("bad_request", () => router.route({ messages: [{ content: "no role" }] }), /messages\[0\]/);
  refuses("bad_request", () => router.route({ ...request, quality: "high" }), /quality/);
  refuses("bad_request", () => router.route({ ...request, allow: "anthropic/*" }), /allow/);
  refuses("bad_request", () => router.route({ ...request, max_tokens: 1.5 }), /max_tokens/);
  refuses("bad_request", () => router.route({ ...request, max_tokens: -1 }), /max_tokens/);
  refuses("bad_request", () => router.route({ ...request, at: "yesterday" }), /at/);
  refuses("bad_request", () => router.route({ ...request, at: new Date() }), /at/);
  refuses("bad_request", () => router.route({ ...request, model: "no/such-model" }), /no\/such-model/);
  refuses("bad_request", () => router.route({ ...request, model: "auto:high" }), /auto:high/);
  refuses("bad_request", () => router.frontier(7), /at/);
  const circular = { type: "function", function: { name: "f", parameters: {} } };
  circular.function.parameters.self = circular;
  refuses("bad_request", () => router.route({ ...request, tools: [circular] }), /tools/);
});

test("numbers out of range are refused", () => {
  for (const quality of [-0.01, 1.01, NaN, Infinity]) refuses("bad_number", () => router.route({ ...request, quality }), /quality/);
  refuses("bad_number", () => router.route({ ...request, floor: 2 }), /floor/);
  refuses("bad_number", () => router.route({ ...request, cap_usd: -1 }), /cap_usd/);
  refuses("bad_number", () => router.route({ ...request, budget_usd: NaN }), /budget_usd/);
  refuses("bad_number", () => router.route({ ...request, warm: { [usual.model]: NaN } }), /warm/);
  refuses("bad_number", () => router.route({ ...request, workloads: { [usual.model]: -1 } }), /workloads/);
});

test("broken catalogs are refused, and the old one stays", () => {
  const set = (change) => () => router.setCatalog(changed(change));
  refuses("bad_catalog", () => router.setCatalog());
  refuses("bad_catalog", () => router.setCatalog("catalog.json"));
  refuses("bad_catalog", () => router.setCatalog({}));
  refuses("bad_catalog", set((c) => (c.models = [])), /models/);
  refuses("bad_catalog", set((c) => (c.models[1].id = c.models[0].id)), /models\[1\]\.id/);
  refuses("bad_catalog", set((c) => (c.models[2].id = 7)), /models\[2\]\.id/);
  refuses("bad_catalog", set((c) => delete c.models[0].provider), /models\[0\].*provider/);
  refuses("bad_catalog", set((c) => (c.models[0].ability = { mean: [1], sd: [1], source: "fitted" })), /ability/);
  refuses("bad_catalog", set((c) => (c.models[0].cost = { input: "3", output: 15 })), /models\[0\]\.cost/);
  refuses("bad_catalog", set((c) => (c.models[0].cost = c)), /contains itself|nested/);
  refuses("bad_number", set((c) => (c.models[0].cost = { input: NaN, output: 15 })), /models\[0\]\.cost\.input/);
  refuses("bad_number", set((c) => (c.models[0].cost = { input: 3, output: -15 })), /models\[0\]\.cost\.output/);
  refuses("bad_number", set((c) => (c.models[0].cost = { input: Infinity, output: 15 })), /models\[0\]\.cost\.input/);
  refuses("unsupported_version", set((c) => (c.format = 99)), /99/);
  assert.deepEqual(router.catalog(), catalog);
});

test("broken artifacts are refused", async () => {
  await rejects("bad_artifact", Router.load({ artifacts: 7 }));
  await rejects("bad_artifact", Router.load({ artifacts: new Uint8Array() }));
  await rejects("bad_artifact", Router.load({ artifacts: Buffer.from("not a bundle of artifacts") }));
  for (const length of [8, 11, 12, 500, artifacts.length - 1]) {
    await rejects("bad_artifact", Router.load({ artifacts: artifacts.subarray(0, length) }));
  }
  const tampered = Uint8Array.from(artifacts);
  tampered[tampered.length - 1000] ^= 1;
  await rejects("bad_artifact", Router.load({ artifacts: tampered }), /SHA-256/);
  await rejects("bad_artifact", Router.load({ artifacts: join(root, "no-such-file.bin") }), /no-such-file/);
  await rejects("unsupported_version", Router.load({ artifacts: repacked({ manifest: (m) => ({ ...m, format: 99 }) }) }), /99/);
});

test("artifacts without the ONNX file, or with another, are refused", async () => {
  await rejects("bad_artifact", Router.load({ artifacts: withoutPredictor() }), /predictor/);
  const empty = repacked({ file: (path, bytes) => (path.endsWith(".onnx") ? Buffer.alloc(0) : bytes) });
  await rejects("bad_artifact", Router.load({ artifacts: empty }), /onnx/);
  const vouched = repacked({
    file: (path, bytes) => (path.endsWith(".onnx") ? bytes.subarray(0, bytes.length / 2) : bytes),
    manifest: (m, files) => ({ ...m, files: { ...m.files, predictor: entry(m.files.predictor.path, files[m.files.predictor.path]) } }),
  });
  await rejects("bad_artifact", Router.load({ artifacts: vouched }), /predictor/);
});

test("broken indexes are refused, and the old one stays", async () => {
  refuses("bad_index", () => router.setIndex("index.bin"));
  refuses("bad_index", () => router.setIndex(new Uint8Array(100)));
  await rejects("bad_index", Router.load({ index: new Uint8Array(100) }));
  assert.deepEqual(router.versions, usual.versions);
});

test("bad problems are refused", () => {
  const problem = { queries: 1, models: 1, cost_usd: Float64Array.of(1), quality: Float64Array.of(1) };
  refuses("bad_request", () => router.plan());
  refuses("bad_request", () => router.plan({ ...problem, queries: "1" }), /queries/);
  refuses("bad_request", () => router.plan({ ...problem, cost_usd: [1] }), /cost_usd/);
  refuses("bad_request", () => router.plan({ ...problem, quality: undefined }), /quality/);
  refuses("bad_problem", () => router.plan({ ...problem, queries: 2 }));
  refuses("bad_number", () => router.plan({ ...problem, quality: Float64Array.of(1.5) }));
  refuses("bad_number", () => router.plan({ ...problem, cost_usd: Float64Array.of(-1) }));
  refuses("bad_number", () => router.plan({ ...problem, quality_target: 2 }));
  refuses("bad_number", () => router.plan({ ...problem, workloads: Float64Array.of(NaN) }));
});

test("artifacts load from a path, a URL and bytes, with progress", async () => {
  const seen = [];
  const path = join(dist, "artifacts.bin");
  for (const from of [path, new URL(`file://${path}`), artifacts, artifacts.buffer.slice(artifacts.byteOffset, artifacts.byteOffset + artifacts.length)]) {
    const other = await Router.load({ artifacts: from, onProgress: (loaded, total) => seen.push([loaded, total]) });
    assert.equal(other.route(request).model, usual.model);
    other.free();
  }
  assert.deepEqual(seen, [[artifacts.length, artifacts.length], [artifacts.length, artifacts.length]]);
});

test("a freed router says so", async () => {
  const other = await Router.load();
  other[Symbol.dispose]();
  other.free();
  refuses("bad_request", () => other.route(request), /freed/);
});

test("a catalog is checked, and two are compared", () => {
  const stale = changed(({ models: [first] }) => {
    first.deprecation_date = "2026-01-31";
    first.cost.output = first.cost.input / 2;
  });
  assert.deepEqual(router.checkCatalog(undefined, AT), router.checkCatalog(catalog, AT));
  const about = router.checkCatalog(stale, AT).filter(({ model }) => model === catalog.models[0].id);
  const before = router.checkCatalog(catalog, AT).filter(({ model }) => model === catalog.models[0].id);
  assert.ok(about.length > before.length);
  assert.ok(about.some(({ code, what, contradictory }) => code === "retired" && what.includes("2026-01-31") && !contradictory), JSON.stringify(about));

  const other = changed(({ models }) => models.splice(1, 1));
  const { added, removed, changed: fields } = router.diffCatalogs(other, stale);
  assert.deepEqual([added, removed], [[catalog.models[1].id], []]);
  const { id, cost } = catalog.models[0];
  assert.deepEqual(fields.find(({ field }) => field === "cost.output"), { model: id, field: "cost.output", before: cost.output, after: cost.input / 2 });
  assert.deepEqual(router.diffCatalogs(catalog, catalog).changed, []);
  refuses("unsupported_version", () => router.diffCatalogs(catalog, changed((newer) => (newer.format += 1))), /format/);
  refuses("bad_catalog", () => router.checkCatalog({ format: catalog.format, version: "x", models: [{ id: 7 }] }), /models\[0\]\.id/);
  refuses("bad_request", () => router.checkCatalog(catalog, "noon"), /at/);
});

test("a catalog is made from LiteLLM's table", () => {
  const row = { litellm_provider: "openai", mode: "chat", input_cost_per_token: 2e-7, output_cost_per_token: 1.2e-6, max_input_tokens: 4e5, supports_function_calling: true };
  const table = { "gpt-5.4-nano": row, "nobody-knows": row, "dall-e-3": { ...row, mode: "image_generation" } };
  const imported = router.importCatalog(table, "mine");
  assert.deepEqual([imported.rows, imported.routable], [3, 2]);
  assert.equal(Object.values(imported.unroutable).reduce((sum, n) => sum + n, 0), 1);
  assert.equal(imported.catalog.version, "mine");
  const byId = new Map(imported.catalog.models.map((model) => [model.id, model]));
  const { input, output } = byId.get("openai/gpt-5.4-nano").cost;
  assert.deepEqual([input, output], [0.2, 1.2]);
  assert.ok(byId.get("openai/gpt-5.4-nano").ability, "known by its name");
  assert.equal(byId.get("openai/nobody-knows").ability ?? null, null);
  assert.deepEqual(router.importCatalog(JSON.stringify(table), "mine"), imported);
  assert.match(router.importCatalog(table).catalog.version, /^\d{4}-\d\d-\d\d-litellm$/);
  refuses("bad_catalog", () => router.importCatalog("{"), /./);
  refuses("bad_catalog", () => router.importCatalog([]), /./);
  const loop = {};
  loop.itself = loop;
  refuses("bad_catalog", () => router.importCatalog(loop), /circular/i);
});
