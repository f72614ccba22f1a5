// The encoder on the GPU in headless Chromium, on its software adapter, against onnxruntime.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { findChromium, launch, serve } from "./browser.mjs";
import { findEncoder, FOLDERS, leastCosine, reference, tokens } from "./encoder-files.mjs";
import { root } from "./hosts.mjs";

const executable = findChromium();
const skip = executable === undefined || findEncoder() === undefined;
const packed = (folder) => readFileSync(join(folder, "encoder.safetensors"));
const server = await serve(root, skip ? {} : {
  "/": "<!doctype html><title>test</title>",
  ...Object.fromEntries(Object.entries(FOLDERS).map(([precision, folder]) => [`/${precision}`, packed(folder)])),
});
const browser = skip ? undefined : await launch(executable, { gpu: true });
const page = await browser?.newPage();
await page?.goto(server.url);
const texts = skip ? [] : tokens();

after(async () => {
  await browser?.close();
  server.close();
});

/** Runs `work({ open, batch }, argument)` in a page: `open(file)` gives an encoder, `batch(texts)` what embed() takes. */
function inPage(work, argument, target = page) {
  return target.evaluate(async ({ work, argument }) => {
    const { default: init, GpuEncoder } = await import("/dist/pennyroute_gpu.js");
    await init({ module_or_path: "/dist/pennyroute_gpu_bg.wasm" });
    const open = async (file) => GpuEncoder.create(new Uint8Array(await (await fetch(file)).arrayBuffer()));
    const batch = (texts) => {
      let end = 0;
      return [Uint32Array.from(texts.flat()), Uint32Array.from(texts, (ids) => (end += ids.length))];
    };
    return new Function(`return ${work}`)()({ GpuEncoder, open, batch }, argument);
  }, { work: work.toString(), argument });
}

// Both sides are of unit length. int8 is held against onnxruntime on the same int8 weights; every third text in
// float32, because a software adapter takes its time.
for (const [weights, step] of [["int8", 1], ["float32", 3]]) {
  test(`Chromium embeds as onnxruntime does: ${weights}`, { skip }, async (t) => {
    const indices = [...texts.keys()].filter((i) => i % step === 0);
    const { adapter, precision, dimensions, embeddings, ms } = await inPage(async ({ open, batch }, { file, texts }) => {
      const encoder = await open(file);
      const { adapter, precision, dimensions } = encoder;
      const start = performance.now();
      const embeddings = [...await encoder.embed(...batch(texts))];
      const ms = performance.now() - start;
      encoder.free();
      return { adapter, precision, dimensions, embeddings, ms };
    }, { file: `/${weights}`, texts: indices.map((i) => texts[i]) });
    const { vectors, least } = reference(FOLDERS[weights]);
    const expected = Float32Array.from(indices.flatMap((i) => [...vectors.subarray(i * dimensions, (i + 1) * dimensions)]));
    const cosine = leastCosine(embeddings, expected, dimensions);
    t.diagnostic(`${precision} on ${adapter}: least cosine ${cosine.toFixed(7)}; ${(indices.length / ms * 1000).toFixed(1)} texts/s`);
    assert.equal(dimensions, 384);
    assert.equal(embeddings.length, 384 * indices.length);
    assert.ok(weights === "int8" ? precision === "int8" : ["f16", "f32"].includes(precision), precision);
    assert.ok(cosine >= least, `${cosine}`);
  });
}

test("calls at once, and freed in the middle, still give their own texts", { skip }, async () => {
  const few = texts.filter(({ length }) => length < 12).slice(0, 8);
  const { same } = await inPage(async ({ open, batch }, few) => {
    const encoder = await open("/int8");
    const alone = [];
    for (const ids of few) alone.push(String(await encoder.embed(...batch([ids]))));
    const promises = few.map((ids) => encoder.embed(...batch([ids])));
    encoder.free();
    const together = (await Promise.all(promises)).map(String);
    return { same: together.every((text, i) => text === alone[i]) };
  }, few);
  assert.ok(same);
});

test("what cannot be embedded or opened is an error with a code", { skip }, async () => {
  const codes = await inPage(async ({ GpuEncoder, open }) => {
    const encoder = await open("/int8");
    const code = (promise) => promise.then(() => "embedded", ({ name, code }) => `${name}: ${code}`);
    const embed = (ids, ends) => code(encoder.embed(Uint32Array.from(ids), Uint32Array.from(ends)));
    const codes = [
      await embed([1, 2], [1]), await embed([99_999], [1]), await embed(Array(600).fill(7), [600]),
      await code(GpuEncoder.create(new Uint8Array(20))), String((await encoder.embed(new Uint32Array(), new Uint32Array())).length),
    ];
    encoder.free();
    return codes;
  });
  const refused = "PennyrouteError: bad_request";
  assert.deepEqual(codes, [refused, refused, refused, "PennyrouteError: bad_artifact", "0"]);
});

test("without WebGPU there is no adapter", { skip }, async () => {
  const plain = await launch(executable);
  const target = await plain.newPage();
  await target.goto(server.url);
  const code = await inPage(async ({ open }) => open("/int8").then(() => "opened", (error) => error.code), undefined, target);
  await plain.close();
  assert.equal(code, "no_adapter");
});

// Last: what was submitted before is computed all the same, and a software adapter takes its time for it.
test("a device destroyed in the middle of a batch rejects it promptly, and every later one", { skip }, async () => {
  const { errors, waited, inTime } = await inPage(async ({ open, batch }, texts) => {
    const encoder = await open("/int8");
    const code = (promise) => promise.then(() => "embedded", ({ name, code }) => `${name}: ${code}`);
    let done = false;
    const first = code(encoder.embed(...batch(texts)));
    const second = code(encoder.embed(...batch(texts))).finally(() => { done = true; });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const inTime = !done;
    const start = performance.now();
    encoder.destroyDevice();
    const errors = [await first, await second, await code(encoder.embed(...batch(texts.slice(0, 1))))];
    const waited = performance.now() - start;
    encoder.free();
    return { errors, waited, inTime };
  }, texts.filter(({ length }) => length > 60).slice(0, 6));
  assert.ok(inTime, "the batch was still computed");
  assert.deepEqual(errors, Array(3).fill("PennyrouteError: device_lost"));
  assert.ok(waited < 5000, `${waited} ms`);
});
