/**
 * One `route()` over the whole catalog and one `estimate()` of 20 models in wasm, beside embedding the
 * same number of tokens with all-MiniLM-L6-v2 in onnxruntime-web, single-threaded, in the same run. The peer's ONNX file is made by
 * `python models/train/minilm_onnx.py models/train/out/minilm.onnx` (with `models/train/requirements.txt`).
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-web";

const root = fileURLToPath(new URL("..", import.meta.url));
const PEER = fileURLToPath(new URL("../models/train/out/minilm.onnx", import.meta.url));
const LENGTHS = [16, 64, 256];
const ROUNDS = 30;
/** Calls of ours per round: one alone is shorter than the clock is precise. */
const CALLS = 50;

// Common English words, each one token of the vocabulary.
const WORDS = "the river ran slowly past old stone houses where people often gathered to talk about their day".split(" ");
const prompt = (tokens) => Array.from({ length: tokens }, (_, i) => WORDS[(i * 7) % WORDS.length]).join(" ");

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const time = async (work) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

if (!existsSync(PEER)) {
  console.error("The peer is missing. Make it first: python models/train/minilm_onnx.py models/train/out/minilm.onnx");
  process.exit(2);
}
if (!existsSync(new URL("../dist/node.js", import.meta.url))) {
  console.error("The package is not built yet: npm run build");
  process.exit(2);
}
const { Router } = await import("pennyroute");
ort.env.wasm.numThreads = 1;
const peer = await ort.InferenceSession.create(readFileSync(PEER));
const router = await Router.load();
const twenty = await Router.load();
const { models, ...shipped } = twenty.catalog();
twenty.setCatalog({ ...shipped, models: models.slice(0, 20) });

// A fresh process each: import, load, first decision.
const COLD = `const start = performance.now();
const { Router } = await import("pennyroute");
const router = await Router.load();
const loaded = performance.now() - start;
router.route("Hi");
console.log(JSON.stringify([loaded, performance.now() - start]));`;
const cold = Array.from({ length: 7 }, () =>
  JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", COLD], { cwd: root })));
const load_ms = median(cold.map(([loaded]) => loaded));
const first_decision_ms = median(cold.map(([, decided]) => decided));

const rows = [];
for (const tokens of LENGTHS) {
  const request = { prompt: prompt(tokens), at: "2026-11-20T12:00:00Z" };
  const ids = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(2000 + ((i * 37) % 5000)));
  const feed = { input_ids: new ort.Tensor("int64", ids, [1, tokens]) };
  const ours = [];
  const estimates = [];
  const theirs = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push((await time(() => { for (let i = 0; i < CALLS; i += 1) router.route(request); })) / CALLS);
    estimates.push((await time(() => { for (let i = 0; i < CALLS; i += 1) twenty.estimate(request); })) / CALLS);
    theirs.push(await time(() => peer.run(feed)));
  }
  const row = { tokens, route_ms: median(ours), estimate_20_ms: median(estimates), minilm_ms: median(theirs) };
  rows.push({ ...row, ratio: row.minilm_ms / row.route_ms });
}
console.table(rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, Number(v.toPrecision(4))]))));
console.log(`cold start: loaded after ${load_ms.toFixed(0)} ms, first decision after ${first_decision_ms.toFixed(0)} ms`);
console.log(JSON.stringify({ bench: "predict", host: "node", load_ms, first_decision_ms, rows }));
