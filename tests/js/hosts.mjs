// One test body for every host: the requests of tests/fixtures/hosts.jsonl, and what the native build
// decides for them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { pack } from "../../src/js/tools/pack.mjs";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const dist = join(root, "dist");

/** Most by which two builds of the same arithmetic may differ: in a quality, and in a share of a cost. */
const TOLERANCE = 1e-4;

/** The test requests by name, long texts written out. */
export function requests() {
  const lines = readFileSync(join(root, "tests/fixtures/hosts.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => {
    const { name, request, repeat } = JSON.parse(line);
    return { name, request: repeat ? { ...request, prompt: repeat.text.repeat(repeat.times) } : request };
  });
}

/** What two hosts must agree on. Self-contained: browser tests send its source into the page. */
export function summary(decision) {
  return {
    model: decision.model,
    code: decision.code,
    fallbacks: decision.fallbacks,
    qualities: [
      decision.quality?.estimate, decision.quality?.lo, decision.quality?.hi,
      ...decision.alternatives.map(({ quality }) => quality),
    ].map((number) => number ?? null),
    costs: [
      decision.cost_usd?.estimate, decision.cost_usd?.lo, decision.cost_usd?.hi,
      ...decision.alternatives.map(({ cost_usd }) => cost_usd),
    ].map((number) => number ?? null),
    excluded: decision.excluded.map(({ model, code }) => `${model}: ${code}`),
    in_distribution: decision.in_distribution,
  };
}

/** What the native build decides, by name; `cargo test` writes it (tests/hosts.rs). */
export function expectations() {
  const file = join(resolve(root, process.env.CARGO_TARGET_DIR ?? "target"), "tmp", "decisions.json");
  const written = (path) => statSync(join(root, path)).mtimeMs;
  const sources = ["models/manifest.json", "models/catalog.json", "tests/fixtures/hosts.jsonl"];
  if (!existsSync(file) || sources.some((path) => written(path) > statSync(file).mtimeMs)) {
    const { status } = spawnSync("cargo", ["test", "--quiet", "--test", "hosts"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    assert.equal(status, 0, "cargo test --test hosts");
  }
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Fails unless `actual` (name → summary) is what the native build decides: models exactly, numbers closely. */
export function assertAgrees(actual) {
  const expected = expectations();
  assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort());
  for (const [name, decision] of Object.entries(expected)) {
    const { qualities, costs, ...rest } = summary(decision);
    const { qualities: gotQualities, costs: gotCosts, ...gotRest } = actual[name];
    assert.deepEqual(gotRest, rest, name);
    assertClose(gotQualities, qualities, () => TOLERANCE, `${name}: quality`);
    assertClose(gotCosts, costs, (cost) => TOLERANCE * cost, `${name}: cost`);
  }
}

/** Fails unless every number is within `tolerance(number)` of the native one; null only equals null. */
function assertClose(got, numbers, tolerance, what) {
  assert.equal(got.length, numbers.length, what);
  numbers.forEach((number, i) => {
    const close = number === null || got[i] === null ? number === got[i] : Math.abs(number - got[i]) <= tolerance(number);
    assert.ok(close, `${what} ${i} is ${got[i]}, natively ${number}`);
  });
}

/** The packed artifacts with a changed manifest, or changed files. */
export function repacked({ manifest = (m) => m, file = (path, bytes) => bytes }) {
  const models = join(root, "models");
  const original = JSON.parse(readFileSync(join(models, "manifest.json")));
  const files = {};
  for (const { path } of Object.values(original.files)) files[path] = file(path, readFileSync(join(models, path)));
  return pack(Buffer.from(JSON.stringify(manifest(original, files))), (path) => files[path]);
}

/** The packed artifacts from which the ONNX file has been taken out. */
export function withoutPredictor() {
  return repacked({ manifest: ({ files: { predictor, ...files }, ...rest }) => ({ ...rest, files }) });
}

/** The catalog with the abilities of two of its models swapped. */
export function swapAbilities(catalog, [one, two]) {
  const models = structuredClone(catalog.models);
  const [a, b] = [one, two].map((id) => models.find((model) => model.id === id));
  [a.ability, b.ability] = [b.ability, a.ability];
  return { ...catalog, models };
}
