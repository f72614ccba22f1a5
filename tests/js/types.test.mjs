// The types, under `strict`: a sample that uses every method compiles, with the resolution of bundlers and of
// Node, and what is wrong does not.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import ts from "typescript";
import { Router } from "pennyroute";
import { Encoder } from "pennyroute/encoder";
import { RouterWorker } from "pennyroute/worker";
import { dist, root } from "./hosts.mjs";

const SAMPLE = `
import { PennyrouteError, Router, type Decision, type ExclusionCode, type Explanation, type GradedOutcome, type Outcome, type Plan } from "pennyroute";
import { Encoder, type Calibration, type EncoderReceipt, type Fallback } from "pennyroute/encoder";
import { RouterWorker } from "pennyroute/worker";
import { Router as Slim } from "pennyroute/slim";

const controller = new AbortController();
const outcomes: Outcome[] = [{ model: "a/b", error: "HTTP 503", at: "2026-11-20T12:00:00Z" }];

export async function here(module: WebAssembly.Module, artifacts: Uint8Array): Promise<Plan> {
  using router = await Router.load({
    signal: controller.signal, outcomes, onProgress: (loaded: number, total: number | undefined) => console.log(loaded / (total ?? NaN)),
  });
  const decision: Decision = router.route({ messages: [{ role: "user", content: "Hi" }], quality: 0.8, warm: { "a/b": 10 } });
  if (decision.model === null) throw new Error(decision.reason);
  const cost: number = router.estimate("Hi").models[0]!.cost_usd.hi;
  const { lambda, candidates, switches }: Explanation = router.explain("Hi");
  const why: ExclusionCode | undefined = candidates[0]?.code;
  const [first] = switches;
  if (first) console.log(first.model, first.quality_to - first.quality_from, lambda, why, cost, candidates[0]?.net_usd ?? 0);
  const batch = router.estimateBatch(["Hi", { prompt: "Hello", allow: ["a/*"] }]);
  const plan = router.plan({ ...batch, quality_target: 0.8 }, { work: 0, onProgress: ({ stage }) => stage !== "proof" });
  const points: number = router.curve({ ...batch }, 10).length + router.frontier().length + router.constants("2026-11-20T12:00:00Z").length;
  const graded: GradedOutcome[] = [{ model: "a/b", prompt: "Hi", correct: true, output_tokens: 3 }];
  router.setCatalog(router.fit(graded).catalog);
  const { models: [told], unhealthy } = router.feedback([...graded, ...outcomes]);
  console.log(points, told?.ability.sd[0], unhealthy.length, router.outcomes()[0]?.model, router.versions.catalog);
  console.log(router.abilityFromScores({ aa_gpqa_diamond: 70 }).ability.mean, router.cost("a/b", { input_tokens: 1, output_tokens: 2 }), router.catalog().models);
  const { catalog } = router.importCatalog({}, "mine");
  console.log(router.checkCatalog(catalog)[0]?.contradictory, router.diffCatalogs(router.catalog(), catalog).changed[0]?.field);
  router.setIndex(artifacts);
  using slim = Slim.loadSync({ module, artifacts });
  console.log(slim.route("Hi").code);
  router.free();
  return plan;
}

export async function there(): Promise<string> {
  const { signal } = controller;
  await using router = await RouterWorker.load({ signal });
  try {
    const batch = await router.estimateBatch(["Hi"], { signal, onProgress: (done: number, total: number) => console.log(done, total) });
    const plan: Plan = await router.plan({ ...batch, budget_usd: 1 }, { signal, work: 10, transfer: [], onProgress: ({ work_left }) => console.log(work_left) });
    const { decision } = await router.explain("Hi", { signal });
    await router.feedback({ model: "a/b", error: "timeout" });
    await router.setCatalog(await router.catalog());
    console.log(plan.assignment, await router.outcomes(), await router.estimate("Hi"), await router.curve(batch, 5), await router.frontier(),
      await router.constants(), await router.fit([{ model: "a/b", prompt: "Hi", correct: 0.5 }]), await router.abilityFromScores({}),
      await router.cost("a/b", { input_tokens: 1, output_tokens: 1 }), (await router.versions()).policy);
    const { catalog } = await router.importCatalog("{}");
    console.log(await router.checkCatalog(catalog), await router.diffCatalogs(catalog, catalog));
    await router.setIndex(new Uint8Array());
    router.free();
    return decision.reason + (await router.route("Hi")).id;
  } catch (error) {
    if (!(error instanceof PennyrouteError)) throw error;
    switch (error.code) {
      case "wasm_blocked": case "unsupported_host": case "bad_artifact": case "cancelled": return error.message;
      default: return error.code;
    }
  }
}

export async function vectors(manifest: Blob, vocab: Uint8Array): Promise<Float32Array> {
  const { signal } = controller;
  using encoder = await Encoder.load({ from: "/encoder/manifest.json", path: "gpu", signal, onProgress: (loaded: number, total: number) => console.log(loaded / total) });
  (await Encoder.load({ from: { manifest, vocab, onnx: vocab.buffer as ArrayBuffer } })).free();
  const { embeddings, dimensions, receipt } = await encoder.embed(["Hi", { prompt: "Hello" }], { path: "cpu", signal, onProgress: (done: number) => console.log(done) });
  const { path, precision, fallback }: EncoderReceipt = receipt;
  const why: Fallback["code"] | undefined = fallback?.code;
  const sizes: Calibration[] = encoder.calibration;
  console.log(path, precision, why, sizes[0]?.gpu_measured, encoder.version, encoder.dimensions === dimensions);
  encoder.free();
  return embeddings.subarray(0, dimensions);
}
`;
const WRONG = [
  ['router.route({ prompt: 7 });', /number.*string/],
  ['router.explain("Hi").lambda.toUpperCase();', /toUpperCase/],
  ['router.feedback({ prompt: "Hi", correct: true });', /model/],
  ['router.fit([{ model: "a/b", prompt: "Hi" }]);', /correct/],
  ['router.plan({ queries: 1, models: 1, cost_usd: [1], quality: [1] });', /Float64Array/],
  ['new Router();', /protected/],
  ['Encoder.load({ path: "cpu" });', /from/],
  ['Encoder.load({ from: "m", path: "tpu" });', /tpu/],
  ['const code: "no_such_code" = new PennyrouteError("x").code;', /no_such_code/],
];

