/**
 * Texts per second that a sentence encoder (all-MiniLM-L6-v2) embeds, ours beside its peers, in one run: by tokens of a text
 * and texts of a batch.
 *
 *     npm run build && npm run encoder && npm run bench -- encode [--seconds 10] [--tokens 16,64,128] [--batches 1,8,64,512]
 *
 * CPU, one thread each: ours natively and in wasm (Node), onnxruntime natively and its web build (Node), in 8 bits (for them
 * dynamic quantisation, the form transformers.js takes by default in wasm) and in float32. WebGPU, in one headless Chromium: ours,
 * onnxruntime-web and transformers.js. Where there is no adapter but a software one, that is what is measured, and its name is told.
 *
 * Within a host the contenders take turns, round by round, and ratios are taken of what was measured in the same round: what
 * else the machine does falls on all. No cell takes longer than `--seconds` for each contender; one that would is left out.
 *
 * The peers' models are made by `target/encoder-python/bin/python models/train/minilm_onnx.py models/train/out/all-MiniLM-L6-v2`;
 * transformers.js takes part where it is installed: `npm install --no-save --ignore-scripts @huggingface/transformers@4.3.1`.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import * as ort from "onnxruntime-web";
import { benchCommand, root } from "../src/js/tools/shell.mjs";
import { findChromium, launch, serve } from "../tests/js/browser.mjs";

const OURS = join(root, "models/train/out/encoder");
const PEER = "models/train/out/all-MiniLM-L6-v2";
const PYTHON = join(root, "target/encoder-python/bin/python");
const TRANSFORMERS = "@huggingface/transformers";
const ROUNDS = 5;
/** Two encoders of the same weights point the same way; less than this cosine says that one of them is broken. */
const LEAST_COSINE = 0.95;
/** Common words, each one token. */
const WORDS = "the river ran slowly past old stone houses where people often gathered to talk about their day".split(" ");

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "10" }, tokens: { type: "string", default: "16,64,128" }, batches: { type: "string", default: "1,8,64,512" } },
});
const seconds = Number(values.seconds);
const [lengths, batches] = [values.tokens, values.batches].map((list) => list.split(",").map(Number));
for (const [path, how] of [[OURS, "npm run encoder"], [join(root, PEER), `${relative(root, PYTHON)} models/train/minilm_onnx.py ${PEER}`]]) {
  if (!existsSync(path)) {
    console.error(`${relative(root, path)} is missing. Make it first: ${how}`);
    process.exit(2);
  }
}

/** The adapters that were found. */
const context = {};
const cells = lengths.flatMap((tokens) => batches.map((batch) => ({ tokens, batch })));
const results = [];
/** Texts per second of a contender in a cell; `ratio`: its milliseconds over those of ours in the same rounds. */
function keep(contender, cell, ms, ratio) {
  results.push({ contender, ...cell, texts_per_s: ms === null ? null : (cell.batch * 1e3) / ms, ...(ratio ? { ratio } : {}) });
}

await inNode();
natively();
await inChromium();

for (const [title, pick] of [["CPU", (name) => !name.includes("WebGPU")], ["WebGPU", (name) => name.includes("WebGPU")]]) {
  const names = [...new Set(results.map(({ contender }) => contender))].filter(pick);
  if (!names.length) continue;
  console.log(`\n${title}: texts per second`);
  console.table(Object.fromEntries(cells.map(({ tokens, batch }) => [`${tokens} tokens × ${batch}`, Object.fromEntries(names.map((name) => {
    const row = results.find((it) => it.contender === name && it.tokens === tokens && it.batch === batch);
    return [name, row?.texts_per_s == null ? null : Number(row.texts_per_s.toPrecision(3))];
  }))])));
}
console.log(JSON.stringify({ bench: "encode", seconds, results, ...context }));

