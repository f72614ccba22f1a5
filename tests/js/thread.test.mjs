// RouterWorker: what it answers is what the router answers, errors keep their codes, and what is aborted or
// freed ends. In Node, then in Chromium from the files as they are and bundled.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { build } from "esbuild";
import { PennyrouteError, Router } from "pennyroute";
import { PennyrouteError as SameError, RouterWorker } from "pennyroute/worker";
import { findChromium, launch, serve } from "./browser.mjs";
import { dist, root } from "./hosts.mjs";

const AT = "2026-11-20T12:00:00.000Z";
const request = { prompt: "Prove that the square root of two is irrational.", quality: 0.8, at: AT };
const router = await Router.load();
const remote = await RouterWorker.load();
after(() => remote.free());
const plain = ({ id, elapsed_us, ...rest }) => rest;
const refused = (code, message) => (error) => error instanceof PennyrouteError && error.code === code && message.test(error.message);

/** A batch whose plan takes long to prove. */
function hardProblem(queries = 300, models = 40) {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const pairs = (value) => Float64Array.from({ length: queries * models }, (_, at) => value(Math.floor(at / queries)));
  return {
    queries, models,
    quality: pairs((j) => Math.min(1, 0.3 + 0.015 * j + 0.1 * random())), cost_usd: pairs((j) => (1 + random()) * 1.15 ** j * 1e-4),
    quality_target: 0.62, workloads: new Float64Array(models).fill(9),
    groups: Uint32Array.from({ length: queries }, (_, i) => i % 3), floors: Float64Array.of(0.61, 0.63, 0.62),
  };
}
const problem = {
  queries: 3, models: 2,
  cost_usd: Float64Array.of(1, 1, 1, 3, 4, 5), quality: Float64Array.of(0.5, 0.5, 0.5, 1, 1, 1), quality_target: 0.8,
};

test("every method answers as the router does", async () => {
  assert.equal(SameError, PennyrouteError);
  assert.deepEqual(plain(await remote.route(request)), plain(router.route(request)));
  assert.deepEqual(await remote.estimate(request), router.estimate(request));
  const [{ decision, ...mine }, { decision: theirs, ...rest }] = [await remote.explain(request), router.explain(request)];
  assert.deepEqual([plain(decision), mine], [plain(theirs), rest]);
  assert.deepEqual(await remote.plan(problem), router.plan(problem));
  assert.deepEqual(await remote.curve(problem, 3), router.curve(problem, 3));
  assert.deepEqual(await remote.frontier(AT), router.frontier(AT));
  assert.deepEqual(await remote.constants(AT), router.constants(AT));
  assert.deepEqual(await remote.versions(), router.versions);
  assert.deepEqual(await remote.abilityFromScores({ aa_gpqa_diamond: 70 }), router.abilityFromScores({ aa_gpqa_diamond: 70 }));
  const catalog = await remote.catalog();
  assert.deepEqual(catalog, router.catalog());
  const usage = { input_tokens: 1000, output_tokens: 50 };
  assert.equal(await remote.cost(catalog.models[0].id, usage, AT), router.cost(catalog.models[0].id, usage, AT));
  const outcome = { prompt: "Hello", model: catalog.models[0].id, correct: true, at: AT };
  assert.deepEqual(await remote.fit([outcome]), router.fit([outcome]));
  assert.equal((await remote.feedback(outcome)).models[0].outcomes, 1);
  assert.deepEqual(await remote.outcomes(), [outcome]);
  await remote.setCatalog({ ...catalog, version: "mine" });
  assert.equal((await remote.versions()).catalog, "mine+fitted");

  for (const method of Object.getOwnPropertyNames(Router.prototype).concat(Object.getOwnPropertyNames(Object.getPrototypeOf(Router.prototype)))) {
    assert.ok(method in remote, method);
  }
});

