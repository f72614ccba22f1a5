/**
 * The page: what it weighs, and how long after navigation the first decision stands there.
 *
 *     npm run build && npm run bench -- page
 *
 * The page is served from this machine with `max-age=600`, so the times are those of the browser
 * (fetching from itself, compiling, loading the model, deciding), not of a network. Cold: a fresh
 * profile each time. Warm: the same profile, after visits that filled its caches. Medians.
 */
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { buildWww } from "../src/js/tools/www.mjs";
import { findChromium, launchWithProfile, serve } from "../tests/js/browser.mjs";

const COLD_RUNS = 5;
const WARM_RUNS = 11;
/** Chromium keeps compiled wasm only after it has seen the module a few times. */
const WARMING_VISITS = 4;

const executable = findChromium();
if (!executable) process.exit(1);

const folder = await mkdtemp(join(tmpdir(), "pennyroute-bench-"));
const www = await buildWww({ out: join(folder, "www") });
const site = await serve(www, {}, { headers: { "cache-control": "max-age=600" } });

const weight = await weigh(www);
const cold = [];
for (let run = 0; run < COLD_RUNS; run++) {
  const context = await launchWithProfile(executable, join(folder, `cold-${run}`));
  cold.push(await visit(context));
  await context.close();
}
const context = await launchWithProfile(executable, join(folder, "warm"));
for (let run = 0; run < WARMING_VISITS; run++) await visit(context);
const warm = [];
for (let run = 0; run < WARM_RUNS; run++) warm.push(await visit(context));
await context.close();
await site.close();
await rm(folder, { recursive: true, force: true });

const result = {
  weight,
  first_decision_ms: { cold: median(cold), warm: median(warm), warm_least: Math.round(Math.min(...warm)) },
};
console.log("file                          raw     gzip   brotli (kB)");
for (const [name, { raw, gzip, brotli }] of Object.entries(weight)) {
  console.log(name.padEnd(24), ...[raw, gzip, brotli].map((bytes) => (bytes / 1000).toFixed(1).padStart(8)));
}
console.log(`first decision after navigation: ${result.first_decision_ms.cold} ms cold, ${result.first_decision_ms.warm} ms warm`);
console.log(JSON.stringify(result));

/**
 * Milliseconds from the start of navigation to the first decision in the page.
 * @param {import("playwright-core").BrowserContext} context
 */
async function visit(context) {
  const page = await context.newPage();
  await page.addInitScript(() => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector("[data-slot=model]")?.textContent) return;
      observer.disconnect();
      globalThis.decidedAt = performance.now();
    }).observe(document, { childList: true, subtree: true });
  });
  await page.goto(site.url);
  const time = await (await page.waitForFunction(() => globalThis.decidedAt)).jsonValue();
  // Let the plot arrive and the compiled code be stored.
  await page.locator(".plot-svg").waitFor();
  await page.waitForTimeout(300);
  await page.close();
  return time;
}

/**
 * @param {string} www
 * @returns {Promise<Record<string, { raw: number, gzip: number, brotli: number }>>}
 */
async function weigh(www) {
  const total = { raw: 0, gzip: 0, brotli: 0 };
  const files = {};
  for (const name of (await readdir(www)).sort()) {
    const bytes = await readFile(join(www, name));
    const sizes = { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotliCompressSync(bytes).length };
    // Chunks carry a hash of their content in their name.
    files[name.replace(/-[A-Z0-9]{8}\.js$/, ".js")] = sizes;
    for (const kind of Object.keys(total)) total[kind] += sizes[kind];
  }
  return { ...files, total };
}

/** @param {number[]} times */
function median(times) {
  return Math.round([...times].sort((a, b) => a - b)[times.length >> 1]);
}
