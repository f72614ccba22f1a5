/**
 * Estimating 10,000 real prompts in the browser, for every model of the catalog, beside embedding them
 * with all-MiniLM-L6-v2 in transformers.js (wasm, weights in 8 bits as is its default there, and float32).
 *
 *     npm run build && npm run bench -- throughput
 *
 * Each runs in a module web worker of one Chromium, on a page as most are: not isolated, so one thread
 * for each. Ours takes every prompt; the peer an evenly spread part of each round's, because all would
 * take it long. The rounds alternate, and the ratio is taken within each: what else the machine does
 * falls on both.
 *
 * The prompts are a seeded choice among the queries of `../shared/data`. The peer is made by
 *
 *     npm install --no-save --ignore-scripts @huggingface/transformers@4.3.1
 *     python models/train/minilm_onnx.py models/train/out/all-MiniLM-L6-v2
 *
 * (with `models/train/requirements.txt`).
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { gunzipSync } from "node:zlib";
import { build } from "esbuild";
import { random } from "../src/js/tools/random.mjs";
import { root } from "../src/js/tools/shell.mjs";
import { findChromium, launch, serve } from "../tests/js/browser.mjs";

const PROMPTS = 10_000;
const ROUNDS = 20;
/** What each of the peer's forms embeds in a round. */
const PEER_PROMPTS = 25;
/** Calls of ours stay this short, as those of a page do that remains responsive. */
const CHUNK = 50;
const SEED = 6;
/** The peer's forms, by the name that transformers.js has for them. */
const DTYPES = ["q8", "fp32"];
/** Two forms of one model point the same way; less than this cosine says that one of them is broken. */
const LEAST_COSINE = 0.95;
const PEER = "@huggingface/transformers";
const MODEL = "models/train/out/all-MiniLM-L6-v2";

const data = ["queries_core.jsonl.gz", "queries_mmlu_pro.jsonl.gz"].map((name) => join(root, "../shared/data", name));
if (!data.every(existsSync)) skip("../shared/data, with the prompts, is not here");
if (!existsSync(join(root, "node_modules", PEER))) skip(`the peer is missing: npm install --no-save --ignore-scripts ${PEER}@4.3.1`);
if (!existsSync(join(root, MODEL))) skip(`the peer's model is missing: python models/train/minilm_onnx.py ${MODEL}`);
const executable = findChromium();
if (!executable) process.exit(1);

const OURS = `
  import { Router } from "/dist/browser.js";
  const router = await Router.load();
  onmessage = ({ data: prompts }) => {
    const start = performance.now();
    let models = 0;
    for (let i = 0; i < prompts.length; i += ${CHUNK}) ({ models } = router.estimateBatch(prompts.slice(i, i + ${CHUNK})));
    postMessage({ ms: performance.now() - start, models });
  };
  postMessage("ready");`;

const THEIRS = (dtype) => `
  import { env, pipeline } from "${PEER}";
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/";
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.backends.onnx.wasm.wasmPaths = "/${relative(root, onnxRuntime())}/";
  const embed = await pipeline("feature-extraction", "${MODEL}", { device: "wasm", dtype: "${dtype}" });
  onmessage = async ({ data: prompts }) => {
    const start = performance.now();
    let vector;
    for (const prompt of prompts) vector = await embed(prompt, { pooling: "mean", normalize: true });
    postMessage({ ms: performance.now() - start, vector: [...vector.data] });
  };
  postMessage("ready");`;

const queries = data.flatMap((file) => gunzipSync(readFileSync(file)).toString().trim().split("\n").map((line) => JSON.parse(line)));
const prompts = shuffled(queries, random("throughput", SEED)).slice(0, PROMPTS);
const site = await serve(root, {
  "/": "<!doctype html><title>throughput</title>",
  "/ours.js": await bundled(OURS, ["/dist/*"]),
  ...Object.fromEntries(await Promise.all(DTYPES.map(async (dtype) => [`/${dtype}.js`, await bundled(THEIRS(dtype))]))),
});
const browser = await launch(executable);
const page = await browser.newPage();
await page.goto(site.url);
for (const name of ["ours", ...DTYPES]) await page.evaluate(start, name);