test("a batch of more than a chunk is one batch, with progress", async () => {
  const prompts = Array.from({ length: 120 }, (_, i) => ({ prompt: `What is ${i} times ${i + 1}?`, at: AT, ...(i % 7 === 0 && { cap_usd: 1e-4 }) }));
  const seen = [];
  const fresh = await RouterWorker.load();
  const batch = await fresh.estimateBatch(prompts, { onProgress: (done, total) => seen.push([done, total]) });
  assert.deepEqual(batch, router.estimateBatch(prompts));
  assert.deepEqual(seen, [[50, 120], [100, 120], [120, 120]]);
  const wrong = prompts.with(70, { prompt: 7 });
  await assert.rejects(fresh.estimateBatch(wrong), refused("bad_request", /requests\[70\].*prompt/));
  const controller = new AbortController();
  const ended = fresh.estimateBatch(prompts, { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(ended, { name: "AbortError" });
  fresh.free();
});

test("errors keep their codes, and what cannot be copied is one", async () => {
  await assert.rejects(remote.route({ ...request, quality: 2 }), refused("bad_number", /quality/));
  await assert.rejects(remote.plan({ ...problem, quality_target: 2 }), refused("bad_number", /target/));
  await assert.rejects(remote.plan(), refused("bad_request", /./));
  await assert.rejects(remote.setCatalog({}), refused("bad_catalog", /./));
  await assert.rejects(remote.route({ ...request, signal() {} }), refused("bad_request", /route/));
  await assert.rejects(RouterWorker.load({ artifacts: join(root, "no-such-file.bin") }), refused("bad_artifact", /no-such-file/));
  assert.equal((await remote.route(request)).model, router.route(request).model);
});

test("an aborted plan ends, whatever it is at, and the router goes on", async () => {
  const controller = new AbortController();
  const stages = [];
  const running = remote.plan(hardProblem(), {
    work: 1e12, signal: controller.signal,
    onProgress: ({ stage }) => {
      stages.push(stage);
      if (stage === "proof") controller.abort(new Error("enough"));
    },
  });
  // The router answers meanwhile, and a plan that waits behind it is not lost.
  const [behind, meanwhile] = [remote.plan(problem), remote.route(request)];
  assert.equal((await meanwhile).model, router.route(request).model);
  await assert.rejects(running, { message: "enough" });
  assert.ok(stages.includes("proof"));
  assert.equal((await behind).status, "optimal");

  const thrown = remote.plan(problem, { onProgress: () => { throw new Error("mine"); } });
  await assert.rejects(thrown, { message: "mine" });
  await assert.rejects(remote.route(request, { signal: AbortSignal.abort() }), { name: "AbortError" });
  const dropped = new AbortController();
  const [first, second] = [remote.estimate(request), remote.feedback({ model: "nobody", error: "x" }, { signal: dropped.signal })];
  dropped.abort();
  await assert.rejects(second, { name: "AbortError" });
  await first;
});

test("a thread that cannot be made, or ends, is told as what it is", async () => {
  const hosts = [
    [() => { throw new Error("no memory"); }, "bad_artifact", /could not be started.*no memory/],
    [() => { throw new PennyrouteError("unsupported_host", "none here"); }, "unsupported_host", /none here/],
    [(heard, failed) => ({ post: () => failed("not found"), busy() {}, end() {} }), "bad_artifact", /could not be started: not found/],
  ];
  const Remote = Object.getPrototypeOf(RouterWorker);
  for (const [start, code, message] of hosts) await assert.rejects(Remote.load(null, start, String), refused(code, message));
  /** Loads, and dies at the next call. */
  const dying = (heard, failed) => ({ post: ({ id, method }) => (method === "load" ? queueMicrotask(() => heard({ id })) : failed("out of memory")), busy() {}, end() {} });
  const loaded = await Remote.load({}, dying, String);
  await assert.rejects(loaded.route(request, null), refused("internal", /has ended: out of memory/));
  await assert.rejects(loaded.route(request), refused("internal", /has ended/));
});

test("arrays are copied, or handed over where that is said", async () => {
  const mine = hardProblem(20, 5);
  await remote.plan(mine, { work: 0 });
  assert.equal(mine.cost_usd.length, 100);
  await remote.plan(mine, { work: 0, transfer: [mine.cost_usd.buffer, mine.quality.buffer] });
  assert.deepEqual([mine.cost_usd.length, mine.quality.length], [0, 0]);
});

test("a freed one says so, and what it had to answer rejects", async () => {
  const other = await RouterWorker.load();
  const asked = [other.route(request), other.estimate(request), other.plan(problem)];
  other[Symbol.asyncDispose]?.() ?? other.free();
  for (const call of [...asked, other.route(request)]) await assert.rejects(call, refused("bad_request", /freed/));
  const aborted = AbortSignal.abort();
  await assert.rejects(RouterWorker.load({ signal: aborted }), { name: "AbortError" });
  const controller = new AbortController();
  const loading = RouterWorker.load({ signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(loading, { name: "AbortError" });
});

test("a thread that has nothing to do does not keep the process", () => {
  const source = 'import { RouterWorker } from "pennyroute/worker"; const r = await RouterWorker.load(); console.log((await r.route("Hi")).model);';
  const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", source], { cwd: root, encoding: "utf8", timeout: 60_000 });
  assert.equal(status, 0);
  assert.match(stdout, /\//);
});

const executable = findChromium();
const skip = executable === undefined;

/** Loads a RouterWorker in a page, and uses it. Self-contained: its source goes into the page. */
async function inPage(from) {
  const { RouterWorker, PennyrouteError } = await import(from);
  const progress = [];
  const router = await RouterWorker.load({ onProgress: (loaded) => progress.push(loaded) });
  const { model } = await router.route("What is 2 + 2?");
  const batch = await router.estimateBatch(["a", "b", "c"]);
  const { status } = await router.plan({ ...batch, quality_target: 0.5 });
  const error = await router.route({ prompt: "x", quality: 2 }).catch((error) => error);
  const missing = await RouterWorker.load({ artifacts: "/nothing-here.bin" }).catch((error) => error);
  router.free();
  return { progressed: progress.length > 0, model, status, code: error instanceof PennyrouteError && error.code, missing: missing.message };
}

test("in Chromium: a web worker, from the files and bundled", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "pennyroute-"));
  const common = { bundle: true, format: "esm", conditions: ["browser"], logLevel: "error", absWorkingDir: root };
  await build({ ...common, stdin: { contents: 'export * from "pennyroute/worker";', resolveDir: root }, outfile: join(folder, "app.js") });
  await build({ ...common, entryPoints: [join(dist, "thread.js")], outfile: join(folder, "thread.js") });
  for (const file of ["pennyroute_bg.wasm", "artifacts.bin"]) copyFileSync(join(dist, file), join(folder, file));
  const browser = await launch(executable);
  t.after(async () => {
    await browser.close();
    rmSync(folder, { recursive: true });
  });
  const expected = { progressed: true, model: router.route("What is 2 + 2?").model, status: "optimal", code: "bad_number" };
  for (const [at, from] of [[root, "/dist/worker.js"], [folder, "/app.js"]]) {
    const server = await serve(at, { "/": "<!doctype html><title>test</title>" });
    t.after(() => server.close());
    const page = await browser.newPage();
    await page.goto(server.url);
    const { missing, ...found } = await page.evaluate(`(${inPage})(${JSON.stringify(from)})`);
    assert.deepEqual(found, expected);
    assert.match(missing, /nothing-here\.bin.*404/);
  }
});

test("in Chromium: a page that keeps the worker out is told so", { skip }, async (t) => {
  const browser = await launch(executable);
  t.after(() => browser.close());
  const headers = { "content-security-policy": "default-src 'self'; worker-src 'none'" };
  const server = await serve(root, { "/": "<!doctype html><title>test</title>" }, { headers });
  t.after(() => server.close());
  const page = await browser.newPage();
  await page.goto(server.url);
  const message = await page.evaluate(async () => {
    const { RouterWorker } = await import("/dist/worker.js");
    return RouterWorker.load().then(() => "loaded", (error) => `${error.code}: ${error.message}`);
  });
  assert.match(message, /^bad_artifact: .*worker-src/);
});
