/**
 * The page as its visitor meets it: what it weighs, when the first decision stands there, how long its
 * main thread is held up meanwhile, and what memory it takes.
 *
 *     npm run build && npm run bench -- page
 *
 * The page is served from this machine with `max-age=600`, so the times are those of the browser
 * (fetching from itself, compiling, loading the model, deciding), not of a network. Cold: a fresh
 * profile each time. Warm: the same profile, after visits that filled its caches.
 */
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { buildWww } from "../src/js/tools/www.mjs";
import { findChromium, launchWithProfile, serve } from "../tests/js/browser.mjs";

const COLD_RUNS = 5;
const WARM_RUNS = 11;
/** Chromium keeps compiled scripts only after it has seen them a few times. */
const WARMING_VISITS = 4;
/** A task of the main thread that takes longer is felt; what exceeds it is blocking time. */
const LONG_TASK_MS = 50;
/** Without these a page may not measure its memory. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

const executable = findChromium();
if (!executable) process.exit(1);

const folder = await mkdtemp(join(tmpdir(), "pennyroute-bench-"));
const www = await buildWww({ out: join(folder, "www") });
/** What the visit under way has asked for, its copy for offline apart. @type {Set<string>} */
let asked = new Set();
const handler = ({ url, headers }) => {
  if (!headers.referer?.endsWith("/offline.js")) asked.add(url.slice(1) || "index.html");
};
const site = await serve(www, {}, { handler, headers: { "cache-control": "max-age=600" } });

const weight = await weigh(www);
const cold = [];
for (let run = 0; run < COLD_RUNS; run++) {
  asked = new Set();
  const context = await launchWithProfile(executable, join(folder, `cold-${run}`));
  cold.push(await visit(context, site.url));
  await context.close();
}
const first_view = total([...asked].map((name) => weight[name]));
const context = await launchWithProfile(executable, join(folder, "warm"));
for (let run = 0; run < WARMING_VISITS; run++) await visit(context, site.url);
const warm = [];
for (let run = 0; run < WARM_RUNS; run++) warm.push(await visit(context, site.url));
await context.close();
await site.close();
const memory = await measureMemory();
await rm(folder, { recursive: true, force: true });

const figures = (visits) => Object.fromEntries(Object.keys(visits[0]).map((name) => [name, spread(visits.map((visit) => visit[name]))]));
const result = { bench: "page", weight, first_view, all: total(Object.values(weight)), cold: figures(cold), warm: figures(warm), memory_mb: memory };
console.log("file                          raw     gzip   brotli (kB)");
for (const [name, sizes] of Object.entries(weight)) console.log(row(stable(name), sizes));
console.log(row("first view", first_view));
console.log(row("all", result.all));
for (const name of /** @type {const} */ (["cold", "warm"])) {
  const { first_decision_ms, first_paint_ms, blocking_ms, longest_task_ms, layout_shift } = result[name];
  console.log(`${name}: first decision after ${text(first_decision_ms)} ms, first contentful paint ${text(first_paint_ms)} ms, ` +
    `total blocking time ${text(blocking_ms)} ms, longest task ${text(longest_task_ms)} ms, layout shift ${text(layout_shift)}`);
}
console.log(`memory: ${memory.page} MB the page, ${memory.worker} MB the router's worker, and ${memory.wasm} MB its wasm`);
console.log(JSON.stringify(result));

/**
 * One visit, until the decision and the plot stand there: milliseconds since the start of navigation, and
 * what the main thread was held up.
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} url
 */
