/**
 * Texts per second that a sentence encoder (all-MiniLM-L6-v2) embeds, ours beside its peers, in one run: by tokens of a text
 * and texts of a batch.
 *
 *     npm run build && npm run encoder && npm run bench -- encode [--seconds 10] [--tokens 16,64,128] [--batches 1,8,64,512]
 *
 * CPU, one thread each: ours natively and in wasm (Node), onnxruntime natively and its web build (Node), these in 8 bits (dynamic
 * quantisation, the form transformers.js takes by default in wasm) and in float32. The peers embed a batch both one text after
 * another and in slices of up to 64 texts; the faster of the two is reported.
 *
 * WebGPU, in one headless Chromium: ours with int8 weights and, where `models/train/out/encoder-float32` is, with float32 ones;
 * onnxruntime-web and transformers.js with float32 weights, whole batches. Each must give our vector of a sample but for a cosine
 * of 0.95. Chromium finds a real GPU by the flags in `CHROMIUM_GPU_FLAGS`, separated by spaces, where the machine needs any
 * (`--use-angle=vulkan --enable-features=Vulkan`); otherwise its adapter in software is measured. The adapter's name is told.
 *
 * In Node and in Chromium the contenders take turns, round by round, and `ratio` is the median of their milliseconds over those
 * of our first contender in the same round: what else the machine does falls on all. Natively they run one after another, and
 * have no ratios. Times are taken where the work is done, in the page for WebGPU. They are medians of up to five rounds, after one
 * text alone to warm up; in Node and in Chromium each begins with a second of those, in which an engine compiles once more what
 * it finds hot. No cell takes longer than `--seconds` for each contender; one that would, by the batch before, is left out.
 *
 * Ours and transformers.js are given texts. onnxruntime-web on WebGPU is given the tokens that ours cuts the same texts into, cut
 * before the clock starts; onnxruntime on the CPU and all that runs natively as many made-up tokens, of which the time does not
 * depend. Texts of a cell have equal lengths, so nobody pads, and repeat after 17: nobody keeps what it has seen.
 *
 * The peers' models are made by
 *
 *     target/encoder-python/bin/python models/train/minilm_onnx.py models/train/out/all-MiniLM-L6-v2
 *     target/encoder-python/bin/python models/train/minilm_onnx.py models/train/out/minilm.onnx
 *
 * transformers.js takes part where it is installed: `npm install --no-save --ignore-scripts @huggingface/transformers@4.3.1`.
 * Where there is no Chromium, no adapter, no such Python or a peer does not start, a line says so and the rest is measured.
 * The last line is one JSON object.
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
/** Ours on WebGPU, by name; the first one is what the others are compared with. */
const FOLDERS = { "ours, WebGPU, int8 weights": OURS, "ours, WebGPU, float32 weights": `${OURS}-float32` };
/** What transformers.js loads, and what onnxruntime does on the CPU; and the same with pooled vectors. */
const PEER = "models/train/out/all-MiniLM-L6-v2";
const POOLED = "models/train/out/minilm.onnx";
const PYTHON = join(root, "target/encoder-python/bin/python");
const TRANSFORMERS = "@huggingface/transformers";
const ROUNDS = 5;
/** Texts that a peer on the CPU is given at once. */
const SLICE = 64;
/** Two encoders of the same weights point the same way; less than this cosine says that one of them is broken. */
const LEAST_COSINE = 0.95;
/** Common words, each one token. */
const WORDS = "the river ran slowly past old stone houses where people often gathered to talk about their day".split(" ");

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "10" }, tokens: { type: "string", default: "16,64,128" }, batches: { type: "string", default: "1,8,64,512" } },
});
const seconds = Number(values.seconds);
const [lengths, batches] = [values.tokens, values.batches].map((list) => list.split(",").map(Number));
const peer = (path) => [join(root, path), `${relative(root, PYTHON)} models/train/minilm_onnx.py ${path}`];
for (const [path, how] of [[OURS, "npm run encoder"], peer(PEER), peer(POOLED)]) {
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
  results.push({ contender, ...cell, texts_per_s: ms === null ? null : (cell.batch * 1e3) / ms, ...(ratio === undefined ? {} : { ratio }) });
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
    const inSlices = (width) => ({ tokens, batch }) => timed(async () => {
      for (let at = 0; at < batch; at += width) {
        const rows = Math.min(width, batch - at);
        const ids = BigInt64Array.from({ length: rows * tokens }, (_, i) => BigInt(2000 + (((i % tokens) * 37) % 5000)));
        await session.run({ input_ids: new ort.Tensor("int64", ids, [rows, tokens]) });
      }
    });
    return [inSlices(1), inSlices(SLICE)];
  };
  const encoder = await Encoder.load({ from: join(OURS, "manifest.json"), path: "cpu" });
  const ours = ({ tokens, batch }) => {
    const list = texts(tokens, batch);
    return timed(() => encoder.embed(list));
  };
  await compare({
    "ours, wasm": [ours],
    "onnxruntime-web, wasm, 8 bits": await open("model_quantized.onnx"),
    "onnxruntime-web, wasm, float32": await open("model.onnx"),
  });
  encoder.free();
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Measures contenders, our own first, each of whom has one way or several to do a cell: functions to its milliseconds. Every way
 * gets as many rounds as fit; the fastest is kept.
 */