/** Ours in wasm and onnxruntime-web, one thread each. */
async function inNode() {
  const { Encoder } = await import("pennyroute/encoder");
  ort.env.wasm.numThreads = 1;
  const open = async (file) => {
    const session = await ort.InferenceSession.create(readFileSync(join(root, PEER, "onnx", file)));
    return async (ids) => (await session.run({ input_ids: new ort.Tensor("int64", ids, [1, ids.length]) })).last_hidden_state;
  };
  const encoder = await Encoder.load({ from: join(OURS, "manifest.json"), path: "cpu" });
  const [q8, f32] = [await open("model_quantized.onnx"), await open("model.onnx")];
  const idsOf = (tokens) => BigInt64Array.from({ length: tokens }, (_, i) => BigInt(2000 + ((i * 37) % 5000)));
  const alone = (run) => async ({ tokens, batch }) => {
    for (let i = 0; i < batch; i++) await run(idsOf(tokens));
  };
  await compare({
    "ours, wasm": ({ tokens, batch }) => encoder.embed(texts(tokens, batch)),
    "onnxruntime-web, wasm, 8 bits": alone(q8),
    "onnxruntime-web, wasm, float32": alone(f32),
  });
  encoder.free();
}

/** Our own first; every contender as many rounds as fit. */
async function compare(contenders) {
  const names = Object.keys(contenders);
  for (const cell of cells) {
    const times = Object.fromEntries(names.map((name) => [name, []]));
    const spent = (name) => times[name].reduce((sum, ms) => sum + ms, 0) / 1e3;
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) {
        // What the smaller batch took tells whether this one fits at all.
        const before = results.findLast((it) => it.contender === name && it.tokens === cell.tokens && it.texts_per_s);
        const expected = times[name].length ? spent(name) / times[name].length : before ? cell.batch / before.texts_per_s : 0;
        if (spent(name) + expected > seconds) continue;
        if (round === 0) await contenders[name]({ ...cell, batch: 1 });
        const start = performance.now();
        await contenders[name](cell);
        times[name].push(performance.now() - start);
      }
    }
    const ours = times[names[0]];
    for (const name of names) {
      const ratios = times[name].slice(0, ours.length).map((ms, i) => ms / ours[i]);
      keep(name, cell, times[name].length ? median(times[name]) : null, name === names[0] || !ratios.length ? undefined : median(ratios));
    }
  }
}

