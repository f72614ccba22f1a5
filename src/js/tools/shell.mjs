// What the tools share: paths, running commands, and a fresh checkout's missing pieces.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const dist = join(root, "dist");
export const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
export const WASM_TARGET = "wasm32-unknown-unknown";

/** Ends the program with one clear line. */
export function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Runs a command in the repository, its output passed on; ends the program if it fails. */
export function run(command, args, env = {}) {
  const { error, status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  if (error?.code === "ENOENT") fail(`${command} is not installed${command === "cargo" ? ": see https://rustup.rs" : ""}`);
  if (error) fail(`${command}: ${error.message}`);
  if (status !== 0) fail(`failed: ${[command, ...args].join(" ")}`);
}

/** The output of a command, or undefined if it cannot be had. */
export function ask(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Installs the wasm target of the pinned Rust toolchain where it is missing. */
export function prepareRust() {
  const sysroot = ask("rustc", ["--print", "sysroot"]);
  if (!sysroot) fail("Rust is not installed, or its pinned toolchain (rust-toolchain.toml) is not: see https://rustup.rs");
  if (existsSync(join(sysroot, "lib", "rustlib", WASM_TARGET))) return;
  if (!ask("rustup", ["--version"])) fail(`this Rust has no target ${WASM_TARGET}, and there is no rustup to add it`);
  run("rustup", ["target", "add", WASM_TARGET]);
}

/** Flags of every compilation for wasm: SIMD, which all hosts have, and no paths of this machine. */
export function wasmEnv() {
  const home = process.env.CARGO_HOME ?? join(process.env.HOME ?? process.env.USERPROFILE ?? "", ".cargo");
  const flags = [
    "-C", "target-feature=+simd128",
    `--remap-path-prefix=${join(home, "registry", "src")}=`,
    `--remap-path-prefix=${root.replace(/[\\/]$/, "")}=`,
  ];
  return { CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f") };
}

/** Runs a Rust bench. */
export function cargoBench(name, args) {
  run("cargo", benchCommand(name, args));
}

/** What cargo is to do for a Rust bench: the development profile, whose dependencies are compiled already, with our own code as in a release. */
export function benchCommand(name, args) {
  const own = ["opt-level=3", "overflow-checks=false", "debug-assertions=false"];
  const settings = own.flatMap((setting) => ["--config", `profile.dev.package.pennyroute.${setting}`]);
  return ["bench", "--profile", "dev", ...settings, "--bench", name, ...(args.length ? ["--", ...args] : [])];
}