async function compare(contenders) {
  const ways = Object.entries(contenders).flatMap(([name, runs]) => runs.map((run) => ({ name, run })));
  for (const { run } of ways) {
    for (let spent = 0; spent < 1e3;) spent += await run({ tokens: lengths[0], batch: 1 });
  }
  for (const tokens of lengths) {
    // Milliseconds per text, by the batch before: they tell whether a cell fits at all.
    for (const way of ways) way.each = 0;
    for (const batch of batches) {
      const cell = { tokens, batch };
      for (const way of ways) way.times = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const { run, times, each } of ways) {
          const spent = times.reduce((sum, ms) => sum + ms, 0);
          if (spent + (times.length ? spent / times.length : each * batch) > seconds * 1e3) continue;
          if (round === 0) await run({ tokens, batch: 1 });
          times.push(await run(cell));
        }
      }
      for (const way of ways) if (way.times.length) way.each = median(way.times) / batch;
      const [ours] = ways;
      for (const name of Object.keys(contenders)) {
        const [best] = ways.filter((way) => way.name === name && way.times.length).sort((a, b) => median(a.times) - median(b.times));
        // Whoever leaves out a round leaves out the later ones, too.
        const ratios = best?.times.slice(0, ours.times.length).map((ms, i) => ms / ours.times[i]);
        keep(name, cell, best ? median(best.times) : null, name === ours.name || !ratios?.length ? undefined : median(ratios));
      }
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
    const output = execFileSync(PYTHON, [join(root, "benches/encode/onnxruntime_native.py"), join(root, PEER, "onnx", file), ...list], { encoding: "utf8" });
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
    }, {
      ours: Object.entries(FOLDERS).filter(([, folder]) => existsSync(folder)).map(([name, folder]) => [name, `/${relative(root, folder)}/`]),
      peer: PEER, pooled: `/${POOLED}`,
    });
    if (opened.missing) {
      console.error(`skipped: WebGPU in Chromium: ${opened.missing}`);
      return;
    }
    context.chromium_adapter = opened.adapter;
    for (const [name, why] of Object.entries(opened.failed)) console.error(`skipped: ${name}: ${why}`);
    for (const [name, cosine] of Object.entries(opened.cosines)) {
      if (!(cosine > LEAST_COSINE)) throw new Error(`${name} gives another vector: cosine ${cosine}`);
    }
    const embed = (name) => (cell) => page.evaluate(([name, cell]) => globalThis.embed(name, cell), [name, cell]);
    await compare(Object.fromEntries(Object.keys(opened.cosines).map((name) => [name, [embed(name)]])));
  } finally {
    await browser.close();
    site.close();
  }
}

