// The encoder in headless Chromium, on WebGPU's adapter in software: what comes out on the GPU alone, and that no text
// is lost with the device. (gpu.test.mjs has the GPU's module by itself, on all texts.)

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import test, { after } from "node:test";
import { findChromium, launch, serve } from "./browser.mjs";
import { findEncoder, leastCosine, manifestOf, reference, texts } from "./encoder-files.mjs";
import { root } from "./hosts.mjs";

const executable = findChromium();
const folder = findEncoder();
const skip = executable === undefined || folder === undefined;

/** Names of the encoder's files that were asked for. */
let asked = [];
const server = await serve(root, { "/": "<!doctype html><title>test</title>" }, {
  async handler({ url }, response) {
    if (/pennyroute_gpu/.test(url)) asked.push(basename(url));
    if (!url.startsWith("/encoder/")) return false;
    const name = basename(url);
    asked.push(name);
    response.writeHead(200).end(await readFile(join(folder, name)));
    return true;
  },
});
const [browser, plain] = skip ? [] : [await launch(executable, { gpu: true }), await launch(executable)];

after(async () => {
  await browser?.close();
  await plain?.close();
  await server.close();
});

/** Runs a function in a new page, with where the encoder is and the texts to embed. */
async function inPage(run, indices = [], argument = {}, where = browser) {
  const page = await where.newPage();
  try {
    await page.goto(server.url);
    return await page.evaluate(run, { from: "/encoder/manifest.json", prompts: indices.map((i) => texts()[i]), ...argument });
  } finally {
    await page.close();
  }
}

/** Fails unless vectors are those of the texts with these indices; the least cosine. */
function close(embeddings, indices) {
  const { dimensions } = manifestOf(folder).encoder;
  const { vectors, least } = reference(folder);
  const expected = Float32Array.from(indices.flatMap((i) => [...vectors.subarray(i * dimensions, (i + 1) * dimensions)]));
  assert.equal(embeddings.length, expected.length);
  const cosine = leastCosine(embeddings, expected, dimensions);
  assert.ok(cosine >= least, `${cosine} < ${least}`);
  return cosine;
}

const ALL = texts().map((_, i) => i);
/** Texts of all lengths, not too many for an adapter in software. */
const SOME = ALL.filter((i) => i % 6 === 5);
/** Texts that are a little more than the GPU's first part. */
const FEW = ALL.slice(15, 27);

test("the GPU alone agrees with onnxruntime: the CPU's file is not even asked for", { skip }, async () => {
  asked = [];
  const { embeddings, receipt } = await inPage(async ({ from, prompts }) => {
    const { Encoder } = await import("/dist/encoder.js");
    const encoder = await Encoder.load({ from, path: "gpu" });
    const { embeddings, receipt } = await encoder.embed(prompts);
    encoder.free();
    return { embeddings: Array.from(embeddings), receipt };
  }, SOME);
  assert.equal(receipt.path, "gpu");
  assert.equal(receipt.fallback, null);
  assert.equal(typeof receipt.adapter, "string");
  const { files } = manifestOf(folder);
  assert.ok(!asked.includes(files.onnx.path) && asked.includes(files.packed.path), `${asked}`);
  const cosine = close(embeddings, SOME);
  const seconds = receipt.elapsed_us / 1e6;
  console.log(`${receipt.adapter || "an adapter without a name"}, ${receipt.precision}: least cosine ${cosine.toFixed(6)}; ${(receipt.texts / seconds).toFixed(1)} texts, ${(receipt.tokens / seconds).toFixed(0)} tokens a second`);
});

test("the CPU in Chromium agrees with onnxruntime, and fetches nothing of the GPU's", { skip }, async () => {
  asked = [];
  const { embeddings, receipt } = await inPage(async ({ from, prompts }) => {
    const { Encoder } = await import("/dist/encoder.js");
    const encoder = await Encoder.load({ from, path: "cpu" });
    const { embeddings, receipt } = await encoder.embed(prompts);
    return { embeddings: Array.from(embeddings), receipt };
  }, ALL);
  assert.deepEqual([receipt.path, receipt.fallback], ["cpu", null]);
  assert.ok(!asked.some((name) => /gpu/.test(name)) && !asked.includes(manifestOf(folder).files.packed.path), `${asked}`);
  close(embeddings, ALL);
});

