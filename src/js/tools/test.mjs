// `npm test`: every check there is, after preparing what a fresh checkout lacks. The last line is
// `N passed, N failed`, over all runners.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { prepareEncoder } from "./encoder.mjs";
import { prepareRust, root, run, wasmEnv, WASM_TARGET } from "./shell.mjs";

const total = { passed: 0, failed: 0, skipped: 0 };

/** Runs a command with its output passed on; resolves to its status and its output. */
function watch(command, args, env = {}) {
  console.log(`\n$ ${[command, ...args].join(" ")}`);
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
    let output = "";
    child.stdout.on("data", (chunk) => {
      // Some runners colour their summary where they find a terminal.
      output += String(chunk).replace(/\x1b\[[0-9;]*m/g, "");
      process.stdout.write(chunk);
    });
    child.on("error", (error) => resolve({ status: -1, output: `${error.message}\n` }));
    child.on("close", (status) => resolve({ status, output }));
  });
}

/** A check that passes or fails as a whole. */
async function check(command, args, env) {
  const { status } = await watch(command, args, env);
  if (status === 0) total.passed += 1;
  else total.failed += 1;
}

/** Tests, counted by `pattern` with the groups passed, failed and skipped. */
async function tests(command, args, pattern, env) {
  const { status, output } = await watch(command, args, env);
  const before = total.failed;
  for (const { groups } of output.matchAll(pattern)) {
    for (const name of Object.keys(total)) total[name] += Number(groups[name] ?? 0);
  }
  // A runner that failed without a failed test, or ended without a summary, did not get to run them all.
  const counted = output.search(pattern) >= 0;
  if ((status !== 0 || !counted) && total.failed === before) total.failed += 1;
}

prepareRust();
if (!existsSync(join(root, "node_modules"))) run("npm", ["ci", "--ignore-scripts"]);

// Tests of the encoder say themselves that they are skipped, or fail where nothing may be.
const noEncoder = prepareEncoder();
if (noEncoder) console.error(`the sentence encoder cannot be made (${noEncoder}): WHAT NEEDS IT IS NOT TESTED`);

// The cheap checks first.
await check("cargo", ["fmt", "--check"]);
await check("cargo", ["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"]);
// Each feature by itself.
for (const features of ["router", "gpu"]) {
  await check("cargo", ["clippy", "--lib", "--quiet", "--no-default-features", "--features", features, "--", "-D", "warnings"]);
}
for (const features of ["wasm", "gpu-wasm"]) {
  await check("cargo", ["clippy", "--lib", "--quiet", "--profile", "wasm", "--target", WASM_TARGET, "--no-default-features", "--features", features, "--", "-D", "warnings"], wasmEnv());
}
await check("cargo", ["clippy", "--bin", "bindgen", "--quiet", "--no-default-features", "--features", "bindgen", "--", "-D", "warnings"]);
await check("cargo", ["doc", "--no-deps", "--quiet"], { RUSTDOCFLAGS: "-D warnings" });
await tests("cargo", ["test", "--no-fail-fast"],
  /^test result: \w+\. (?<passed>\d+) passed; (?<failed>\d+) failed; (?<skipped>\d+) ignored/gm);

await check(process.execPath, ["src/js/tools/build.mjs"]);
const files = readdirSync(join(root, "tests", "js")).filter((file) => file.endsWith(".test.mjs")).map((file) => join("tests", "js", file));
const NODE_TESTS = /^ℹ (?:pass (?<passed>\d+)|(?:fail|cancelled) (?<failed>\d+)|(?:skipped|todo) (?<skipped>\d+))$/gm;
await tests(process.execPath, ["--test", "--test-reporter=spec", ...files], NODE_TESTS);
// What `npm run pack:test` runs: apart from the others, because its tools would take their time from them.
await tests(process.execPath, ["--test", "--test-reporter=spec", join("tests", "packaging", "run.mjs")], NODE_TESTS);

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 ? 1 : 0;