const folder = mkdtempSync(join(tmpdir(), "pennyroute-"));
after(() => rmSync(folder, { recursive: true }));
const installed = join(folder, "node_modules", "pennyroute");
mkdirSync(join(installed, "dist"), { recursive: true });
cpSync(join(root, "package.json"), join(installed, "package.json"));
cpSync(dist, join(installed, "dist"), { recursive: true, filter: (path) => path === dist || path.endsWith(".d.ts") });
writeFileSync(join(folder, "package.json"), '{ "type": "module" }');

/** What the compiler says of a source, as an application would have it, and of which line, from 0. */
function errors(source, resolution) {
  const file = join(folder, "sample.ts");
  writeFileSync(file, source);
  const nodenext = resolution === "nodenext";
  const program = ts.createProgram([file], {
    strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true, types: [],
    target: ts.ScriptTarget.ES2022, lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.esnext.disposable.d.ts"],
    module: nodenext ? ts.ModuleKind.NodeNext : ts.ModuleKind.ESNext,
    moduleResolution: nodenext ? ts.ModuleResolutionKind.NodeNext : ts.ModuleResolutionKind.Bundler,
  });
  return ts.getPreEmitDiagnostics(program).map(({ messageText, file: at, start }) => ({
    line: at && ts.getLineAndCharacterOfPosition(at, start ?? 0).line,
    text: ts.flattenDiagnosticMessageText(messageText, "\n"),
  }));
}

for (const resolution of ["bundler", "nodenext"]) {
  test(`a sample of every method compiles: ${resolution}`, () => {
    assert.deepEqual(errors(SAMPLE, resolution), []);
  });
}

test("the sample uses every method there is", () => {
  const methods = (type) => [type.prototype, Object.getPrototypeOf(type.prototype)].flatMap(Object.getOwnPropertyNames);
  const [here, there, vectors] = SAMPLE.split(/export async function (?:there|vectors)/);
  for (const [source, type, name] of [[here, Router, "router"], [there, RouterWorker, "router"], [vectors, Encoder, "encoder"]]) {
    for (const method of methods(type)) assert.ok(method === "constructor" || source.includes(`${name}.${method}`), `${type.name}.${method}`);
  }
});

test("what is wrong does not compile", () => {
  const start = ['import { PennyrouteError, Router } from "pennyroute"; import { Encoder } from "pennyroute/encoder";', "declare const router: Router;", "void [router, Encoder, PennyrouteError];"];
  // One compilation, for it takes a second; what it says of each line by itself.
  const found = errors([...start, ...WRONG.map(([line]) => `{ ${line} }`), "export {};"].join("\n"), "bundler");
  assert.deepEqual(found.filter(({ line }) => !(line >= start.length && line < start.length + WRONG.length)), []);
  for (const [i, [wrong, message]] of WRONG.entries()) {
    const said = found.filter(({ line }) => line === start.length + i);
    assert.ok(said.length > 0 && said.every(({ text }) => message.test(text)), wrong);
  }
});