const rounds = [];
for (let round = 0; round < ROUNDS; round++) {
  const texts = prompts.slice((round * PROMPTS) / ROUNDS, ((round + 1) * PROMPTS) / ROUNDS).map(({ text }) => text);
  const part = Array.from({ length: PEER_PROMPTS }, (_, i) => texts[Math.floor((i * texts.length) / PEER_PROMPTS)]);
  const ours = await page.evaluate(ask, { name: "ours", prompts: texts });
  const row = { models: ours.models, ours: ours.ms / texts.length };
  const vectors = [];
  for (const dtype of DTYPES) {
    const { ms, vector } = await page.evaluate(ask, { name: dtype, prompts: part });
    row[dtype] = ms / part.length;
    vectors.push(vector);
  }
  const cosine = vectors[0].reduce((sum, value, i) => sum + value * vectors[1][i], 0);
  if (!(cosine > LEAST_COSINE)) throw new Error(`the peer's forms disagree: cosine ${cosine}`);
  rounds.push(row);
}
await browser.close();
await site.close();

const ours = spread(rounds.map((row) => row.ours));
const theirs = Object.fromEntries(DTYPES.map((dtype) => [dtype, spread(rounds.map((row) => row[dtype]))]));
const ratio = Object.fromEntries(DTYPES.map((dtype) => [dtype, spread(rounds.map((row) => row[dtype] / row.ours))]));
const [{ models }] = rounds;
const seconds = rounds.reduce((sum, row) => sum + row.ours, 0) * (PROMPTS / ROUNDS) / 1000;
console.log(`prompts                ms each, median of ${ROUNDS} rounds (quartiles)   ratio to ours`);
console.log(line(`ours, ${models} models`, PROMPTS, ours));
for (const dtype of DTYPES) console.log(line(`MiniLM, ${dtype}`, ROUNDS * PEER_PROMPTS, theirs[dtype], ratio[dtype]));
console.log(`ours: all ${PROMPTS} prompts in ${seconds.toFixed(1)} s`);
console.log(JSON.stringify({ bench: "throughput", prompts: PROMPTS, models, peer_prompts: ROUNDS * PEER_PROMPTS, seconds, ms_per_prompt: { ours, ...theirs }, ratio }));

/** In the page: starts a worker by its name, and resolves once it is loaded. @param {string} name */
function start(name) {
  const worker = new Worker(`/${name}.js`, { type: "module" });
  Object.assign(globalThis, { workers: { ...globalThis.workers, [name]: worker } });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve(undefined);
    worker.onerror = ({ message }) => reject(new Error(`${name}: ${message}`));
  });
}

/** In the page: what a worker makes of prompts. @param {{ name: string, prompts: string[] }} job */
function ask({ name, prompts }) {
  const worker = globalThis.workers[name];
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`${name}: ${message}`));
    worker.postMessage(prompts);
  });
}

/** @param {string} source @param {string[]} [external] */
async function bundled(source, external = []) {
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents: source, resolveDir: root }, bundle: true, write: false, format: "esm", platform: "browser",
    target: "es2022", external, logLevel: "error",
  });
  return text;
}

/** The folder of the wasm files that the peer runs on. */
function onnxRuntime() {
  const { resolve } = createRequire(createRequire(import.meta.url).resolve(PEER));
  return join(resolve("onnxruntime-web"), "..");
}

/** @template T @param {T[]} items @param {() => number} next */
function shuffled(items, next) {
  const left = [...items];
  return Array.from(items, () => left.splice(Math.floor(next() * left.length), 1)[0]);
}

/** @param {number[]} values */
function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return { median: at(0.5), quartiles: [at(0.25), at(0.75)] };
}

function line(name, count, { median, quartiles }, ratio) {
  const range = quartiles.map((ms) => ms.toPrecision(3)).join(" to ");
  const times = ratio ? `${ratio.median.toPrecision(3)} (${ratio.quartiles.map((value) => value.toPrecision(3)).join(" to ")})` : "";
  return `${name.padEnd(18)} ${String(count).padStart(6)}   ${`${median.toPrecision(3)} (${range})`.padEnd(32)} ${times}`;
}

/** @param {string} reason */
function skip(reason) {
  console.log(`skipped: ${reason}`);
  console.log(JSON.stringify({ bench: "throughput", skipped: true }));
  process.exit(0);
}