for (const [when, destroyIn] of [["between two parts", "progress"], ["while it has a part", "flight"]]) {
  test(`a device that is destroyed ${when} loses no text`, { skip }, async () => {
    const { embeddings, receipt, later, seen, calls } = await inPage(async ({ from, prompts, destroyIn }) => {
      const [{ Encoder }, { gpu }, { files }] = await Promise.all([import("/dist/encoder-core.js"), import("/dist/encoder-gpu.js"), import("/dist/files.js")]);
      let calls = 0;
      let device;
      const start = async (packed) => {
        device = await gpu.start(packed);
        return {
          adapter: device.adapter,
          precision: device.precision,
          embed(ids, ends) {
            calls += 1;
            const part = device.embed(ids, ends);
            if (destroyIn === "flight" && calls === 2) device.destroyDevice();
            return part;
          },
          free: () => device.free(),
        };
      };
      const beside = (at, path = "") => String(new URL(path, new URL(at, location.href)));
      const encoder = await Encoder.load({ from, path: "gpu" }, { module: files.module, gpu: { ...gpu, start }, beside });
      const seen = [];
      const onProgress = (done) => {
        seen.push(done);
        if (destroyIn === "progress" && seen.length === 1) device.destroyDevice();
      };
      const { embeddings, receipt } = await encoder.embed(prompts, { onProgress });
      const later = (await encoder.embed(["Hi"])).receipt;
      return { embeddings: Array.from(embeddings), receipt, later, seen, calls };
    }, FEW, { destroyIn });
    assert.equal(receipt.fallback?.code, "device_lost", JSON.stringify(receipt));
    assert.equal(receipt.path, "cpu");
    assert.equal(calls, 2);
    assert.ok(seen[0] < seen.at(-1), "the GPU did its first part");
    assert.equal(seen.at(-1), FEW.length);
    close(embeddings, FEW);
    assert.deepEqual([later.path, later.fallback.code], ["cpu", "device_lost"]);
  });
}

/** Ends of the module while it has promised something; what they prepare is run then. */
const ENDS = {
  // What the module calls as it panics.
  "panics": async () => {
    const { panicked } = await import("/dist/error.js");
    return () => panicked("made by a test");
  },
  "traps": async () => () => dispatchEvent(new ErrorEvent("error", { error: new WebAssembly.RuntimeError("made by a test") })),
  "calls what throws": async () => {
    GPUQueue.prototype.submit = () => {
      throw new Error("made by a test");
    };
    return () => {};
  },
};
for (const [how, prepare] of Object.entries(ENDS)) {
  test(`a GPU module that ${how} in the middle loses no text, and is not used again`, { skip }, async () => {
    const { embeddings, receipts } = await inPage(async ({ from, prompts, prepare }) => {
      const { Encoder, PennyrouteError } = await import("/dist/encoder.js");
      const encoder = await Encoder.load({ from, path: "gpu" });
      const end = await new Function(`return ${prepare}`)()();
      setTimeout(() => {
        // Others' errors are none of the module's.
        for (const error of [new Error("of the page"), new PennyrouteError("bad_request", "pennyroute_gpu")]) dispatchEvent(new ErrorEvent("error", { error }));
        end();
      }, 0);
      const { embeddings, receipt } = await encoder.embed(prompts);
      const later = await Encoder.load({ from, path: "gpu" });
      const receipts = [receipt, (await later.embed(["Hi"])).receipt];
      for (const each of [encoder, later]) each.free();
      return { embeddings: Array.from(embeddings), receipts };
    }, FEW.slice(0, 2), { prepare: prepare.toString() });
    for (const { path, fallback } of receipts) assert.deepEqual([path, fallback?.code], ["cpu", "gpu_failed"]);
    assert.match(receipts[0].fallback.reason, /made by a test/);
    assert.match(receipts[1].fallback.reason, /has failed on this page; reload it/);
    close(embeddings, FEW.slice(0, 2));
  });
}