/** Ours and onnxruntime without a browser, on the CPU and, ours, on the GPU. */
function natively() {
  const list = [lengths.join(), batches.join(), String(seconds)];
  const output = execFileSync("cargo", benchCommand("encode", list), { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  for (const row of JSON.parse(output.trim().split("\n").at(-1)).rows) {
    keep(`ours, ${row.path === "gpu" ? "native, GPU (WebGPU through wgpu)" : "native"}`, { tokens: row.tokens, batch: row.batch }, row.ms);
    if (row.adapter) context.native_adapter = row.adapter;
  }
  if (!existsSync(PYTHON)) {
    console.error(`skipped: onnxruntime natively, ${relative(root, PYTHON)} is missing`);
    return;
  }
  for (const [file, name] of [["model_quantized.onnx", "8 bits"], ["model.onnx", "float32"]]) {
    const output = execFileSync(PYTHON, [join(root, "benches/encode/onnxruntime.py"), join(root, PEER, "onnx", file), ...list], { encoding: "utf8" });
    for (const { tokens, batch, ms } of JSON.parse(output.trim().split("\n").at(-1))) keep(`onnxruntime, native, ${name}`, { tokens, batch }, ms);
  }
}

/** On WebGPU, in a page: ours, onnxruntime-web and, where it is installed, transformers.js. */
async function inChromium() {
  const executable = findChromium();
  if (!executable) return;
  const site = await serve(root, { "/": "<!doctype html><title>encode</title>", "/page.js": await bundled() });
  const browser = await launch(executable, { gpu: true });
  try {
    const page = await browser.newPage();
    await page.goto(site.url);
    const opened = await page.evaluate(async (names) => {
      Object.assign(globalThis, await import("/page.js"));
      return globalThis.open(names);
    }, { ours: `/${relative(root, OURS)}/manifest.json`, peer: PEER });
    if (opened.missing) {
      console.error(`skipped: WebGPU in Chromium: ${opened.missing}`);
      return;
    }
    context.chromium_adapter = opened.adapter;
    for (const [name, why] of Object.entries(opened.failed)) console.error(`skipped: ${name}: ${why}`);
    for (const name of opened.names) {
      if (!(opened.cosines[name] > LEAST_COSINE)) throw new Error(`${name} gives another vector: cosine ${opened.cosines[name]}`);
    }
    const embed = (name) => async (cell) => void (await page.evaluate(([name, list]) => globalThis.embed(name, list), [name, texts(cell.tokens, cell.batch)]));
    await compare(Object.fromEntries(opened.names.map((name) => [name, embed(name)])));
  } finally {
    await browser.close();
    site.close();
  }
}

/** The page's script: `open()` loads whoever there is, `embed(name, texts)` runs one of them. */
async function bundled() {
  const transformers = existsSync(join(root, "node_modules", TRANSFORMERS));
  const wasmPaths = (from) => `/${relative(root, join(createRequire(from).resolve("onnxruntime-web"), ".."))}/`;
  const here = import.meta.url;
  const contents = `
    import { Encoder } from "/dist/encoder.js";
    import * as ort from "onnxruntime-web/webgpu";
    const loaders = {
      "onnxruntime-web, WebGPU, float32": async ({ peer }) => {
        ort.env.wasm.wasmPaths = "${wasmPaths(here)}";
        const session = await ort.InferenceSession.create("/" + peer + "/onnx/model.onnx", { executionProviders: ["webgpu"] });
        return async (texts) => {
          const width = texts[0].split(" ").length + 2;
          const row = [101, ...texts[0].split(" ").map((_, i) => 2000 + i * 37 % 5000), 102];
          const ids = BigInt64Array.from({ length: texts.length * width }, (_, i) => BigInt(row[i % width]));
          const { last_hidden_state } = await session.run({ input_ids: new ort.Tensor("int64", ids, [texts.length, width]) });
          await last_hidden_state.getData();
        };
      },${transformers ? `
      "transformers.js, WebGPU, float32": async ({ peer }) => {
        const { env, pipeline } = await import("${TRANSFORMERS}");
        Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "/", useBrowserCache: false, useWasmCache: false });
        env.backends.onnx.wasm.wasmPaths = "${wasmPaths(createRequire(here).resolve(TRANSFORMERS))}";
        const embed = await pipeline("feature-extraction", peer, { device: "webgpu", dtype: "fp32" });
        return async (texts) => (await embed(texts, { pooling: "mean", normalize: true })).data;
      },` : ""}
    };
    const contenders = {};
    const SAMPLE = "people often gathered to talk about their day past old stone houses";
    export async function open(names) {
      const encoder = await Encoder.load({ from: names.ours, path: "gpu" });
      const { embeddings, receipt } = await encoder.embed([SAMPLE]);
      if (receipt.path !== "gpu") return { missing: receipt.fallback.reason };
      contenders["ours, WebGPU"] = (texts) => encoder.embed(texts, { path: "gpu" });
      const [failed, cosines] = [{}, {}];
      for (const [name, load] of Object.entries(loaders)) {
        try {
          const embed = await load(names);
          const vector = await embed([SAMPLE]);
          // onnxruntime is given made-up tokens: only its time counts.
          if (vector) cosines[name] = vector.reduce((sum, value, i) => sum + value * embeddings[i], 0);
          contenders[name] = embed;
        } catch (error) {
          failed[name] = String(error?.message ?? error);
        }
      }
      const known = Object.keys(contenders);
      return { adapter: receipt.adapter, names: known, cosines: Object.fromEntries(known.map((name) => [name, cosines[name] ?? 1])), failed };
    }
    export const embed = (name, texts) => contenders[name](texts).then(() => undefined);`;
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents, resolveDir: root }, bundle: true, write: false, format: "esm", platform: "browser", target: "es2022",
    external: ["/dist/*"], logLevel: "error",
  });
  return text;
}

/** As many texts of as many tokens, their two markers included; no two alike. */
function texts(tokens, batch) {
  return Array.from({ length: batch }, (_, n) => Array.from({ length: tokens - 2 }, (_, i) => WORDS[(i * 7 + n) % WORDS.length]).join(" "));
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
