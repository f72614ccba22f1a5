// `npm run pack:test`: the package as `npm publish` would send it, installed in a fresh folder, in every
// host. Each runs program.js, and must decide what Node does. Needs `npm run build`.
//
// The hosts that are not the root's own development dependencies are installed here, beside this file.

import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import test, { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as esbuild from "esbuild";
import { Miniflare } from "miniflare";
import { findChromium, launch, launchWithProfile, serve } from "../js/browser.mjs";
import { findFirefox, launchFirefox } from "../js/firefox.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../..");
const modules = join(here, "node_modules");
/** Away from the repository, so that nothing is found that the package does not bring. */
const fresh = mkdtempSync(join(tmpdir(), "pennyroute-"));
/** For bundlers: below this folder, where they find themselves. What they build stays to be looked at. */
const app = join(here, "run");
const installed = join(app, "node_modules/pennyroute");

/** What is published: what `npm run build` puts into dist/ but the page, and what npm shows. */
const FILES = [
  "LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json",
  ...["artifacts.bin", "pennyroute.js", "pennyroute_bg.wasm", "pennyroute_gpu.js", "pennyroute_gpu_bg.wasm"].map((file) => `dist/${file}`),
  ...readdirSync(join(root, "src/js")).filter((file) => /\.(js|d\.ts)$/.test(file)).map((file) => `dist/${file}`),
].sort();

/** Folders with the program as a host wants it; all use program.js. */
const PROGRAMS = ["extension", "next", "node", "page", "types", "workerd"];

if (!existsSync(join(root, "dist/pennyroute_bg.wasm"))) throw new Error("dist/ is missing: run `npm run build` first");

