// The encoder in Node: how its files arrive, what it embeds on the CPU, and, with a made-up GPU where a real one
// would not fail when it should, that no text is lost.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import test, { after } from "node:test";
import { pathToFileURL } from "node:url";
import { Encoder, PennyrouteError } from "pennyroute/encoder";
import { calibrate, chosen } from "../../dist/encoder-calibration.js";
import { Encoder as Core } from "../../dist/encoder-core.js";
import { files } from "../../dist/files-node.js";
import { findEncoder, leastCosine, manifestOf, reference, texts } from "./encoder-files.mjs";

const folder = findEncoder();
const skip = folder === undefined && "there is no encoder";
const names = skip ? {} : Object.fromEntries(Object.entries(manifestOf(folder).files).map(([role, { path }]) => [role, path]));
const read = (role) => readFileSync(join(folder, role === "manifest" ? "manifest.json" : names[role]));

/** Serves the folder; `asked` has the names of the files that were asked for, `hold` keeps their second halves back. */
let asked = [];
let hold = false;
const server = createServer((request, response) => {
  const name = basename(request.url);
  asked.push(name);
  response.setHeader("connection", "close");
  const file = createReadStream(join(folder, name), hold && name !== "manifest.json" ? { end: 100_000 } : {});
  file.on("open", () => response.writeHead(200, { "content-length": statSync(join(folder, name)).size }));
  file.on("error", () => response.writeHead(404).end());
  file.pipe(response, { end: !hold || name === "manifest.json" });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}/manifest.json`;
after(() => {
  server.close();
  server.closeAllConnections();
});

/** A copy of the folder, some of its files replaced. */
function changed(t, replaced) {
  const copy = mkdtempSync(join(tmpdir(), "pennyroute-encoder-"));
  t.after(() => rmSync(copy, { recursive: true }));
  for (const name of ["manifest.json", ...Object.values(names)]) {
    if (replaced[name] === undefined) symlinkSync(join(folder, name), join(copy, name));
    else if (replaced[name] !== null) writeFileSync(join(copy, name), replaced[name]);
  }
  return join(copy, "manifest.json");
}

const refused = (code, message) => (error) => {
  assert.ok(error instanceof PennyrouteError, `${error?.stack ?? error}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

test("a hundred texts come out as onnxruntime has them, and the receipt says how", { skip }, async (t) => {
  const encoder = await Encoder.load({ from: join(folder, "manifest.json"), path: "cpu" });
  t.after(() => encoder.free());
  const all = texts();
  const progress = [];
  const { embeddings, dimensions, receipt } = await encoder.embed(all, { onProgress: (...each) => progress.push(each) });
  const { vectors, least } = reference(folder);
  assert.equal(embeddings.length, all.length * dimensions);
  const cosine = leastCosine(embeddings, vectors, dimensions);
  console.log(`least cosine with onnxruntime: ${cosine.toFixed(6)}; ${(all.length / (receipt.elapsed_us / 1e6)).toFixed(1)} texts, ${(receipt.tokens / (receipt.elapsed_us / 1e6)).toFixed(0)} tokens a second`);
  assert.ok(cosine >= least, `${cosine} < ${least}`);
  assert.ok(leastCosine(embeddings, embeddings, dimensions) > 0.9999, "unit length");
  const { elapsed_us, tokens, ...rest } = receipt;
  assert.ok(elapsed_us > 0 && tokens > 2 * all.length);
  const { precision } = manifestOf(folder).encoder;
  assert.deepEqual(rest, { path: "cpu", precision: precision === "int8" ? "int8" : "f32", adapter: null, texts: all.length, fallback: null });
  assert.deepEqual(progress.at(-1), [all.length, all.length]);
  assert.ok(progress.length > 10 && progress.every(([done], i) => i === 0 || done > progress[i - 1][0]));
  assert.deepEqual(encoder.calibration, []);
  assert.equal(encoder.version, manifestOf(folder).version);
});

test("what routing goes by is what is embedded, and vectors do not depend on their company", { skip }, async (t) => {
  const encoder = await Encoder.load({ from: join(folder, "manifest.json"), path: "cpu" });
  t.after(() => encoder.free());
  const prompt = "How tall is Mount Everest?";
  const { embeddings, dimensions } = await encoder.embed([
    prompt, { prompt }, { messages: [{ role: "user", content: prompt }] }, "Name the height of the highest mountain.", "Bake a cake.",
  ]);
  const [one, two, three, near, far] = Array.from({ length: 5 }, (_, i) => embeddings.subarray(i * dimensions, (i + 1) * dimensions));
  assert.deepEqual(one, two);
  assert.deepEqual(one, three);
  assert.deepEqual((await encoder.embed([prompt])).embeddings, one);
  assert.ok(leastCosine(one, near, dimensions) > leastCosine(one, far, dimensions) + 0.2);
});

test("bad requests are named, wherever they stand, and the encoder embeds on", { skip }, async (t) => {
  const encoder = await Encoder.load({ from: join(folder, "manifest.json"), path: "cpu" });
  const many = Array.from({ length: 450 }, () => "Hi");
  await assert.rejects(encoder.embed([...many, { prompt: 7 }]), refused("bad_request", /requests\[450\]/));
  await assert.rejects(encoder.embed([]), refused("bad_request", /not empty/));
  await assert.rejects(encoder.embed("Hi"), refused("bad_request", /array/));
  await assert.rejects(encoder.embed(["Hi"], { path: "tpu" }), refused("bad_request", /path.*tpu/));
  assert.equal((await encoder.embed(["Hi"])).embeddings.length, encoder.dimensions);
  encoder.free();
  await assert.rejects(encoder.embed(["Hi"]), refused("bad_request", /freed/));
});

test("a folder by path, by URL, over HTTP, and by its bytes: the same vectors, and progress over all files", { skip }, async () => {
  const bytes = Object.fromEntries(["manifest", "vocab", "onnx"].map((role) => [role, read(role)]));
  const blobs = Object.fromEntries(Object.entries(bytes).map(([role, content]) => [role, new Blob([content])]));
  const { vocab, onnx } = manifestOf(folder).files;
  const total = vocab.bytes + onnx.bytes;
  const vectors = [];
  for (const from of [join(folder, "manifest.json"), pathToFileURL(join(folder, "manifest.json")), url, new URL(url), bytes, blobs]) {
    const progress = [];
    const encoder = await Encoder.load({ from, path: "cpu", onProgress: (...each) => progress.push(each) });
    assert.deepEqual(progress.at(-1), [total, total]);
    assert.ok(progress.every(([loaded, of], i) => of === total && (i === 0 || loaded >= progress[i - 1][0])));
    vectors.push((await encoder.embed(["Why is the sky blue?"])).embeddings);
    encoder.free();
  }
  for (const each of vectors) assert.deepEqual(each, vectors[0]);
});

test("there is no GPU in Node: receipts say so where one was asked for, and its file is not fetched", { skip }, async () => {
  for (const path of ["auto", "gpu"]) {
    asked = [];
    const encoder = await Encoder.load({ from: url, path });
    const { receipt } = await encoder.embed(["Hi"]);
    assert.equal(receipt.path, "cpu");
    assert.equal(receipt.fallback.code, "no_adapter");
    assert.equal((await encoder.embed(["Hi"], { path: "cpu" })).receipt.fallback, null);
    assert.equal((await encoder.embed(["Hi"], { path: "gpu" })).receipt.fallback.code, "no_adapter");
    assert.deepEqual(asked.sort(), [names.onnx, "manifest.json", names.vocab].sort());
    encoder.free();
  }
});

test("a file that is not what the manifest says is refused by name", { skip }, async (t) => {
  const manifest = manifestOf(folder);
  const onnx = read("onnx");
  onnx[onnx.length >> 1] ^= 1;
  const other = (change) => {
    const copy = structuredClone(manifest);
    change(copy);
    return changed(t, { "manifest.json": JSON.stringify(copy) });
  };
  const load = (from) => Encoder.load({ from, path: "cpu" });
  await assert.rejects(load(changed(t, { [names.onnx]: onnx })), refused("bad_artifact", new RegExp(`${names.onnx}: SHA-256 is [0-9a-f]{64}, the manifest says`)));
  await assert.rejects(load(changed(t, { [names.vocab]: "[CLS]\n" })), refused("bad_artifact", new RegExp(`${names.vocab}: has 6 bytes, the manifest says`)));
  await assert.rejects(load(changed(t, { [names.onnx]: null })), refused("bad_artifact", new RegExp(names.onnx)));
  await assert.rejects(load(changed(t, { "manifest.json": "<!doctype html>" })), refused("bad_artifact", /manifest\.json: is no manifest/));
  await assert.rejects(load(other((copy) => (copy.format = 2))), refused("unsupported_version", /format is 2/));
  await assert.rejects(load(other((copy) => delete copy.files.onnx)), refused("bad_artifact", /files\.onnx/));
  await assert.rejects(load(other((copy) => (copy.encoder.dimensions = "384"))), refused("bad_artifact", /encoder\.dimensions/));
  await assert.rejects(load(new URL("nothing.json", url)), refused("bad_artifact", /nothing\.json: HTTP 404/));
  await assert.rejects(load({ manifest: read("manifest"), vocab: read("vocab") }), refused("bad_artifact", /from\.onnx/));
  await assert.rejects(load(undefined), refused("bad_request", /from/));
  await assert.rejects(Encoder.load({ from: url, path: "fast" }), refused("bad_request", /path/));
  // Files of the right digest that are no such files.
  const entry = manifest.files;
  await assert.rejects(load(other(({ files }) => (files.onnx = entry.vocab))), refused("bad_artifact", /./));
});

test("without crypto.subtle, as in pages without TLS, files are verified all the same", { skip }, async (t) => {
  const { crypto } = globalThis;
  Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
  t.after(() => Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true }));
  (await Encoder.load({ from: join(folder, "manifest.json"), path: "cpu" })).free();
  const onnx = read("onnx");
  onnx[1000] ^= 1;
  await assert.rejects(Encoder.load({ from: changed(t, { [names.onnx]: onnx }), path: "cpu" }), refused("bad_artifact", /SHA-256/));
});