async function visit(context, url) {
  const page = await context.newPage();
  await page.addInitScript(() => {
    const seen = Object.assign(globalThis, { tasks: [], shift: 0, decidedAt: 0 });
    new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask", buffered: true });
    new PerformanceObserver((list) => {
      for (const { value } of /** @type {any[]} */ (list.getEntries())) seen.shift += value;
    }).observe({ type: "layout-shift", buffered: true });
    new MutationObserver((_, observer) => {
      if (!document.querySelector("[data-slot=model]")?.textContent) return;
      observer.disconnect();
      seen.decidedAt = performance.now();
    }).observe(document, { childList: true, subtree: true });
  });
  await page.goto(url);
  await page.waitForFunction(() => globalThis.decidedAt);
  // Let the plot arrive and what was compiled be stored.
  await page.locator(".plot-svg").waitFor();
  await page.waitForTimeout(300);
  const seen = await page.evaluate(() => ({
    decidedAt: globalThis.decidedAt,
    tasks: globalThis.tasks,
    shift: globalThis.shift,
    painted: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  }));
  await page.close();
  return {
    first_decision_ms: seen.decidedAt,
    first_paint_ms: seen.painted,
    blocking_ms: seen.tasks.reduce((sum, task) => sum + Math.max(0, task - LONG_TASK_MS), 0),
    longest_task_ms: Math.max(0, ...seen.tasks),
    layout_shift: seen.shift,
  };
}

/** What the page and its worker hold once the first decision stands there, in MB. */
async function measureMemory() {
  // The browser's own measure leaves out the memory of wasm; the worker keeps it where it can be asked for.
  const keep = `{
    const { instantiateStreaming } = WebAssembly;
    WebAssembly.instantiateStreaming = async (...given) => {
      const made = await instantiateStreaming(...given);
      globalThis.wasmMemory = made.instance.exports.memory;
      return made;
    };
  }`;
  const files = { "/worker.js": `import "./keep.js"; ${await readFile(join(www, "worker.js"), "utf8")}`, "/keep.js": keep };
  const isolated = await serve(www, files, { headers: ISOLATED });
  const context = await launchWithProfile(executable, join(folder, "memory"));
  const page = await context.newPage();
  await page.goto(isolated.url);
  await page.locator(".plot-svg").waitFor();
  const wasm = await page.workers()[0].evaluate(() => globalThis.wasmMemory.buffer.byteLength);
  const { breakdown } = await page.evaluate(() => /** @type {any} */ (performance).measureUserAgentSpecificMemory());
  await context.close();
  await isolated.close();
  const of = (scope) => breakdown.filter(({ attribution }) => attribution.some((owner) => owner.scope === scope)).reduce((sum, { bytes }) => sum + bytes, 0);
  return { page: megabytes(of("Window")), worker: megabytes(of("DedicatedWorkerGlobalScope")), wasm: megabytes(wasm) };
}

/**
 * The sizes of all files that the page is made of, by name.
 * @param {string} www
 */
async function weigh(www) {
  const names = (await readdir(www, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(www.length + 1)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => {
    const bytes = await readFile(join(www, name));
    return [name, { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotliCompressSync(bytes).length }];
  })));
}

/** @param {{ raw: number, gzip: number, brotli: number }[]} files */
function total(files) {
  const sum = (kind) => files.reduce((total, sizes) => total + sizes[kind], 0);
  return { raw: sum("raw"), gzip: sum("gzip"), brotli: sum("brotli") };
}

/** Chunks carry a hash of their content in their name. @param {string} name */
function stable(name) {
  return name.replace(/-[A-Z0-9]{8}\.js$/, ".js");
}

/** @param {string} name @param {{ raw: number, gzip: number, brotli: number }} sizes */
function row(name, { raw, gzip, brotli }) {
  return [name.padEnd(24), ...[raw, gzip, brotli].map((bytes) => (bytes / 1000).toFixed(1).padStart(8))].join(" ");
}

/** @param {number[]} values */
function spread(values) {
  const sorted = [...values].sort((a, b) => a - b).map((value) => Number(value.toPrecision(4)));
  return { median: sorted[sorted.length >> 1], least: sorted[0], most: sorted[sorted.length - 1] };
}

/** @param {{ median: number, least: number, most: number }} figure */
function text({ median, least, most }) {
  const round = (value) => (value < 1 ? Number(value.toFixed(3)) : Math.round(value));
  return `${round(median)} (${round(least)} to ${round(most)})`;
}

/** @param {number} bytes */
function megabytes(bytes) {
  return Number((bytes / 1e6).toFixed(1));
}