const installedHosts = join(modules, ".package-lock.json");
if (!existsSync(installedHosts) || statSync(installedHosts).mtimeMs < statSync(join(here, "package-lock.json")).mtimeMs) {
  // Not `npm ci`: it refuses where a registry lacks the binaries of some other platform.
  npm(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"], here);
}

rmSync(app, { recursive: true, force: true });
mkdirSync(app);
const [{ filename, files }] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", app], root));
const tarball = join(app, filename);
for (const folder of [fresh, app]) {
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  npm(["install", "--offline", "--ignore-scripts", tarball], folder);
  for (const name of [...PROGRAMS, "program.js", "threaded.js"]) cpSync(join(here, name), join(folder, name), { recursive: true });
}

const chromium = findChromium();
const firefox = findFirefox();
const browsers = Object.entries({
  Chromium: chromium && (await launch(chromium)),
  Firefox: firefox && (await launchFirefox(firefox)),
}).filter(([, browser]) => browser);

after(async () => {
  await Promise.all(browsers.map(([, browser]) => browser.close()));
  rmSync(fresh, { recursive: true });
});

/** What Node decides, and so what every host must. */
const expected = node("esm.mjs");
/** Entries of the package that have run somewhere. */
const tried = new Set();

// ---- The package itself

test("the tarball holds what is meant to be published, and nothing else", () => {
  assert.deepEqual(files.map(({ path }) => path).sort(), FILES);
});

test("npm would publish it", () => {
  npm(["publish", "--dry-run", "--offline", "--ignore-scripts", tarball], app);
});

test("publint finds nothing to say", async () => {
  const { publint } = await import("publint");
  const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
  assert.deepEqual(messages, []);
});

test("types are found for every entry, by every resolution that reads `exports`", async () => {
  const { checkPackage, createPackageFromTarballData } = await import("@arethetypeswrong/core");
  const { problems } = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  // The package is ESM, which CommonJS reaches by `import()`, or in newer Node by `require`.
  const meant = new Set(["CJSResolvesToESM"]);
  const found = problems.filter(({ kind, resolutionKind }) => !meant.has(kind) && resolutionKind !== "node10");
  assert.deepEqual(found, []);
});

const STRICT = ["--noEmit", "--strict", "--skipDefaultLibCheck", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"];
for (const [name, options] of Object.entries({
  bundler: ["--module", "esnext", "--moduleResolution", "bundler"],
  nodenext: ["--module", "nodenext", "--moduleResolution", "nodenext"],
  workerd: ["--module", "esnext", "--moduleResolution", "bundler", "--customConditions", "workerd"],
})) {
  test(`TypeScript, strict, ${name}`, () =>
    command(join(modules, "typescript/bin/tsc"), [...STRICT, ...options, "entries.ts"], join(fresh, "types")));
}

// ---- Runtimes without a browser

test("Node, ESM", () => {
  agrees(expected);
  assert.ok(new Set(expected.pennyroute.map(({ model }) => model)).size >= 3, "one decision is as good as another");
});

test("Node, `import()` in CommonJS", () => agrees(node("commonjs.cjs")));

test("Node, `require` of ESM", { skip: !process.features.require_module && "this Node has none" }, () => agrees(node("require.cjs")));

test("Node, the slim entry with files read by the host", () => agrees(node("slim.mjs")));

test("Deno", host("@deno", "deno", (deno) => agrees(JSON.parse(ask(deno, ["run", "--allow-read", "node/esm.mjs"])))));

test("Bun", host("@oven", "bin/bun", (bun) => agrees(JSON.parse(ask(bun, ["node/esm.mjs"])))));

test("workerd, as wrangler bundles it", async () => {
  const out = join(app, "workerd/dist");
  await command(join(root, "node_modules/wrangler/bin/wrangler.js"), ["deploy", "--dry-run", "--outdir", out], join(app, "workerd"), {
    ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true",
  });
  const types = { ".wasm": "CompiledWasm", ".bin": "Data" };
  const binaries = readdirSync(out).filter((path) => extname(path) in types).map((path) => [path, types[extname(path)]]);
  const miniflare = new Miniflare({
    modules: [["index.js", "ESModule"], ...binaries].map(([path, type]) => ({ type, path, contents: readFileSync(join(out, path)) })),
    compatibilityDate: "2026-04-01",
  });
  try {
    const response = await miniflare.dispatchFetch("http://localhost/");
    agrees(await response.json());
  } finally {
    await miniflare.dispose();
  }
});

// ---- Bundlers, and what they build, in every browser: on the page's thread and in a web worker

test("Vite, dev", inBrowsers(async (look) => {
  const { createServer } = await import("vite");
  const server = await createServer({ root: join(app, "page"), configFile: false, logLevel: "error", server: { port: 0 } });
  await server.listen();
  try {
    await look(server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
}));

test("Vite, build", inBrowsers(async (look) => {
  const { build } = await import("vite");
  const outDir = built("vite");
  await build({ root: join(app, "page"), configFile: false, logLevel: "error", build: { outDir } });
  await look(outDir);
}));

test("webpack", inBrowsers(async (look) => {
  const { default: webpack } = await import("webpack");
  const path = built("webpack");
  const stats = await promisify(webpack)({ mode: "production", context: join(app, "page"), entry: "./main.js", output: { path } });
  assert.deepEqual(stats.toJson({ all: false, errors: true }).errors, []);
  await look(path);
}));

// These two find no worker's script by its `new URL`: it is an entry of its own.
const SCRIPTS = {
  main: join(app, "page/main.js"),
  worker: join(app, "page/worker.js"),
  thread: join(installed, "dist/thread.js"),
};

test("esbuild, with both files beside the bundle", inBrowsers(async (look) => {
  const outdir = built("esbuild");
  await esbuild.build({ entryPoints: SCRIPTS, bundle: true, format: "esm", outdir, logLevel: "error" });
  for (const file of ["pennyroute_bg.wasm", "artifacts.bin"]) copyFileSync(join(installed, "dist", file), join(outdir, file));
  await look(outdir);
}));

test("Rollup, with the plugin for `new URL(…, import.meta.url)`", inBrowsers(async (look) => {
  const [{ rollup }, { default: nodeResolve }, { importMetaAssets }] = await Promise.all([
    import("rollup"), import("@rollup/plugin-node-resolve"), import("@web/rollup-plugin-import-meta-assets"),
  ]);
  const dir = built("rollup");
  const exclude = ["**/page/main.js", "**/pennyroute/dist/worker.js"];
  const bundle = await rollup({ input: SCRIPTS, plugins: [nodeResolve({ browser: true }), importMetaAssets({ exclude })] });
  await bundle.write({ dir, format: "esm" });
  await look(dir);
}));

test("no bundler: the installed files, by an import map", inBrowsers(async (look) => {
  const { name, exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  const imports = Object.fromEntries(Object.entries(exports).map(([path, { browser, default: otherwise }]) =>
    [path.replace(".", name), `/node_modules/${name}/${browser ?? otherwise}`]));
  const page = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module">
    import { decisions } from "/threaded.js";
    globalThis.decided = decisions();
  </script>`;
  await look(app, { "/": page });
}));

test("a service worker of an extension (MV3)", { skip: !chromium && "there is no Chromium" }, async () => {
  const folder = join(app, "extension");
  await esbuild.build({
    entryPoints: [join(folder, "background.js")], bundle: true, format: "esm", outdir: folder, allowOverwrite: true, logLevel: "error",
  });
  for (const file of ["pennyroute_bg.wasm", "artifacts.bin"]) copyFileSync(join(installed, "dist", file), join(folder, file));
  const context = await launchWithProfile(chromium, join(app, "profile"), folder);
  try {
    const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent("serviceworker"));
    agrees(await worker.evaluate(() => globalThis.decided));
  } finally {
    await context.close();
  }
});

test("Next.js, Turbopack: client, route, edge route, proxy", inBrowsers((look) => next({
  flags: [], without: ["middleware.js", "next.config.js"], paths: ["route", "edge", "proxy"],
}, look)));

// Its webpack cannot build an edge route that stands alone.
test("Next.js, webpack: client, route, middleware", inBrowsers((look) => next({
  flags: ["--webpack"], without: ["proxy.js", "app/edge"], paths: ["route", "middleware"],
}, look)));

test("no entry of the package was left out above", () => {
  const { name, exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  const entries = Object.keys(exports).map((path) => path.replace(".", name)).filter((entry) => !entry.endsWith(".json"));
  const typed = readFileSync(join(here, "types/entries.ts"), "utf8");
  // The files are what the slim entry is given.
  const ran = new Set([...tried, `${name}/wasm`, `${name}/artifacts`]);
  assert.deepEqual(entries.filter((entry) => !ran.has(entry)), [], "ran in no host");
  assert.deepEqual(entries.filter((entry) => !typed.includes(`"${entry}"`)), [], "not in types/entries.ts");
});

// ---- How

/** Builds the app of next/, less some files, and starts it; looks at its page and at the `paths` that answer with decisions. */
async function next({ flags, without, paths }, look) {
  const folder = join(app, "built", `next${flags.join("")}`);
  cpSync(join(app, "next"), folder, { recursive: true });
  for (const file of ["program.js", "threaded.js"]) cpSync(join(app, file), join(app, "built", file));
  for (const file of without) rmSync(join(folder, file), { recursive: true });
  const program = join(modules, "next/dist/bin/next");
  // Vite has set NODE_ENV in this process.
  const env = { ...process.env, NODE_ENV: undefined, NEXT_TELEMETRY_DISABLED: "1" };
  await command(program, ["build", ...flags], folder, env);
  const server = spawn(process.execPath, [program, "start", "--port", "0"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  server.stderr.on("data", (chunk) => (errors += chunk));
  try {
    const url = await new Promise((resolve, reject) => {
      const failed = (how) => reject(new Error(`next start: ${how}\n${output}${errors}`));
      server.on("exit", failed);
      setTimeout(failed, 120_000, "did not say its address").unref();
      server.stdout.on("data", (chunk) => {
        output += chunk;
        const [, found] = /Local:\s+(\S+)\s/.exec(output) ?? [];
        if (found) resolve(found);
      });
    });
    for (const path of paths) {
      const response = await fetch(`${url}/${path}`);
      assert.equal(response.status, 200, `${path}\n${errors}`);
      agrees(await response.json(), path);
    }
    await look(url);
  } finally {
    server.kill();
  }
}

/** A test that looks, in every browser there is, at what an address or a folder serves. */
function inBrowsers(work) {
  if (!browsers.length) return { skip: "there is no browser" };
  return () => work(async (place, files) => {
    const site = place.startsWith("http") ? { url: place, close() {} } : await serve(place, files);
    try {
      for (const [name, browser] of browsers) {
        const page = await browser.newPage();
        await page.goto(site.url);
        await page.waitForFunction(() => "decided" in globalThis);
        const decided = await page.evaluate(() => globalThis.decided);
        for (const one of [decided].flat()) agrees(one, name);
        await page.close();
      }
    } finally {
      await site.close();
    }
  });
}

/** A test with the program of a host, from the package under `scope` that npm chose for this machine; where there is none it says so. */
function host(scope, file, work) {
  return (t) => {
    // Not the host's own package: its command is put in place by an install script.
    const folder = join(modules, scope);
    const path = existsSync(folder) && readdirSync(folder).map((name) => join(folder, name, file)).find(existsSync);
    if (path) return work(path);
    const missing = `there is no ${scope} for this machine`;
    if (process.env.PENNYROUTE_NO_SKIP === "1") throw new Error(missing);
    console.error(`SKIP: ${missing}: NOTHING IS TESTED IN IT`);
    t.skip(missing);
  };
}

/** Fails unless every entry that ran decided as the first does in Node. */
function agrees(decided, where = "") {
  const entries = Object.keys(decided);
  assert.ok(entries.length > 0, `${where}: nothing ran`);
  for (const entry of entries) {
    assert.deepEqual(decided[entry], expected.pennyroute, `${entry} ${where}`);
    tried.add(entry);
  }
}

/** A folder for a bundler's output, with the page in it. */
function built(name) {
  const folder = join(app, "built", name);
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(app, "page/index.html"), join(folder, "index.html"));
  return folder;
}

function node(file) {
  return JSON.parse(ask(process.execPath, [join("node", file)]));
}

/** What a program prints in the fresh folder. */
function ask(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: fresh, encoding: "utf8" });
  assert.equal(status, 0, `${basename(program)} ${args.join(" ")}: ${error ?? stderr}`);
  return stdout;
}

function npm(args, cwd) {
  const { status, stdout, stderr, error } = spawnSync("npm", [...args, "--no-audit", "--no-fund"], { cwd, encoding: "utf8" });
  assert.equal(status, 0, `npm ${args.join(" ")}: ${error ?? stderr}`);
  return stdout;
}

/** Runs a program of Node's in a folder; fails with what it printed. */
async function command(program, args, folder, env = process.env) {
  await promisify(execFile)(process.execPath, [program, ...args], { cwd: folder, env })
    .catch(({ stdout, stderr, message }) => assert.fail(`${message}\n${stdout}\n${stderr}`));
}