test("a load and a batch can be aborted", { skip }, async (t) => {
  hold = true;
  t.after(() => (hold = false));
  const loading = new AbortController();
  const load = Encoder.load({ from: url, path: "cpu", signal: loading.signal, onProgress: () => loading.abort() });
  await assert.rejects(load, { name: "AbortError" });
  hold = false;

  const encoder = await Encoder.load({ from: url, path: "cpu" });
  t.after(() => encoder.free());
  const many = texts();
  const embedding = new AbortController();
  let last;
  const embed = encoder.embed(many, { signal: embedding.signal, onProgress: (done) => {
    last = done;
    if (done > 5) embedding.abort();
  } });
  await assert.rejects(embed, { name: "AbortError" });
  assert.ok(last < many.length);
  await assert.rejects(encoder.embed(many, { signal: AbortSignal.abort() }), { name: "AbortError" });
  // Others get their turn between the parts.
  let turns = 0;
  const timer = setInterval(() => (turns += 1));
  await encoder.embed(many.slice(0, 40));
  clearInterval(timer);
  assert.ok(turns > 5, `${turns}`);
});

// ---- With a made-up GPU

/** A host whose GPU makes vectors of the number `mark`; `fails(n)` may throw at the n-th call, from 1. */
function host({ lacking = null, start, fails = () => {}, mark = 7 } = {}) {
  const calls = [];
  const gpu = {
    adapter: "made up",
    precision: "f32",
    dimensions: 384,
    async embed(ids, ends) {
      calls.push(ends.length);
      fails(calls.length);
      return new Float32Array(ends.length * 384).fill(mark);
    },
    free() {},
  };
  const beside = (from, path = "") => String(new URL(path, from));
  const it = { module: files.module, read: files.read, beside, gpu: { lacking: async () => lacking, start: start ?? (async () => gpu) } };
  return { it, calls };
}

