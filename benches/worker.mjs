// What the gateway adds in a real workerd: cold start and its CPU, first request, and one decision over HTTP.
//
// workerd stops its clock while code runs, so everything is measured from outside. What belongs to
// workerd and HTTP rather than to routing is shown beside it: an empty Worker's start, and /healthz.

import { gzipSync } from "node:zlib";
import { performance } from "node:perf_hooks";
import { Miniflare } from "miniflare";
import { bundleWorker, readConfig, startGateway } from "../src/js/tools/gateway.mjs";
import { cpuMs, workerdOf } from "./load/process.mjs";

const ROUNDS = 3;
const REQUESTS = 2000;
const PROMPTS = [
  "Why is the sky blue?",
  "Write a haiku about a lighthouse in winter.",
  "Prove that the square root of two is irrational, then generalise the proof to every prime.",
  "Refactor this function so that it no longer allocates: fn f(v: &[u32]) -> Vec<u32> { v.iter().map(|x| x * 2).collect() }",
];

/** @param {() => Promise<unknown>} work */
async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

/** @param {number[]} times in ms */
function quantiles(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q) => round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]);
  return { p50: at(0.5), p99: at(0.99) };
}

const round = (ms) => Math.round(ms * 1000) / 1000;
const median = (values) => quantiles(values).p50;

async function emptyStart() {
  const { compatibility_date } = readConfig();
  const script = "export default { fetch() { return new Response('ok'); } }";
  const miniflare = new Miniflare({ modules: true, script, cf: false, compatibilityDate: compatibility_date });
  const [ms] = await timed(async () => (await miniflare.dispatchFetch("http://localhost/")).text());
  const cpu = cpuMs(workerdOf(process.pid));
  await miniflare.dispose();
  return { ms, cpu };
}

async function measure(url, path, init, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const [ms, ok] = await timed(async () => {
      const response = await fetch(url + path, init?.(i));
      await response.arrayBuffer();
      return response.ok;
    });
    if (!ok) throw new Error(`${path} failed`);
    times.push(ms);
  }
  return times;
}

const modules = await bundleWorker();
const gzipped = modules.reduce((sum, { contents }) => sum + gzipSync(contents).length, 0);
const route = (i) => ({ method: "POST", body: JSON.stringify({ prompt: `${PROMPTS[i % PROMPTS.length]} (${i})` }) });

const starts = [];
const startCpus = [];
const empties = [];
const firsts = [];
let routes;
let health;
for (let start = 0; start < ROUNDS; start++) {
  empties.push(await emptyStart());
  const [ms, gateway] = await timed(async () => {
    const started = await startGateway({ modules });
    await (await fetch(`${started.url}/healthz`)).text();
    return started;
  });
  starts.push(ms);
  startCpus.push(cpuMs(workerdOf(process.pid)));
  firsts.push((await measure(gateway.url, "/v1/route", route, 1))[0]);
  if (start === ROUNDS - 1) {
    await measure(gateway.url, "/v1/route", route, 300);
    routes = await measure(gateway.url, "/v1/route", route, REQUESTS);
    health = await measure(gateway.url, "/healthz", undefined, REQUESTS);
  }
  await gateway.close();
}

const result = {
  cold_start_ms: median(starts),
  cold_start_empty_worker_ms: median(empties.map(({ ms }) => ms)),
  start_cpu_ms: median(startCpus),
  start_cpu_empty_worker_ms: median(empties.map(({ cpu }) => cpu)),
  first_route_ms: median(firsts),
  route_ms: quantiles(routes),
  healthz_ms: quantiles(health),
  requests: REQUESTS,
  bundle_gzip_bytes: gzipped,
};
console.log(`cold start       ${result.cold_start_ms} ms (an empty Worker: ${result.cold_start_empty_worker_ms} ms)`);
console.log(`CPU of the start  ${result.start_cpu_ms} ms, all threads of workerd (an empty Worker: ${result.start_cpu_empty_worker_ms} ms)`);
console.log(`first /v1/route  ${result.first_route_ms} ms`);
console.log(`/v1/route        p50 ${result.route_ms.p50} ms, p99 ${result.route_ms.p99} ms`);
console.log(`/healthz         p50 ${result.healthz_ms.p50} ms, p99 ${result.healthz_ms.p99} ms (HTTP and workerd alone)`);
console.log(JSON.stringify(result));
