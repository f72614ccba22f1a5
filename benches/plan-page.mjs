/**
 * The page's Plan view: 10,000 real prompts from a file to a plan in Chromium, and what that does to the
 * page's own thread and to memory.
 *
 *     npm run build && npm run bench -- plan-page
 *
 * The tasks of the page's thread are those of Chromium's own trace, from giving it the file to saving the
 * assignment, with twenty moves of the target in between. `wall`: as the page felt it, with all else that
 * ran on the machine; `cpu`: what the thread itself used. Memory is what the page's process holds, its worker
 * with wasm and typed arrays included: before, after, and at most (Linux only).
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { root } from "../src/js/tools/shell.mjs";
import { buildWww } from "../src/js/tools/www.mjs";
import { findChromium, launch, serve } from "../tests/js/browser.mjs";

const PROMPTS = 10_000;
const MOVES = 20;
/** What the trace calls a task of a thread. */
const TASK = "RunTask";

const executable = findChromium();
if (!executable) process.exit(1);
const files = ["queries_core", "queries_mmlu_pro"].map((name) => join(root, "..", "shared", "data", `${name}.jsonl.gz`));
if (!files.every(existsSync)) {
  console.log("skipped: ../shared/data, with the prompts, is not here");
  console.log(JSON.stringify({ skipped: true }));
  process.exit(0);
}
const lines = files.flatMap((file) => gunzipSync(readFileSync(file)).toString().trim().split("\n")).slice(0, PROMPTS);

const folder = await mkdtemp(join(tmpdir(), "pennyroute-bench-"));
const site = await serve(await buildWww({ out: join(folder, "www") }));
// By its path: content would pass through the page's thread on its way from here.
const file = join(folder, "prompts.jsonl.gz");
await writeFile(file, gzipSync(lines.join("\n")));
const browser = await launch(executable);
const page = await (await browser.newContext()).newPage();
await page.goto(`${site.url}/#plan`);
await page.locator("#versions").filter({ hasText: "Catalog" }).waitFor();
const slot = (name) => page.locator(`#plan [data-slot=${name}]`);

const before = await memory();
const trace = await startTrace();
await slot("file").setInputFiles(file);
await page.locator("#plan-group").selectOption("source");
const start = performance.now();
await page.getByRole("button", { name: "Estimate", exact: true }).click();
await slot("estimated").filter({ hasText: "prompts estimated" }).waitFor({ timeout: 240_000 });
const estimated = performance.now();
await page.locator("#plan .here").waitFor({ timeout: 60_000 });
await page.locator("#plan .outcome[aria-busy=false]").waitFor();
const planned = performance.now();
await page.locator("#plan-target").focus();
for (let move = 0; move < MOVES; move++) {
  await page.keyboard.press("ArrowLeft");
  await page.locator("#plan .outcome[aria-busy=false]").waitFor();
}
const moved = performance.now();
const [download] = await Promise.all([page.waitForEvent("download"), slot("csv").click()]);
await download.path();
const tasks = await trace();
const after = await memory();

await browser.close();
await site.close();
await rm(folder, { recursive: true, force: true });

const seconds = (from, to) => Number(((to - from) / 1000).toFixed(2));
const longest = (field) => Number((Math.max(...tasks.map((task) => task[field] ?? 0)) / 1000).toFixed(1));
const result = {
  prompts: lines.length,
  estimate_s: seconds(start, estimated),
  prompts_per_s: Math.round(lines.length / seconds(start, estimated)),
  curve_and_plan_s: seconds(estimated, planned),
  ms_per_move: Math.round((moved - planned) / MOVES),
  main_thread: {
    longest_task_ms: { wall: longest("dur"), cpu: longest("tdur") },
    tasks_over_50_ms: { wall: tasks.filter((task) => task.dur > 50_000).length, cpu: tasks.filter((task) => task.tdur > 50_000).length },
    busy_share: Number((tasks.reduce((sum, task) => sum + (task.tdur ?? 0), 0) / 1000 / (moved - start)).toFixed(3)),
  },
  memory_mb: after && { before: before.now, after: after.now, peak: after.peak },
};
console.log(`${result.prompts} prompts estimated in ${result.estimate_s} s, ${result.prompts_per_s} a second; curve and first plan ${result.curve_and_plan_s} s; a move of the target ${result.ms_per_move} ms`);
console.log(`the page's thread: longest task ${longest("dur")} ms (${longest("tdur")} ms of its own), ${result.main_thread.tasks_over_50_ms.wall} over 50 ms, busy ${(result.main_thread.busy_share * 100).toFixed(1)} %`);
if (after) console.log(`memory of the page's process: ${before.now} MB before, ${after.now} MB after, ${after.peak} MB at most`);
console.log(JSON.stringify(result));

/** MB that the page's process, the largest renderer, holds and has held at most. */
async function memory() {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
  await cdp.detach();
  const renderers = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => `/proc/${id}/status`).filter(existsSync).map((path) => {
    const status = readFileSync(path, "utf8");
    const [now, peak] = ["VmRSS", "VmHWM"].map((name) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)[1]) / 1000));
    return { now, peak };
  });
  return renderers.sort((a, b) => b.now - a.now).at(0) ?? null;
}

/** Begins a trace; the returned function ends it: the tasks of the page's main thread. */
async function startTrace() {
  const cdp = await browser.newBrowserCDPSession();
  /** @type {any[]} */
  const events = [];
  cdp.on("Tracing.dataCollected", ({ value }) => void events.push(...value.filter(({ name }) => name === TASK || name === "thread_name" || name === "TracingStartedInBrowser")));
  await cdp.send("Tracing.start", { traceConfig: { includedCategories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"], excludedCategories: ["*"] } });
  return async () => {
    const complete = new Promise((resolve) => cdp.once("Tracing.tracingComplete", resolve));
    await cdp.send("Tracing.end");
    await complete;
    const threads = events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
    const of = threads.map(({ pid, tid }) => events.filter((event) => event.name === TASK && event.pid === pid && event.tid === tid));
    // Of several renderers the page's is the one with work to do.
    return of.sort((a, b) => b.length - a.length)[0];
  };
}