const fault = (code) => () => {
  throw new PennyrouteError(code, `made up: ${code}`);
};
const isMarked = ({ embeddings }, i) => embeddings[i * 384] === 7 && embeddings[i * 384 + 383] === 7;
/** Texts of which the GPU's first part takes some and leaves some. */
const long = Array.from({ length: 20 }, (_, i) => `${i} ${"word ".repeat(20)}`);

test("on the GPU alone the ONNX file is not fetched", { skip }, async () => {
  asked = [];
  const { it } = host();
  const encoder = await Core.load({ from: url, path: "gpu" }, it);
  const result = await encoder.embed(["one", "two"]);
  assert.ok(isMarked(result, 0) && isMarked(result, 1));
  const { elapsed_us, tokens, ...rest } = result.receipt;
  assert.deepEqual(rest, { path: "gpu", precision: "f32", adapter: "made up", texts: 2, fallback: null });
  assert.deepEqual(asked.sort(), ["manifest.json", names.packed, names.vocab].sort());
  // Asked for by one call, the CPU's is.
  assert.equal((await encoder.embed(["one"], { path: "cpu" })).receipt.path, "cpu");
  assert.ok(asked.includes(names.onnx));
  encoder.free();
});

for (const code of ["device_lost", "gpu_out_of_memory", "gpu_failed"]) {
  test(`${code} in the middle of a batch: no text is lost, and the CPU does what is left and what comes`, { skip }, async () => {
    asked = [];
    const { it, calls } = host({ fails: (n) => n === 2 && fault(code)() });
    const encoder = await Core.load({ from: url, path: "gpu" }, it);
    const progress = [];
    const result = await encoder.embed(long, { onProgress: (done) => progress.push(done) });
    const [done, failed] = calls;
    assert.ok(done > 5 && failed > 0 && done + failed === long.length, `${calls}`);
    const cpu = await Encoder.load({ from: join(folder, "manifest.json"), path: "cpu" });
    const { embeddings } = await cpu.embed(long.slice(done));
    assert.ok(long.slice(0, done).every((_, i) => isMarked(result, i)));
    assert.deepEqual(result.embeddings.subarray(done * 384), embeddings);
    assert.deepEqual(result.receipt.fallback, { code, reason: `made up: ${code}` });
    assert.equal(result.receipt.path, "cpu");
    assert.equal(progress.at(-1), long.length);
    assert.ok(asked.includes(names.onnx), "fetched when it was needed");
    const later = await encoder.embed(["Hi"]);
    assert.deepEqual([later.receipt.path, later.receipt.fallback.code, calls.length], ["cpu", code, 2]);
    encoder.free();
    cpu.free();
  });
}

