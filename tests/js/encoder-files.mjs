// The encoder's folder, which is made by command and not under version control, and what tests hold vectors to.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./hosts.mjs";

/** The folder in 8 bits; the others are beside it, their names with an ending. */
const INT8 = process.env.PENNYROUTE_ENCODER ?? join(root, "models/train/out/encoder");
const REFERENCE = `${INT8}-reference`;
/** The encoder's folders, by the precision of their weights. */
export const FOLDERS = { int8: INT8, float32: `${INT8}-float32` };

/** Least cosine with onnxruntime's vectors, by the precision of the weights. */
const LEAST = { int8: 0.998, float32: 0.9995 };

/** The encoder's folder in 8 bits, or undefined; a run that may skip nothing fails without all three. */
export function findEncoder() {
  const needed = [...Object.values(FOLDERS).map((folder) => join(folder, "manifest.json")), join(REFERENCE, "ids.json")];
  const missing = needed.find((path) => !existsSync(path));
  if (missing === undefined) return INT8;
  const told = `there is no ${missing} (npm run encoder makes it)`;
  if (process.env.PENNYROUTE_NO_SKIP === "1") throw new Error(told);
  console.error(`SKIP: ${told}: THE ENCODER IS NOT TESTED`);
  return undefined;
}

/** The manifest in a folder. */
export const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));

/** A hundred texts of all kinds. */
export function texts() {
  const lines = readFileSync(join(root, "tests/fixtures/encoder-texts.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line).text);
}

/** Their tokens, as their publisher's tokenizer cuts them. */
export const tokens = () => JSON.parse(readFileSync(join(REFERENCE, "ids.json"), "utf8"));

/** What onnxruntime makes of the texts with a folder's weights, and how close to it others must come. */
export function reference(folder) {
  const { precision } = manifestOf(folder).encoder;
  const bytes = new Uint8Array(readFileSync(join(REFERENCE, `${precision}.bin`)));
  return { vectors: new Float32Array(bytes.buffer), least: LEAST[precision] };
}

/** The least cosine between vectors of unit length, one after another. */
export function leastCosine(a, b, dimensions) {
  let least = Infinity;
  for (let i = 0; i < a.length; i += dimensions) {
    let cosine = 0;
    for (let k = i; k < i + dimensions; k++) cosine += a[k] * b[k];
    // NaN is less than anything.
    if (!(cosine >= least)) least = cosine;
  }
  return least;
}
