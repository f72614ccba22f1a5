// `npm run build`: the npm package, in dist/.
//
// Rust → wasm (cargo) → wasm and JavaScript glue (src/bin/bindgen.rs) → smaller wasm (wasm-opt), for the router
// and for the encoder on the GPU → dist/, with the entries, their types and the packed artifacts beside it; and the page, in dist/www.
// The slow steps are skipped when what goes into them has not changed.

import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { dist, fail, prepareRust, root, run, target, wasmEnv, WASM_TARGET } from "./shell.mjs";
import { packFolder } from "./pack.mjs";

const WASM_OPT = ["-Oz", "--strip-producers", "--strip-debug"];
const source = join(root, "src", "js");

/** The modules of the package: the features of each, what is linked and bound specially, and how long wasm-opt takes. */
const MODULES = [
  // The constructors that it collects are then called once, by src/js/core.js.
  { name: "pennyroute", features: "wasm", link: ["-C", "link-arg=--export=__wasm_call_ctors"], bind: ["--cut"], takes: "two minutes or so" },
  { name: "pennyroute_gpu", features: "gpu-wasm", link: [], bind: [], takes: "a few seconds" },
];

prepareRust();
if (!existsSync(join(root, "node_modules", "binaryen"))) run("npm", ["ci", "--ignore-scripts"]);

/** Compiles a module, and leaves NAME.js and NAME_bg.wasm in a folder, whose path it returns. */
function compile({ name, features, link, bind, takes }) {
  // `cargo rustc --crate-type` because a plain build would link the rlib as well, LTO and all.
  run("cargo", ["rustc", "--profile", "wasm", "--lib", "--crate-type", "cdylib", "--target", WASM_TARGET,
    "--no-default-features", "--features", features, ...(link.length ? ["--", ...link] : [])], wasmEnv());
  // All modules are compiled to this one name.
  const compiled = join(target, WASM_TARGET, "wasm", "pennyroute.wasm");
  const glue = join(target, "package", name);
  const stamp = join(glue, "stamp");
  const inputs = createHash("sha256");
  for (const file of [compiled, join(root, "src/bin/bindgen.rs"), join(root, "package-lock.json")]) inputs.update(readFileSync(file));
  const key = inputs.update([...WASM_OPT, ...bind].join()).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === key) return glue;
  rmSync(glue, { recursive: true, force: true });
  run("cargo", ["build", "--no-default-features", "--features", "bindgen", "--bin", "bindgen"]);
  run(join(target, "debug", "bindgen"), [compiled, glue, name, ...bind]);
  console.error(`wasm-opt on ${name}: ${takes}`);
  const wasm = join(glue, `${name}_bg.wasm`);
  run(process.execPath, [join(root, "node_modules/binaryen/bin/wasm-opt"), ...WASM_OPT, wasm, "-o", wasm]);
  writeFileSync(stamp, key);
  return glue;
}

const compiledFiles = MODULES.flatMap((module) => {
  const glue = compile(module);
  return [`${module.name}.js`, `${module.name}_bg.wasm`].map((file) => join(glue, file));
});

mkdirSync(dist, { recursive: true });
const sources = readdirSync(source).filter((file) => /\.(js|d\.ts)$/.test(file));
const packed = "artifacts.bin";
// What an earlier build has left would be published.
const kept = new Set([...sources, ...compiledFiles.map((file) => basename(file)), packed, "www"]);
for (const file of readdirSync(dist)) if (!kept.has(file)) rmSync(join(dist, file), { recursive: true });
for (const file of compiledFiles) copyFileSync(file, join(dist, basename(file)));
for (const file of sources) copyFileSync(join(source, file), join(dist, file));
const models = join(root, "models");
if (!existsSync(join(models, "manifest.json"))) fail("models/manifest.json is missing: the package has no artifacts to pack");
writeFileSync(join(dist, packed), packFolder(models));
run(process.execPath, [join(source, "tools", "www.mjs")]);
console.error("built dist/");