test("a GPU that fails at the start, by its limits or a trap, is none; an error of ours is thrown where it was asked for", { skip }, async () => {
  for (const [start, code] of [[fault("gpu_limits"), "gpu_limits"], [() => { throw new WebAssembly.RuntimeError("unreachable"); }, "gpu_failed"]]) {
    for (const path of ["auto", "gpu"]) {
      const encoder = await Core.load({ from: url, path }, host({ start: async () => start() }).it);
      const { receipt } = await encoder.embed(["Hi"]);
      assert.deepEqual([receipt.path, receipt.fallback.code, encoder.calibration.length], ["cpu", code, 0]);
      encoder.free();
    }
  }
  // A module that is not in the bundle is one only where nobody asked for it.
  const { it } = host({ start: async () => fault("bad_artifact")() });
  await assert.rejects(Core.load({ from: url, path: "gpu" }, it), refused("bad_artifact", /made up/));
  const encoder = await Core.load({ from: url }, it);
  const { receipt } = await encoder.embed(["Hi"]);
  assert.deepEqual([receipt.path, receipt.fallback], ["cpu", { code: "gpu_failed", reason: "made up: bad_artifact" }]);
  encoder.free();
});

test("where the CPU has no file to step in with, the error says what for", { skip }, async () => {
  const from = { manifest: read("manifest"), vocab: read("vocab"), packed: read("packed") };
  const encoder = await Core.load({ from, path: "gpu" }, host({ fails: (n) => n === 2 && fault("device_lost")() }).it);
  assert.equal((await encoder.embed(["Hi"])).receipt.path, "gpu");
  for (let i = 0; i < 2; i++) await assert.rejects(encoder.embed(["Hi"]), refused("bad_artifact", /from\.onnx.*device_lost: made up/));
  encoder.free();
});

