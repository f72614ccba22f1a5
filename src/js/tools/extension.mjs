/**
 * `npm run build:extension`: the browser extension, unpacked and as a zip, under
 * `www/extension/dist/`. Needs the package in dist/ (`npm run build`). One zip is for the stores of
 * Chromium and Firefox alike: each reads its own parts of the manifest and leaves the other's alone.
 */
import { cp, copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { zipSync } from "fflate";
import { dist, root } from "./shell.mjs";

const SOURCE = join(root, "www/extension");
/** One moment for every file, so that the same build is the same zip. */
const MTIME = "2026-01-01";

/**
 * @param {{ package?: string, out?: string, patience_ms?: number }} [options] the built package, where the extension
 *   goes, and how long its requests wait for a decision where that is not to be as in `calls.js`
 * @returns {Promise<{ unpacked: string, zip: string }>}
 */
export async function buildExtension({ package: from = dist, out = join(SOURCE, "dist"), patience_ms } = {}) {
  const unpacked = join(out, "unpacked");
  await rm(out, { recursive: true, force: true });
  await mkdir(unpacked, { recursive: true });

  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const manifest = JSON.parse(await readFile(join(SOURCE, "manifest.json"), "utf8"));
  await writeFile(join(unpacked, "manifest.json"), JSON.stringify({ ...manifest, version }, null, 2));

  const common = { outdir: unpacked, bundle: true, target: ["chrome121", "firefox142"], minify: true, define: patience_ms ? { PENNYROUTE_PATIENCE_MS: String(patience_ms) } : {}, logLevel: /** @type {const} */ ("warning") };
  const entries = (...names) => names.map((name) => join(SOURCE, name));
  await build({ ...common, entryPoints: entries("page.js", "content.js"), format: "iife" });
  await build({ ...common, entryPoints: entries("background.js", "popup.js", "popup.css", "options.js", "options.css"), format: "esm", alias: { pennyroute: join(from, "browser.js") } });
  await Promise.all([
    ...["popup.html", "options.html"].map((name) => copyFile(join(SOURCE, name), join(unpacked, name))),
    cp(join(SOURCE, "icons"), join(unpacked, "icons"), { recursive: true }),
    ...["pennyroute_bg.wasm", "artifacts.bin"].map((name) => copyFile(join(from, name), join(unpacked, name))),
  ]);

  const zip = join(out, `pennyroute-extension-${version}.zip`);
  await writeFile(zip, zipSync(await contents(unpacked), { level: 9, mtime: MTIME }));
  return { unpacked, zip };
}

/**
 * The files under a folder by their path in it, in a fixed order.
 * @param {string} folder
 */
async function contents(folder) {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1).replaceAll("\\", "/"))
    .sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, new Uint8Array(await readFile(join(folder, name)))])));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { unpacked, zip } = await buildExtension();
  console.log(`${unpacked}\n${zip} (${((await readFile(zip)).length / 1e6).toFixed(1)} MB)`);
}