test("a bundle without the GPU's module embeds on the CPU where it has the choice", { skip }, async () => {
  const page = await browser.newPage();
  await page.route("**/pennyroute_gpu_bg.wasm", (route) => route.fulfill({ status: 404 }));
  await page.goto(server.url);
  const { receipt, code } = await page.evaluate(async (from) => {
    const { Encoder } = await import("/dist/encoder.js");
    const { receipt } = await (await Encoder.load({ from })).embed(["Hi"]);
    return { receipt, code: await Encoder.load({ from, path: "gpu" }).then(() => "loaded", (error) => error.code) };
  }, "/encoder/manifest.json");
  await page.close();
  assert.deepEqual([receipt.path, receipt.fallback?.code, code], ["cpu", "gpu_failed", "bad_artifact"]);
  assert.match(receipt.fallback.reason, /pennyroute_gpu_bg\.wasm: HTTP 404/);
});

test("left the choice it measures both paths, and goes by that", { skip }, async () => {
  const { calibration, ms, paths } = await inPage(async ({ from }) => {
    const { Encoder } = await import("/dist/encoder.js");
    // The modules and the files are not what is timed here.
    (await Encoder.load({ from })).free();
    const start = performance.now();
    const encoder = await Encoder.load({ from });
    const ms = performance.now() - start;
    const paths = [];
    for (const size of [1, 8]) paths.push((await encoder.embed(Array.from({ length: size }, (_, i) => `Question ${i}`))).receipt.path);
    return { calibration: encoder.calibration, ms, paths };
  });
  assert.deepEqual(calibration.map(({ batch }) => batch), [1, 8, 64, 512]);
  for (const { cpu_ms: cpu, gpu_ms: gpu, path } of calibration) assert.equal(path, gpu < cpu ? "gpu" : "cpu");
  assert.deepEqual(paths, calibration.slice(0, 2).map(({ path }) => path));
  console.log(`loaded and calibrated in ${Math.round(ms)} ms: ${calibration.map((each) => `${each.batch}: CPU ${each.cpu_ms.toFixed(0)}, GPU ${each.gpu_ms.toFixed(0)} ms`).join("; ")}`);
});

test("a browser without WebGPU embeds on the CPU and says why", { skip }, async () => {
  const receipt = await inPage(async ({ from }) => {
    const { Encoder } = await import("/dist/encoder.js");
    const encoder = await Encoder.load({ from, path: "gpu" });
    return (await encoder.embed(["Hi"])).receipt;
  }, [], {}, plain);
  assert.deepEqual([receipt.path, receipt.fallback.code], ["cpu", "no_adapter"]);
});

test("in a web worker too, bundled by esbuild, with its two modules beside the bundle", { skip }, async () => {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    stdin: {
      contents: `
        import { Encoder } from "pennyroute/encoder";
        onmessage = async ({ data }) => {
          const encoder = await Encoder.load({ from: data, path: "gpu" });
          postMessage((await encoder.embed(["Hi", "Hello"])).receipt);
        };`,
      resolveDir: root,
    },
    bundle: true, format: "esm", write: false, conditions: ["browser"], logLevel: "error",
  });
  const page = await browser.newPage();
  await page.route("**/dist/bundled.js", (route) => route.fulfill({ contentType: "text/javascript", body: outputFiles[0].text }));
  await page.goto(server.url);
  const receipt = await page.evaluate(() => new Promise((resolve, reject) => {
    const worker = new Worker("/dist/bundled.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(`${location.origin}/encoder/manifest.json`);
  }));
  await page.close();
  assert.deepEqual([receipt.path, receipt.texts], ["gpu", 2]);
});