test("auto calibrates, and takes the faster path; one that fails meanwhile is none", { skip }, async () => {
  const fast = await Core.load({ from: url }, host().it);
  assert.deepEqual(fast.calibration.map(({ batch, path }) => [batch, path]), [[1, "gpu"], [8, "gpu"], [64, "gpu"], [512, "gpu"]]);
  assert.ok(fast.calibration.every(({ gpu_measured: measured }) => measured) && !fast.calibration[3].cpu_measured);
  assert.equal((await fast.embed(["Hi"])).receipt.path, "gpu");
  const forced = await fast.embed(["Hi"], { path: "cpu" });
  assert.deepEqual([forced.receipt.path, forced.receipt.fallback], ["cpu", null]);
  fast.free();
  const failing = await Core.load({ from: url }, host({ fails: (n) => n === 5 && fault("device_lost")() }).it);
  assert.deepEqual(failing.calibration, []);
  assert.equal((await failing.embed(["Hi"])).receipt.fallback.code, "device_lost");
  failing.free();
});

test("calls at the same time get their own vectors, and freed in between they are refused", { skip }, async () => {
  const { it } = host();
  const encoder = await Core.load({ from: url, path: "gpu" }, it);
  const [one, two] = await Promise.all([encoder.embed(long), encoder.embed(["Hi"])]);
  assert.deepEqual([one.embeddings.length, two.embeddings.length], [long.length * 384, 384]);
  const cut = encoder.embed(long);
  encoder.free();
  await assert.rejects(cut, refused("bad_request", /freed/));
});

test("freed when the last part is there, a call still brings its vectors", { skip }, async () => {
  for (const path of ["gpu", "cpu"]) {
    const encoder = await Core.load({ from: url, path }, host().it);
    const { embeddings, receipt } = await encoder.embed(["Hi"], { onProgress: () => encoder.free() });
    assert.deepEqual([embeddings.length, receipt.path, receipt.adapter], [384, path, path === "gpu" ? "made up" : null]);
  }
});

// ---- The calibration by itself, in made-up time

/** A path that takes `fixed` and `each` milliseconds by a clock of its own. */
function timed(costs) {
  let clock = 0;
  const runs = { cpu: [], gpu: [] };
  const run = (path) => async (batch) => {
    runs[path].push(batch);
    clock += costs[path].fixed + costs[path].each * batch;
  };
  return { run: { cpu: run("cpu"), gpu: run("gpu") }, runs, options: { now: () => clock }, spent: () => clock };
}

test("calibration: by size, the faster path, measured where that is quick", async () => {
  const it = timed({ cpu: { fixed: 0, each: 20 }, gpu: { fixed: 60, each: 0.5 } });
  const calibration = await calibrate(it.run, it.options);
  assert.deepEqual(calibration.map(({ batch, path }) => [batch, path]), [[1, "cpu"], [8, "gpu"], [64, "gpu"], [512, "gpu"]]);
  assert.deepEqual(calibration.map(({ cpu_ms: cpu }) => cpu), [20, 160, 1280, 10240]);
  assert.deepEqual(calibration.map(({ cpu_measured: measured }) => measured), [true, true, false, false]);
  assert.equal(it.runs.cpu.filter((batch) => batch === 1).length, 4, "one to warm up, three to measure");
  assert.deepEqual([1, 7, 8, 100, 10_000].map((texts) => chosen(calibration, texts)), ["cpu", "cpu", "gpu", "gpu", "gpu"]);
  assert.equal(chosen([], 5), undefined);
});

test("calibration: however slow a path is, it takes its time and two single texts at the most", async () => {
  for (const [cpu, gpu] of [[0.01, 0.01], [1, 900], [900, 1], [5000, 9000], [30, 140], [140, 30]]) {
    const it = timed({ cpu: { fixed: 0, each: cpu }, gpu: { fixed: 0, each: gpu } });
    await calibrate(it.run, it.options);
    assert.ok(it.spent() <= 2 * 1000 + 2 * (cpu + gpu), `${cpu}, ${gpu}: ${it.spent()}`);
  }
});

test("calibration ends where it is aborted", async () => {
  const it = timed({ cpu: { fixed: 0, each: 1 }, gpu: { fixed: 0, each: 1 } });
  await assert.rejects(calibrate(it.run, { ...it.options, signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.ok(it.runs.cpu.length === 0);
});