/** The page's script: `open()` loads whoever there is, `embed(name, cell)` gives the milliseconds of one of them. */
async function bundled() {
  const transformers = existsSync(join(root, "node_modules", TRANSFORMERS));
  const wasmPaths = (from) => `/${relative(root, join(createRequire(from).resolve("onnxruntime-web"), ".."))}/`;
  const here = import.meta.url;
  const contents = `
    import { Encoder } from "/dist/encoder.js";
    import { Encoder as Tokenizer } from "/dist/pennyroute.js";
    import * as ort from "onnxruntime-web/webgpu";
    const WORDS = ${JSON.stringify(WORDS)};
    ${texts}
    ${timed}
    /** What each takes of texts before the clock starts, and what it makes of that. */
    const loaders = {
      "onnxruntime-web, WebGPU, float32": async ({ pooled, ours: [[, folder]] }) => {
        ort.env.wasm.wasmPaths = "${wasmPaths(here)}";
        const session = await ort.InferenceSession.create(pooled, { executionProviders: ["webgpu"] });
        const { files, encoder } = await (await fetch(folder + "manifest.json")).json();
        const tokenizer = new Tokenizer(undefined, await (await fetch(folder + files.vocab.path)).text(), encoder.max_tokens);
        const prepare = (texts) => {
          const { ids } = tokenizer.tokenize(texts.map((prompt) => ({ prompt })));
          return new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [texts.length, ids.length / texts.length]);
        };
        return { prepare, embed: async (input_ids) => (await session.run({ input_ids })).embedding.getData() };
      },${transformers ? `
      "transformers.js, WebGPU, float32": async ({ peer }) => {
        const { env, pipeline } = await import("${TRANSFORMERS}");
        Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "/", useBrowserCache: false, useWasmCache: false });
        env.backends.onnx.wasm.wasmPaths = "${wasmPaths(createRequire(here).resolve(TRANSFORMERS))}";
        const extract = await pipeline("feature-extraction", peer, { device: "webgpu", dtype: "fp32" });
        return { prepare: (texts) => texts, embed: async (texts) => (await extract(texts, { pooling: "mean", normalize: true })).data };
      },` : ""}
    };
    const contenders = {};
    const SAMPLE = "people often gathered to talk about their day past old stone houses";
    const cosine = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    export async function open(names) {
      const [vectors, failed] = [{}, {}];
      let adapter;
      for (const [name, folder] of names.ours) {
        const encoder = await Encoder.load({ from: folder + "manifest.json", path: "gpu" });
        const { embeddings, receipt } = await encoder.embed([SAMPLE]);
        if (receipt.path !== "gpu") return { missing: receipt.fallback.reason };
        adapter = receipt.adapter;
        vectors[name] = embeddings;
        const embed = async (texts) => {
          const { receipt } = await encoder.embed(texts, { path: "gpu" });
          if (receipt.path !== "gpu") throw new Error(receipt.fallback.reason);
        };
        contenders[name] = { prepare: (texts) => texts, embed };
      }
      for (const [name, load] of Object.entries(loaders)) {
        try {
          const { prepare, embed } = await load(names);
          vectors[name] = await embed(prepare([SAMPLE]));
          contenders[name] = { prepare, embed };
        } catch (error) {
          failed[name] = String(error?.message ?? error);
        }
      }
      const [ours] = Object.values(vectors);
      return { adapter, failed, cosines: Object.fromEntries(Object.entries(vectors).map(([name, vector]) => [name, cosine(vector, ours)])) };
    }
    export function embed(name, { tokens, batch }) {
      const { prepare, embed } = contenders[name];
      const input = prepare(texts(tokens, batch));
      return timed(() => embed(input));
    }`;
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents, resolveDir: root }, bundle: true, write: false, format: "esm", platform: "browser", target: "es2022",
    external: ["/dist/*"], logLevel: "error",
  });
  return text;
}

/** As many texts of as many tokens, their two markers included; no two of 17 alike. */
function texts(tokens, batch) {
  return Array.from({ length: batch }, (_, n) => Array.from({ length: tokens - 2 }, (_, i) => WORDS[(i * 7 + n) % WORDS.length]).join(" "));
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
